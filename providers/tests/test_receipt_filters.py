"""The list of receipts by outcome and by what was reported: each choice, and over which index it is found."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from django.db import connection

from notify.testing import make_notification, make_provider
from providers.backends import firetext, mmg, postal
from providers.esp import _FINAL
from providers.models import Receipt
from providers.receipt_filters import REPORTED, UNREAD

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 29, 0, 59, tzinfo=UTC)
LIST = "/admin/providers/receipt/"
ROWS = {  # label: outcome, reported, whether it is done with
    "new": ("", "", False), "parked": ("waiting", "delivered", False), "poison": ("unreadable", "", False),
    "counts": ("applied", "delivered", True), "failed": ("applied", "permanent-failure", True),
    "noted": ("applied", "noted", True), "array": ("split", "", True), "code": ("unknown-code", "", True),
    "nobody": ("no-such-message", "pending", True), "empty": ("RECEIPT_EMPTY", "", True),
}  # fmt: skip


@pytest.fixture
def rows():
    """One receipt of each kind; returns {label: key}."""
    provider, message = make_provider(), make_notification()
    same = {"provider": provider, "body": b"x", "notification_id": message.pk}
    return {
        label: Receipt.objects.create(
            dedupe_key=label, outcome=outcome, reported=reported, applied_at=NOW if done else None, **same
        ).pk
        for label, (outcome, reported, done) in ROWS.items()
    }


def listed(client, rows, **chosen):
    answer = client.get(LIST, chosen)
    assert answer.status_code == 200
    found = set(answer.context["cl"].queryset.values_list("pk", flat=True))
    return {label for label, key in rows.items() if key in found}


@pytest.mark.parametrize("label", list(ROWS))
def test_each_outcome_lists_its_own(label, rows, admin_client):
    outcome, _, _ = ROWS[label]
    same = {name for name, (other, _, _) in ROWS.items() if other == outcome}
    assert listed(admin_client, rows, outcome=outcome or UNREAD) == same


def test_each_report_lists_its_own_and_both_filters_narrow_together(rows, admin_client):
    assert listed(admin_client, rows, reported="delivered") == {"parked", "counts"}
    assert listed(admin_client, rows, reported="noted") == {"noted"}
    assert listed(admin_client, rows, reported="delivered", outcome="applied") == {"counts"}
    assert listed(admin_client, rows) == set(ROWS)


def test_what_is_offered_is_what_backends_report():
    tables = [*mmg.STATUSES.values(), *firetext.STATUSES.values(), *postal.STATUSES.values(), *_FINAL.values()]
    assert set(tables) <= set(REPORTED)


@pytest.mark.parametrize(
    ("found", "index"),
    [
        (Receipt.objects.ended_as("RECEIPT_EMPTY"), "receipt_in_vain"),
        (Receipt.objects.ended_as("split"), "receipt_in_vain"),
        (Receipt.objects.ended_as("waiting"), "receipt_due"),
        (Receipt.objects.filter(reported="complaint"), "receipt_reported"),
        (Receipt.objects.with_unknown_code(), "receipt_with_unknown_code"),  # may its alert close?
    ],
)
def test_what_is_rarely_met_is_found_over_an_index(found, index):
    provider = make_provider()
    Receipt.objects.bulk_create(
        Receipt(provider=provider, dedupe_key=str(number), body=b"x", outcome="applied", reported="delivered",
                applied_at=NOW, notification_id=uuid4()) for number in range(3_000)
    )  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE providers_receipt")
        for rows in (found.all().order_by("-id")[:50], found.all().order_by()[:10_000]):
            assert index in rows.explain()
