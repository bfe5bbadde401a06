"""The alert about callbacks that were given up closes by itself."""

from datetime import UTC, datetime, timedelta

import pytest

from callbacks import delivery, retention
from callbacks.models import Callback
from notify.models import Alert

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)


def give_up(rows):
    Callback.objects.filter(pk__in=[row.pk for row in rows]).update(attempts=9)
    work = delivery.Delivery()
    work.finish([(item, delivery.client.Answer(500)) for item in work.claim(100, NOW)], NOW)


def open_scopes():
    return sorted(Alert.objects.open().filter(kind="callback-exhausted").values_list("scope", flat=True))


def test_it_stays_while_one_is_left_and_closes_when_the_last_is_sent_again(waiting):
    rows = [*waiting(count=2, at=NOW), *waiting(at=NOW)]
    give_up(rows)
    scopes = sorted({f"endpoint {row.endpoint_id}" for row in rows})
    delivery.close_exhausted(now=NOW)
    assert open_scopes() == scopes
    *others, last = rows
    for row in others:
        Callback.objects.filter(pk=row.pk).move_to(Callback.Status.PENDING, now=NOW)
        delivery.close_exhausted(now=NOW)
        assert f"endpoint {last.endpoint_id}" in open_scopes()
    Callback.objects.filter(pk=last.pk).move_to(Callback.Status.PENDING, now=NOW)
    delivery.close_exhausted(now=NOW)
    assert open_scopes() == []


def test_it_closes_when_retention_has_taken_the_callbacks(waiting):
    give_up(waiting(at=NOW))
    later = NOW + retention.KEPT_FOR + timedelta(days=1)
    while retention.run([], now=later, kind="callbacks"):
        pass
    delivery.close_exhausted(now=later)
    assert open_scopes() == []
