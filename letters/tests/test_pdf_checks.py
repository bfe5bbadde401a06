"""Strangers' PDFs: what each bad one is refused for, and what a hostile one can do to us (nothing)."""

import io
import json
import os
import resource
import subprocess
import sys
import tempfile

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from letters import pdf_check_child, pdf_checks
from letters.pdf_checks import Checked, CheckerBroken, Problem, check_pdf
from letters.tests import made_up_pdfs as pdfs

ACTIVE = ["JavaScript", "hidden JavaScript", "JavaScript on closing", "Launch", "embedded file", "XFA", "RichMedia",
          "SubmitForm", "external stream", "GoToE", "Thread", "page of another file", "file of the web",
          "associated file"]  # fmt: skip


def check(data, **limits):
    """Check bytes."""
    with tempfile.TemporaryFile() as file:
        file.write(data)
        return check_pdf(file, **limits)


@pytest.mark.parametrize("pages", [1, 10])
def test_a_letter_of_one_to_ten_pages_may_be_printed(pages):
    assert check(pdfs.good(pages)) == Checked(pages)


def test_a_link_does_no_harm_on_paper():
    assert check(pdfs.with_link()) == Checked(1)


BAD = {
    "L01 0 bytes": (b"", "PDF_NOT_PDF"),
    "L01 not a PDF": (b"PK\x03\x04 a zip", "PDF_NOT_PDF"),
    "L01 HTML with a PDF's mark inside": (b"<html>%PDF-1.7</html>", "PDF_NOT_PDF"),
    "L01 the mark alone": (b"%PDF-1.7\n", "PDF_DAMAGED"),
    "L02 cut off at the end": (pdfs.good()[:-40], "PDF_DAMAGED"),
    "L02 cut off in the middle": (pdfs.good()[:300], "PDF_DAMAGED"),
    "L02 a page that does not unpack": (pdfs.broken_stream(), "PDF_DAMAGED"),
    "L02 shifted by one byte": (pdfs.good().replace(b"endobj", b"endobj ", 1), "PDF_DAMAGED"),
    "L04 needs a password": (pdfs.locked("secret"), "PDF_ENCRYPTED"),
    "L04 needs a password, old cipher": (pdfs.locked("secret", R=3, aes=False, metadata=False), "PDF_ENCRYPTED"),
    "L05 owner's password only": (pdfs.locked(""), "PDF_RESTRICTED"),
    "L07 page tree loop": (pdfs.page_tree_loop(), "PDF_TOO_COMPLEX"),
    "L07 xref loop": (pdfs.xref_loop(), "PDF_TOO_COMPLEX"),
    "L08 no page": (pdfs.saved(pdfs.blank(0)), "PDF_PAGES"),
    "L08 11 pages": (pdfs.good(11), "PDF_PAGES"),
    "L16 a picture of a billion pixels": (pdfs.huge_claim(), "PDF_TOO_COMPLEX"),
    "L13 catalog in the trailer": (pdfs.catalog_in_the_trailer(), "PDF_DAMAGED"),
    **{f"L13 {kind}": (pdfs.active(kind), "PDF_ACTIVE_CONTENT") for kind in ACTIVE},
}


@pytest.mark.parametrize(("data", "code"), BAD.values(), ids=BAD)
def test_a_bad_file_is_refused_with_a_code_and_what_to_do(data, code):
    found = check(data)
    assert isinstance(found, Problem)
    assert found.code == code
    assert code in pdf_checks.CODES
    assert len(str(found)) <= 300
    assert found.sentence.count(". ") + found.sentence.endswith(".") >= 2  # what is wrong, and what to do


SAMPLES = [
    pdfs.good(2), pdfs.active("embedded file"), pdfs.locked(""), pdfs.sized(297, 210, rotate=90), pdfs.huge_claim()
]  # fmt: skip


@given(
    sample=st.sampled_from(SAMPLES),
    cuts=st.lists(st.tuples(st.integers(0, 3_000), st.binary(max_size=8), st.integers(0, 8)), min_size=1, max_size=4),
)
@hypothesis_settings(max_examples=200, deadline=None)
def test_a_file_changed_anywhere_gets_a_known_code_or_passes(sample, cuts):
    for place, put, taken in cuts:
        place %= len(sample)
        sample = sample[:place] + put + sample[place + taken :]
    assert judged(sample) in pdf_checks.CODES | set(range(1, 11))


def judged(data):
    """Return the pages, or the code, that the child would answer; whatever else it raises is a failure."""
    try:
        return pdf_check_child.check(io.BytesIO(data), 10)
    except pdf_check_child.Refused as refused:
        return refused.code


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"/MediaBox", b"/MediaBax"),
        (b"[ 0 0 595.28 841.89 ]", b"[ 0 0 /A (b) ]       "),
        (b"[ 0 0 595.28 841.89 ]", b"[ 0 0 595.28 ]       "),
        (b"[ 0 0 595.28 841.89 ]", b"[ 0 0 1e999 1e999 ]  "),
        (b"/Type /Page\n", b"/Rotate /x \n"),
        (b"/Type /Page ", b"/Rotate (x) "),
        (b"/Count 1", b"/Count x"),
        (b"/Size ", b"/Size /"),
        (b"/Length", b"/S [] /L"),
    ],
)
def test_a_value_of_the_wrong_kind_is_a_damaged_file_not_our_fault(before, after):
    found = check(pdfs.good(1).replace(before, after))
    assert isinstance(found, Problem | Checked)
    if isinstance(found, Problem):
        assert found.code in ("PDF_DAMAGED", "PDF_PAGE_SIZE", "PDF_PAGES")


