"""What a PDF keeps packed is taken apart for the virus scanner, within limits."""

import io
import tarfile
import tempfile
from datetime import timedelta

import pikepdf
import pytest

from letters import clamd, pdf_checks, virus_check
from letters.tests import clamd_server as servers
from letters.tests import made_up_pdfs as pdfs
from letters.tests import scans
from letters.tests.scans import NOW, Status, alerts, found, lying, run, waiting

clamd_server, scanner, storage = servers.clamd_server, servers.scanner, scans.storage


def parts_of(data):
    """Return the bytes of the tar a PDF is taken apart into."""
    with tempfile.TemporaryFile() as file:
        file.write(data)
        with pdf_checks.taken_apart(file) as parts:
            return parts.file.read()


def streams(data):
    """Return the streams of a PDF as the scanner gets them."""
    with tarfile.open(fileobj=io.BytesIO(parts_of(data))) as packed:
        return [packed.extractfile(member).read() for member in packed]


def test_each_stream_is_a_file_of_its_own_attachments_first():
    pdf = pdfs.blank()
    pdf.pages[0].obj.Contents = pdf.make_stream(b"the page")
    pdf.attachments["a"], pdf.attachments["b"] = b"first", b"second"
    for encryption in (False, pikepdf.Encryption(owner="owner", user="")):
        found = streams(pdfs.saved(pdf, compress_streams=True, encryption=encryption))
        assert sorted(found[:2]) == [b"first", b"second"]
        assert b"the page" in found[2:]


@pytest.mark.parametrize("data", [b"", b"no PDF", pdfs.locked("secret")], ids=["empty", "no PDF", "locked"])
def test_what_cannot_be_opened_has_no_parts(data):
    assert parts_of(data) == b""


def test_a_small_file_that_is_huge_inside_fills_no_disk(settings):
    settings.LETTER_FILE_BYTES_LIMIT = 1_000_000
    assert len(parts_of(pdfs.with_attachment(bytes(5_000_000)))) <= 1_000_000


def test_a_virus_in_a_file_too_large_for_the_scanner_is_found_where_a_part_can_be_judged(scanner):
    with tempfile.TemporaryFile() as file:
        file.write(pdfs.with_attachment(clamd._EICAR) + b"% " + bytes(servers.LIMIT))
        assert virus_check.virus_in(file, refused=True) == servers.VIRUS
        file.seek(0)
        file.truncate()
        file.write(b"x" * (servers.LIMIT + 100))
        with pytest.raises(clamd.Declined):
            virus_check.virus_in(file, refused=True)


@pytest.mark.django_db
def test_a_letter_fit_to_print_is_shown_to_the_scanner_unpacked_too(scanner, storage):
    data, harmless = (pdfs.with_differences(words) for words in (clamd._EICAR, b"% a letter"))
    with tempfile.TemporaryFile() as file:
        file.write(data)
        assert pdf_checks.check_pdf(file) == pdf_checks.Checked(1)
        assert clamd.scan(file) == ""  # it does not unpack this by itself
    infected, clean = waiting(data), waiting(harmless)
    assert run() == 2
    assert found(infected)[1] == Status.VIRUS_SCAN_FAILED
    assert found(infected)[0].notification.status_reason == f"VIRUS_FOUND: {servers.VIRUS}"
    assert (found(infected)[0].scan_verdict, found(clean)[0].scan_verdict) == ("infected", "clean")
    assert found(clean)[1] == Status.CREATED
    assert lying(storage) == ["letters-invalid", "letters-pdf"]


@pytest.mark.django_db
def test_a_letter_that_could_not_be_taken_apart_to_its_end_waits(scanner, storage, settings):
    settings.LETTER_FILE_BYTES_LIMIT = 400_000  # of what is unpacked, too
    letter = waiting(pdfs.with_differences(b" " * 500_000))
    assert run() == 1
    assert (found(letter)[1], lying(storage)) == (Status.PENDING_VIRUS_CHECK, ["letters-scan"])
    assert "a PDF could not be taken apart" in alerts()["virus-scanner-away"].message
    settings.LETTER_FILE_BYTES_LIMIT = servers.LIMIT
    assert run(NOW + timedelta(hours=1)) == 1
    assert (found(letter)[1], alerts()) == (Status.CREATED, {})


@pytest.mark.django_db
def test_a_letter_whose_parts_are_too_large_for_the_scanner_waits(scanner, storage):
    letter = waiting(pdfs.with_differences(b" " * servers.LIMIT))
    assert run() == 1
    assert (found(letter)[1], lying(storage)) == (Status.PENDING_VIRUS_CHECK, ["letters-scan"])
    assert "size limit exceeded" in alerts()["virus-scanner-away"].message
