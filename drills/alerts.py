"""Fault drills of alerts with real processes: whatever is away or killed, every alert arrives by every channel.

    python -m drills.alerts [--seed N] [--only NAME] [--alerts N] [--kills N]

The same seed makes the same random choices. Exit status 1 when an alert is lost, or comes twice without a kill that
explains it.
"""

import argparse
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from drills.alerts_receivers import CHANNELS, Receivers
from drills.house import House, NotAsExpected, open_house
from drills.outcomes import Outcome, conduct
from notify.processes import Process, ProcessDied

TASK = "notify.send_alerts"
BEAT_EVERY = 0.3  # seconds; stands in for the minute
CHILDREN = 2  # of each worker: as many alerts of a channel may be on the wire


@dataclass
class Drill:
    """What a drill has at hand. excused: how many repeats its kills explain at most."""

    house: House
    receivers: Receivers
    chance: random.Random
    scopes: list[str]
    kills: int
    excused: int = 0
    _beaten_at: float = 0.0

    def raise_alerts(self) -> None:
        """Open the drill's alerts, as a watchdog does."""
        from django.utils import timezone

        from notify.alerts import raise_alert

        for scope in self.scopes:
            raise_alert("test", scope, "A drill. See README, test.", now=timezone.now())

    def wait(self, condition: Callable[[], bool], state: Callable[[], str]) -> None:
        """Wait for something, with beat's message at every turn."""

        def beaten() -> bool:
            if time.monotonic() - self._beaten_at >= BEAT_EVERY:
                self._beaten_at = time.monotonic()
                self.house.send(TASK, expires=5 * BEAT_EVERY)
            return condition()

        self.house.wait(beaten, state)

    def wait_until_told(self) -> None:
        """Wait until every alert is written down as told by both channels."""
        self.wait(lambda: not self.count("email_told_at IS NULL OR webhook_told_at IS NULL"), self.standing)

    def count(self, condition: str) -> int:
        """Count the drill's alerts of which this holds."""
        sql = f"SELECT count(*) FROM notify_alert WHERE scope = ANY(%s) AND ({condition})"
        return self.house.query(sql, self.scopes)[0][0]

    def standing(self) -> str:
        """Say how far it is."""
        told = {channel: self.count(f"{channel}_told_at IS NOT NULL") for channel in CHANNELS}
        return f"told of {len(self.scopes)}: {told}"

    def start_worker(self, name: str = "alerts") -> Process:
        """Start a worker that tells."""
        return self.house.processes.start_worker(name, ["housekeeping"], CHILDREN)


def away(drill: Drill) -> str:
    """Both receivers are away while alerts open, until every one was tried by both channels; then they come back."""
    drill.raise_alerts()
    drill.start_worker()
    drill.wait(lambda: not drill.count("email_attempts = 0 OR webhook_attempts = 0"), drill.standing)
    if drill.count("email_told_at IS NOT NULL OR webhook_told_at IS NOT NULL"):
        raise NotAsExpected("An alert counts as told although nobody was there.")
    drill.receivers.open()
    drill.wait_until_told()
    tries = drill.house.query("SELECT sum(email_attempts + webhook_attempts) FROM notify_alert")[0][0]
    return f"both away, then back; {tries} tries in all"


def together(drill: Drill) -> str:
    """Two workers tell the same alerts at once, woken far too often."""
    drill.receivers.open()
    drill.start_worker("alerts")
    drill.start_worker("alerts-too")
    drill.raise_alerts()
    for _ in range(20):
        drill.house.send(TASK)
    drill.wait_until_told()
    return "two workers at once, woken 20 times"


def kills(drill: Drill) -> str:
    """Kill the worker again and again while an alert is on the wire: taken, but not written down as told."""
    drill.receivers.open()
    drill.receivers.delay = 0.3
    worker = drill.start_worker()
    drill.raise_alerts()
    killed = 0
    for _ in range(drill.kills):
        drill.wait(lambda: drill.receivers.on_wire > 0, drill.standing)
        drill.house.pause(drill.chance.uniform(0, drill.receivers.delay))
        worker.kill()
        worker.start()
        killed += 1
    drill.receivers.delay = 0.0
    drill.wait_until_told()
    drill.excused = killed * CHILDREN * len(CHANNELS)
    lapses = drill.house.query("SELECT sum(email_lapses + webhook_lapses) FROM notify_alert")[0][0]
    return f"{killed} kills with an alert on the wire, {lapses} tries cut off"


DRILLS: dict[str, Callable[[Drill], str]] = {"away": away, "together": together, "kills": kills}


def run_drill(house: House, receivers: Receivers, name: str, *, seed: int, alerts: int, kills: int) -> Outcome:
    """Run one drill, stop its processes and judge what arrived."""
    house.begin()
    receivers.begin()
    house.query("DELETE FROM notify_alert")
    scopes = [f"drill {name} {number}" for number in range(alerts)]
    drill = Drill(house, receivers, random.Random(f"{seed} {name}"), scopes, kills)
    begun = time.monotonic()
    broken = []
    try:
        done = DRILLS[name](drill)
    except (NotAsExpected, ProcessDied) as error:
        done, broken = "not to its end", [str(error)]
    finally:
        house.processes.stop(within=0)
        receivers.close()
    lost, doubled = judge(receivers, scopes, excused=drill.excused)
    broken += house.broken()
    return Outcome(name, done, broken, time.monotonic() - begun, alerts, lost, doubled)


def judge(receivers: Receivers, scopes: Sequence[str], *, excused: int = 0) -> tuple[int, int]:
    """Count by channel the alerts that never arrived, and the repeats beyond those that are excused."""
    lost = sum(not arrived[scope] for arrived in receivers.arrived.values() for scope in scopes)
    repeats = sum(max(0, times - 1) for arrived in receivers.arrived.values() for times in arrived.values())
    return lost, max(0, repeats - excused)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the drills; returns the exit status."""
    options = _read(arguments)
    print(f"Seed {options.seed}", flush=True)
    receivers = Receivers()
    # Fractions of a second stand in for the minute between tries, and two seconds for the five minutes of a lease;
    # nobody gives up on an alert, since far more kills are meant than a night sees.
    settings = {
        "ALERTS_ENABLED": "1",
        "ALERT_EMAILS": "duty@example.org",
        "EMAIL_URL": f"smtp://127.0.0.1:{receivers.mail_port}",
        "ALERT_WEBHOOK_URL": f"http://127.0.0.1:{receivers.hook_port}/",
        "ALERT_RETRY_AFTER_SECONDS": "0.2",
        "ALERT_LEASE_SECONDS": "2",
        "ALERT_LAPSES_LIMIT": "1000",
    }

    def run(house: House, name: str) -> Outcome:
        return run_drill(house, receivers, name, seed=options.seed, alerts=options.alerts, kills=options.kills)

    try:
        return conduct(open_house(settings), options.only or DRILLS, run, title="Fault drills of alerts", word="alerts")
    finally:
        receivers.close()


def _read(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m drills.alerts", description="Fault drills of alerts.")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="of the random choices")
    parser.add_argument("--only", action="append", choices=DRILLS, help="this drill (may be given several times)")
    parser.add_argument("--alerts", type=int, default=50, help="that open (default: 50)")
    parser.add_argument("--kills", type=int, default=10, help="while alerts are on the wire (default: 10)")
    options = parser.parse_args(arguments)
    if options.kills < 1 or options.alerts < options.kills:
        parser.error("--kills must be 1 or more, and --alerts at least as many.")
    return options


if __name__ == "__main__":
    sys.exit(main())
