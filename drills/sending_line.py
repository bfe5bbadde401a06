"""The sending line of a drill: the simulator, two providers that lead to it, a worker, and the judgement by ledger."""

import json
import os
import signal
from collections import Counter, defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from drills.house import House
from drills.jobs_made import make_processed_job
from notify.processes import Process

SENDING = "providers.send_due_notifications"
ON_WIRE = 40  # SENDING_CONCURRENCY × LOOP_SLOTS below
SETTINGS = {  # seconds stand in for minutes, so that leases run out and waits end while the drill looks on
    "SENDING_CONCURRENCY": "20",
    "LOOP_SLOTS": "2",
    "SENDING_LEASE_SECONDS": "5",
    "PROVIDER_REQUEST_TIMEOUT_SECONDS": "3",
    "UNKNOWN_OUTCOME_WAIT_SECONDS": "2",
    "LOOP_FROZEN_AFTER_SECONDS": "6",  # above a request's time, in which a loop may have nothing to ask
}
LAST_COMMIT = 0.3  # seconds until the database has begun what a killed worker asked of it last
_AT_WORK = """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND state = 'active'
        AND pid <> pg_backend_pid()
"""
PROVIDERS = ("mmg", "firetext")
# Outcomes in the ledger in which the simulator has the message though we heard no answer we can read.
UNHEARD = frozenset({"cut", "hung", "dripped", "garbled"})
TAKEN = UNHEARD | {"accepted"}
_MESSAGES = """
    SELECT id::text, status, due_at IS NULL AND status = 'created' AND unknown_outcomes > 0, unknown_outcomes
    FROM notify_notification WHERE job_id = ANY(%s::uuid[]) AND status <> 'validation-failed'
"""
_TO_SEND = """
    SELECT count(*) FROM notify_notification
    WHERE job_id = ANY(%s::uuid[]) AND status = 'created' AND due_at IS NOT NULL
"""
_SENT = "SELECT count(*) FROM notify_notification WHERE job_id = ANY(%s::uuid[]) AND sent_at IS NOT NULL"
_IN_AIR = "SELECT id::text FROM notify_notification WHERE job_id = ANY(%s::uuid[]) AND claimed_at < %s"
# What a drill that was not survived has not sent is none of the next one's business.
_PUT_OFF = """
    UPDATE notify_notification SET due_at = now() + interval '1 year', claimed_at = NULL
    WHERE status = 'created' AND due_at IS NOT NULL
"""
_HURRY = """
    UPDATE notify_notification SET due_at = now()
    WHERE job_id = ANY(%s::uuid[]) AND status = 'created' AND claimed_at IS NULL AND due_at > now() + interval '2 s'
"""


@dataclass
class Found:
    """What is left after a drill. lost, doubled: messages. broken: a sentence for whatever else does not hold."""

    rows: int
    lost: int
    doubled: int
    broken: list[str] = field(default_factory=list)


