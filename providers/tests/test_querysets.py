"""Which providers may carry, and which receipts are to be read."""

from datetime import UTC, datetime, timedelta

import pytest

from notify.testing import make_provider
from providers.models import Provider, Receipt

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 29, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def make_receipts(times):
    """Make one receipt per label: {label: (due_at, applied_at)}. Returns {key: label}."""
    provider = make_provider()
    return {
        Receipt.objects.create(
            provider=provider, dedupe_key=label, body=b"x", received_at=NOW, due_at=due, applied_at=applied
        ).pk: label
        for label, (due, applied) in times.items()
    }


def test_carrying_means_active_and_of_this_channel_in_a_stable_order():
    make_provider("mmg")
    make_provider("firetext", share=0)  # its share is judged elsewhere
    make_provider("email")
    make_provider("other", active=False)
    assert [provider.identifier for provider in Provider.objects.carrying("sms")] == ["firetext", "mmg"]
    assert not Provider.objects.carrying("letter").exists()


def test_due_means_not_applied_and_not_parked_for_later_the_oldest_first():
    labels = make_receipts(
        {
            "just later": (NOW + SECOND, None),
            "exactly now": (NOW, None),
            "earlier": (NOW - SECOND, None),
            "applied": (NOW - SECOND, NOW),
        }
    )
    assert [labels[receipt.pk] for receipt in Receipt.objects.due(NOW)] == ["earlier", "exactly now"]


def test_unapplied_counts_the_parked_ones_too():
    labels = make_receipts({"parked": (NOW + SECOND, None), "due": (NOW, None), "applied": (NOW, NOW)})
    assert {labels[receipt.pk] for receipt in Receipt.objects.unapplied()} == {"parked", "due"}


def test_carrying_each_says_the_same_of_every_channel_in_one_query(django_assert_num_queries):
    make_provider("mmg")
    make_provider("firetext", share=0)
    make_provider("other", active=False)
    with django_assert_num_queries(1):
        found = Provider.objects.carrying_each(["sms", "email"])
    assert found == {kind: list(Provider.objects.carrying(kind)) for kind in ("sms", "email")}
    assert [provider.identifier for provider in found["sms"]] == ["firetext", "mmg"]
