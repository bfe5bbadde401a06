"""A print run does not trust what the database believes of its rows: it may have looked when no letter waited."""

from datetime import UTC, date, datetime

import pytest
from django.db import connection

from letters import print_run
from letters.tests.storages import use_folders
from notify.testing import make_letter

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 7, 1, 11, tzinfo=UTC)
AT = datetime(2026, 7, 1, 16, 50, tzinfo=UTC)


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