class Line:
    """The messages of one drill and the way they go."""

    def __init__(self, house: House, rows: int, *, policy: str, simulator: tuple[str, ...] = ()) -> None:
        """Make `rows` rows into messages and start the simulator; policy: of both providers, for unknown outcomes."""
        self.house = house
        self.in_air: set[str] = set()  # claimed by a worker that was killed or frozen: of unknown outcome
        self.doubled_allowed = 0
        house.duties = (SENDING,)
        _forget_earlier(house)
        address = house.processes.start_simulator("", *simulator, stop=house.stop)
        _lead_to(address, policy)
        make_processed_job(house, rows)

    def start_worker(self, name: str = "sending") -> Process:
        """Start a worker for sending: two children, so that both places of the loop are taken."""
        return self.house.processes.start_worker(name, ["sending"], 2)

    def sent(self) -> int:
        """How many messages are sent and known to be."""
        return self.house.query(_SENT, self.house.jobs)[0][0]

    def to_send(self) -> int:
        """How many messages still wait to be sent or are on the wire."""
        return self.house.query(_TO_SEND, self.house.jobs)[0][0]

    def claimed(self, before: datetime | None = None) -> set[str]:
        """Which messages some worker holds at this moment; before: since earlier than that."""
        return {key for (key,) in self.house.query(_IN_AIR, self.house.jobs, before or "infinity")}

    def wait_until_sent(self, count: int) -> None:
        """Wait until this many are known to be sent; beat goes on meanwhile."""
        self.house.wait(lambda: self.sent() >= count, lambda: f"{self.sent():,} of {count:,} sent", beating=True)

    def wait_until_settled(self) -> None:
        """Wait until none is to be sent any more, however long that takes as long as they become fewer.

        What a provider put off is brought forward, as if time passed.
        """
        while left := self.to_send():

            def fewer(left: int = left) -> bool:
                self.house.query(_HURRY, self.house.jobs)
                return self.to_send() < left

            self.house.wait(fewer, lambda: f"{self.to_send():,} still to be sent", beating=True)

    def kill(self, worker: Process) -> None:
        """Kill a worker with its children; what it held is of unknown outcome from now on."""
        worker.kill()
        self._note_in_air()

    def freeze(self, worker: Process) -> None:
        """Stop a worker and its children where they are; as with a kill, nobody knows what becomes of what it held."""
        os.killpg(worker.pid, signal.SIGSTOP)
        self._note_in_air()

    def cut_off(self, fault: Callable[[], None]) -> None:
        """Do what takes the database from the worker: what it held until then is of unknown outcome from now on."""
        begun = datetime.now(UTC)
        fault()
        self._note_in_air(begun)

    def _note_in_air(self, before: datetime | None = None) -> None:
        """Note what is claimed, once the database has done, or undone, what the worker asked of it last."""
        self.house.pause(LAST_COMMIT)
        self.house.wait(lambda: not self.house.query(_AT_WORK), lambda: "the database still at work", alive=False)
        self.in_air |= self.claimed(before)

    def ledger(self) -> dict[str, Counter[str]]:
        """What the simulator did with each message."""
        found: dict[str, Counter[str]] = defaultdict(Counter)
        for line in (self.house.var / "simulator" / "ledger.jsonl").read_text().splitlines():
            entry = json.loads(line)
            if entry["channel"] == "sms":
                found[entry["id"]][entry["outcome"]] += 1
        return found

    def judge(self) -> Found:
        """Hold the messages against the ledger.

        Lost: the provider never had it, and it is neither held nor refused. Doubled: taken once too often, beyond
        what the drill allows. A message of unknown outcome is held, in an open alert, or was sent once more.
        """
        messages, ledger = self.house.query(_MESSAGES, self.house.jobs), self.ledger()
        taken = {key: sum(ledger[key][outcome] for outcome in TAKEN) for key, *_ in messages}
        held = {key for key, _, is_held, _ in messages if is_held}
        refused = {key for key, status, *_ in messages if status == "technical-failure" and ledger[key]["refused"]}
        lost = [key for key, *_ in messages if not taken[key] and key not in held | refused]
        twice = sum(count - 1 for count in taken.values() if count > 1)
        broken = [*self._unlisted(messages, held, ledger), *self._untold(held)]
        if set(ledger) - taken.keys():
            broken.append("The provider was given something that is no message of this drill.")
        return Found(len(messages), len(lost), twice if twice > self.doubled_allowed else 0, broken)

    def _unlisted(self, messages: Collection[tuple], held: set[str], ledger: dict[str, Counter[str]]) -> list[str]:
        """Name what nobody knows the outcome of and nobody is told of."""
        unknown = {key for key, *_, unknown_outcomes in messages if unknown_outcomes}
        standing = {key: status for key, status, *_ in messages}
        silent = self.in_air - unknown
        gone = {key for key in standing if ledger[key] and standing[key] == "created" and key not in held}
        unheard = {key for key in standing if UNHEARD & ledger[key].keys()} - unknown
        wrong = {key for key in standing if standing[key] == "sending" and not ledger[key]["accepted"]}
        found = {
            "were in the air when their worker stopped and are not of unknown outcome": silent,
            "were taken, are not sent and not held": gone,
            "were taken without an answer and are not of unknown outcome": unheard,
            "count as sent and no provider said yes": wrong,
        }
        return [f"{len(keys):,} messages {what}: {sorted(keys)[:3]}." for what, keys in found.items() if keys]

    def _untold(self, held: set[str]) -> list[str]:
        """Name the providers that have held messages and no open alert, or the other way round."""
        holding = self.house.query(
            "SELECT DISTINCT provider_name FROM notify_notification WHERE id = ANY(%s::uuid[])", sorted(held)
        )
        alerts = self.house.query(
            "SELECT scope FROM notify_alert WHERE kind = 'outcome-unknown' AND resolved_at IS NULL"
        )
        missing = {name for (name,) in holding} - {scope for (scope,) in alerts}
        return [f"Messages of {name} are held and no alert is open." for name in sorted(missing)]


def thaw(worker: Process) -> None:
    """Let a frozen worker and its children go on."""
    os.killpg(worker.pid, signal.SIGCONT)


def _forget_earlier(house: House) -> None:
    """Decide about what an earlier drill left held, as a person would, so that its alert closes; put off the rest."""
    from django.utils import timezone

    from notify.models import Notification
    from providers.held import leave

    earlier = Notification.objects.held_for_person()
    leave(dict(earlier.values_list("pk", "attempts")), "left by a drill", now=timezone.now())
    house.query(_PUT_OFF)


def _lead_to(address: str, policy: str) -> Any:
    """Make both providers, or lead them to the simulator of this drill."""
    from django.utils import timezone

    from notify.testing import make_provider
    from providers.models import Provider

    for name in PROVIDERS:
        config = {"url": f"http://{address}/{name}/", "api_key": "drill"}
        provider = Provider.objects.filter(identifier=name).first() or make_provider(name)
        provider.config, provider.unknown_outcome, provider.updated_at = config, policy, timezone.now()
        provider.save()
