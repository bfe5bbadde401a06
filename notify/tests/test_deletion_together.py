"""Two deletions at the same moment, and a message that changes meanwhile."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction

from letters.models import Letter
from notify import deletion
from notify.models import DailyTotal, Notification
from notify.testing import make_letter, make_notification, make_provider, make_template
from notify.tests.together import together
from providers.models import Receipt

NOW = datetime(2026, 3, 31, 2, 0, tzinfo=UTC)
OLD = NOW - timedelta(days=20)
pytestmark = pytest.mark.django_db(transaction=True)


def run():
    return deletion.delete_past_retention(now=NOW)


def test_two_deletions_at_once_delete_everything_once_and_count_it_once(monkeypatch):
    monkeypatch.setattr(deletion, "BATCH", 3)
    templates, provider = [make_template() for _ in range(2)], make_provider()
    for template in templates:
        for age in range(3):
            for _ in range(5):
                row = make_notification(template=template, status="delivered", created_at=OLD - timedelta(days=age))
                Receipt.objects.create(provider=provider, dedupe_key=str(row.pk), body=b"", notification_id=row.pk)
    letters = [make_letter(status="delivered", created_at=OLD) for _ in range(5)]
    done = together(run, run)
    # Whoever finds a day's last rows held by the other leaves the rest to it.
    assert sum(one["deleted"] for one in done) == 35
    assert not Notification.objects.exists()
    assert not Receipt.objects.exists()
    assert not Letter.objects.exists()
    assert not any(letter.pdf.storage.exists(letter.pdf.name) for letter in letters)
    assert sum(total.counts["delivered"] for total in DailyTotal.objects.all()) == 35


def test_a_message_somebody_holds_is_left_to_the_next_run():
    held, free = (make_notification(status="delivered", created_at=OLD) for _ in range(2))
    locked, done = threading.Event(), threading.Event()

    def hold():
        with transaction.atomic():
            Notification.objects.select_for_update().get(pk=held.pk)
            locked.set()
            done.wait(10)
        connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert locked.wait(10)
        assert run()["deleted"] == 1
        assert Notification.objects.get().pk == held.pk
    finally:
        done.set()
        holder.join()
    assert run()["deleted"] == 1
    assert not Notification.objects.filter(pk=free.pk).exists()
