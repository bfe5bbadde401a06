"""Days that are not like others: nobody collated for a day, the clocks change, a bank holiday follows a weekend.

The missed day is caught up by real workers; the days that lie elsewhere in the year are played with the clock that
every verb is given, in this process.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from drills.house import NotAsExpected
from drills.letters_site import Site

_COLLATE = "letters.collate_letter_pdfs_for_day"
# Local day → when its letters close and when it is collated, in UTC.
CLOCK_CHANGES = {
    date(2026, 3, 29): (datetime(2026, 3, 29, 16, 30, tzinfo=UTC), datetime(2026, 3, 29, 16, 50, tzinfo=UTC)),
    date(2026, 10, 25): (datetime(2026, 10, 25, 17, 30, tzinfo=UTC), datetime(2026, 10, 25, 17, 50, tzinfo=UTC)),
}
_SECOND, _DAY = timedelta(seconds=1), timedelta(days=1)


def day_missed(site: Site) -> str:
    """Make letters of two days, let nobody collate on the first, and have three messages at once catch up."""
    from django.utils import timezone

    from notify.clock import newest_print_day, print_deadline

    newest = newest_print_day(timezone.now())
    early, late = halves(site.keys)
    for keys, day in ((early, newest - _DAY), (late, newest)):
        made_at(site, keys, print_deadline(day) - _SECOND)
    site.house.processes.start_worker("letters", ["letters"], 3)
    for _ in range(3):
        site.house.send(_COLLATE)
    waiting = "SELECT count(*) FROM letters_letter WHERE notification_id = ANY(%s::uuid[]) AND print_file_id IS NULL"
    finished = "SELECT count(*) FROM letters_printrun WHERE day = %s AND finished_at IS NOT NULL"
    site.house.wait(
        lambda: site.house.query(finished, newest)[0][0],
        lambda: f"{site.house.query(waiting, site.keys)[0][0]:,} letters in no zip",
    )
    for _ in range(3):
        site.house.send(_COLLATE)
    site.house.pause(1)
    site.house.processes.stop(within=5)
    runs = site.house.query("SELECT count(*) FROM letters_printrun WHERE day >= %s", newest - _DAY)[0][0]
    expect("print runs of the two days", runs, 1)
    return f"{len(early):,} letters of the missed day and {len(late):,} of the next went with one run; 6 messages"


def clocks_change(site: Site) -> str:
    """Collate on both days on which the clocks change: a second before each edge, at it, and the day after."""
    from letters import print_run

    expect("letters", len(site.keys) >= 8, True)
    quarters = [site.keys[place::4] for place in range(4)]
    later = datetime(2027, 1, 1, tzinfo=UTC)
    made_at(site, site.keys, later)
    for number, (day, (closes, runs)) in enumerate(CLOCK_CHANGES.items()):
        inside, outside = quarters[2 * number : 2 * number + 2]
        made_at(site, inside, closes - _SECOND)
        made_at(site, outside, closes)
        print_run.collate(clock=lambda runs=runs: runs - _SECOND)
        expect(f"letters printed before the run of {day}", printed(site, inside), 0)
        for _ in range(2):
            print_run.collate(clock=lambda runs=runs: runs)
            expect(f"letters printed at the run of {day}", printed(site, inside + outside), len(inside))
        print_run.collate(clock=lambda runs=runs: runs + timedelta(hours=26))  # whatever the clocks did, a day later
        expect(f"letters printed a day after {day}", printed(site, inside + outside), len(inside + outside))
    return "29 March and 25 October 2026: closed at 17:30, collated at 17:50, and again a day later"


def bank_holiday(site: Site) -> str:
    """Go through the days around Monday 4 May 2026, a bank holiday, and hold each check against what it must say."""
    from notify.testing import make_provider
    from providers.models import Provider

    provider = make_provider("postal", receipts=True)
    try:
        checked = _around_the_holiday(site)
    finally:
        Provider.objects.filter(pk=provider.pk).update(receipts=False)
    return f"letters of Thursday, Friday and the holiday; {checked} answers of checks (a) to (e) as they must be"


def _around_the_holiday(site: Site) -> int:
    from letters import print_run
    from letters.models import PrintFile

    def sent(day: int, keys: list[str]) -> None:
        made_at(site, keys, at(day, "17:29"))
        print_run.collate(clock=lambda: at(day, "17:50"))
        expect(f"letters sent on {day}", printed(site, keys), len(keys))

    thirds = [site.keys[place::3] for place in range(3)]
    thursday, friday, monday = thirds
    made_at(site, site.keys, at(31, "12:00"))
    sent(0, thursday)
    sent(1, friday)
    made_at(site, monday, at(4, "17:29"))
    site.house.query("UPDATE letters_letter SET failure_seen_at = now()")  # those of earlier drills
    unscanned, failed = beside(site)
    answers = [
        ("a", at(4, "09:00"), 0), ("c", at(4, "16:30"), 0), ("c", at(2, "16:30"), 0),
        ("b", at(4, "09:00"), 0), ("b", at(5, "09:00"), 1), ("e", at(4, "09:00"), 1),
        ("a", at(5, "09:00"), len(monday)), ("c", at(5, "16:30"), len(thursday)),
        ("c", at(6, "16:30"), len(thursday) + len(friday)),
        ("d", at(1, "23:00"), PrintFile.objects.filter(letters__in=site.keys).distinct().count()),
    ]  # fmt: skip
    for check, now, wanted in answers:
        expect(f"check ({check}) at {now:%a %d %b %H:%M}", CHECKS[check](now), wanted)
    print_run.collate(clock=lambda: at(5, "17:50"))
    finish_beside(site, unscanned, failed, now=at(6, "17:00"))
    for check in CHECKS:
        expect(f"check ({check}) when all is well", CHECKS[check](at(7, "16:30")), 0)
    _no_alert()
    return len(answers) + len(CHECKS)


def at(day: int, clock: str) -> datetime:
    """Return a local time of day in May 2026; day 0 is Thursday 30 April."""
    hour, minute = map(int, clock.split(":"))
    return datetime(2026, 4, 30, hour - 1, minute, tzinfo=UTC) + timedelta(days=day)


def beside(site: Site) -> tuple[str, str]:
    """Make a letter that waits for its virus check, and one that failed; neither is to be printed."""
    from notify.testing import make_letter

    waits = make_letter(kind="precompiled", status="pending-virus-check", created_at=at(4, "08:00"))
    return str(waits.pk), str(make_letter(status="technical-failure", created_at=at(4, "08:00")).pk)


def finish_beside(site: Site, unscanned: str, failed: str, *, now: datetime) -> None:
    """Do what a person and the provider would: cancel, look, acknowledge, deliver."""
    from callbacks.outcomes import settle
    from letters.models import Letter, PrintFile
    from notify.states import Move

    settle([Move(UUID(unscanned), "cancelled")], now=now)
    Letter.objects.filter(pk=failed).update(failure_seen_at=now)
    PrintFile.objects.filter(letters__in=site.keys).update(acknowledged_at=now)
    for start in range(0, len(site.keys), 1_000):
        settle([Move(UUID(key), "delivered") for key in site.keys[start : start + 1_000]], now=now)


def _check(letter: str) -> Callable[[datetime], int]:
    """Return a check as a function of the moment that says how many it found."""

    def run(now: datetime) -> int:
        from letters import watchdogs

        if letter in "ae":
            return watchdogs.check_templated_letter_state(now=now)["found" if letter == "a" else "failed"]
        name = {"b": "check_precompiled_letter_state", "c": "check_still_sending"}
        return getattr(watchdogs, name.get(letter, "check_print_files_acknowledged"))(now=now)

    return run


CHECKS = {letter: _check(letter) for letter in "abcde"}


def _no_alert() -> None:
    from notify.models import Alert

    left = Alert.objects.open().filter(kind__startswith="letters-").values_list("kind", flat=True)
    expect("open alerts about letters", sorted(left), [])


def made_at(site: Site, keys: list[str], moment: datetime) -> None:
    """Say that these letters were made at a moment."""
    site.house.query("UPDATE notify_notification SET created_at = %s WHERE id = ANY(%s::uuid[])", moment, keys)


def printed(site: Site, keys: list[str]) -> int:
    """Count those of these letters that are in a zip."""
    sql = "SELECT count(*) FROM letters_letter WHERE print_file_id IS NOT NULL AND notification_id = ANY(%s::uuid[])"
    return site.house.query(sql, keys)[0][0]


def halves(keys: list[str]) -> tuple[list[str], list[str]]:
    """Part the letters in two."""
    return keys[::2], keys[1::2]


def expect(what: str, seen: Any, wanted: Any) -> None:
    """Raise NotAsExpected where something is not what it must be."""
    if seen != wanted:
        raise NotAsExpected(f"{what}: {seen}, and it must be {wanted}.")
