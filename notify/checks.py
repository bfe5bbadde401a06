"""System checks: what would fail at three in the morning fails at the start."""

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import Error, Tags, Warning, register
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from notify import schedule


@register()
def check_time_zone(app_configs: Any, **kwargs: Any) -> list[Error]:
    """TIME_ZONE stays UTC; local meaning is NOTIFY_TIME_ZONE's."""
    if settings.TIME_ZONE == "UTC" and settings.USE_TZ:
        return []
    return [Error("TIME_ZONE must stay UTC. Set NOTIFY_TIME_ZONE instead.", id="notify.E001")]


@register()
def check_retention_days(app_configs: Any, **kwargs: Any) -> list[Error]:
    """The retention of services without one of their own has the same range as theirs."""
    if 3 <= settings.RETENTION_DAYS <= 90:
        return []
    return [Error(f"RETENTION_DAYS is {settings.RETENTION_DAYS}; it must be 3 to 90.", id="notify.E012")]


@register()
def check_schedule(app_configs: Any, **kwargs: Any) -> list[Error]:
    """Every default schedule names a registered task, and every route a declared queue."""
    from notify.celery import app

    app.autodiscover_tasks(force=True)  # not import_default_modules: that runs the checks again
    unknown = [row.task for row in schedule.ROWS if row.task not in app.tasks]
    found = [Error(f"Schedule names {task}, which is no task.", id="notify.E002") for task in unknown]
    queues = {route["queue"] for route in schedule.routes().values()} - set(schedule.QUEUES)
    return found + [Error(f"A route names queue {name}, which is not declared.", id="notify.E003") for name in queues]


@register(Tags.security, deploy=True)
def check_trusted_targets(app_configs: Any, **kwargs: Any) -> list[Warning]:
    """The exemption from the address rules is for tests and the demo."""
    if not (settings.PRODUCTION and settings.CALLBACK_TRUSTED_TARGETS):
        return []
    return [Warning("CALLBACK_TRUSTED_TARGETS is not empty: callbacks may reach inside.", id="notify.W001")]


@register()
def check_alert_addresses(app_configs: Any, **kwargs: Any) -> list[Error]:
    """An alert that can never arrive is found at the start, not on the night it is needed."""
    found = []
    for address in settings.ALERT_EMAILS:
        try:
            validate_email(address)
        except ValidationError:
            found.append(Error(f"ALERT_EMAILS: {address!r} is no email address.", id="notify.E010"))
    url = urlsplit(settings.ALERT_WEBHOOK_URL)
    if settings.ALERT_WEBHOOK_URL and not (url.scheme in ("http", "https") and url.hostname):
        found.append(Error("ALERT_WEBHOOK_URL is no http(s) address.", id="notify.E011"))  # it is a secret: not shown
    return found


@register(Tags.security, deploy=True)
def check_somebody_is_told(app_configs: Any, **kwargs: Any) -> list[Warning]:
    """In production somebody hears of alerts."""
    if not settings.PRODUCTION or (settings.ALERTS_ENABLED and (settings.ALERT_EMAILS or settings.ALERT_WEBHOOK_URL)):
        return []
    return [
        Warning(
            "Nobody is told of alerts: set ALERT_EMAILS or ALERT_WEBHOOK_URL, and leave ALERTS_ENABLED unset.",
            id="notify.W010",
        )
    ]
