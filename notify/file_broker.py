"""The broker of an installation without one: kombu's filesystem transport, mended, as `notifyfile://`.

As shipped, a message stands under its final name before it is written, so that a reader may take it empty, and then
the decoding error ends the worker; the table of bindings has the same fault when several processes
start at once; and a message is claimed by moving it to the temporary folder, which is a copy where that is another
file system, so that two readers may get it. Here
* messages and tables are written aside and renamed, so that only whole ones are seen;
* a message belongs to the reader whose unlink succeeds;
* what cannot be read is dropped, with one line in the log.
A message that a worker held when it was killed is lost: rows are the truth here, messages only nudges.
"""

import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty
from typing import Any
from uuid import uuid4

from kombu.transport import TRANSPORT_ALIASES, filesystem, virtual
from kombu.transport.filesystem import exchange_queue_t
from kombu.utils.json import dumps, loads

logger = logging.getLogger(__name__)

_POLLING_SECONDS = 0.1  # from publish to start 0.04 s on average, and 1 % of a core when idle
_FORGOTTEN_AFTER_SECONDS = 3_600  # control messages and half-written files of processes that are gone
_BROKEN = (ValueError, LookupError, TypeError, AttributeError)  # what decoding a damaged file may raise

Table = list[exchange_queue_t]


def register() -> None:
    """Teach kombu the scheme `notifyfile://`."""
    TRANSPORT_ALIASES["notifyfile"] = f"{__name__}:Transport"


def transport_options(folder: Path) -> dict[str, Any]:
    """Return Celery's transport options for a broker in `folder`; the folders are made at the first connection."""
    messages = str(folder / "messages")
    return {
        "data_folder_in": messages,
        "data_folder_out": messages,
        "control_folder": str(folder / "control"),
        "store_processed": False,
        "polling_interval": _POLLING_SECONDS,
    }


def _write(path: Path, value: Any) -> None:
    """Write JSON so that `path` is never seen empty or in part."""
    aside = path.with_name(f"{path.name}.{uuid4().hex}.part")
    try:
        aside.write_text(dumps(value), encoding="utf-8")
        aside.rename(path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise


class Channel(filesystem.Channel):
    """Queues and bindings as files; purge and size are kombu's own."""

    def _put(self, queue: str, payload: dict[str, Any], **kwargs: Any) -> None:
        # The name sorts by time, so that queues are first in, first out.
        _write(Path(self.data_folder_out) / f"{time.time_ns():020}_{uuid4().hex}.{queue}.msg", payload)

    def _get(self, queue: str) -> dict[str, Any]:
        """Take the oldest message of `queue`; raises Empty."""
        folder = Path(self.data_folder_in)
        for name in sorted(os.listdir(folder)):
            if name.partition(".")[2] != f"{queue}.msg":
                continue
            try:
                text = (folder / name).read_bytes()
                (folder / name).unlink()
            except FileNotFoundError:
                continue  # another reader has it
            try:
                payload = loads(text.decode())
                self.Message(payload, channel=self)
            except _BROKEN as error:
                logger.warning(
                    "Dropped an unreadable message of queue %s (%s)",
                    queue,
                    type(error).__name__,
                    extra={"queue": queue, "error": type(error).__name__},
                )
                continue
            return payload
        raise Empty

    def get_table(self, exchange: str) -> Table:
        """Return the bindings of `exchange`; none when it is unknown, or its file was damaged."""
        try:
            return [exchange_queue_t(*row) for row in loads(self._exchange_file(exchange).read_text(encoding="utf-8"))]
        except FileNotFoundError:
            return []
        except _BROKEN as error:
            logger.warning(
                "Forgot the damaged bindings of exchange %s (%s)",
                exchange,
                type(error).__name__,
                extra={"exchange": exchange, "error": type(error).__name__},
            )
            return []

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str | None, queue: str) -> None:
        binding = exchange_queue_t(routing_key or "", pattern or "", queue or "")
        self._edit_table(exchange, lambda table: table if binding in table else [binding, *table])
        if self.typeof(exchange).type == "fanout":
            self._purge(queue)  # a broadcast is for those who listen: no old "shut down" for a worker that starts

    def _delete(self, queue: str, exchange: str, routing_key: str, pattern: str | None, *args: Any, **kw: Any) -> None:
        self._purge(queue)
        binding = exchange_queue_t(routing_key or "", pattern or "", queue or "")
        self._edit_table(exchange, lambda table: [row for row in table if row != binding])

    def _edit_table(self, exchange: str, edit: Callable[[Table], Table]) -> None:
        with self._tables_locked():
            before = self.get_table(exchange)
            after = edit(before)
            if after != before:
                _write(self._exchange_file(exchange), after)

    @contextmanager
    def _tables_locked(self) -> Iterator[None]:
        """One writer of tables at a time; readers need no lock."""
        with (self.control_folder / "lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)


class Transport(filesystem.Transport):
    """Makes its folders when it connects."""

    Channel = Channel
    driver_name = "notifyfile"
    polling_interval = _POLLING_SECONDS
    default_connection_params: dict[str, Any] = {}  # there is no host, and no warning that none was given
    # A full disk or a removed folder is a lost connection: publishers give up, workers try again.
    connection_errors = (*filesystem.Transport.connection_errors, OSError)

    _states: dict[str, virtual.BrokerState] = {}  # per folder, since one process may know several

    def __init__(self, client: Any, **kwargs: Any) -> None:
        super().__init__(client, **kwargs)
        self.folders = [Path(client.transport_options[name]) for name in ("data_folder_in", "control_folder")]
        self.state = self._states.setdefault(str(self.folders[0]), virtual.BrokerState())

    def establish_connection(self) -> "Transport":
        """Make the folders, open to this user alone, and sweep out what killed processes left."""
        for folder in self.folders:
            folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            for path in folder.iterdir():
                if path.name.endswith((".part", ".pidbox.msg")):
                    _remove_forgotten(path)
        return super().establish_connection()


def _remove_forgotten(path: Path) -> None:
    try:
        if time.time() - path.stat().st_mtime > _FORGOTTEN_AFTER_SECONDS:
            path.unlink()
    except FileNotFoundError:
        pass  # somebody else was first
