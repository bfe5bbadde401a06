"""Receipts under fire: any order, before their message, after our time-out, and with processes killed half-way."""

import hashlib
import http.client
import json
import signal
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from urllib.parse import urlencode
from uuid import uuid4

import psutil
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from callbacks.models import Callback, Endpoint
from notify.models import Alert, Notification
from notify.testing import make_endpoint, make_notification, make_provider, make_template
from providers import receipts
from providers.models import Provider, Receipt
from providers.tests.receiving import receiving
from providers.watchdogs import timeout_notifications

NOW = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
PHASES = [Phase.explicit, Phase.generate]  # shrinking would take minutes
MMG = {"pending": "9", "temporary": "4", "permanent": "2", "delivered": "3"}  # 9 is a code it does not have
FIRETEXT = {"pending": ("2", ""), "temporary": ("1", "102"), "permanent": ("1", "101"), "delivered": ("0", "000"),
            "unclear": ("1", "")}  # fmt: skip
POSTAL = {"temporary": "rejected", "delivered": "despatched", "permanent": "returned", "unclear": "lost"}


def body(provider, key, name, number):
    """Write a receipt of this provider; the number tells two of the same kind apart."""
    if provider == "mmg":
        return json.dumps({"CID": str(key), "status": MMG.get(name, "3"), "n": number}).encode()
    if provider == "postal":
        return json.dumps({"reference": str(key), "status": POSTAL.get(name, "despatched"), "n": number}).encode()
    status, code = FIRETEXT[name]
    return urlencode({"reference": str(key), "status": status, "code": code, "n": number}).encode()


def happens(event, provider, key, template, *, now):
    """Let one thing happen: the message appears, we give up on it, or a receipt arrives."""
    if event == "message":
        kind = template.notification_type
        times = {"sent_at": NOW - HOUR, "created_at": NOW - 73 * HOUR, "due_at": None}
        carried = {"status": "sending", "provider_name": provider.identifier}
        make_notification(pk=key, template=template, notification_type=kind, **times, **carried)
    elif event == "time-out":
        if provider.notification_type != "letter":  # letters have a watchdog of their own
            timeout_notifications(now=now)
    else:
        receipts.store(provider, body(provider.identifier, key, *event), "", now=now)


@pytest.mark.django_db
@hypothesis_settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=PHASES)
@given(
    data=st.data(),
    identifier=st.sampled_from(["mmg", "firetext", "postal"]),
    arrivals=st.lists(st.tuples(st.sampled_from(list(FIRETEXT)), st.integers(0, 1)), min_size=1, max_size=5),
    timed_out=st.booleans(),
)
def test_every_order_of_the_same_events_ends_in_the_same_status(data, identifier, arrivals, timed_out):
    provider = Provider.objects.filter(identifier=identifier).first() or make_provider(identifier)
    Notification.objects.update(created_at=NOW + 100 * HOUR)  # those of the examples before are left alone
    template = make_template(notification_type=provider.notification_type)
    make_endpoint(template.service)
    events = ["message", *arrivals, *(["time-out"] if timed_out else [])]
    keys = [uuid4() for _ in range(3)]
    # A time-out needs its message; the receipts come before, between and after.
    orders = [list(data.draw(st.permutations(events))) for _ in keys]
    for order in orders:
        if timed_out and order.index("time-out") < order.index("message"):
            order.remove("time-out")
            order.append("time-out")
    for place in range(len(events)):
        for key, order in zip(keys, orders, strict=True):
            happens(order[place], provider, key, template, now=NOW + place * HOUR)
        if data.draw(st.booleans()):
            receipts.apply_batch(now=NOW + place * HOUR)
    receipts.apply_batch(now=NOW + 100 * HOUR)
    different = len({body(identifier, keys[0], *arrival) for arrival in arrivals})
    # An unclear failure after our time-out is permanent until a `pending` comes, then temporary again.
    check_one_end(keys, different=different, climbs="unclear" not in dict(arrivals))


def check_one_end(keys, *, different, climbs):
    """All messages ended alike, each receipt is stored once and applied, and the services were told of the end."""
    ends = {message.pk: message.status for message in Notification.objects.filter(pk__in=keys)}
    assert len(set(ends.values())) == 1, ends
    for key in keys:
        assert Receipt.objects.filter(notification_id=key).count() == different
        assert not Receipt.objects.filter(notification_id=key, applied_at__isnull=True).exists()
        told = list(Callback.objects.filter(notification_id=key).order_by("created_at", "pk").values_list(
            "notification_status", flat=True
        ))  # fmt: skip
        assert told[-1:] == ([ends[key]] if ends[key] in Notification.FINAL else [])
        assert all(one != following for one, following in pairwise(told))
        assert len(told) == len(set(told)) or not climbs


