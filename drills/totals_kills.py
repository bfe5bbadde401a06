"""Backfill and retention killed at every step, then run again: the end is the same as if nothing had happened."""

import io
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from drills.house import House, NotAsExpected
from drills.totals_made import CHANNELS, compare, counted, local_date, messages, stored
from drills.totals_steps import Beginning, killed_at

BATCH = 3  # messages per transaction, so that there are many steps to be killed at
STEPS_LIMIT = 2_000  # more is a drill that does not end
FINAL = ("delivered", "sent", "permanent-failure", "cancelled")
OPEN = ("created", "sending", "pending")


def backfill(house: House, chance: random.Random, *, every: int) -> str:
    """Kill a backfill of four days before each of its steps; the repeated one gives exactly the right totals.

    Of one day a total is stored that retention may have touched: it stays as it is, however often that day is counted.
    """
    from django.core.management import call_command
    from django.utils import timezone

    from notify.models import DailyTotal
    from notify.testing import make_notification, make_service

    now = timezone.now()
    days = [local_date(now) - timedelta(days=age) for age in (9, 8, 7, 6)]
    for service in (make_service(), make_service()):
        for day in days:
            for _ in range(6):
                kind = chance.choice(CHANNELS)
                moment = _within(day, chance)
                make_notification(
                    service=service, notification_type=kind, created_at=moment, status=chance.choice(FINAL + OPEN),
                    sent_at=moment + timedelta(seconds=chance.choice((1, 10, 11))),
                )  # fmt: skip
    right = counted(messages())
    touched = next(key for key in right if key[0] == days[0])
    DailyTotal.objects.create(day=days[0], service_id=touched[1], notification_type=touched[2], counts={"sent": 99})
    right[touched] = {"sent": 99, "quick": 0}
    run = _quietly(lambda out: call_command("backfill_performance_platform_totals", *map(str, (days[0], days[-1])),
                                            stdout=out, stderr=out))  # fmt: skip
    beginning = Beginning(house)

    def judge(step: int) -> None:
        compare(f"Totals after a kill at step {step} and a second run", stored(), right)

    return f"{_at_every_step(house, beginning, run, judge, every)} kills, each followed by a second backfill"


def counting(house: House, chance: random.Random, *, every: int) -> str:
    """Kill the first count of months, which takes a turn for each day, before each of its steps; the next is right."""
    from django.conf import settings
    from django.utils import timezone

    from notify import totals
    from notify.testing import make_notification, make_template

    now = timezone.now()
    templates = [make_template() for _ in range(2)]
    for age in (80, 40, 9, 8, 1):
        for _ in range(6):
            moment = _within(local_date(now) - timedelta(days=age), chance)
            status = chance.choice(FINAL + OPEN)
            make_notification(template=chance.choice(templates), created_at=moment, sent_at=moment, status=status)
    right = counted(messages())
    beginning = Beginning(house)

    def run() -> None:
        after = totals.store_due(now=now)[1]
        while after:
            after = totals.store_due(now=now, after=after)[1]

    def judge_kill(step: int) -> None:
        found = stored()
        compare(f"Totals at a kill at step {step}", found, {key: right[key] for key in found})

    def judge(step: int) -> None:
        compare(f"Totals after a kill at step {step} and a second run", stored(), right)

    as_set, settings.LOOP_FOR = settings.LOOP_FOR, timedelta(0)
    try:
        kills = _at_every_step(house, beginning, run, judge, every, judge_kill)
    finally:
        settings.LOOP_FOR = as_set
    return f"{kills} kills in turns of a day each, followed by a run from the start"


