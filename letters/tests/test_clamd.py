"""The client of the virus scanner, against a real clamd."""

import io
import socket
import threading
from contextlib import closing, contextmanager
from datetime import timedelta

import pytest

from letters import clamd
from letters.tests import clamd_server as servers

clamd_server, scanner = servers.clamd_server, servers.scanner
EICAR = clamd._EICAR


def free_port():
    """Return a port nobody listens on."""
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))
        return line.getsockname()[1]


@contextmanager
def answering(settings, *answers):
    """Run a server that gives each connection the next answer.

    None: it is silent for half a second. b"": it hangs up at once.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        settings.CLAMD_SOCKET = f"127.0.0.1:{server.getsockname()[1]}"
        clamd._passed.clear()
        done = threading.Event()

        def serve():
            for answer in answers:
                line, _ = server.accept()
                with closing(line):
                    got = b""
                    while answer != b"" and not got.endswith(bytes(4)):
                        got += line.recv(100_000)
                    if answer is None:
                        done.wait(0.5)
                    else:
                        line.sendall(answer)

            server.close()  # whoever comes now is refused

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join(5)


def test_a_clean_file_is_clean_and_an_infected_one_named(scanner):
    assert clamd.scan(io.BytesIO(b"%PDF-1.7 a letter")) == ""
    assert clamd.scan(io.BytesIO(b"%PDF-1.7 " + EICAR + b" more")) == servers.VIRUS


def test_the_whole_file_is_scanned_from_its_start_whatever_its_size(scanner):
    far = io.BytesIO(b"x" * (5 * clamd.CHUNK + 1) + EICAR)
    far.read()
    assert clamd.scan(far) == servers.VIRUS
    edge = io.BytesIO(b"x" * (clamd.CHUNK - 30) + EICAR)  # across two chunks
    assert clamd.scan(edge) == servers.VIRUS
    assert clamd.scan(io.BytesIO(b"y" * clamd.CHUNK)) == ""  # ends at the edge of a chunk


def test_an_empty_file_is_not_asked_about(scanner):
    with pytest.raises(clamd.Declined, match="empty"):
        clamd.scan(io.BytesIO(b""))


def test_a_file_over_the_scanners_limit_is_neither_clean_nor_infected(scanner):
    with pytest.raises(clamd.Declined, match=r"size limit exceeded|StreamMaxLength"):
        clamd.scan(io.BytesIO(b"z" * (5 * servers.LIMIT)))
    assert clamd.scan(io.BytesIO(b"small")) == ""


def test_a_scanner_reached_over_tcp(settings):
    with servers.running(port=free_port()) as server:
        settings.CLAMD_SOCKET = server.address
        clamd._passed.clear()
        assert clamd.scan(io.BytesIO(EICAR)) == servers.VIRUS
        assert clamd.scan(io.BytesIO(b"fine")) == ""


def test_a_scanner_without_the_right_signatures_is_not_believed(settings):
    with servers.running(signature=b"something else entirely") as server:
        settings.CLAMD_SOCKET = server.address
        clamd._passed.clear()
        with pytest.raises(clamd.Away, match="EICAR"):
            clamd.scan(io.BytesIO(b"fine"))


@pytest.mark.parametrize("address", ["", "/nowhere/at/all", "127.0.0.1:1", "nonsense", "host:port", "/tmp"])
def test_without_a_scanner_there_is_no_verdict(settings, address):
    settings.CLAMD_SOCKET = address
    clamd._passed.clear()
    with pytest.raises(clamd.Away):
        clamd.scan(io.BytesIO(b"fine"))


def test_a_passed_self_test_is_remembered_for_a_while_and_forgotten_when_the_scanner_is_away(settings, monkeypatch):
    found, fine = b"stream: Eicar FOUND\0", b"stream: OK\0"
    with answering(settings, found, fine, fine, b"", b"", found, fine):
        assert clamd.scan(io.BytesIO(b"1")) == ""
        assert clamd.scan(io.BytesIO(b"2")) == ""  # no second self-test
        with pytest.raises(clamd.Away):
            clamd.scan(io.BytesIO(b"3"))
        assert clamd._passed == {}
        assert clamd.scan(io.BytesIO(b"4")) == ""  # tested again
        monkeypatch.setattr(clamd, "TESTED_FOR", 0.0)
    with pytest.raises(clamd.Away):
        clamd.scan(io.BytesIO(b"5"))  # too long ago: asks again, and nobody is there


def test_trouble_with_one_file_is_not_laid_to_a_scanner_that_is_well(settings):
    found, fine = b"stream: Eicar FOUND\0", b"stream: OK\0"
    with answering(settings, found, b"", found, fine):
        with pytest.raises(clamd.Declined, match="cut the line"):
            clamd.scan(io.BytesIO(b"1"))
        assert clamd.scan(io.BytesIO(b"2")) == ""


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"stream: OK", clamd.Away),  # cut off before its end
        (b"", clamd.Away),
        (b"OK\0", clamd.Away),
        (b"stream: OKAY\0", clamd.Away),
        (b"stream:  FOUND\0", clamd.Away),
        (b"file: Eicar FOUND\0", clamd.Away),
        (b"x" * 5_000, clamd.Away),
        (b"UNKNOWN COMMAND\0", clamd.Away),
        (b"INSTREAM size limit exceeded. ERROR\0", clamd.Declined),
        (b"stream: Can't allocate memory ERROR\0", clamd.Declined),
        (b"stream: Heuristics.Limits.Exceeded.MaxScanSize FOUND\0", clamd.Declined),
    ],
)
def test_only_a_plain_answer_is_a_verdict(settings, answer, error):
    with answering(settings, b"stream: Eicar FOUND\0", answer), pytest.raises(error):
        clamd.scan(io.BytesIO(b"fine"))


def test_a_scanner_that_hangs_is_left_after_the_time_limit(settings):
    settings.LETTER_SCAN_TIMEOUT = timedelta(seconds=0.2)
    found = b"stream: Eicar FOUND\0"
    with answering(settings, found, None, found), pytest.raises(clamd.Declined, match="in time"):
        clamd.scan(io.BytesIO(b"fine"))


def test_what_is_said_of_an_error_holds_nothing_of_the_file(scanner):
    scanner_address = scanner.address
    with pytest.raises(clamd.ScannerError) as caught:
        clamd.scan(io.BytesIO(b"private " * servers.LIMIT))
    assert "private" not in str(caught.value)
    assert scanner_address not in str(caught.value)
