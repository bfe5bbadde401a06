"""Retention edited in the admin: 3 to 90 days, and nothing goes sooner before somebody agreed."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django_celery_beat.models import PeriodicTask

from notify import deletion
from notify.models import DataRetention, Notification
from notify.retention_admin import TASK, going, next_run
from notify.testing import make_job, make_notification, make_service, make_template
from notify.tests.together import together

NOW = datetime(2026, 3, 29, 12, 0, tzinfo=UTC)  # the day the clocks go forward
NEXT_RUN = datetime(2026, 3, 30, 2, 0, tzinfo=UTC)  # 03:00 in London
SECOND = timedelta(seconds=1)
LIST, ADD = "/admin/notify/dataretention/", "/admin/notify/dataretention/add/"
ASKS = "Delete messages sooner?"
pytestmark = [pytest.mark.django_db, pytest.mark.time_machine(NOW, tick=False)]


def page(row):
    return reverse("admin:notify_dataretention_change", args=[row.pk])


def days(row):
    return DataRetention.objects.get(pk=row.pk).days


def retention(days=30, **fields):
    return DataRetention.objects.create(
        **({"service": make_service(), "notification_type": "sms", "days": days} | fields)
    )


def agree(client, address, shown):
    """Send the form of the page that asks, as a browser does."""
    given = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', shown))
    return client.post(address, given)


def text(answer):
    return " ".join(answer.content.decode().split())


def test_lengthening_is_saved_at_once_and_written_down(admin_client):
    row = retention(7)
    assert admin_client.post(page(row), {"days": "90"}).status_code == 302
    assert days(row) == 90
    assert LogEntry.objects.get().get_change_message() == "Kept for 90 days, before that for 7 days."


def test_shortening_changes_nothing_before_somebody_agreed(admin_client):
    row = retention(30)
    shown = text(admin_client.post(page(row), {"days": "3"}))
    assert ASKS in shown
    assert days(row) == 30
    assert not LogEntry.objects.exists()
    assert agree(admin_client, page(row), shown).status_code == 302
    assert days(row) == 3
    told = "Kept for 3 days, before that for 30 days; agreed that messages go sooner."
    assert LogEntry.objects.get().get_change_message() == told


def test_what_was_agreed_to_twice_is_done_once_and_the_second_answer_is_harmless(admin_client):
    row = retention(30)
    shown = text(admin_client.post(page(row), {"days": "3"}))
    for _ in range(2):
        assert agree(admin_client, page(row), shown).status_code == 302
    assert days(row) == 3


def test_an_answer_to_an_old_question_asks_again(admin_client):
    row = retention(10)
    shown = text(admin_client.post(page(row), {"days": "5"}))
    DataRetention.objects.update(days=60)  # somebody else, meanwhile
    again = text(agree(admin_client, page(row), shown))
    assert ASKS in again
    assert "instead of 60" in again
    assert days(row) == 60


def test_a_new_row_below_the_default_asks_and_one_above_it_does_not(admin_client):
    service = make_service()
    form = {"service": str(service.pk), "notification_type": "sms", "days": "6"}
    shown = text(admin_client.post(ADD, form))
    assert ASKS in shown
    assert not DataRetention.objects.exists()
    assert agree(admin_client, ADD, shown).status_code == 302
    assert DataRetention.objects.get().days == 6
    told = "Kept for 6 days, before that for 7 days (the default); agreed that messages go sooner."
    assert LogEntry.objects.get().get_change_message() == told
    for channel, kept in (("email", "7"), ("letter", "8")):
        admin_client.post(ADD, form | {"notification_type": channel, "days": kept})
    assert DataRetention.objects.count() == 3


def test_3_to_90_days_can_be_kept(admin_client):
    row = retention(30)
    for bad in ("2", "91", "-5", "", "7.5", "seven", "NaN", "1e2", "\x00", "9" * 400):
        shown = text(admin_client.post(page(row), {"days": bad, "agreed": "30"}))
        assert "RETENTION_RANGE" in shown or (bad == "" and "This field is required" in shown), bad
        assert days(row) == 30
    assert admin_client.post(page(row), {"days": "90"}).status_code == 302
    assert admin_client.post(page(row), {"days": "3", "agreed": "90"}).status_code == 302
    assert days(row) == 3


def test_a_second_row_for_the_same_service_and_channel_is_refused(admin_client):
    row = retention(30)
    form = {"service": str(row.service_id), "notification_type": "sms", "days": "40"}
    assert "already exists" in text(admin_client.post(ADD, form))
    assert DataRetention.objects.count() == 1


def test_the_question_counts_exactly_what_the_next_run_deletes(admin_client):
    template = make_template()
    row = retention(30, service=template.service)
    DataRetention.objects.create(service=template.service, notification_type="email", days=30)
    edge = deletion.cut_off(7, now=NEXT_RUN)
    assert edge == datetime(2026, 3, 23, tzinfo=UTC)  # seven whole days before the day of the run, in winter time
    open_job, archived = make_job(rows=9, template=template), make_job(rows=9, template=template, archived=True)
    old = edge - SECOND
    for status in ("delivered", "sent", "sending", "created"):
        for job in (None, open_job, archived):
            make_notification(job, template=template, status=status, created_at=old)
    make_notification(template=template, status="delivered", created_at=edge)
    make_notification(template=template, status="delivered", created_at=edge - timedelta(days=60))
    make_notification(service=template.service, notification_type="email", status="sent", created_at=old)
    row.days = 7
    found = going(row, before=30, now=NOW)
    assert found.runs_at == NEXT_RUN
    assert (dict(found.at_once), dict(found.with_job)) == ({"delivered": 3, "sent": 2}, {"delivered": 1, "sent": 1})
    assert (found.total, found.anyway) == (7, 1)
    shown = text(admin_client.post(page(row), {"days": "7"}))
    assert "<strong>7 messages</strong> will be deleted at the next run on 30 Mar 2026, 03:00 BST" in shown
    assert "1 of them would go without this change too" in shown
    row.save()
    assert deletion.delete_past_retention(now=NEXT_RUN)["deleted"] == found.at_once.total()
    type(open_job).objects.update(archived=True)
    assert deletion.delete_past_retention(now=NEXT_RUN)["deleted"] == found.with_job.total()


def test_nothing_that_old_is_said_and_so_is_a_run_that_is_switched_off(admin_client):
    row = retention(30)
    assert "No message will be deleted at the next run" in text(admin_client.post(page(row), {"days": "7"}))
    assert next_run(now=NOW) == NEXT_RUN
    task = PeriodicTask.objects.get(name=TASK)
    task.enabled = False
    task.save()
    assert next_run(now=NOW) is None
    assert "Deleting is switched off" in text(admin_client.post(page(row), {"days": "7"}))


def test_a_row_stays_with_its_service_and_channel(admin_client):
    row, other = retention(30), make_service()
    admin_client.post(page(row), {"days": "40", "service": str(other.pk), "notification_type": "letter"})
    row.refresh_from_db()
    assert (row.days, row.notification_type, row.service_id == other.pk) == (40, "sms", False)


def test_the_service_s_page_shows_retention_and_cannot_shorten_it_without_the_question(admin_client):
    row = retention(30)
    address = reverse("admin:notify_service_change", args=[row.service_id])
    assert page(row) in admin_client.get(address).content.decode()
    form = {
        "name": "A", "sms_daily_limit": "1", "email_daily_limit": "1", "letter_daily_limit": "1",
        "dataretention_set-TOTAL_FORMS": "1", "dataretention_set-INITIAL_FORMS": "1",
        "dataretention_set-0-id": str(row.pk), "dataretention_set-0-days": "3",
    }  # fmt: skip
    admin_client.post(address, form)
    assert days(row) == 30


def test_who_may_only_look_changes_nothing(client):
    row = retention(30)
    visitor = User.objects.create_user("visitor", is_staff=True)
    client.force_login(visitor)
    assert client.post(page(row), {"days": "3"}).status_code == 403
    visitor.user_permissions.set(Permission.objects.filter(codename="view_dataretention"))
    assert client.get(page(row)).status_code == 200
    assert client.post(page(row), {"days": "3", "agreed": "30"}).status_code == 403
    assert client.post(ADD, {"days": "3"}).status_code == 403
    assert days(row) == 30


def test_an_unknown_row_is_told_kindly(admin_client):
    assert admin_client.post(f"{LIST}999999/change/", {"days": "3"}).status_code == 302
    assert admin_client.post(f"{LIST}nonsense/change/", {"days": "3"}).status_code == 302


@pytest.mark.django_db(transaction=True)
def test_two_people_who_add_the_same_row_at_once_make_one(admin_user):
    service = make_service()
    form = {"service": str(service.pk), "notification_type": "sms", "days": "40"}

    def add():
        client = Client()
        client.force_login(admin_user)
        return client.post(ADD, form).status_code

    assert sorted(together(add, add)) == [200, 302]
    assert DataRetention.objects.count() == 1
    assert not Notification.objects.exists()
