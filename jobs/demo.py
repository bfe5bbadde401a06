"""A demonstration: what it needs in the database, and the judgement whether every row is accounted for."""

import base64
import json
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractUser
from django.db.models import Count

from callbacks.models import Callback, Endpoint
from jobs.models import Job
from jobs.progress import progress_of
from jobs.recipients_file import FIRST_ROW
from notify import floors
from notify.crypto import Unreadable
from notify.models import Notification, NotificationType, Service, Template
from providers.models import Provider

SERVICE = "Demo: Anytown Council"
USER = "demo"
PROVIDERS = {
    "mmg": ("MMG (simulated)", Provider.Backend.MMG),
    "firetext": ("Firetext (simulated)", Provider.Backend.FIRETEXT),
}
API_KEY = "demo"  # tells providers that the demo made from real ones
SIMULATOR_LOGIN = {"receipt_user": "simulator", "receipt_passwords": ["simulator"]}
SAMPLE = settings.BASE_DIR / "samples" / "appointments_sms.csv"
GOOD_ROWS, BAD_ROWS = 5_000, 8  # of SAMPLE; source: samples/README.md
TEMPLATES = {  # the templates of samples/README.md
    NotificationType.SMS: (
        "Appointment",
        "",
        "((name)), your appointment is on ((date)) at ((place)). Ref ((reference))",
    ),
    NotificationType.EMAIL: (
        "Licence renewal",
        "Licence ((licence number)) expires on ((expires on))",
        "Dear ((first name)),\n\nyour licence ((licence number)) expires on ((expires on)). Please renew it in time.",
    ),
    NotificationType.LETTER: (
        "Payment due",
        "Your payment is due",
        "Dear ((name)), you owe ((amount)) by ((due date)).",
    ),
}
# Outcomes in the simulator's ledger in which it has the message.
_TAKEN = ("accepted", "cut", "hung", "dripped", "garbled")


class DemoRefused(Exception):
    """The demo must not touch this installation; the text says why and what to do."""


@dataclass(frozen=True)
class Stage:
    """What a demonstration works with. password: the user's, made for this run."""

    template: Template
    user: AbstractUser
    password: str


@dataclass(frozen=True)
class Standing:
    """How far a demonstration is: the job's messages by status, their callbacks by status."""

    rows: int
    messages: Counter[str]
    callbacks: Counter[str]

    @property
    def settled(self) -> bool:
        """Whether every row has a message, every message its end, and every message's end was told."""
        final = sum(count for status, count in self.messages.items() if status in Notification.FINAL)
        told = sum(count for status, count in self.callbacks.items() if status in Callback.FINAL)
        return final == self.rows and told >= self.rows

    @property
    def begun(self) -> int:
        """Messages of which a provider, or we, have said something."""
        return self.messages.total() - self.messages[Notification.Status.CREATED]


@dataclass(frozen=True)
class Finding:
    """One thing that was checked at the end."""

    holds: bool
    text: str


def refuse_real_installation() -> None:
    """Raise DemoRefused where people depend on what is stored."""
    if settings.PRODUCTION:
        raise DemoRefused("The demo does not run where NOTIFY_ENVIRONMENT is live or production.")
    remedy = "Run the demo with another database: leave DATABASE_URL unset for an embedded one."
    for provider in Provider.objects.filter(identifier__in=PROVIDERS):
        try:
            ours = provider.config.get("api_key") == API_KEY
        except Unreadable as error:
            raise DemoRefused(
                f"The configuration of provider {provider.identifier} in this database cannot be opened: {error} "
                f"Put the key back that it was stored with, or remove the provider if the demo made it. {remedy}"
            ) from error
        if not ours:
            raise DemoRefused(
                f"This database has a provider {provider.identifier} that the demo did not make. {remedy}"
            )


def prepare(simulator: str, *, now: datetime) -> Stage:
    """Make what is not there yet: service, templates, providers, endpoint, user; point it all at the simulator.

    simulator: its host:port. now: aware UTC. Twice is harmless; the user's password is new each time.
    """
    templates = make_templates()
    _make_providers(simulator, now=now)
    _make_endpoint(templates[NotificationType.SMS].service, simulator)
    user, _ = get_user_model().objects.get_or_create(username=USER)
    password = secrets.token_urlsafe(12)
    user.is_staff = user.is_superuser = user.is_active = True
    user.set_password(password)
    user.save()
    return Stage(templates[NotificationType.SMS], user, password)


def make_templates() -> dict[str, Template]:
    """Make the demo's service and its templates, one for each channel, where they are not there yet."""
    limits = {"sms_daily_limit": 1_000_000, "letter_daily_limit": 1_000_000}
    service, _ = Service.objects.get_or_create(name=SERVICE, defaults=limits)
    templates = {}
    for kind, (name, subject, content) in TEMPLATES.items():
        words = {"subject": subject, "content": content}
        words["postage"] = Template.Postage.SECOND if kind == NotificationType.LETTER else ""
        templates[kind], _ = Template.objects.get_or_create(
            service=service, name=name, notification_type=kind, defaults=words
        )
    return templates


