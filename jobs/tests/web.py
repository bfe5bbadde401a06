"""A person's browser as plain HTTP, for tests against a running web process."""

import http.client
import re
import uuid
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode

import psutil

from jobs.tests.installation import Installation

SECONDS, MEGABYTES = 30, 300  # bounds per request, on a busy machine


class Web:
    """A logged-in person's browser, as plain HTTP."""

    def __init__(self, house: Installation, port: int) -> None:
        self.house, self.port = house, port
        self.template, self.service = house.query(
            "SELECT t.id::text, t.service_id::text FROM notify_template t WHERE t.name = 'Appointment'"
        )[0]
        self.cookies: dict[str, str] = {}
        token = self._token(self.request("GET", "/admin/login/")[1])
        form = urlencode({"username": "sender", "password": "a-password-for-tests", "csrfmiddlewaretoken": token})
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        assert self.request("POST", "/admin/login/?next=/admin/", form.encode(), headers)[0] == 302

    def request(self, method: str, path: str, body: object = None, headers: dict | None = None) -> tuple[int, str]:
        """Send one request; returns the status and the text."""
        own = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)) as line:
            line.request(method, path, body, own | (headers or {}), encode_chunked=not isinstance(body, bytes | None))
            answer = line.getresponse()
            for cookie in answer.headers.get_all("Set-Cookie") or []:
                name, _, value = cookie.split(";")[0].partition("=")
                self.cookies[name] = value
            return answer.status, answer.read().decode("utf-8", "replace")

    def upload(self, data: bytes, *, name: str = "a.csv", extra: bytes = b"", **fields: str) -> tuple[int, str]:
        """Send the form with a file."""
        body, headers = self.form(data, name=name, extra=extra, **fields)
        return self.request("POST", "/admin/jobs/job/add/", body, headers)

    def form(self, data: bytes, *, name: str = "a.csv", extra: bytes = b"", **given: str) -> tuple[bytes, dict]:
        """Build the form as a browser does."""
        fields = {"csrfmiddlewaretoken": self.cookies["csrftoken"], "job_id": str(uuid.uuid4()),
                  "service": self.service, "template": self.template, "encoding": "",
                  "scheduled_for": "", **given}  # fmt: skip
        edge = b"--edge-of-a-part"
        parts = [
            edge + f'\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
            for key, value in fields.items()
        ]
        head = f'\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: text/csv\r\n\r\n'
        body = b"".join([*parts, extra, edge, head.encode(), data, b"\r\n", edge, b"--\r\n"])
        return body, {"Content-Type": "multipart/form-data; boundary=edge-of-a-part"}

    def agree(self, page: str) -> tuple[int, str]:
        """Agree to a preview."""
        found = {name: re.search(rf'name="{name}" value="([^"]*)"', page)[1] for name in ("token", "job_id")}
        form = found | {"csrfmiddlewaretoken": self._token(page), "accept_invalid": "on", "accept_repeated": "on"}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.request("POST", "/admin/jobs/job/confirm/", urlencode(form).encode(), headers)

    def memory(self) -> float:
        """Return the largest peak in MB among the web process and its workers."""
        web = psutil.Process(self.house.processes.members["web"].pid)
        peaks = [Path(f"/proc/{one.pid}/status").read_text() for one in (web, *web.children(recursive=True))]
        return max(int(text.split("VmHWM:")[1].split()[0]) / 1024 for text in peaks)

    def left(self) -> tuple[int, int, int]:
        """Count jobs, messages and stored files."""
        rows = self.house.query("SELECT (SELECT count(*) FROM jobs_job), (SELECT count(*) FROM notify_notification)")
        return (*rows[0], sum(path.is_file() for path in (self.house.var / "jobs").rglob("*")))

    def _token(self, page: str) -> str:
        return re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)[1]
