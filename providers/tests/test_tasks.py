"""The tasks around sending and receipts."""

import json
from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from callbacks.tasks import deliver_due_callbacks
from notify.loops import InTransaction
from notify.testing import make_notification, make_provider
from providers import receipts, tasks
from providers.models import Receipt

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("impatient")]


def store_receipt():
    message = make_notification(status="sending", provider_name="mmg", sent_at=timezone.now())
    body = json.dumps({"CID": str(message.pk), "status": "3", "substatus": "5"}).encode()
    receipts.store(receipts.Provider.objects.get(), body, "", now=timezone.now())
    return message


def test_apply_receipts_applies_all_that_is_due_in_batches_and_wakes_the_callbacks(
    monkeypatch, django_capture_on_commit_callbacks
):
    make_provider()
    messages = [store_receipt() for _ in range(5)]
    monkeypatch.setattr(receipts.apply_batch, "__kwdefaults__", {"limit": 2})
    with django_capture_on_commit_callbacks() as woken:
        assert tasks.apply_receipts() == {"applied": 5}
    for message in messages:
        message.refresh_from_db()
        assert message.status == "delivered"
    assert {callback.func.__self__.name for callback in woken} == {deliver_due_callbacks.name}


def test_with_nothing_to_apply_nobody_is_woken(django_capture_on_commit_callbacks):
    make_provider()
    store_receipt()
    Receipt.objects.update(due_at=timezone.now() + timedelta(minutes=1))
    with django_capture_on_commit_callbacks() as woken:
        assert tasks.apply_receipts() == {"applied": 0}
    assert woken == []


def test_with_nothing_to_send_nothing_is_sent():
    make_provider()
    make_notification(due_at=None)
    assert tasks.send_due_notifications() == {"sent": 0}


@pytest.mark.parametrize("task", [tasks.apply_receipts, tasks.send_due_notifications])
def test_a_loop_refuses_to_run_inside_a_transaction(task):
    with transaction.atomic(), pytest.raises(InTransaction):
        task()