def standing(job: Job) -> Standing:
    """Count a job's messages and callbacks by status."""
    told = Callback.objects.filter(notification_id__in=job.notifications.values("pk"))
    callbacks = told.order_by().values_list("status").annotate(Count("pk"))
    return Standing(job.notification_count, Counter(progress_of(job).counts), Counter(dict(callbacks)))


def read_ledger(path: Path, channel: str = "sms") -> Counter[str]:
    """Return how often the simulator took each id: messages it accepted, or callbacks it answered with success."""
    taken = (*_TAKEN, "delivered") if channel == "callback" else _TAKEN
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    entries = (json.loads(line) for line in lines)
    return Counter(entry["id"] for entry in entries if entry["channel"] == channel and entry["outcome"] in taken)


def refused_rows(job: Job) -> list[tuple[int, str]]:
    """Return each row that could not be sent: its number as people count (the header is row 1), and the reason code."""
    refused = job.notifications.filter(status=Notification.Status.VALIDATION_FAILED).order_by("job_row_number")
    found = refused.values_list("job_row_number", "status_reason")
    return [
        (number + FIRST_ROW, reason.split(maxsplit=1)[0].rstrip(":") if reason else "no reason")
        for number, reason in found
    ]


def judge(job: Job, ledger: Path, *, now: datetime, doubled_allowed: int = 0) -> list[Finding]:
    """Hold a finished demonstration against what its sample file must give.

    doubled_allowed: messages that a killed worker may have had on the wire, whose outcome nobody knows; each may have
    reached the provider twice.
    """
    seen = standing(job)
    delivered, invalid = Notification.Status.DELIVERED, Notification.Status.VALIDATION_FAILED
    others = seen.messages.total() - seen.messages[delivered] - seen.messages[invalid]
    told = seen.callbacks[Callback.Status.DELIVERED]
    return [
        Finding(job.status == Job.Status.COMPLETE, f"the job is “{job.status}”"),
        Finding(
            (seen.messages[delivered], seen.messages[invalid], others) == (GOOD_ROWS, BAD_ROWS, 0),
            f"{seen.messages[delivered]:,} delivered, {seen.messages[invalid]:,} validation-failed, {others:,} other",
        ),
        _judge_ledger(job, read_ledger(ledger), doubled_allowed),
        Finding(
            told == seen.rows == seen.callbacks.total(),
            f"{told:,} of {seen.rows:,} callbacks delivered",
        ),
        *judge_invariants(now=now),
    ]


def _judge_ledger(job: Job, taken: Counter[str], doubled_allowed: int) -> Finding:
    sent = job.notifications.exclude(status=Notification.Status.VALIDATION_FAILED)
    keys = {str(key) for key in sent.values_list("pk", flat=True)}
    missing = sum(1 for key in keys if not taken[key])
    doubled = sum(1 for key in keys if taken[key] > 1)
    text = f"the providers took {len(keys) - missing:,} messages, {doubled:,} of them more than once"
    if doubled_allowed:
        text += f" (up to {doubled_allowed:,} were on the wire when their worker was killed)"
    return Finding(not missing and doubled <= doubled_allowed, text)


def judge_invariants(*, now: datetime) -> Sequence[Finding]:
    """Say whether everything that must always hold does, or what does not."""
    broken = [sentence for answer in floors.ask("invariants", now=now).values() for sentence in answer]
    return [Finding(False, sentence) for sentence in broken] or [Finding(True, "all invariants hold")]


def _make_providers(simulator: str, *, now: datetime) -> None:
    for identifier, (name, backend) in PROVIDERS.items():
        config = {"url": f"http://{simulator}/{identifier}/", "api_key": API_KEY, **SIMULATOR_LOGIN}
        fields = {"display_name": name, "notification_type": NotificationType.SMS, "backend": backend}
        provider, _ = Provider.objects.get_or_create(identifier=identifier, defaults=fields | {"config": config})
        if provider.config != config:
            provider.config, provider.updated_at = config, now
            provider.save(update_fields=["config", "updated_at"])


def _make_endpoint(service: Service, simulator: str) -> None:
    url = f"http://{simulator}/callbacks/"
    secret = f"whsec_{base64.b64encode(secrets.token_bytes(24)).decode()}"  # as Standard Webhooks write it
    defaults = {"url": url, "bearer_token": secrets.token_urlsafe(24), "signing_secrets": [secret]}
    endpoint, _ = Endpoint.objects.get_or_create(service=service, active=True, defaults=defaults)
    if endpoint.url != url:
        endpoint.url = url
        endpoint.save(update_fields=["url"])
