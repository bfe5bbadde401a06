"""Delivering: the whole loop against a receiver on localhost."""

import json
import logging
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone
from standardwebhooks.webhooks import Webhook

from callbacks import delivery
from callbacks.forms import EndpointForm
from callbacks.models import Callback, Endpoint
from callbacks.outcomes import settle
from callbacks.payloads import body
from callbacks.tasks import deliver_due_callbacks
from notify import testing
from notify.models import Notification
from notify.states import Move

SECOND = timedelta(seconds=1)
OLD, NEW = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


def again(callback: Callback) -> Callback:
    callback.refresh_from_db()
    return callback


@pytest.mark.parametrize("path", ["200", "204", "299"])
def test_an_answer_of_2xx_is_delivered(receiver, waiting, path):
    (callback,) = waiting(path)
    started = timezone.now()
    assert deliver_due_callbacks() == {"handled": 1}
    again(callback)
    assert (callback.status, callback.attempts, callback.claimed_at) == ("delivered", 1, None)
    assert (callback.last_status_code, callback.last_error) == (int(path), "")
    assert started <= callback.delivered_at <= timezone.now()
    (request,) = receiver.received
    assert json.loads(request.body) == body(Notification.objects.get(pk=callback.notification_id))
    assert request.headers["Authorization"] == "Bearer token-token"
    assert request.headers["webhook-id"] == str(callback.pk)


def test_nothing_due_does_nothing(receiver, hasty, db):
    assert deliver_due_callbacks() == {"handled": 0}
    assert receiver.received == []


def test_what_was_delivered_is_not_sent_again(receiver, waiting):
    waiting()
    deliver_due_callbacks()
    assert deliver_due_callbacks() == {"handled": 0}
    assert len(receiver.received) == 1


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("500", 500, ""),
        ("400", 400, ""),
        ("404", 404, ""),
        ("429", 429, ""),
        ("moved", 302, ""),
        ("cut", None, "ServerDisconnectedError"),
        ("hang", None, "TimeoutError"),
    ],
)
def test_anything_else_is_tried_again_after_five_seconds(receiver, waiting, path, status, error):
    receiver.answers["moved"] = {"status": 302, "headers": {"Location": receiver.url("200")}}
    (callback,) = waiting(path)
    began = timezone.now()
    assert delivery.deliver_due() == 1
    ended = timezone.now()
    again(callback)
    assert (callback.status, callback.attempts, callback.claimed_at) == ("pending", 1, None)
    assert (callback.last_status_code, callback.last_error, callback.delivered_at) == (status, error, None)
    assert began + 4 * SECOND <= callback.due_at <= ended + 6 * SECOND
    assert receiver.paths() == [path]


def test_retry_after_is_honoured_where_it_is_longer(receiver, waiting):
    receiver.answers["later"] = {"status": 429, "headers": {"Retry-After": "120"}}
    receiver.answers["soon"] = {"status": 503, "headers": {"Retry-After": "1"}}
    receiver.answers["never"] = {"status": 429, "headers": {"Retry-After": "9" * 30}}
    rows = {path: waiting(path)[0] for path in ("later", "soon", "never")}
    began = timezone.now()
    delivery.deliver_due()
    ended = timezone.now()
    due = {path: again(row).due_at for path, row in rows.items()}
    assert began + 120 * SECOND <= due["later"] <= ended + 120 * SECOND
    assert began + 4 * SECOND <= due["soon"] <= ended + 6 * SECOND
    assert began + 86_400 * SECOND <= due["never"] <= ended + 86_400 * SECOND  # the last step


def test_both_secrets_of_a_change_sign_and_the_change_counts_for_what_waits(receiver, waiting):
    (callback,) = waiting(signing_secrets=[OLD])
    Endpoint.objects.update(signing_secrets=[NEW, OLD])
    delivery.deliver_due()
    (request,) = receiver.received
    for secret in (OLD, NEW):
        assert Webhook(secret).verify(request.body, request.headers)["id"] == str(callback.notification_id)


