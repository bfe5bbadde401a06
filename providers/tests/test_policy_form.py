"""A switch policy is stored only where the rule makes sense with it."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction

from providers.models import SwitchPolicy

pytestmark = pytest.mark.django_db
ADD = "/admin/providers/switchpolicy/add/"
GOOD = {
    "notification_type": "sms", "window": "0:10:00", "slow_after": "0:04:00", "threshold": "0.2", "step": "100",
    "settle_for": "0:10:00", "minimum_sample": "10",
}  # fmt: skip


def errors(client, **fields):
    """Send the form; return its errors by field, {} when it was stored."""
    answer = client.post(ADD, GOOD | fields)
    found = {} if answer.status_code == 302 else dict(answer.context["adminform"].form.errors)
    assert SwitchPolicy.objects.exists() is not bool(found)
    return found


@pytest.mark.parametrize("threshold", ["0.2", "1", "0.0001"])
def test_a_threshold_above_nothing_and_at_most_everything_is_stored(admin_client, threshold):
    assert errors(admin_client, threshold=threshold) == {}
    assert SwitchPolicy.objects.get().threshold == float(threshold)


@pytest.mark.parametrize("threshold", ["0", "1.5", "-0.2", "NaN", "inf", "1e-400", "10%", "a fifth"])
def test_any_other_threshold_is_refused_with_its_range(admin_client, threshold):
    found = errors(admin_client, threshold=threshold)
    assert list(found) == ["threshold"]
    assert found["threshold"][0].startswith("THRESHOLD_RANGE: Write a number above 0 and up to 1")


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"window": "0:03:59"}, "window"),
        ({"window": "24:00:01"}, "window"),
        ({"slow_after": "0:00:00"}, "slow_after"),
        ({"slow_after": "-0:04:00"}, "slow_after"),
        ({"settle_for": "-0:00:01"}, "settle_for"),
        ({"settle_for": "24:00:01"}, "settle_for"),
        ({"settle_for": "999999 00:00:00"}, "settle_for"),  # no date lies so far back: the rule could not reckon
        ({"step": "0"}, "step"),
        ({"step": "101"}, "step"),
        ({"minimum_sample": "0"}, "minimum_sample"),
        ({"minimum_sample": "-1"}, "minimum_sample"),
        ({"window": "soon"}, "window"),
    ],
)
def test_what_is_out_of_range_is_refused_at_its_field(admin_client, fields, where):
    assert list(errors(admin_client, **fields)) == [where]


@pytest.mark.parametrize(
    "fields",
    [
        {"window": "0:04:00"},
        {"window": "24:00:00"},
        {"slow_after": "0:00:01"},
        {"settle_for": "0:00:00"},
        {"settle_for": "24:00:00"},
        {"step": "1"},
        {"minimum_sample": "1"},
    ],
)
def test_each_limit_itself_is_accepted(admin_client, fields):
    assert errors(admin_client, **fields) == {}


@pytest.mark.parametrize(
    "fields", [{"window": timedelta(minutes=3)}, {"step": 0}, {"step": 101}, {"threshold": 0}, {"threshold": 1.1}]
)
def test_the_database_repeats_the_ranges(fields):
    with pytest.raises(IntegrityError), transaction.atomic():
        SwitchPolicy.objects.create(notification_type="sms", **fields)
