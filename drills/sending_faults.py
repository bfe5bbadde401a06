"""Faults while messages are sent: the worker is killed, frozen or told to stop, the database and the broker are
restarted, the provider has a bad day.
"""

import os
import random
import time
from collections.abc import Callable

from drills.house import House, NotAsExpected
from drills.sending_broker import Broker, own_broker
from drills.sending_line import ON_WIRE, Line, thaw
from notify import embedded

ENDS_WITHIN = 15.0  # seconds from SIGTERM until what is on the wire is finished and the worker gone
GOES_ON_WITHIN = 30.0  # seconds from when the broker answers again until the next message is sent
AWAY = 2.0  # seconds that the broker is away at least; its start comes on top
PAUSE = 0.3  # seconds at most from the chosen message to the fault, so that it falls anywhere between claim and result
SLOW = ("--answer-delay", "0.1")
BAD_DAY = (
    "--answer-delay", "0.02", "--cut-rate", "0.05", "--hang-rate", "0.01", "--drip-rate", "0.01", "--garbage-rate",
    "0.05", "--try-later-rate", "0.1", "--refuse-rate", "0.05",
)  # fmt: skip
_CUT = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
Told = tuple[str, Line]


def kills_held(house: House, chance: random.Random, *, rows: int, kills: int) -> Told:
    """Kill the worker while it sends, with providers whose messages of unknown outcome are held: none goes twice."""
    line = Line(house, rows, policy="hold", simulator=SLOW)
    _kill_often(line, chance, rows=rows, kills=kills)
    held = _held(line)
    if held != line.in_air:
        raise NotAsExpected(f"{len(line.in_air):,} messages were in the air, but {len(held):,} are held.")
    return f"{kills} kills, {len(held)} messages in the air, all of them held", line


def kills_resent(house: House, chance: random.Random, *, rows: int, kills: int) -> Told:
    """The same with providers whose messages of unknown outcome are sent once more: each may have arrived twice."""
    line = Line(house, rows, policy="resend_once", simulator=SLOW)
    _kill_often(line, chance, rows=rows, kills=kills)
    line.doubled_allowed = kills * ON_WIRE
    twice = sum(count.total() - 1 for count in line.ledger().values() if count.total() > 1)
    return f"{kills} kills, {len(line.in_air)} messages in the air, {twice} of them arrived twice", line


def frozen(house: House, chance: random.Random, *, rows: int, kills: int) -> Told:
    """Freeze a worker past its leases while another one goes on; awake again, it changes nothing it lost."""
    line = Line(house, rows, policy="hold", simulator=SLOW)
    worker = line.start_worker()
    line.wait_until_sent(int(rows * chance.uniform(0.1, 0.3)))
    while not line.in_air:  # frozen between two claims it holds nothing: thawed, and done again
        if not line.to_send():
            raise NotAsExpected("All was sent before the worker was frozen: give it more --rows.")
        line.freeze(worker)
        if not line.in_air:
            thaw(worker)
            line.house.pause(chance.uniform(0, PAUSE))
    line.start_worker("other")
    line.wait_until_settled()
    before = _held(line)
    thaw(worker)
    house.pause(2)
    line.wait_until_settled()
    if (before, _held(line)) != (line.in_air, line.in_air):
        raise NotAsExpected(f"In the air: {len(line.in_air)}; held: {len(before)}, later {len(_held(line))}.")
    return f"frozen with {len(line.in_air)} messages in the air, all of them held", line


def told_to_stop(house: House, chance: random.Random, *, rows: int, kills: int) -> Told:
    """Tell the worker to stop: it finishes what is on the wire, leaves no lease behind and is gone in time."""
    line = Line(house, rows, policy="hold", simulator=("--answer-delay", "0.2"))
    worker = line.start_worker()
    slowest, on_wire = 0.0, 0
    for turn in range(2):
        line.wait_until_sent(line.sent() + max(1, int(rows * chance.uniform(0.05, 0.1))))
        on_wire += len(line.claimed())
        begun = time.monotonic()
        worker.signal(15)
        if not worker.wait(ENDS_WITHIN):
            raise NotAsExpected(f"The worker was not gone {ENDS_WITHIN:g} seconds after SIGTERM.")
        slowest = max(slowest, time.monotonic() - begun)
        if left := line.claimed():
            raise NotAsExpected(f"{len(left)} leases were left behind at stop {turn + 1}.")
        worker.start()
    line.wait_until_settled()
    if held := _held(line):
        raise NotAsExpected(f"{len(held)} messages are of unknown outcome after orderly stops.")
    return f"2 stops with {on_wire} messages on the wire, gone within {slowest:.1f} s", line


