"""The ground floor's start-up: the schedule is seeded after `migrate`."""

from django.apps import AppConfig
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
