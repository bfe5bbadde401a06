"""Zips in the admin: a person vouches for them."""

from datetime import UTC, date, datetime
from html import unescape

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User

from letters.models import PrintFile, PrintRun

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 7, 1, 18, tzinfo=UTC)
ZIPS = "/admin/letters/printfile/"


@pytest.fixture
def file():
    run = PrintRun.objects.create(day=date(2026, 7, 1), deadline=NOW)
    return PrintFile.objects.create(
        print_run=run, sequence=1, name="A.zip", sha256="a" * 64, size=1, letter_count=12, uploaded_at=NOW
    )


def chosen(file, **more):
    return {"action": "mark_acknowledged", "_selected_action": [str(file.pk)]} | more


def text(response):
    return unescape(response.content.decode())


def test_a_zip_is_marked_after_the_question_with_a_reason_and_once(admin_client, file):
    assert "Mark 1 zip as acknowledged?" in text(admin_client.post(ZIPS, chosen(file)))
    assert "This field is required" in text(admin_client.post(ZIPS, chosen(file, confirmed="yes", reason="  ")))
    assert PrintFile.objects.get().acknowledged_at is None
    answer = chosen(file, confirmed="yes", reason="asked <them>")
    assert "1 zip marked as acknowledged." in text(admin_client.post(ZIPS, answer, follow=True))
    assert PrintFile.objects.get().acknowledgement == "marked by admin: asked <them>"
    assert LogEntry.objects.get().change_message == "Marked as acknowledged: asked <them>"
    assert "1 left as they are" in text(admin_client.post(ZIPS, answer, follow=True))
    assert LogEntry.objects.count() == 1


def test_who_may_only_look_does_not_mark(client, file):
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_printfile"))
    client.force_login(viewer)
    assert "mark_acknowledged" not in text(client.get(ZIPS))
    client.post(ZIPS, chosen(file, confirmed="yes", reason="x"))
    assert PrintFile.objects.get().acknowledged_at is None