def restarted(house: House, chance: random.Random, *, rows: int, kills: int) -> Told:
    """Restart PostgreSQL and empty the broker, as its restart may, while the worker sends: it goes on by itself."""
    line = Line(house, rows, policy="hold", simulator=SLOW)
    line.start_worker()
    line.wait_until_sent(int(rows * chance.uniform(0.2, 0.6)))
    gone = 0
    while not line.in_air:  # between two claims it hit nothing, and is done again
        line.wait_until_sent(_one_more(line))
        gone += house.purge()
        line.cut_off(lambda: restart_database(house))
    line.wait_until_settled()
    return f"restarted, {gone} wake-ups thrown away, {len(_held(line))} messages in the air and held", line


def restarted_broker(house: House, chance: random.Random, *, rows: int, kills: int) -> Told:
    """Kill a real broker and restart PostgreSQL together, start the broker again: sending goes on by itself, soon."""
    with own_broker(house) as broker:
        line = Line(house, rows, policy="hold", simulator=SLOW)
        line.start_worker()
        line.wait_until_sent(int(rows * chance.uniform(0.2, 0.6)))
        took = 0.0
        while not line.in_air:
            took = max(took, _restart_both(broker, line))
        line.wait_until_settled()
    if took > GOES_ON_WITHIN:
        raise NotAsExpected(f"Sending went on {took:.1f} seconds after the broker was back, not {GOES_ON_WITHIN:g}.")
    return f"{broker.name} killed and back, sending again {took:.1f} s later, {len(_held(line))} in the air, held", line


def _restart_both(broker: Broker, line: Line) -> float:
    """Restart the broker and PostgreSQL; returns the seconds from when the broker answers to the next message."""

    def both() -> None:
        broker.process.kill()
        restart_database(line.house)

    line.cut_off(both)
    line.house.pause(AWAY)
    broker.process.start()
    broker.wait_until_up()
    begun = time.monotonic()
    line.wait_until_sent(_one_more(line))
    return time.monotonic() - begun


def _one_more(line: Line) -> int:
    """Return how many are sent when one more is. Raises NotAsExpected where none is left."""
    if not line.to_send():
        raise NotAsExpected("All was sent, and nothing was on the wire at a restart: give it more --rows.")
    return line.sent() + 1


def restart_database(house: House) -> None:
    """Cut every connection, ours too: by a restart of the embedded server, or on a server that is not ours alone."""
    from django.db import connections

    if os.environ.get("DATABASE_URL"):
        house.query(_CUT)
    else:
        embedded.stop(embedded.data_directory(house.var))  # whoever connects next starts it again
    connections.close_all()


def bad_day(house: House, chance: random.Random, *, rows: int, kills: int) -> Told:
    """Let the provider cut lines, hang, drip, babble, put off and refuse."""
    line = Line(house, rows, policy="hold", simulator=(*BAD_DAY, "--seed", str(chance.randrange(10**6))))
    line.start_worker()
    line.wait_until_settled()
    fates = {fate: 0 for fate in ("cut", "hung", "dripped", "garbled", "try-later", "refused")}
    for counts in line.ledger().values():
        fates = {fate: number + counts[fate] for fate, number in fates.items()}
    if missing := [fate for fate, number in fates.items() if not number]:
        raise NotAsExpected(f"The provider never did this: {', '.join(missing)}. Give it more --rows.")
    return ", ".join(f"{number} {fate}" for fate, number in fates.items()), line


def _kill_often(line: Line, chance: random.Random, *, rows: int, kills: int) -> None:
    """Kill and start again at random moments, each while something is in the air; then let it come to its end."""
    worker = line.start_worker()
    for number in range(kills):
        mark, before = int(rows * (number + chance.random()) / (kills + 1) * 0.9), len(line.in_air)
        while len(line.in_air) == before:  # one that fell between two claims hit nothing, and is done again
            if not line.to_send():
                raise NotAsExpected("All was sent before the last kill: give it more --rows, or fewer --kills.")
            # What was in the air is held and is never sent.
            line.wait_until_sent(min(rows, max(mark - before, line.sent() + 1)))
            line.house.pause(chance.uniform(0, PAUSE))
            line.kill(worker)
            worker.start()
    line.wait_until_settled()


def _held(line: Line) -> set[str]:
    found = line.house.query(
        "SELECT id::text FROM notify_notification WHERE job_id = ANY(%s::uuid[]) AND status = 'created' "
        "AND due_at IS NULL AND unknown_outcomes > 0",
        line.house.jobs,
    )
    return {key for (key,) in found}


DRILLS: dict[str, Callable[..., Told]] = {
    "kills-held": kills_held,
    "kills-resent": kills_resent,
    "frozen": frozen,
    "told-to-stop": told_to_stop,
    "restarted": restarted,
    "restarted-broker": restarted_broker,
    "bad-day": bad_day,
}
