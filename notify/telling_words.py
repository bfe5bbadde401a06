"""What an alert says when it leaves: subject, plain text, simple HTML, and the text for a webhook.

Everything comes from the row: what was seen, since when (local time), how often, who is affected and what to do.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.template.loader import render_to_string
from django.urls import reverse

from notify.clock import zone
from notify.models import Alert
from notify.runbook import entry

SUBJECT_LIMIT = 150  # characters: longer ones are folded or cut by mail programs
WEBHOOK_LIMIT = 3_000  # characters of the message: Slack cuts a text off at 4,000


@dataclass(frozen=True, slots=True)
class Words:
    """One alert as it is told. key: the alert's, by which a repeat can be recognised."""

    key: UUID
    subject: str
    plain: str
    html: str
    webhook: str


def words_of(alert: Alert) -> Words:
    """Write an alert for every channel."""
    lines = _lines(alert)
    title = f"{alert.kind}: {_one_line(alert.scope)}"
    advice, links = entry(alert.kind), _links(alert)
    context = {"title": title, "message": alert.message, "lines": lines, "links": links, "advice": advice}
    plain = [title, "", alert.message, "", *(f"{name}: {text}" for name, text in lines), ""]
    plain += [advice, ""] if advice else []
    plain += [f"{name}: {address}" for name, address in links]
    return Words(
        key=alert.pk,
        subject=_one_line(f"[Notify {settings.NOTIFY_ENVIRONMENT}] {title}")[:SUBJECT_LIMIT],
        plain="\n".join(plain) + "\n",
        html=render_to_string("notify/alert_email.html", context),
        webhook=_webhook(alert, title, lines),
    )


def admin_address(alert: Alert) -> str:
    """Return where an alert's page is, from outside."""
    return settings.BASE_URL.rstrip("/") + reverse("admin:notify_alert_change", args=[alert.pk])


def in_local_time(moment: datetime) -> str:
    """Write a moment as `24 Nov 2026, 09:30 GMT`."""
    return f"{moment.astimezone(zone()):%-d %b %Y, %H:%M %Z}"


def _lines(alert: Alert) -> list[tuple[str, str]]:
    often = "once" if alert.times_seen == 1 else f"{alert.times_seen:,} times, last on "
    last = "" if alert.times_seen == 1 else in_local_time(alert.last_seen_at)
    return [
        ("Affected", alert.scope),
        ("Since", in_local_time(alert.first_seen_at)),
        ("Seen", often + last),
        ("What to do", f"README.md#{alert.kind} (“Runbook: what an alert asks of you”)"),
    ]


def _links(alert: Alert) -> list[tuple[str, str]]:
    base = settings.BASE_URL.rstrip("/")
    same = reverse("admin:notify_alert_changelist", query={"kind": alert.kind})
    return [("This alert", admin_address(alert)), ("All open alerts of this kind", base + same)]


def _webhook(alert: Alert, title: str, lines: list[tuple[str, str]]) -> str:
    """Write it with Slack's escapes. An @ is kept from calling a whole channel where a receiver would let it."""
    message = alert.message
    if len(message) > WEBHOOK_LIMIT:
        message = message[:WEBHOOK_LIMIT] + "…"
    words = [f"*{title}* ({settings.NOTIFY_ENVIRONMENT})", message, *(f"{name}: {text}" for name, text in lines)]
    text = "\n".join(words).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("@", "@\u200b")
    return "\n".join([text, *(f"{name}: {address}" for name, address in _links(alert))])


def _one_line(text: str) -> str:
    """Put control characters and runs of blanks into one blank each: a subject with a newline is no subject."""
    return re.sub(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", text).strip()
