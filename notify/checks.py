"""System checks: what would fail at three in the morning fails at the start."""

from typing import Any

from django.conf import settings
from django.core.checks import Error, Tags, Warning, register

from notify import schedule


@register()
def check_time_zone(app_configs: Any, **kwargs: Any) -> list[Error]:
    """TIME_ZONE stays UTC; local meaning is NOTIFY_TIME_ZONE's."""
    if settings.TIME_ZONE == "UTC" and settings.USE_TZ:
        return []
    return [Error("TIME_ZONE must stay UTC. Set NOTIFY_TIME_ZONE instead.", id="notify.E001")]


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
