"""Reading the PDFs of a print run: which letter ends, which is left out for now, and when the storage itself is away.

A PDF that is missing or changed is its letter's end. One that the storage does not give (an error of the disk, a
permission) says nothing of the letter: it stays `created`, its file is not touched, and each later run tries it again.
"""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from django.core.files.storage import storages

from letters import files
from letters.models import Letter, PrintFile, PrintRun
from letters.zips import Pdf, UnreadableFile, WrongFile, read_pdf
from notify import bulk
from notify.alerts import close_alert, raise_alert
from notify.models import Alert, Notification

UNREADABLE = "letter-file-unreadable"
_ALL = "letters"  # the scope of the alert: it speaks of all of them
_NAMED = 10  # letters the alert names one by one
_AWAY = 10  # PDFs in a row that could not be read: the storage is away, and no letter is to blame
_SUSPICIOUS = 10  # letters: with more waiting, an empty storage is taken for one that is away
_OPEN = f"EXISTS (SELECT FROM {Notification._meta.db_table} m WHERE m.id = n.notification_id AND m.status = %s)"


class StorageAway(Exception):
    """The storage of PDFs cannot be used, or holds nothing at all while many letters wait; the text says which."""


class Reader:
    """Reads PDFs for one print run and keeps account of those that could not be read."""

    def __init__(self, run: PrintRun) -> None:
        self._run, self._storage, self._in_row = run, storages[files.PDF], 0
        self.unreadable: dict[UUID, str] = {}

    def read(self, letter: Letter, wrong: dict[Letter, str], beat: Callable[[], None]) -> Pdf | None:
        """Return a letter's PDF; None where it is wrong, and then noted in `wrong`, or could not be read.

        Raises StorageAway when ten in a row could not be read. A letter that was left out before does not count: it
        would be met first by each later run.
        """
        try:
            pdf = read_pdf(letter, self._storage, beat)
        except WrongFile as error:
            wrong[letter] = str(error)
            pdf = None
        except UnreadableFile as error:
            if letter.unreadable_at is None and letter.pk not in self.unreadable:
                self._in_row += 1
            self.unreadable[letter.pk] = str(error)
            if self._in_row >= _AWAY:
                raise StorageAway(f"{_AWAY} PDFs in a row could not be read from {files.PDF}: {error}") from error
            return None
        self._in_row = 0
        self.unreadable.pop(letter.pk, None)
        return pdf

    def note(self, *, now: datetime) -> None:
        """Write down which letters were left out, where they wait still; StorageAway where it is not they."""
        refuse_away(self._run, len(self.unreadable))
        errors = [f"its PDF could not be read ({error})" for error in self.unreadable.values()]
        bulk.update_each(
            Letter, list(self.unreadable), {"last_error": errors}, alike={"unreadable_at": now},
            only=(_OPEN, [Notification.Status.CREATED]),
        )  # fmt: skip


def refuse_away(run: PrintRun, failed: int) -> None:
    """Raise StorageAway where the storage of PDFs cannot be listed, or is empty while many letters wait.

    failed: letters whose PDF could not be had; with none there is nothing to explain.
    """
    if not failed:
        return
    try:
        folders, names = storages[files.PDF].listdir("")
    except FileNotFoundError:
        folders, names = [], []
    except Exception as error:  # each storage has errors of its own
        raise StorageAway(f"the storage {files.PDF} cannot be listed: {type(error).__name__}") from error
    waiting = max(failed, Letter.objects.printable(run.deadline)[: _SUSPICIOUS + 1].count())
    if not folders and not names and waiting > _SUSPICIOUS:
        raise StorageAway(f"the storage {files.PDF} is empty while letters wait that should lie in it")


def tell_unreadable(*, now: datetime) -> int:
    """Keep an alert open while letters wait whose PDF could not be read; it closes when they were packed or ended.

    now: aware UTC. Raised when first seen and when its words changed, not at every look. Returns how many wait.
    """
    letters = Letter.objects.unreadable()
    count = letters.count()
    if not count:
        close_alert(UNREADABLE, _ALL, now=now)
        return 0
    first = ", ".join(str(pk) for pk in letters.values_list("pk", flat=True)[:_NAMED])
    one = count == 1
    words = (
        f"{count:,} {'letter was' if one else 'letters were'} left out of the print run, because "
        f"{'its PDF' if one else 'their PDFs'} could not be read from the storage {files.PDF}: {first}"
        f"{' …' if count > _NAMED else ''}. {'It stays' if one else 'They stay'} created and "
        f"{'goes' if one else 'go'} with the first print run that can read the file; the others went. {_held_up()}Look "
        f"at the error on the letter's page and mend the storage (rights, disk), or put the file back. "
        f"See README, {UNREADABLE}."
    )
    if not Alert.objects.open().filter(kind=UNREADABLE, scope=_ALL, message=words).exists():
        raise_alert(UNREADABLE, _ALL, words, now=now)
    return count


def _held_up() -> str:
    """Name the zips that wait for such a letter."""
    waiting = PrintFile.objects.filter(uploaded_at__isnull=True, letters__in=Letter.objects.unreadable()).distinct()
    names = list(waiting.values_list("name", flat=True)[:_NAMED])
    if not names:
        return ""
    return (
        f"{', '.join(names)} may be handed over already and so waits with all its letters, and the run's end with it, "
        "until the file is readable or removed; removed, its letter ends as technical-failure. "
    )
