"""Letters go with their PDFs, wherever these lie: the file first, then the row."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from letters import files, retention, retention_files
from letters.models import Letter
from notify.models import Notification
from notify.testing import make_letter, make_notification

NOW = datetime(2026, 3, 31, 2, 0, tzinfo=UTC)
Status = Notification.Status
pytestmark = pytest.mark.django_db


def lies_there(letter):
    return files.storage_of(letter).exists(letter.pdf.name)


def remove(*letters):
    keys = [letter.pk for letter in letters]
    return retention_files.run(keys, now=NOW), retention.run(keys, now=NOW, kind="letter")


@pytest.mark.parametrize(
    ("status", "alias"),
    [
        (Status.DELIVERED, files.PDF),
        (Status.VALIDATION_FAILED, files.INVALID),
        (Status.VIRUS_SCAN_FAILED, files.INVALID),
    ],
)
def test_the_letter_and_its_pdf_go_from_where_its_status_says_it_lies(status, alias):
    letter, other = make_letter(status=status), make_letter(status=status)
    assert files.alias_of(letter) == alias
    assert remove(letter) == (1, 1)
    assert Letter.objects.get() == other
    assert (lies_there(letter), lies_there(other)) == (False, True)
    assert remove(letter) == (0, 0)


def test_letters_without_a_pdf_or_whose_pdf_is_gone_already_go_too():
    without, gone = make_letter(pdf=None), make_letter()
    files.storage_of(gone).delete(gone.pdf.name)
    assert remove(without, gone) == (1, 2)


def test_a_storage_that_fails_ends_the_batch_and_the_next_run_goes_on():
    first, broken = make_letter(), make_letter()
    path = files.storage_of(broken).path(broken.pdf.name)
    files.storage_of(broken).delete(broken.pdf.name)
    (Path(path) / "inside").mkdir(parents=True)  # a folder that is not empty can be neither unlinked nor removed
    with pytest.raises(OSError, match="not empty"):
        remove(first, broken)
    assert Letter.objects.count() == 2
    (Path(path) / "inside").rmdir()
    assert remove(first, broken) == (2, 2)


def test_messages_of_other_channels_cost_no_query(django_assert_num_queries):
    keys = [make_notification().pk for _ in range(20)]
    with django_assert_num_queries(1):
        assert retention.run(keys, now=NOW, kind="letter") == 0
    with django_assert_num_queries(0):
        assert retention.run(keys, now=NOW, kind="sms") == 0
