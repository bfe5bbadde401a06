"""A message that a provider took and never answered for, sent again from its page in the admin by real processes."""

import json
import socket
from collections import Counter
from collections.abc import Iterator

import pytest

from jobs.tests.installation import WAIT, Installation, own_database, tidy_broker
from notify.processes import listen

pytestmark = pytest.mark.processes

SET_UP = """
from django.utils import timezone
from jobs.demo import prepare
from providers.models import Provider
prepare({simulator!r}, now=timezone.now())
Provider.objects.update(unknown_outcome=Provider.UnknownOutcome.HOLD)
"""
DECIDE = """
from django.contrib.auth import get_user_model
from django.test import Client
browser = Client(HTTP_HOST="localhost")
browser.force_login(get_user_model().objects.get(username="demo"))
place = "/admin/providers/heldnotification/"
page = browser.get(place + {key!r} + "/change/").content.decode()
question = browser.get(place + {key!r} + "/{name}/").content.decode()
assert "1 try, 1 of unknown outcome" in page and {key!r} + ":1" in question, page
for _ in range(2):
    answer = browser.post(place + "{name}/", {{"seen": {key!r} + ":1"}}, follow=True).content.decode()
    print("DONE" if "Already done" not in answer else "ALREADY")
"""


@pytest.fixture(scope="module")
def hung(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Installation, list[str], str]]:
    """Two messages that the simulator took and never answered for: the installation, their keys, the simulator."""
    var = tmp_path_factory.mktemp("installation")
    with own_database(var) as database, tidy_broker(), listen(8340) as listener:
        made = Installation(var, database)
        with made.processes as processes:
            made.manage("manage.py", "migrate", "--verbosity", "0")
            web = f"http://127.0.0.1:{listener.getsockname()[1]}"
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = str(free.getsockname()[1])
            hanging = ("--port", port, "--hang-rate", "1", "--receipt-delay", "3600")
            simulator = processes.start_simulator(web, *hanging)
            with made.shell(SET_UP.format(simulator=simulator)) as child:
                assert child.wait(WAIT) == 0, child.stderr.read()
            processes.environment["CALLBACK_TRUSTED_TARGETS"] = simulator
            processes.start_worker("general", ["jobs", "sending", "receipts", "callbacks", "watchdogs"], 4)
            job, _ = made.create_job(2)
            held = "SELECT id::text FROM notify_notification WHERE due_at IS NULL AND unknown_outcomes = 1"
            send(made)
            made.wait(lambda: len(made.query(held)) == 2, lambda: str(made.messages(job)))
            ledger = read(made)
            assert Counter(ledger.values()) == {("hung",): 2}
            processes.members.pop("simulator").kill()
            processes.start_simulator(web, "--port", port, "--receipt-delay", "0.2")  # begins its ledger anew
            processes.start_web(listener)
            yield made, sorted(key for (key,) in made.query(held)), job


def send(house: Installation) -> None:
    """Wake the sending loop, as beat does every minute."""
    house.manage("-m", "celery", "-A", "notify", "call", "providers.send_due_notifications")


def read(house: Installation) -> dict[str, tuple[str, ...]]:
    """What the simulator did with each message, in order."""
    found: dict[str, tuple[str, ...]] = {}
    for line in (house.var / "simulator" / "ledger.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if entry["channel"] == "sms":
            found[entry["id"]] = (*found.get(entry["id"], ()), entry["outcome"])
    return found


def decide(house: Installation, key: str, name: str) -> list[str]:
    """Answer the question on the message's page twice; returns what each answer had to say."""
    with house.shell(DECIDE.format(key=key, name=name)) as child:
        out, errors = child.communicate(timeout=WAIT)
        assert child.returncode == 0, errors
    return out.split()


def status(house: Installation, key: str) -> str:
    return house.query("SELECT status FROM notify_notification WHERE id = %s", key)[0][0]


def test_sent_again_from_its_page_it_goes_out_once_more_and_is_delivered(hung):
    house, (again, left), job = hung
    assert house.query("SELECT scope FROM notify_alert WHERE kind = 'outcome-unknown' AND resolved_at IS NULL")
    assert decide(house, again, "send-again") == ["DONE", "ALREADY"]
    house.wait(lambda: status(house, again) in ("sending", "delivered"), lambda: status(house, again))
    assert decide(house, left, "leave") == ["DONE", "ALREADY"]
    send(house)  # and a wake-up too many sends nothing
    house.manage("-m", "celery", "-A", "notify", "call", "providers.apply_receipts")
    house.wait(lambda: status(house, again) == "delivered", lambda: status(house, again))
    assert read(house) == {again: ("accepted",)}
    assert house.messages(job) == Counter({"delivered": 1, "technical-failure": 1})
    assert not house.query("SELECT 1 FROM notify_alert WHERE kind = 'outcome-unknown' AND resolved_at IS NULL")
    history = house.query("SELECT object_id, change_message FROM django_admin_log ORDER BY id")
    assert [(key, text.split(".")[0]) for key, text in history] == [
        (again, "Held message sent again"),
        (left, "Held message left as technical-failure"),
    ]
