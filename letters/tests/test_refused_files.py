"""What a refused PDF keeps packed is taken apart for the virus scanner, within limits."""

import io
import tarfile
import tempfile

import pikepdf
import pytest

from letters import clamd, pdf_checks, refused_files
from letters.tests import clamd_server as servers
from letters.tests import made_up_pdfs as pdfs

clamd_server, scanner = servers.clamd_server, servers.scanner


def parts_of(data):
    """Return the bytes of the tar a PDF is taken apart into."""
    with tempfile.TemporaryFile() as file:
        file.write(data)
        with pdf_checks.taken_apart(file) as parts:
            return parts.read()


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
        assert refused_files.virus_in(file) == servers.VIRUS
        file.seek(0)
        file.truncate()
        file.write(b"x" * (servers.LIMIT + 100))
        with pytest.raises(clamd.Declined):
            refused_files.virus_in(file)
