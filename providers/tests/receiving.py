"""An installation that takes and applies receipts, for tests against running processes."""

import base64
import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from jobs.tests.installation import WAIT, Installation, own_database, tidy_broker
from notify.processes import listen

SEED = """
import json
from django.utils import timezone
from notify import testing
for name in ("mmg", "firetext", "email", "postal"):
    testing.make_provider(name, config={"receipt_user": name, "receipt_passwords": [f"word-of-{name}"]})
templates = {kind: testing.make_template(notification_type=kind) for kind in ("sms", "letter")}
made = {}
for name, fields in KINDS.items():
    template = templates[fields.get("notification_type", "sms")]
    more = {"sent_at": timezone.now()} if fields["status"] == "sending" else {}
    made[name] = [str(testing.make_notification(template=template, **fields | more).pk) for _ in range(COUNT)]
print(json.dumps(made))
"""


class House(Installation):
    """An installation that only takes and applies receipts, with messages to report on."""

    listener: Any = None
    port = 0
    ids: dict[str, list[str]]

    def start_worker(self):
        """Start the worker that applies receipts."""
        self.processes.start_worker("receipts", ["receipts"], 1)

    def post(self, body, *, path="/receipts/mmg/", user="mmg:word-of-mmg", method="POST", headers=None, chunked=False):
        """Send one request; returns the status, the headers and the text."""
        own = {"Authorization": f"Basic {base64.b64encode(user.encode()).decode()}"} if user else {}
        data = (body[at : at + 50_000] for at in range(0, len(body), 50_000)) if chunked else body
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT)) as line:
            with suppress(BrokenPipeError, ConnectionResetError):  # answered and hung up before everything was read
                line.request(method, path, data, own | (headers or {}), encode_chunked=chunked)
            answer = line.getresponse()
            return answer.status, answer.headers, answer.read().decode()

    def count(self):
        """Count rows: receipts, messages, callbacks."""
        tables = ("providers_receipt", "notify_notification", "callbacks_callback")
        return self.query("SELECT " + ", ".join(f"(SELECT count(*) FROM {table})" for table in tables))[0]

    def applied(self):
        """Wait until no receipt is due."""
        due = "SELECT count(*) FROM providers_receipt WHERE applied_at IS NULL AND due_at <= now()"
        self.wait(lambda: self.query(due)[0][0] == 0, lambda: f"{self.query(due)[0][0]} receipts are due")

    def alerts(self):
        """Name the open alerts."""
        return {f"{kind} {scope}" for kind, scope in self.query(
            "SELECT kind, scope FROM notify_alert WHERE resolved_at IS NULL"
        )}  # fmt: skip

    def memory(self):
        """Return the largest peak in MB among the web process and its workers."""
        web = psutil.Process(self.processes.members["web"].pid)
        peaks = [Path(f"/proc/{one.pid}/status").read_text() for one in (web, *web.children(recursive=True))]
        return max(int(text.split("VmHWM:")[1].split()[0]) / 1024 for text in peaks)

    def good(self):
        """Send a good receipt and see that it is applied."""
        key = self.ids["good"].pop()
        status, _, _ = self.post(json.dumps({"CID": key, "status": "3", "substatus": "5"}).encode())
        self.applied()
        assert (status, self.status(key)) == (200, "delivered")

    def status(self, key):
        """Return a message's status."""
        return self.query("SELECT status FROM notify_notification WHERE id = %s", key)[0][0]


@contextmanager
def receiving(var: Path, kinds: Mapping[str, dict], count: int, **environment: str) -> Iterator[House]:
    """Start the web process on a database of its own, with `count` messages of each kind to report on.

    kinds: name → fields of a message. The worker is not started; its loop stays awake, so that nothing waits for a
    wake-up.
    """
    with own_database(var) as database, tidy_broker():
        house = House(var, database)
        house.processes.environment |= {"LOOP_LINGER_FOR_SECONDS": "45", **environment}
        with house.processes, closing(listen(8430)) as listener:
            house.manage("manage.py", "migrate", "-v0")
            with house.shell(f"KINDS, COUNT = {kinds!r}, {count}\n{SEED}") as made:
                out, errors = made.communicate(timeout=60)
            assert made.returncode == 0, errors
            house.ids = json.loads(out)
            house.listener, house.port = listener, listener.getsockname()[1]
            house.processes.start_web(listener)
            yield house
