"""What is known of a held message: the tries, what was reported, what people decided, and where else to look."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType

from notify.models import Notification
from providers.models import Provider, Receipt

SHOWN = 50  # receipts and decisions, the newest


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a message, at a moment (UTC)."""

    at: datetime
    what: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a person has to go by.

    tries: a sentence. provider, others: where to search, the one that carried the last try first. since, until: when
    the tries of unknown outcome may have reached it (UTC). events: oldest first. ends_at: when the nightly time-out
    may end it undecided (UTC).
    """

    tries: str
    provider: str
    others: Sequence[str]
    since: datetime
    until: datetime | None
    receipts: int
    events: Sequence[Event]
    ends_at: datetime


def evidence_of(message: Notification) -> Evidence:
    """Gather what is stored about a message."""
    names = {row.identifier: str(row) for row in Provider.objects.filter(notification_type=message.notification_type)
             .defer("config")}  # fmt: skip
    receipts = list(Receipt.objects.filter(notification_id=message.pk).select_related("provider").defer("body")
                    .order_by("-received_at")[:SHOWN])  # fmt: skip
    decisions = _decisions(message)
    provider = names.get(message.provider_name, message.provider_name or "no provider")
    return Evidence(
        tries=tries(message),
        provider=provider,
        others=sorted(name for key, name in names.items() if key != message.provider_name),
        # After a decision the earlier tries count too, and only the last ones have their moment on the row.
        since=message.created_at if decisions else message.first_attempt_at or message.created_at,
        until=message.updated_at,
        receipts=len(receipts),
        events=sorted(
            [*_steps(message, provider, decisions), *map(_reported, receipts), *decisions], key=lambda event: event.at
        ),
        ends_at=message.created_at + settings.NOTIFICATION_TIMED_OUT_AFTER,
    )


def tries(message: Notification) -> str:
    """Say how many tries there were and how many of them ended without an answer."""
    unknown, all_tries = message.unknown_outcomes, message.attempts
    others = all_tries - unknown
    text = f"{all_tries} {'try' if all_tries == 1 else 'tries'}, {unknown} of unknown outcome"
    if others > 0:
        text += f"; at the other{'s' if others > 1 else ''} the provider said that it did not take the message"
    return text


def _steps(message: Notification, provider: str, decisions: Sequence[Event]) -> list[Event]:
    found = [Event(message.created_at, "The message was made.")]
    if message.first_attempt_at:  # of the tries since a person last decided
        what = "It was given to a provider again." if decisions else "It was first given to a provider."
        found.append(Event(message.first_attempt_at, what))
    if message.updated_at:
        found.append(Event(message.updated_at, f"The last try, at {provider}, ended without an answer; held since."))
    return found


def _reported(receipt: Receipt) -> Event:
    code = f", code {receipt.code}" if receipt.code else ""
    outcome = receipt.outcome or "not applied yet"
    return Event(receipt.received_at, f"{receipt.provider} reported {receipt.reported or 'nothing known'}{code} "
                                      f"(receipt: {outcome}).")  # fmt: skip


def _decisions(message: Notification) -> list[Event]:
    kept = LogEntry.objects.filter(
        content_type=ContentType.objects.get_for_model(Notification), object_id=str(message.pk)
    )
    entries = kept.select_related("user").order_by("-action_time")[:SHOWN]
    return [Event(entry.action_time, f"{entry.user}: {entry.get_change_message()}") for entry in entries]