@pytest.mark.parametrize("column", ["signing_secrets", "bearer_token"])
def test_an_endpoint_whose_secrets_cannot_be_opened_holds_up_no_other_and_can_be_mended(
    receiver, waiting, admin_client, column
):
    (broken,), (whole,) = waiting(), waiting()
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE callbacks_endpoint SET {column} = 'damaged' WHERE id = %s", [broken.endpoint_id])
    assert delivery.deliver_due() == 2
    assert again(whole).status == "delivered"
    # The token was sealed into the callback when the status changed; the secrets come with the claim.
    unsigned = (again(broken).status, broken.last_error) == ("pending", "Unreadable")
    assert unsigned == (column == "signing_secrets")
    page = admin_client.get(f"/admin/callbacks/endpoint/{broken.endpoint_id}/change/")
    assert "cannot be opened" in page.content.decode()
    form = EndpointForm(instance=broken.endpoint)
    form.cleaned_data = {"token": "another", "signing_secret": NEW}
    form.write_secrets(broken.endpoint)
    assert NEW in broken.endpoint.signing_secrets


def test_a_change_while_the_token_cannot_be_opened_is_told_once_it_is_mended(receiver, hasty, db):
    broken, whole = (testing.make_endpoint(url=receiver.url(path)) for path in ("broken", "whole"))
    rows = [testing.make_notification(service=one.service) for one in (broken, whole)]
    with connection.cursor() as cursor:
        cursor.execute("UPDATE callbacks_endpoint SET bearer_token = 'damaged' WHERE id = %s", [broken.pk])
    assert len(settle([Move(row.pk, "delivered") for row in rows], now=timezone.now())) == 2
    assert delivery.deliver_due() == 2
    assert receiver.paths() == ["whole"]
    Endpoint.objects.filter(pk=broken.pk).update(bearer_token="mended")
    Callback.objects.filter(status="pending").update(due_at=timezone.now())
    assert delivery.deliver_due() == 1
    assert receiver.received[-1].headers["Authorization"] == "Bearer mended"


def test_a_hanging_receiver_does_not_hold_up_the_others(receiver, waiting, settings):
    """However much waits for it, and although it has waited for longer."""
    settings.CALLBACK_CONCURRENCY = 4
    settings.CALLBACK_REQUEST_TIMEOUT = timedelta(seconds=3)  # ten times what the others take
    settings.LOOP_FOR = timedelta(seconds=4)
    waiting("hang", count=12, at=timezone.now() - timedelta(hours=1))
    quick = waiting("slow", count=12)
    delivery.deliver_due()
    assert {again(row).status for row in quick} == {"delivered"}
    first = min(request.at for request in receiver.received)
    took = max(request.at - first for request in receiver.received if request.path == "slow")
    assert took < 2.95  # all of them while the first hanging call was still on the wire


def test_no_more_calls_are_on_the_wire_than_allowed(receiver, waiting, settings):
    settings.CALLBACK_CONCURRENCY = 3
    for _ in range(4):
        waiting("slow", count=3)
    assert delivery.deliver_due() == 12
    assert 2 <= receiver.most <= 3


def test_callbacks_of_an_endpoint_that_is_off_wait(receiver, waiting):
    (callback,) = waiting()
    Endpoint.objects.update(active=False)
    assert delivery.deliver_due() == 0
    assert (again(callback).status, callback.attempts) == ("pending", 0)
    Endpoint.objects.update(active=True)
    assert delivery.deliver_due() == 1
    assert again(callback).status == "delivered"


def test_one_that_cannot_be_read_does_not_stop_the_others(receiver, waiting):
    rows = waiting(count=3)
    Callback.objects.filter(pk=rows[1].pk).update(payload=b"rubbish")
    assert delivery.deliver_due() == 3
    assert [again(row).status for row in rows] == ["delivered", "pending", "delivered"]
    assert (rows[1].last_error, rows[1].last_status_code) == ("Unreadable", None)
    assert len(receiver.received) == 2


def test_delivering_needs_nothing_of_the_message(receiver, waiting):
    (callback,) = waiting()
    Notification.objects.all().delete()
    assert delivery.deliver_due() == 1
    assert json.loads(receiver.received[0].body)["to"] == "+447700900123"
    assert again(callback).status == "delivered"


def test_no_personal_data_or_token_is_logged(waiting, caplog):
    caplog.set_level(logging.DEBUG)
    waiting()
    waiting("500")
    waiting("cut")
    deliver_due_callbacks()
    text = "\n".join(record.getMessage() for record in caplog.records if record.name.split(".")[0] != "django")
    assert not [word for word in ("7700900123", "token-token", "MfKQ9r8") if word in text]
