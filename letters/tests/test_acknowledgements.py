"""The postal provider's acknowledgements: read back, compared, and never taken in silence when they differ."""

from datetime import UTC, date, datetime

import pytest

from letters import acknowledgements
from letters.acknowledgements import mark_acknowledged, read_acknowledgements
from letters.models import PrintFile, PrintRun
from letters.tests.storages import use_folders
from notify.alerts import raise_alert
from notify.models import Alert

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 7, 1, 18, tzinfo=UTC)
SHA = "a" * 64


@pytest.fixture(autouse=True)
def folder(settings, tmp_path):
    use_folders(settings, tmp_path)
    place = tmp_path / "postal" / "acknowledgements"
    place.mkdir(parents=True)
    return place


@pytest.fixture
def file():
    run = PrintRun.objects.create(day=date(2026, 7, 1), deadline=NOW)
    return PrintFile.objects.create(
        print_run=run, sequence=1, name="A.zip", sha256=SHA, size=1, letter_count=12, uploaded_at=NOW
    )


def read(folder, text, name="a.csv", encoding="utf-8"):
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return read_acknowledgements(now=NOW)


def open_alerts():
    return {alert.kind: alert for alert in Alert.objects.open()}


@pytest.mark.parametrize(
    "text",
    [
        f"A.zip,12,{SHA},accepted\n",
        f"\ufeff A.zip , 12 ,{SHA.upper()}, Accepted\r\n\r\n",
    ],
)
def test_a_line_that_agrees_marks_its_zip_once_and_the_file_is_put_aside(folder, file, text):
    assert read(folder, text) == {"acknowledged": 1, "unreadable": 0}
    file.refresh_from_db()
    assert (file.acknowledged_at, open_alerts()) == (NOW, {})
    assert [path.name for path in folder.glob("*.csv")] == []
    assert (folder / "read" / "a.csv").exists()
    assert read(folder, text) == {"acknowledged": 0, "unreadable": 0}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (f"A.zip,11,{SHA},accepted", "11 letters instead of 12"),
        (f"A.zip,12,{'b' * 64},accepted", "other bytes"),
        (f"A.zip,12,{SHA},rejected: unreadable", "not accepted: rejected: unreadable"),
    ],
)
def test_a_line_that_differs_opens_an_alert_which_a_later_line_that_agrees_closes(folder, file, line, words):
    assert read(folder, line)["acknowledged"] == 0
    file.refresh_from_db()
    assert file.acknowledged_at is None
    alert = open_alerts()["acknowledgement-mismatch"]
    assert (alert.scope, words in alert.message) == ("A.zip", True)
    assert read(folder, f"A.zip,12,{SHA},accepted", name="b.csv")["acknowledged"] == 1
    assert open_alerts() == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"A.zip,12,{SHA}", "line 1 has 3 fields"),
        (f"A.zip,12,{SHA},accepted\nA.zip,twelve,{SHA},accepted", "line 2: the letter count"),
        (f"A.zip,٣,{SHA},accepted", "the letter count"),
        (f"A.zip,{'9' * 40},{SHA},accepted", "the letter count"),
        ("A.zip,12,abc,accepted", "sha256"),
        (f"A.zip,12,{SHA},", "outcome is missing"),
        (f"B.zip,12,{SHA},accepted", "'B.zip', which was never handed over"),
        (f'"A.zip,12,{SHA},accepted', "no CSV"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b"x" * 5_000_001, "larger than"),
    ],
)
def test_a_file_that_makes_no_sense_is_left_and_named_until_it_is_mended(folder, file, text, words):
    assert read(folder, text) == {"acknowledged": 0, "unreadable": 1}
    read_acknowledgements(now=NOW)
    alert = open_alerts()["acknowledgement-unreadable"]
    assert (alert.times_seen, words in alert.message) == (1, True)
    file.refresh_from_db()
    assert file.acknowledged_at is None  # none of its lines was taken
    assert read(folder, f"A.zip,12,{SHA},accepted")["acknowledged"] == 1
    assert open_alerts() == {}


