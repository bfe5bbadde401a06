"""Letters without PDF that a person should know of."""

from collections.abc import Sequence
from datetime import datetime

from letters import files
from letters.models import Letter
from letters.querysets import RENDERED_IN_VAIN
from notify.alerts import close_alert, close_gone, raise_alert
from notify.clock import local_date

KIND = "letter-not-rendered"
STOPPED = "the worker stopped while it rendered this letter"


def judge(*, now: datetime) -> None:
    """Alert while letters are tried in vain; close it when none is. now: the moment to judge by (aware, UTC)."""
    letters = Letter.objects.rendered_in_vain(now)
    count = letters.count()
    if not count:
        close_alert(KIND, files.PDF, now=now)
        return
    oldest = letters.select_related("notification").order_by("notification__created_at")[0]
    why = oldest.last_error or STOPPED
    raise_alert(
        KIND,
        files.PDF,
        f"Letters without PDF after {RENDERED_IN_VAIN} tries or more: {count:,}; the oldest is of "
        f"{local_date(oldest.notification.created_at):%-d %B %Y} ({why}). They are tried again by themselves, at most "
        f"an hour apart. Check the storage {files.PDF} and the workers. See README, {KIND}.",
        now=now,
    )


def tell_failed(letters: Sequence[Letter], *, now: datetime) -> None:
    """Alert for letters that ended as technical-failure, once per template."""
    for template in sorted({letter.notification.template_id for letter in letters}):
        raise_alert(
            KIND,
            _scope(template),
            f"Letters of template {template} could not be rendered in {letters[0].attempts} tries and ended as "
            "technical-failure; the log has the traceback. Look at the template's preview, mend the cause and send "
            f"those letters again. See README, {KIND}.",
            now=now,
        )


def close_seen(*, now: datetime) -> int:
    """Close the alerts of templates of which no letter is left that could not be rendered and nobody has seen."""

    def wrong() -> list[str]:
        failed = Letter.objects.failed_unseen().filter(pdf="")
        templates = failed.order_by().values_list("notification__template_id", flat=True).distinct()
        return [files.PDF, *map(_scope, templates)]  # the storage's own alert is closed by judge()

    return close_gone(KIND, wrong, now=now)


def _scope(template: object) -> str:
    return f"template {template}"
