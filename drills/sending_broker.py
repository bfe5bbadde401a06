"""A RabbitMQ node of a drill's own, which it may kill and start again; all of it lies in the house, on free ports."""

import os
import random
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from kombu import Connection
from kombu.exceptions import OperationalError

from drills.house import House
from drills.outcomes import NotRun
from notify.processes import Process, listen

# Searched first: what Debian has on the PATH wants root, and runs as another user who cannot write into the house.
DEBIAN = "/usr/lib/rabbitmq/bin"
PROGRAMS = ("rabbitmq-server", "epmd")  # the second, Erlang's port mapper, would outlive the node that started it
_BECOME = "import os, sys; os.execvp(sys.argv[1], sys.argv[1:])"


class Broker:
    """The node. name: product and version, as it says itself."""

    def __init__(self, house: House) -> None:
        """Start it. Raises NotRun where its programs are not installed."""
        if missing():
            raise NotRun(f"{' and '.join(missing())} not found")
        self.house = house
        self.folder = house.var / "rabbitmq"
        self.folder.mkdir(exist_ok=True)
        port, nodes, mapped = _free_ports(3)
        self.url = f"amqp://guest:guest@127.0.0.1:{port}//"
        home = {"HOME": str(self.folder), "ERL_EPMD_ADDRESS": "127.0.0.1", "ERL_EPMD_PORT": str(mapped)}
        self._start("ports", "epmd", home)
        house.wait(lambda: _listens(mapped), lambda: "Erlang's port mapper does not answer")
        self.process = self._start("broker", "rabbitmq-server", home | self._settings(port, nodes))
        self.name = ""
        self.wait_until_up()

    def wait_until_up(self) -> None:
        """Wait until it takes connections."""
        self.house.wait(self._answers, lambda: "the broker does not answer")

    def _answers(self) -> bool:
        try:
            with Connection(self.url, connect_timeout=1) as connection:
                told = connection.connection.server_properties
        except (OperationalError, OSError):
            return False
        self.name = f"{told['product']} {told['version']}"
        return True

    def _start(self, name: str, program: str, environment: dict[str, str]) -> Process:
        pairs = [f"{key}={value}" for key, value in environment.items()]
        return self.house.processes.start(name, "-c", _BECOME, "env", *pairs, str(_programs()[program]))

    def _settings(self, port: int, nodes: int) -> dict[str, str]:
        """Point everything at the house's folder, the machine's own configuration files too."""
        files = {"MNESIA_BASE": "data", "LOG_BASE": "log", "ENABLED_PLUGINS_FILE": "plugins", "CONFIG_FILE": "conf",
                 "CONF_ENV_FILE": "env", "PID_FILE": "pid", "GENERATED_CONFIG_DIR": "generated"}  # fmt: skip
        given = {key: str(self.folder / name) for key, name in files.items()} | {
            "NODENAME": "drill@localhost",
            "NODE_IP_ADDRESS": "127.0.0.1",
            "NODE_PORT": str(port),
            "DIST_PORT": str(nodes),
            "SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }
        return {f"RABBITMQ_{key}": value for key, value in given.items()}


@contextmanager
def own_broker(house: House) -> Iterator[Broker]:
    """Give a new node, used by whoever is started meanwhile and by the house's own messages. Raises NotRun."""
    broker = Broker(house)
    house.processes.environment["CELERY_BROKER_URL"] = house.broker = broker.url
    try:
        yield broker
    finally:
        del house.processes.environment["CELERY_BROKER_URL"]
        house.broker = ""


def missing() -> list[str]:
    """Name the programs that are not installed here."""
    return [name for name, where in _programs().items() if not where]


def _programs() -> dict[str, str | None]:
    path = os.pathsep.join([DEBIAN, os.environ.get("PATH", os.defpath)])
    return {name: shutil.which(name, path=path) for name in PROGRAMS}


def _free_ports(count: int) -> list[int]:
    # Below those that outgoing connections take: nobody must have the broker's while it is away.
    held = [listen(random.randrange(10_000, 30_000)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def _listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0
