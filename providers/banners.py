"""What every admin page says while something of this floor concerns everybody."""

from django.urls import reverse

from notify.admin_base import local_time
from notify.panels import Banner
from providers.models import Pause


def run() -> list[Banner]:
    """Say that all sending is paused: by whom, since when and why."""
    return [
        Banner(
            text=f"All sending is paused by {pause.paused_by or 'a rule'} since {local_time(pause.paused_at)}: "
            f"{pause.reason}",
            label="Pauses",
            url=reverse("admin:providers_pause_changelist"),
            permission="providers.view_pause",
        )
        for pause in Pause.objects.on().select_related("paused_by")
    ]