def test_a_bad_file_does_not_stop_the_others(folder, file):
    (folder / "0.csv").write_text("nonsense")
    (folder / "half.csv.part").write_text("A.zip,12")  # still being written
    assert read(folder, f"A.zip,12,{SHA},accepted") == {"acknowledged": 1, "unreadable": 1}


@pytest.mark.parametrize("line", [f"A\0.zip,12,{SHA},accepted", f"A.zip,12,{SHA},accepted\0"])
def test_a_file_with_a_character_no_database_takes_stops_no_other(folder, file, line):
    (folder / "0.csv").write_text(line)
    assert read(folder, f"A.zip,12,{SHA},accepted") == {"acknowledged": 1, "unreadable": 1}
    assert "NUL" in open_alerts()["acknowledgement-unreadable"].message


def test_a_file_the_storage_does_not_give_is_named_and_stops_no_other(folder, file):
    (folder / "0.csv").symlink_to("/proc/self/mem")  # reading its beginning is an input/output error
    assert read(folder, f"A.zip,12,{SHA},accepted") == {"acknowledged": 1, "unreadable": 1}
    assert "0.csv cannot be used: the storage did not give it (OSError)" in (
        open_alerts()["acknowledgement-unreadable"].message
    )


def test_a_file_another_worker_has_just_read_is_no_error(folder, file, monkeypatch):
    monkeypatch.setattr(acknowledgements, "_waiting", lambda storage: ["gone.csv", "a.csv"])
    assert read(folder, f"A.zip,12,{SHA},accepted") == {"acknowledged": 1, "unreadable": 0}
    assert open_alerts() == {}


def test_an_unknown_zip_may_be_one_that_was_packed_anew_and_the_alert_says_what_to_do(folder, file):
    read(folder, f"B.zip,12,{SHA},accepted")
    assert "ask the provider at once not to print both" in open_alerts()["acknowledgement-unreadable"].message


def test_nothing_there_is_no_error(folder):
    folder.rmdir()
    assert read_acknowledgements(now=NOW) == {"acknowledged": 0, "unreadable": 0}


def test_the_alert_about_zips_nobody_acknowledged_closes_with_the_last_of_them_at_once(folder, file):
    PrintFile.objects.create(
        print_run=file.print_run, sequence=2, name="B.zip", sha256=SHA, size=1, letter_count=12, uploaded_at=NOW
    )
    raise_alert("print-files-unacknowledged", "letters", "x", now=NOW)
    read(folder, f"A.zip,12,{SHA},accepted")
    assert open_alerts().keys() == {"print-files-unacknowledged"}
    read(folder, f"B.zip,12,{SHA},accepted", name="b.csv")
    assert open_alerts() == {}


def test_a_persons_word_marks_a_zip_once_and_closes_what_was_said_of_it(folder, file):
    raise_alert("print-files-unacknowledged", "letters", "x", now=NOW)
    read(folder, f"A.zip,11,{SHA},accepted\n")
    assert set(open_alerts()) == {"print-files-unacknowledged", "acknowledgement-mismatch"}
    assert mark_acknowledged([file.pk], "marked by ann: asked them", now=NOW) == [file]
    file.refresh_from_db()
    assert (file.acknowledged_at, file.acknowledgement) == (NOW, "marked by ann: asked them")
    assert open_alerts() == {}
    assert mark_acknowledged([file.pk], "marked by bob: too", now=NOW) == []
    file.refresh_from_db()
    assert file.acknowledgement == "marked by ann: asked them"


def test_a_zip_that_was_not_handed_over_is_not_marked_and_the_alert_stays_for_others(file):
    other = PrintFile.objects.create(
        print_run=file.print_run, sequence=2, name="B.zip", sha256=SHA, size=1, letter_count=1, uploaded_at=NOW
    )
    packed = PrintFile.objects.create(
        print_run=file.print_run, sequence=3, name="C.zip", sha256=SHA, size=1, letter_count=1
    )
    raise_alert("print-files-unacknowledged", "letters", "x", now=NOW)
    assert mark_acknowledged([file.pk, packed.pk], "x", now=NOW) == [file]
    assert set(open_alerts()) == {"print-files-unacknowledged"}
    assert mark_acknowledged([other.pk], "x", now=NOW) == [other]
    assert open_alerts() == {}
