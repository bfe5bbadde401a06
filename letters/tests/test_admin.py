"""The admin pages of letters, print runs and print files: for reading."""

from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from letters.models import Letter, PrintFile, PrintRun
from notify.testing import make_letter

pytestmark = pytest.mark.django_db
LIST = "/admin/letters/letter/"
DEADLINE = datetime(2026, 7, 1, 16, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def storage(settings, tmp_path):
    """Keep PDFs out of the installation's own folder."""
    settings.STORAGES = settings.STORAGES | {
        "letters-pdf": {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": tmp_path}}
    }


def make_run():
    """Make a print run with one zip."""
    run = PrintRun.objects.create(day=date(2026, 7, 1), deadline=DEADLINE, started_at=DEADLINE, letter_count=1)
    file = PrintFile.objects.create(print_run=run, sequence=1, name="A.zip", sha256="0" * 64, size=10, letter_count=1)
    return run, file


def test_a_letter_shows_its_message_its_status_and_its_print_run(admin_client):
    run, file = make_run()
    letter = make_letter(print_run=run, print_file=file, status="sending")
    shown = admin_client.get(reverse("admin:letters_letter_change", args=[letter.pk])).content.decode()
    for words in (reverse("admin:notify_notification_change", args=[letter.pk]), "sending", "A.zip"):
        assert words in shown
    assert str(letter.pk) in admin_client.get(LIST, {"q": str(letter.pk)}).content.decode()
    assert list(admin_client.get(LIST, {"q": "nonsense"}).context["cl"].queryset) == []


def test_a_print_run_shows_local_times_and_its_zips(admin_client):
    run, _ = make_run()
    shown = admin_client.get(reverse("admin:letters_printrun_change", args=[run.pk])).content.decode()
    assert "1 Jul 2026, 17:30 BST" in shown
    assert "A.zip" in shown


def test_nothing_about_letters_is_changed_or_deleted_by_hand(admin_client):
    run, file = make_run()
    letter = make_letter()
    for name, row in (("letter", letter), ("printrun", run), ("printfile", file)):
        assert admin_client.post(reverse(f"admin:letters_{name}_change", args=[row.pk]), {}).status_code == 403
        delete = reverse(f"admin:letters_{name}_delete", args=[row.pk])
        assert admin_client.post(delete, {"post": "yes"}).status_code == 403
        if name != "letter":  # letters are added as PDFs: see test_admin_upload.py
            assert admin_client.get(reverse(f"admin:letters_{name}_add")).status_code == 403
    assert (Letter.objects.count(), PrintRun.objects.count(), PrintFile.objects.count()) == (1, 1, 1)


def test_the_list_takes_as_many_queries_for_twenty_rows_as_for_one(admin_client):
    def count():
        with CaptureQueriesContext(connection) as queries:
            assert admin_client.get(LIST).status_code == 200
        return len(queries)

    run, file = make_run()
    make_letter(print_run=run, print_file=file)
    one = count()
    for _ in range(19):
        make_letter(print_run=run, print_file=file)
    assert count() == one


def test_the_problem_filter_finds_each_trouble_by_its_own_condition(admin_client):
    long_ago = DEADLINE - timedelta(days=1)
    letters = {
        "due": make_letter(pdf=None, due_at=long_ago, attempts=1),
        "in-vain": make_letter(pdf=None, due_at=DEADLINE + timedelta(days=36_500), attempts=3),
        "unscanned": make_letter(status="pending-virus-check", kind="precompiled", created_at=long_ago, due_at=None),
        "unreadable": make_letter(unreadable_at=long_ago),
        "failed": make_letter(status="technical-failure"),
    }
    fine = make_letter(unreadable_at=long_ago, status="sent")
    for choice, letter in letters.items():
        assert list(admin_client.get(LIST, {"problem": choice}).context["cl"].queryset) == [letter]
    for other in ({}, {"problem": "nonsense"}):
        assert set(admin_client.get(LIST, other).context["cl"].queryset) == {*letters.values(), fine}
