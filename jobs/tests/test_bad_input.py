"""Bad files against a running web process: a clear answer, nothing left behind, memory flat, and a good file works."""

import http.client
import re
import time
import uuid
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode

import psutil
import pytest

from jobs.tests.installation import Installation, own_database, tidy_broker
from notify.processes import listen

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("processes")]
HEAD = b"phone number,name,date,place,reference\n"
ROW = b"07700900123,Jo,1 May,Clinic,R1\n"
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

    def upload(self, data: bytes, *, name: str = "a.csv", job_id: str = "", extra: bytes = b"") -> tuple[int, str]:
        """Send the form with a file."""
        body, headers = self.form(data, name=name, job_id=job_id, extra=extra)
        return self.request("POST", "/admin/jobs/job/add/", body, headers)

    def form(self, data: bytes, *, name: str = "a.csv", job_id: str = "", extra: bytes = b"") -> tuple[bytes, dict]:
        """Build the form as a browser does."""
        fields = {"csrfmiddlewaretoken": self.cookies["csrftoken"], "job_id": job_id or str(uuid.uuid4()),
                  "service": self.service, "template": self.template, "encoding": "", "scheduled_for": ""}  # fmt: skip
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


@pytest.fixture(scope="module")
def web(tmp_path_factory):
    """A house with a web process only: nothing is sent."""
    var = tmp_path_factory.mktemp("bad")
    with own_database(var) as database, tidy_broker():
        house = Installation(var, database)
        with house.processes, closing(listen(8400)) as listener:
            house.manage("manage.py", "migrate", "-v0")
            with house.shell(
                "from jobs.demo import prepare; from django.utils import timezone;"
                "from django.contrib.auth.models import User;"
                "prepare('127.0.0.1:9', now=timezone.now());"
                "User.objects.create_superuser('sender', password='a-password-for-tests')"
            ) as made:
                assert made.wait(60) == 0, made.stderr.read()
            house.processes.start_web(listener)
            yield Web(house, listener.getsockname()[1])