@pytest.mark.django_db
def test_receipts_of_other_messages_and_providers_leave_a_message_alone():
    mmg, firetext = make_provider("mmg"), make_provider("firetext")
    mine = make_notification(status="sending", provider_name="mmg", sent_at=NOW)
    other = make_notification(status="sending", provider_name="firetext", sent_at=NOW)
    for number, provider in enumerate([firetext, mmg, firetext, mmg]):
        name = "permanent" if number < 2 else "delivered"
        for target in (mine, other):
            receipts.store(provider, body(provider.identifier, target.pk, name, number), "", now=NOW)
        receipts.apply_batch(now=NOW)
    assert set(Notification.objects.values_list("status", flat=True)) == {"delivered"}
    assert Counter(Receipt.objects.values_list("outcome", flat=True)) == Counter(
        {"applied": 4, "RECEIPT_PROVIDER_MISMATCH": 4}
    )
    assert sorted(Alert.objects.open().values_list("kind", "scope")) == [
        ("receipt-mismatch", "firetext"), ("receipt-mismatch", "mmg"),
    ]  # fmt: skip
    assert not Endpoint.objects.exists()


# --- Real processes ------------------------------------------------------------------------------------------------

MESSAGES = 600


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A web process and messages that a provider carries."""
    with receiving(tmp_path_factory.mktemp("fire"), {"sent": {"status": "sending", "provider_name": "mmg"}}, MESSAGES,
                   CELERY_WORKER_MAX_TASKS_PER_CHILD="100000") as house:  # fmt: skip
        house.post(b"{}")  # it is awake
        yield house


class Burst(threading.Thread):
    """A provider that reports as fast as it can and notes what was answered 200; what was not it sends again."""

    def __init__(self, house, bodies):
        super().__init__()
        self.house, self.bodies, self.taken, self.failed = house, bodies, set(), 0

    def run(self):
        """Send each until it is taken."""
        left = list(self.bodies)
        until = time.monotonic() + 40
        while left and time.monotonic() < until:
            try:
                done = self.house.post(left[-1])[0] == 200
            except (OSError, http.client.HTTPException):  # the line, or the answer, was cut
                done = False
            if done:
                self.taken.add(hashlib.sha256(left.pop()).hexdigest())
            else:
                self.failed += 1
                time.sleep(0.05)


def workers_of(house):
    """Return the web process's workers."""
    return psutil.Process(house.processes.members["web"].pid).children()


def stored(house):
    return {key for (key,) in house.query("SELECT dedupe_key FROM providers_receipt")}


@pytest.mark.processes
def test_every_receipt_answered_200_is_stored_although_the_web_process_is_killed_in_a_burst(house):
    bodies = [json.dumps({"CID": key, "status": "3"}).encode() for key in house.ids["sent"]]
    bursts = [Burst(house, bodies[part::4]) for part in range(4)]
    for burst in bursts:
        burst.start()
    for when, victims in enumerate(["a worker", "both workers", "all"], start=1):
        house.wait(lambda when=when: len(stored(house)) >= when * MESSAGES // 5, lambda: f"{len(stored(house))} stored")
        if victims == "all":
            web = house.processes.members.pop("web")
            web.kill()
            house.processes.start_web(house.listener)
        else:
            for victim in workers_of(house)[: 1 if victims == "a worker" else 2]:
                victim.send_signal(signal.SIGKILL)
        noted = set().union(*(burst.taken for burst in bursts))
        assert noted <= stored(house)
    for burst in bursts:
        burst.join()
    taken = set().union(*(burst.taken for burst in bursts))
    assert len(taken) == MESSAGES
    assert taken <= stored(house)
    assert sum(burst.failed for burst in bursts) > 0  # the kills were felt


@pytest.mark.processes
def test_a_worker_killed_while_it_applies_leaves_each_receipt_applied_once(house):
    count = "SELECT count(*) FROM notify_notification WHERE status = 'delivered'"
    assert house.query(count) == [(0,)]
    for key in house.ids["sent"]:  # stored already, or stored now: a second time changes nothing
        house.post(json.dumps({"CID": key, "status": "3"}).encode())
    house.start_worker()
    house.post(b"[]")
    for _ in range(3):
        time.sleep(0.3)
        for child in psutil.Process(house.processes.members["receipts"].pid).children():
            child.send_signal(signal.SIGKILL)
    time.sleep(1.1)  # above NUDGE_EVERY: no minute tick runs here, so this wake-up must be sent
    house.post(b"[ ]")
    left = "SELECT count(*) FROM providers_receipt WHERE outcome = ''"
    house.wait(lambda: not house.query(left)[0][0], lambda: f"{house.query(left)[0][0]} left to apply")
    assert house.query(count) == [(MESSAGES,)]
    outcomes = dict(house.query("SELECT outcome, count(*) FROM providers_receipt GROUP BY outcome"))
    assert outcomes == {"applied": MESSAGES, "RECEIPT_EMPTY": 2, "RECEIPT_UNREADABLE": 1}
