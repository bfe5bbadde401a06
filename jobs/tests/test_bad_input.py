"""Bad files against a running web process: a clear answer, nothing left behind, memory flat, and a good file works."""

import gzip
import http.client
import time
from contextlib import closing

import pytest

from jobs.tests.installation import Installation, own_database, tidy_broker
from jobs.tests.web import MEGABYTES, SECONDS, Web
from notify.processes import listen

pytestmark = pytest.mark.processes
HEAD = b"phone number,name,date,place,reference\n"
ROW = b"07700900123,Jo,1 May,Clinic,R1\n"


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
        ("C11 odd controls in a cell", HEAD + "07700900123,a\x0bb\x0cc\x85d\u2028e,1,C,R\n".encode() + ROW),
        ("C38 too long", HEAD + ROW + b"07700900123," + b"x" * 919 + b",1,C,R\n"),
        ("C40 formulas", HEAD + b"07700900123,=1+1,+1,-1,@SUM(A1)\n"),
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


@pytest.mark.parametrize(
    ("typed", "code"),
    [("2020-01-01T09:30", "SCHEDULE_PAST"), ("2099-01-01T09:30", "SCHEDULE_TOO_FAR"), ("soon", "SCHEDULE_UNREADABLE"),
     ("2027-03-28T01:30", "SCHEDULE_NO_SUCH_TIME")],
)  # fmt: skip
def test_a_time_that_cannot_be_kept_is_refused_and_nothing_stays(web, typed, code):
    before = web.left()
    status, page = web.upload(HEAD + ROW, scheduled_for=typed)
    assert (status, code in page) == (200, True)
    assert web.left() == before


def test_more_rows_than_the_day_allows_are_refused_with_the_number_left(web):
    with web.house.shell("from notify.models import Service; Service.objects.update(sms_daily_limit=5)") as made:
        assert made.wait(60) == 0, made.stderr.read()
    try:
        before = web.left()
        status, page = web.upload(HEAD + ROW * 6)
        assert (status, "DAILY_LIMIT" in page, "only 5 more" in page) == (200, True, True)
        assert web.left() == before
    finally:
        with web.house.shell(
            "from notify.models import Service; Service.objects.update(sms_daily_limit=10**6)"
        ) as made:
            assert made.wait(60) == 0, made.stderr.read()


def test_of_two_files_in_one_field_the_last_counts_and_a_wrong_field_is_refused(web):
    part = b'--edge-of-a-part\r\nContent-Disposition: form-data; name="%s"; filename="b.csv"\r\n\r\n%s\r\n'
    status, page = web.upload(HEAD + ROW, extra=part % (b"file", HEAD + ROW * 3))
    assert (status, "1 row for" in page) == (200, True)
    before = web.left()
    body, headers = web.form(HEAD + ROW)
    status, page = web.request("POST", "/admin/jobs/job/add/", body.replace(b'name="file"', b'name="fil"'), headers)
    assert (status, "The job was not made" in page) == (200, True)
    assert web.left() == before


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


def test_a_compressed_body_is_refused_and_never_inflated(web):
    before = web.left()
    body, headers = web.form(HEAD + ROW)
    bomb = gzip.compress(body + b"x" * 10_000_000)
    status, text = web.request("POST", "/admin/jobs/job/add/", bomb, headers | {"Content-Encoding": "gzip"})
    assert (status, "UPLOAD_COMPRESSED" in text) == (415, True)
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
