"""What the overview says of letters."""

from datetime import UTC, datetime

from django.urls import reverse

from letters.forecast import forecast
from notify.clock import zone
from notify.panels import Fact


def run() -> list[Fact]:
    """Count what goes with the next print run as things stand, and what does not."""
    seen = forecast(now=datetime.now(UTC))
    page = reverse("admin:letters_printrun_changelist")
    when = f"{seen.day.day} {seen.day:%b}, {seen.deadline.astimezone(zone()):%H:%M}"
    letters = "letter" if seen.goes == 1 else "letters"
    facts = [Fact(seen.goes, f"{letters} ready for {when}", page, "busy", "letters.view_printrun")]
    if seen.packed:
        letters = "letter" if seen.packed.count == 1 else "letters"
        words = f"{letters} in zips not handed over yet"
        facts.append(Fact(seen.packed.count, words, page, "busy", "letters.view_printrun"))
    if seen.overdue:
        letters = "letter" if seen.overdue.count == 1 else "letters"
        run = "the unfinished run of" if len(seen.unfinished) == 1 else "unfinished runs since"
        words = f"{letters} of {run} {seen.unfinished[0]:%d %b}"
        facts.append(Fact(seen.overdue.count, words, page, "bad", "letters.view_printrun"))
    if seen.left:
        letters = "letter" if seen.left == 1 else "letters"
        facts.append(Fact(seen.left, f"{letters} not ready for it", page, "bad", "letters.view_printrun"))
    return facts