def retention(house: House, chance: random.Random, *, every: int) -> str:
    """Kill the deletion before each of its steps, and after each file; the next run leaves exactly what should be left.

    Messages, letters, PDFs and receipts; totals count what was there before, also in the moment of the kill.
    """
    from django.utils import timezone

    from notify import deletion

    deletion.BATCH = BATCH
    now = timezone.now()
    _fill_for_retention(chance, now)
    right, before = _right_after_retention(now), counted(messages())
    beginning = Beginning(house)

    def run() -> None:
        deletion.delete_past_retention(now=now)

    def judge_kill(step: int) -> None:
        kept = counted(messages())
        thinned = {key: counts for key, counts in before.items() if kept.get(key) != counts}
        found = stored()
        compare(f"Totals at a kill at step {step}", {key: found.get(key) for key in thinned}, thinned)

    def judge(step: int) -> None:
        for what, found, wanted in zip(("Messages", "Letters", "PDFs", "Receipts"), _left(house), right, strict=True):
            compare(f"{what} after a kill at step {step} and a second run", found, wanted)
        judge_kill(step)

    kills = _at_every_step(house, beginning, run, judge, every, judge_kill)
    return f"{kills} kills, each followed by a second run; {len(right[0])} messages stay"


def _at_every_step(
    house: House,
    beginning: Beginning,
    run: Callable[[], Any],
    judge: Callable[[int], None],
    every: int,
    judge_kill: Callable[[int], None] = lambda step: None,
) -> int:
    """Kill at step 1, 2, 3 … of the same work, run it again and judge, until it ends unkilled. Returns the kills."""
    for kills, step in enumerate(range(1, STEPS_LIMIT, every)):
        beginning.again()
        if not killed_at(house, step, run):
            judge(step)
            if not kills:
                raise NotAsExpected("The work ended before it could be killed.")
            return kills
        judge_kill(step)
        run()
        judge(step)
    raise NotAsExpected(f"The work has more than {STEPS_LIMIT} steps.")


def _fill_for_retention(chance: random.Random, now: Any) -> None:
    """Make messages of every kind on both sides of the edge: of a job, archived or not, and of none."""
    from notify.models import DataRetention
    from notify.testing import make_job, make_letter, make_notification, make_provider, make_service, make_template
    from providers.models import Receipt

    service, provider = make_service(), make_provider()
    DataRetention.objects.create(service=service, notification_type="email", days=3)
    templates = {kind: make_template(service, kind) for kind in CHANNELS}
    jobs = {kind: [make_job(rows=1, template=templates[kind], archived=archived) for archived in (True, False)]
            for kind in CHANNELS}  # fmt: skip
    for age in (2, 3, 4, 7, 8, 9, 9, 9):
        for kind in CHANNELS:
            moment = _within(local_date(now) - timedelta(days=age), chance)
            fields = {"created_at": moment, "sent_at": moment, "template": templates[kind]}
            fields |= {"job": chance.choice([None, *jobs[kind]]), "status": chance.choice((*FINAL, *FINAL, *OPEN))}
            made = make_letter(**fields).notification if kind == "letter" else make_notification(**fields)
            Receipt.objects.create(provider=provider, dedupe_key=str(made.pk), body=b"", notification_id=made.pk)


def _right_after_retention(now: Any) -> tuple[set[str], ...]:
    """Work out which messages, letters, PDFs and receipts stay."""
    today = local_date(now)
    kept = {"sms": 7, "email": 3, "letter": 7}
    stay = {
        str(one["pk"]): one["notification_type"]
        for one in messages()
        if one["status"] in OPEN
        or one["job__archived"] is False
        or local_date(one["created_at"]) >= today - timedelta(days=kept[one["notification_type"]])
    }
    letters = {key for key, kind in stay.items() if kind == "letter"}
    return set(stay), letters, letters, set(stay)


def _left(house: House) -> tuple[set[str], ...]:
    found = [
        {str(row[0]) for row in house.query(f"SELECT {column} FROM {table}")}
        for column, table in (
            ("id", "notify_notification"), ("notification_id", "letters_letter"),
            ("notification_id", "providers_receipt"),
        )
    ]  # fmt: skip
    files = {path.stem for path in (house.var / "letters-pdf").rglob("*.pdf")}
    return found[0], found[1], files, found[2]


def _within(day: Any, chance: random.Random) -> Any:
    """Return a moment of a local day, often its very first or last."""
    from notify.clock import local_day

    start, end = local_day(day)
    return chance.choice([start, end - timedelta(microseconds=1), start + (end - start) * chance.random()])


def _quietly(run: Callable[[io.StringIO], Any]) -> Callable[[], None]:
    """Return the call with what it prints thrown away."""

    def call() -> None:
        run(io.StringIO())

    return call
