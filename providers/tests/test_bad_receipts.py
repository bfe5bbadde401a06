"""Bad receipts against a running web process and worker: the answer, what is kept, memory, and a good one still works.

Each folder of bad/ holds the body and expect.json: how it is sent, and what is expected. `@sent@` in a body is the id
of a message; see KINDS.
"""

import base64
import json
import re
import socket
import time
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest

from providers.tests.receiving import receiving

pytestmark = pytest.mark.processes
CASES = sorted(path.parent.name for path in (Path(__file__).parent / "bad").glob("*/expect.json"))
SECONDS, MEGABYTES = 10, 100  # bounds per request, and above idle
SENT_WITHIN = 2  # seconds
KINDS = {
    "sent": {"status": "sending", "provider_name": "mmg"},
    "second": {"status": "sending", "provider_name": "mmg"},
    "firetext": {"status": "sending", "provider_name": "firetext"},
    "letter": {"status": "sending", "notification_type": "letter"},
    "cancelled": {"status": "cancelled", "due_at": None},
    "never": {"status": "created", "due_at": None},
    "good": {"status": "sending", "provider_name": "mmg"},
}


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """The web process and one worker, on a database of their own."""
    within = {"RECEIPT_SENT_WITHIN_SECONDS": str(SENT_WITHIN)}
    with receiving(tmp_path_factory.mktemp("bad-receipts"), KINDS, len(CASES) + 10, **within) as house:
        house.start_worker()
        house.good()  # everything is awake
        yield house


def request_of(case, house):
    """Return a case's body with ids of messages in it, the ids used, and what is expected."""
    folder = Path(__file__).parent / "bad" / case
    expect = json.loads((folder / "expect.json").read_text())
    body = (folder / "body").read_bytes() if (folder / "body").exists() else b""
    used = {}
    for kind in KINDS:
        mark = f"@{kind}@"
        for coding in ("utf-8", "utf-16-le"):
            if mark.encode(coding) in body:
                used.setdefault(kind, house.ids[kind].pop())
                body = body.replace(mark.encode(coding), used[kind].encode(coding))
    return body.ljust(expect.get("padded_to", 0)), used, expect


def headers_of(expect):
    given = expect.get("content_type", "application/json")
    return expect.get("raw_headers", {}) | ({"Content-Type": given} if given else {})


@pytest.mark.parametrize("case", CASES)
def test_what_a_bad_receipt_gets_and_what_is_kept(house, case):
    body, used, expect = request_of(case, house)
    before, memory, start = house.count(), house.memory(), time.monotonic()
    since = house.query("SELECT now()")[0][0]
    for _ in range(expect.get("times", 1)):
        status, headers, text = house.post(
            body, path=expect.get("path", "/receipts/mmg/"), user=expect.get("user", "mmg:word-of-mmg"),
            method=expect.get("method", "POST"), headers=headers_of(expect), chunked=expect.get("chunked", False),
        )  # fmt: skip
        assert status == expect["status"], text
    assert re.search(expect.get("answer", ""), text), text
    assert all(headers[name].startswith(value) for name, value in expect.get("header", {}).items())
    house.applied()
    assert time.monotonic() - start < SECONDS
    after = house.count()
    assert (after[0] - before[0], after[1:]) == (expect.get("receipts", 1), before[1:])
    assert house.memory() - memory < MEGABYTES
    check_kept(house, since, used, expect)
    log = house.processes.members["web"].log.read_text()
    assert re.search(expect.get("log", ""), log)
    assert "Traceback" not in log
    house.good()


def check_kept(house, since, used, expect):
    """Compare the receipts stored since then, their messages and the open alerts."""
    kept = house.query(
        "SELECT outcome, times_received, occurred_at, received_at FROM providers_receipt WHERE received_at >= %s", since
    )
    assert sorted({row[0] for row in kept}) == expect.get("outcomes", [])
    if "times_received" in expect:
        assert [row[1] for row in kept] == [expect["times_received"]]
    if "occurred" in expect:  # the provider's time is not to be had: the moment of receipt counts, and the row says so
        assert [row[2] for row in kept] == [None]
        found = "SELECT delivered_at FROM notify_notification WHERE id = ANY(%s::uuid[])"
        assert house.query(found, list(used.values())) == [(kept[0][3],)]
    assert {kind: house.status(key) for kind, key in used.items() if kind in expect.get("message", {})} == (
        expect.get("message", {})
    )
    assert set(expect.get("alerts", [])) <= house.alerts()


def head(house, *more):
    secret = base64.b64encode(b"mmg:word-of-mmg").decode()
    lines = ["POST /receipts/mmg/ HTTP/1.1", "Host: localhost", f"Authorization: Basic {secret}", *more, "", ""]
    return "\r\n".join(lines).encode()


def opened(house):
    return closing(socket.create_connection(("127.0.0.1", house.port), timeout=SECONDS))


def test_p22_a_sender_of_a_byte_now_and_then_is_hung_up_on_and_nothing_is_kept(house):
    before, start = house.count(), time.monotonic()
    with opened(house) as line:
        line.sendall(head(house, "Content-Length: 1000"))
        for _ in range(100):
            with suppress(BrokenPipeError, ConnectionResetError):
                line.sendall(b"x")
                time.sleep(0.1)
                continue
            break
    assert SENT_WITHIN - 0.5 < time.monotonic() - start < SENT_WITHIN + 30
    assert house.count() == before
    house.good()


def test_p22_a_sender_that_says_nothing_more_is_hung_up_on_too(house):
    before, start = house.count(), time.monotonic()
    with opened(house) as line:
        line.sendall(head(house, "Content-Length: 1000") + b"{")
        assert line.recv(100) == b""
    assert SENT_WITHIN - 0.5 < time.monotonic() - start < SENT_WITHIN + 30
    assert house.count() == before


@pytest.mark.parametrize(
    ("more", "sent"),
    [
        ("Content-Length: 1000", b"x" * 600),
        ("Transfer-Encoding: chunked", b"5\r\nhello\r\n"),
        ("Transfer-Encoding: chunked", b"5\r\nhello there\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked", b"zz\r\nhello\r\n0\r\n\r\n"),
    ],
)
def test_a_body_that_is_cut_or_malformed_is_refused_and_nothing_is_kept(house, more, sent):
    before = house.count()
    with opened(house) as line:
        line.sendall(head(house, more) + sent)
        line.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: line.recv(10_000), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"RECEIPT_CUT_OFF" in answer
    assert house.count() == before
    house.good()


def test_more_slow_senders_than_threads_do_not_keep_others_out(house):
    before = house.count()
    with ExitStack() as lines:
        for _ in range(40):  # at sixteen threads; were they not hung up on, the good one would wait in vain
            lines.enter_context(opened(house)).sendall(head(house, "Content-Length: 1000") + b"{")
        house.good()
    assert house.count()[0] - before[0] == 1
