"""Letters are found in time whatever the database believes of its rows: it may have looked when no letter waited."""

import re
from datetime import UTC, date, datetime

import pytest
from django.db import connection

from letters import print_run
from letters.models import Letter, PrintFile, PrintRun
from letters.tests.storages import use_folders
from notify.testing import make_letter, make_service, make_template

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 7, 1, 11, tzinfo=UTC)
AT = datetime(2026, 7, 1, 16, 50, tzinfo=UTC)
WAITING = {
    "printable": lambda: Letter.objects.printable(AT),
    "held": lambda: Letter.objects.held_past(AT),
    "unreadable": lambda: Letter.objects.unreadable().printable(AT),
    "rendered in vain": lambda: Letter.objects.rendered_in_vain(AT),
    "to be rendered": lambda: Letter.objects.renderable(AT),
}


def believed(table):
    with connection.cursor() as cursor:
        cursor.execute("SELECT reltuples FROM pg_class WHERE oid = %s::regclass", [table])
        return cursor.fetchone()[0]


def test_the_database_looks_at_letters_before_they_are_collated(settings, tmp_path):
    use_folders(settings, tmp_path)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE letters_letter, notify_notification")
    for _ in range(3):
        make_letter(created_at=NOON)
    assert believed("letters_letter") <= 0
    counts = print_run.collate(clock=lambda: AT, day=date(2026, 7, 1))
    assert counts["letters"] == 3
    assert believed("letters_letter") == believed("notify_notification") == 3


@pytest.mark.parametrize("which", WAITING)
def test_no_letter_is_compared_with_all_messages_when_none_waited_at_the_last_look(settings, tmp_path, which):
    use_folders(settings, tmp_path)
    run = PrintRun.objects.create(day=date(2026, 6, 30), deadline=NOON)
    file = PrintFile.objects.create(print_run=run, sequence=1, name="a.zip", size=1, letter_count=300)
    service = make_service()
    template = make_template(service, notification_type="letter")
    for _ in range(300):
        make_letter(
            service=service, template=template, status="delivered", print_run=run, print_file=file, created_at=NOON
        )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE letters_letter, notify_notification")
    plan = WAITING[which]().order_by().explain()
    assert "notification_pkey" in plan
    assert not re.search(r"Join Filter: .*notification_id = ", plan)
