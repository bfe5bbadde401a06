"""A receiver on localhost, and callbacks that wait for it."""

from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from callbacks.models import Callback
from callbacks.outcomes import settle
from callbacks.tests.receiver import Receiver
from notify import testing
from notify.states import Move


@pytest.fixture(scope="session")
def running_receiver():
    """One receiver for all tests."""
    with Receiver() as running:
        yield running


@pytest.fixture
def receiver(running_receiver, settings):
    """The receiver without memories, trusted by the address rules."""
    running_receiver.received.clear()
    running_receiver.answers.clear()
    running_receiver.most = 0
    settings.CALLBACK_TRUSTED_TARGETS = [f"127.0.0.1:{running_receiver.port}"]
    return running_receiver


@pytest.fixture
def hasty(settings):
    """A loop that ends as soon as nothing is due, and receivers that are not waited for."""
    settings.CALLBACK_REQUEST_TIMEOUT = timedelta(seconds=1)
    settings.CALLBACK_LEASE = timedelta(seconds=60)
    settings.LOOP_LINGER_FOR = settings.LOOP_DUE_WITHIN = timedelta(0)
    settings.LOOP_FOR = timedelta(seconds=20)


@pytest.fixture
def waiting(receiver, hasty, db):
    """Let callbacks wait for a new endpoint with this path. Returns them, oldest first."""

    def make(path: str = "200", *, count: int = 1, at: datetime | None = None, **fields) -> list[Callback]:
        endpoint = testing.make_endpoint(url=receiver.url(path), **fields)
        template = testing.make_template(endpoint.service)
        keys = [testing.make_notification(template=template).pk for _ in range(count)]
        settle([Move(key, "delivered") for key in keys], now=at or timezone.now())
        return list(Callback.objects.filter(notification_id__in=keys).order_by("pk"))

    return make
