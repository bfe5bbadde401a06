"""What the tables of callbacks hold themselves to."""

import pytest
from django.db import IntegrityError, models, transaction

from callbacks.models import Callback, Endpoint
from notify import testing
from notify.fields import new_id


@pytest.fixture
def endpoint(db):
    return testing.make_endpoint()


def make(endpoint, **fields) -> Callback:
    defaults = {"endpoint": endpoint, "notification_id": new_id(), "notification_status": "delivered", "payload": b""}
    return Callback.objects.create(**(defaults | fields))


def test_a_service_has_one_active_endpoint_and_any_number_of_old_ones(endpoint):
    with pytest.raises(IntegrityError, match="endpoint_active_once"), transaction.atomic():
        testing.make_endpoint(endpoint.service)
    testing.make_endpoint(endpoint.service, active=False)
    testing.make_endpoint(endpoint.service, active=False)
    testing.make_endpoint()  # another service's
    Endpoint.objects.filter(pk=endpoint.pk).update(active=False)
    testing.make_endpoint(endpoint.service)
    assert Endpoint.objects.filter(service=endpoint.service).count() == 4


def test_a_message_is_told_once_per_change(endpoint):
    first = make(endpoint)
    again = {"notification_id": first.notification_id, "created_at": first.created_at}
    with pytest.raises(IntegrityError, match="callback_once_per_change"), transaction.atomic():
        make(endpoint, **again)
    make(endpoint, **again | {"notification_status": "permanent-failure"})
    make(endpoint, notification_id=first.notification_id)  # the same status again, at another moment


def test_a_callback_stands_on_its_own(endpoint):
    row = testing.make_notification(service=endpoint.service)
    key = row.pk
    make(endpoint, notification_id=key)
    row.delete()
    assert Callback.objects.get().notification_id == key


def test_an_endpoint_with_callbacks_is_not_deleted(endpoint):
    make(endpoint)
    with pytest.raises(models.ProtectedError):
        endpoint.delete()
    with pytest.raises(models.ProtectedError):
        endpoint.service.delete()


def test_waiting_means_neither_delivered_nor_given_up(endpoint):
    rows = {status: make(endpoint, status=status) for status in Callback.Status.values}
    assert list(Callback.objects.waiting()) == [rows["pending"]]


def test_final_names_the_statuses_that_are_not_waiting():
    assert set(Callback.Status) - Callback.FINAL == {Callback.Status.PENDING}


def test_a_row_names_itself_without_personal_data(endpoint):
    callback = make(endpoint)
    assert str(callback) == f"delivered of {callback.notification_id}"
    assert "token" not in str(endpoint)
