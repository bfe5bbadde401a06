"""The ground floor's start-up: the schedule is seeded after `migrate`, and the database compiles no plans."""

from typing import Any

from django.apps import AppConfig
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate

from notify.schedule import seed_after_migrate


class NotifyConfig(AppConfig):
    """Services, templates, notifications, alerts."""

    name = "notify"
    verbose_name = "Services and messages"

    def ready(self) -> None:
        """Register the seeding and the system checks."""
        from notify import checks  # noqa: F401  (registers itself; settings must be loaded first)

        # Django emits post_migrate per app, in order; beat's tables are all there by then.
        post_migrate.connect(seed_after_migrate, sender=self, dispatch_uid="notify.schedule")
        connection_created.connect(_plan_plainly, dispatch_uid="notify.plans")


def _plan_plainly(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    """Have the database compile no plans: over millions of rows it does so for queries that take less time than that.

    A statement, not a start-up option: poolers refuse those.
    """
    with connection.cursor() as cursor:
        cursor.execute("SET jit = off")
