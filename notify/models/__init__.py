"""The ground floor's tables."""

from notify.models.notification import Notification
from notify.models.service import DataRetention, NotificationType, Service, Template, TemplateVersion
from notify.models.watch import Alert, DailyTotal, SeededSchedule, WatchdogRun

__all__ = [
    "Alert",
    "DailyTotal",
    "DataRetention",
    "Notification",
    "NotificationType",
    "SeededSchedule",
    "Service",
    "Template",
    "TemplateVersion",
    "WatchdogRun",
]