CASES = {
    "C01 empty": (b"", "CSV_EMPTY"),
    "C02 header only": (HEAD, "CSV_NO_ROWS"),
    "C07 Windows-1252": (HEAD + ROW + "07700900123,Zoë,1,C,R\n".encode("latin-1") + b"\x81\n", "CSV_ENCODING"),
    "C08 mixed encodings": (HEAD + "07700900123,Zoë,1,C,R\n".encode() + b"07700900123,Zo\xeb\x81,1,C,R\n", "Row 3"),
    "C10 NUL": (HEAD + b"07700900123,J\x00o,1,C,R\n", "CSV_CONTROL_CHAR"),
    "C13 unclosed quote": (HEAD + ROW * 3 + b'07700900123,"Jo,1,C,R\n' + ROW * 2_000, "CSV_QUOTE"),
    "C14 text after a quote": (HEAD + b'07700900123,"Jo"x,1,C,R\n', "CSV_QUOTE"),
    "C16 long cell": (HEAD + b"07700900123," + b"x" * 200_000 + b",1,C,R\n", "CSV_CELL_TOO_LONG"),
    "C19 too many rows": (HEAD + ROW * 100_001, "100,001 rows, limit 100,000"),
    "C22 doubled column": (b"phone number,name,Name,date,place,reference\n" + ROW, "CSV_DUPLICATE_COLUMN"),
    "C23 missing column": (b"phone number,nmae,date,place,reference\n" + ROW, "CSV_MISSING_COLUMN"),
    "C25 unnamed column": (b"phone number,name,date,place,reference,\n" + ROW[:-1] + b",x\n", "CSV_UNNAMED_COLUMN"),
    "C28 no header": (ROW * 2, "CSV_NO_RECIPIENT_COLUMN"),
    "C29 pipes": (HEAD.replace(b",", b"|") + ROW.replace(b",", b"|"), "CSV_DELIMITER"),
    "C31 compressed": (b"\x1f\x8b\x08\x00" + b"\x00" * 500, "UPLOAD_COMPRESSED"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_file_that_cannot_be_read_is_refused_and_nothing_stays(web, case):
    data, words = CASES[case]
    before, start = web.left(), time.monotonic()
    status, page = web.upload(data)
    assert (status, words in page.replace("&quot;", '"')) == (200, True), page[-3_000:]
    assert web.left() == before
    assert time.monotonic() - start < SECONDS


@pytest.mark.parametrize(
    ("case", "data"),
    [
        ("C04 mark before the header", b"\xef\xbb\xbf" + HEAD + ROW),
        ("C05 UTF-16", (HEAD + ROW).decode().encode("utf-16")),
        ("C26 a row too long", HEAD + ROW + ROW[:-1] + b",more\n"),
        ("C29 semicolons", HEAD.replace(b",", b";") + ROW.replace(b",", b";")),
        ("C34 bad numbers", HEAD + ROW + "٠٧٧٠٠,Jo,1,C,R\n07700²,Jo,1,C,R\n".encode()),
        ("C37 one recipient often", HEAD + ROW * 500),
        ("C41 outside the alphabet", HEAD + "07700900123,Łukasz 😀,1,C,R\n".encode()),
    ],
)
def test_a_file_with_odd_or_bad_rows_is_accepted_after_a_look(web, case, data):
    before = web.left()
    status, page = web.upload(data)
    assert (status, "Check before sending" in page) == (200, True), page[-3_000:]
    assert web.left()[:2] == before[:2]
    assert web.agree(page)[0] == 302
    assert web.left() == (before[0] + 1, before[1], before[2] + 1)


@pytest.mark.parametrize(
    "name", ["../../etc/x.csv", "x" * 300 + ".csv", "a\\u202eb.csv", "CON", " ", "line%0abreak.csv"]
)
def test_a_strange_file_name_is_cleaned_and_never_a_path(web, name):
    status, page = web.upload(HEAD + ROW, name=name)
    if status == 200 and "Check before sending" in page:
        assert web.agree(page)[0] == 302
    assert not (web.house.var.parent / "etc").exists()
    assert status in (200, 400)


def test_one_line_of_a_hundred_megabytes_leaves_memory_flat(web):
    web.upload(HEAD + ROW)
    before, idle, start = web.left(), web.memory(), time.monotonic()
    status, page = web.upload(HEAD + b"x" * 99_000_000)
    assert (status, "CSV_LINE_TOO_LONG" in page) == (200, True)
    assert web.memory() - idle < MEGABYTES
    assert web.left() == before
    assert time.monotonic() - start < SECONDS


def test_a_form_with_too_many_fields_or_none_is_refused(web):
    many = b"".join(
        b'--edge-of-a-part\r\nContent-Disposition: form-data; name="f%d"\r\n\r\n1\r\n' % n for n in range(1_001)
    )
    assert web.upload(HEAD + ROW, extra=many)[0] == 400
    body, _ = web.form(HEAD + ROW)
    assert web.request("POST", "/admin/jobs/job/add/", body, {"Content-Type": "multipart/form-data"})[0] in (400, 403)


def test_a_line_that_is_cut_at_sixty_per_cent_leaves_nothing(web):
    before = web.left()
    body, headers = web.form(HEAD + ROW * 10_000)
    cookie = "; ".join(f"{name}={value}" for name, value in web.cookies.items())
    with closing(http.client.HTTPConnection("127.0.0.1", web.port, timeout=SECONDS)) as line:
        line.putrequest("POST", "/admin/jobs/job/add/")
        for name, value in (headers | {"Cookie": cookie, "Content-Length": str(len(body))}).items():
            line.putheader(name, value)
        line.endheaders()
        line.send(body[: len(body) * 6 // 10])
    time.sleep(1)
    assert web.left() == before


@pytest.mark.parametrize(("length", "status"), [(100_100_001, 413), (10**30, 413)])
def test_a_body_over_the_limit_is_refused_before_it_is_read(web, length, status):
    before = web.left()
    with closing(http.client.HTTPConnection("127.0.0.1", web.port, timeout=SECONDS)) as line:
        line.putrequest("POST", "/admin/jobs/job/add/")
        line.putheader("Content-Length", str(length))
        line.endheaders()
        answer = line.getresponse()
        assert (answer.status, b"UPLOAD_TOO_LARGE" in answer.read()) == (status, True)
    assert web.left() == before


def test_a_body_without_a_length_stores_nothing(web):
    before = web.left()
    body, headers = web.form(HEAD + ROW)
    status, _ = web.request("POST", "/admin/jobs/job/add/", iter([body]), headers | {"Transfer-Encoding": "chunked"})
    assert (status, web.left()) == (403, before)


def test_submitting_twice_makes_one_job_and_a_good_file_still_works(web):
    before = web.left()
    _, page = web.upload(HEAD + ROW)
    assert web.agree(page)[0] == 302
    assert web.agree(page)[0] == 302
    assert web.left() == (before[0] + 1, before[1], before[2] + 1)