def test_the_number_of_pages_is_named():
    assert "11 pages" in check(pdfs.good(11)).sentence
    assert "0 pages" in check(pdfs.saved(pdfs.blank(0))).sentence


def test_the_limit_of_pages_is_a_setting(settings):
    settings.LETTER_PAGES_LIMIT = 2
    assert check(pdfs.good(2)) == Checked(2)
    assert check(pdfs.good(3)).code == "PDF_PAGES"


@pytest.mark.parametrize(
    ("data", "fits"),
    [
        (pdfs.sized(210, 297), True),
        (pdfs.sized(212, 295), True),
        (pdfs.sized(212.2, 297), False),
        (pdfs.sized(210, 294.8), False),
        (pdfs.sized(297, 210), False),
        (pdfs.sized(297, 210, rotate=90), True),
        (pdfs.sized(297, 210, rotate=-90), True),
        (pdfs.sized(297, 210, rotate=180), False),
        (pdfs.sized(210, 297, rotate=270), False),
        (pdfs.rotated_by_its_parent(), True),
        (pdfs.sized(230, 317, crop=[10, 10, 220, 307]), True),
        (pdfs.sized(230, 317, crop=[220, 307, 10, 10]), True),  # written from the other corner
        (pdfs.sized(210, 297, crop=[10, 10, 200, 287]), False),
        (pdfs.sized(210, 297, crop=[-50, -50, 400, 400]), True),  # no page shows more than its media box
        (pdfs.sized(105, 148.5, unit=2), True),
        (pdfs.sized(210, 297, unit=2), False),
        (pdfs.sized(215.9, 279.4), False),  # US Letter
    ],
)
def test_only_a4_portrait_as_it_is_seen_fits(data, fits):
    found = check(data)
    assert found == Checked(1) if fits else found.code == "PDF_PAGE_SIZE"


def test_the_page_that_does_not_fit_is_named_with_its_size():
    pdf = pdfs.blank(2)
    pdf.add_blank_page(page_size=(612, 792))
    assert "Page 3 is 216 × 279 mm" in check(pdfs.saved(pdf)).sentence


def test_a_million_objects_are_too_many():
    """L07."""
    assert check(pdfs.many_objects(1_000_000)).code == "PDF_TOO_COMPLEX"
    assert check(pdfs.many_objects(1_000)) == Checked(1)


def test_a_small_file_that_is_huge_inside_does_not_fill_our_memory():
    """L16: the child has 1 GB at most; this process, which starts it, does not grow at all."""
    data = pdfs.huge_inside(50_000_000, pictures=20)  # 1 GB
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert len(data) < 2_000_000
    assert check(data).code == "PDF_TOO_COMPLEX"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10_000  # kB


@pytest.mark.parametrize(
    ("limits", "code"),
    [({"wall": 0.05}, "PDF_TOO_COMPLEX"), ({"memory": 150_000_000}, "PDF_TOO_COMPLEX")],
    ids=["the clock", "memory"],
)
def test_a_file_that_takes_too_much_is_too_complex(limits, code):
    assert check(pdfs.huge_inside(90_000_000), **limits).code == code


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGXCPU)", "PDF_TOO_COMPLEX"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "PDF_TOO_COMPLEX"),
        ("import os; os.abort()", "PDF_TOO_COMPLEX"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "PDF_DAMAGED"),
        ("raise MemoryError", "PDF_TOO_COMPLEX"),
        ("while True: pass", "PDF_TOO_COMPLEX"),
    ],
)
def test_every_death_of_the_child_has_a_code(monkeypatch, tmp_path, ending, code):
    child = tmp_path / "child.py"
    child.write_text("import resource, sys\nresource.setrlimit(resource.RLIMIT_CPU, (1, 1))\n" + ending)
    monkeypatch.setattr(pdf_checks, "CHILD", child)
    assert check(b"%PDF-", wall=3).code == code


@pytest.mark.parametrize("child", ["import no_such_library", "", "print('[]')", 'print(\'{"code": "MADE_UP"}\')'])
def test_a_check_that_does_not_work_here_is_not_blamed_on_the_file(monkeypatch, tmp_path, child):
    (tmp_path / "child.py").write_text(child)
    monkeypatch.setattr(pdf_checks, "CHILD", tmp_path / "child.py")
    with pytest.raises(CheckerBroken):
        check(b"%PDF-")


def test_the_child_knows_no_secrets_and_can_open_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("SECRET_KEY", "a-secret")
    told = tmp_path / "child.py"
    told.write_text(f"""
import json, os, socket, sys
sys.path.insert(0, {os.path.dirname(pdf_checks.CHILD)!r})
import pdf_check_child as child
child.confine({pdf_checks.MEMORY}, {pdf_checks.CPU})
def fails(act):
    try:
        act()
    except (OSError, MemoryError) as error:
        return type(error).__name__
print(json.dumps([sorted(os.environ), fails(lambda: open("/etc/passwd")), fails(socket.socket),
    fails(lambda: bytearray({pdf_checks.MEMORY}))]))
""")
    done = subprocess.run(
        [sys.executable, "-I", str(told)], capture_output=True, env={}, check=True, stdin=subprocess.DEVNULL
    )
    environment, file, network, memory = json.loads(done.stdout)
    assert [name for name in environment if name not in ("LC_CTYPE",)] == []
    assert (file, network, memory) == ("OSError", "OSError", "MemoryError")
