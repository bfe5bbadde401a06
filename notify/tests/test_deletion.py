"""What goes when retention ends, and what stays."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from callbacks.models import Callback
from letters.models import Letter
from notify import deletion
from notify.models import Alert, DailyTotal, DataRetention, Notification
from notify.testing import make_endpoint, make_job, make_letter, make_notification, make_provider, make_template
from providers.models import Receipt

NOW = datetime(2026, 3, 31, 2, 0, tzinfo=UTC)  # 03:00 in London, after the clocks went forward
MIDNIGHT = datetime(2026, 3, 24, tzinfo=UTC)  # London midnight of the day seven days ago
SECOND = timedelta(seconds=1)
OLD = MIDNIGHT - timedelta(days=20)
pytestmark = pytest.mark.django_db


def old(**fields):
    return make_notification(**({"status": "delivered", "created_at": OLD} | fields))


def run():
    return deletion.delete_past_retention(now=NOW)["deleted"]


@pytest.mark.parametrize("days", [3, 7, 90])
@pytest.mark.parametrize("clock_change", [datetime(2026, 3, 31, 2, tzinfo=UTC), datetime(2026, 10, 27, 3, tzinfo=UTC)])
def test_n_whole_local_days_and_today_are_kept(days, clock_change):
    template = make_template()
    DataRetention.objects.create(service=template.service, notification_type="sms", days=days)
    midnight = deletion.local_midnight(deletion.local_date(clock_change) - timedelta(days=days))
    moments = (midnight - SECOND, midnight, midnight + SECOND)
    rows = [make_notification(template=template, status="delivered", created_at=moment) for moment in moments]
    deletion.delete_past_retention(now=clock_change)
    assert set(Notification.objects.values_list("pk", flat=True)) == {row.pk for row in rows[1:]}


def test_only_final_messages_go():
    template = make_template()
    for status in Notification.Status:
        old(template=template, status=status)
    run()
    assert set(Notification.objects.values_list("status", flat=True)) == {
        "created", "sending", "pending", "pending-virus-check",
    }  # fmt: skip


def test_a_jobs_messages_go_only_after_the_job_is_archived():
    open_job, archived = make_job(rows=1), make_job(rows=1, archived=True)
    stays = old(job=open_job)
    old(job=archived)
    assert run() == 1
    assert Notification.objects.get().pk == stays.pk
    assert run() == 0


def test_the_days_total_is_stored_before_and_never_counted_down():
    old()
    run()
    total = DailyTotal.objects.get()
    assert (total.counts, total.thinned) == ({"delivered": 1}, True)


def test_letters_with_their_pdf_and_receipts_go_with_the_message():
    letter = make_letter(status="delivered", created_at=OLD)
    provider = make_provider()
    for key, notification in {"a": letter.notification_id, "b": None}.items():
        Receipt.objects.create(provider=provider, dedupe_key=key, body=b"", notification_id=notification)
    run()
    assert not Letter.objects.exists()
    assert not letter.pdf.storage.exists(letter.pdf.name)
    assert Receipt.objects.get().dedupe_key == "b"


def test_a_pdf_already_gone_does_not_stop_its_letter():
    letter = make_letter(status="delivered", created_at=OLD)
    letter.pdf.storage.delete(letter.pdf.name)  # the run before this one died here
    assert run() == 1


def test_callbacks_go_by_their_own_thirty_days_and_hold_nothing_back():
    notification, endpoint = old(), make_endpoint()
    limit = NOW - timedelta(days=30)
    for status, ended in [("delivered", limit - SECOND), ("delivered", limit), ("exhausted", limit - SECOND)]:
        Callback.objects.create(
            endpoint=endpoint, notification_id=notification.pk, notification_status=f"{status} {ended:%S}",
            payload=b"", status=status, due_at=ended, delivered_at=ended if status == "delivered" else None,
        )  # fmt: skip
    Callback.objects.create(
        endpoint=endpoint, notification_id=notification.pk, notification_status="x", payload=b"", due_at=OLD
    )
    assert deletion.delete_past_retention(now=NOW) == {"deleted": 1, "callbacks": 2, "unfinished": 0}
    assert set(Callback.objects.values_list("status", flat=True)) == {"delivered", "pending"}


def test_batches_go_on_until_nothing_is_left_without_a_query_per_row(monkeypatch, django_assert_max_num_queries):
    template = make_template()
    for _ in range(80):
        old(template=template)
    monkeypatch.setattr(deletion, "BATCH", 40)
    with django_assert_max_num_queries(55):
        assert run() == 80


def test_a_worker_that_is_told_to_stop_stops_between_batches(monkeypatch):
    template = make_template()
    for _ in range(3):
        old(template=template)
    monkeypatch.setattr(deletion, "BATCH", 1)
    monkeypatch.setattr(deletion, "stopping", lambda: Notification.objects.count() < 3)
    assert run() == 1
    monkeypatch.setattr(deletion, "stopping", lambda: False)
    assert run() == 2


def test_nothing_due_is_zero_and_what_is_due_is_listed_without_touching_it():
    assert run() == 0
    row = old()
    due = deletion.due(now=NOW)
    assert (due.count, due.oldest, due.keys) == (1, OLD, [str(row.pk)])
    assert Notification.objects.exists()


def test_a_failure_of_one_service_is_alerted_until_it_succeeds():
    bad, good = (make_letter(status="delivered", created_at=OLD) for _ in range(2))
    scope = f"service {bad.notification.service_id}, letter"
    path = Path(bad.pdf.storage.path(bad.pdf.name))
    path.unlink()
    (path / "in the way").mkdir(parents=True)  # what is there cannot be deleted as a file
    for nights in range(2):
        deletion.delete_past_retention(now=NOW + timedelta(days=nights))
    assert not Notification.objects.filter(pk=good.notification_id).exists()
    assert Notification.objects.get().pk == bad.notification_id
    alert = Alert.objects.get()
    assert (alert.kind, alert.scope, alert.times_seen, alert.resolved_at) == ("retention-failed", scope, 2, None)
    assert "OSError" in alert.message
    assert str(path) not in alert.message
    shutil.rmtree(path)
    deletion.delete_past_retention(now=NOW + timedelta(days=2))
    assert not Notification.objects.exists()
    assert Alert.objects.get().resolved_at == NOW + timedelta(days=2)
    deletion.delete_past_retention(now=NOW + timedelta(days=3))
    assert Alert.objects.get().times_seen == 2
