"""A service's page: what waits, and what switching it off and on does."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.urls import reverse
from django.utils import timezone

from notify import admin_base, service_admin
from notify.celery import app
from notify.models import Notification, Service
from notify.testing import make_letter, make_notification, make_template

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def woken(monkeypatch):
    """Collect the wake-ups instead of sending them to a broker."""
    sent = []
    monkeypatch.setattr(
        app.tasks[service_admin.SENDING], "apply_async", lambda *args, **options: sent.append("sending")
    )
    return sent


@pytest.fixture
def service():
    """One with two messages to be sent, a letter, one that is held, and one that is sent."""
    template = make_template()
    make_notification(template=template)
    make_notification(template=template, due_at=timezone.now() + timedelta(hours=1))
    make_notification(template=template, due_at=None, unknown_outcomes=1)
    make_notification(template=template, status="sending")
    make_letter(template=make_template(template.service, "letter"))
    make_notification()
    return template.service


def address(service):
    return reverse("admin:notify_service_change", args=[service.pk])


def save(client, service, **fields):
    """Send the form as it stands, with these fields changed."""
    form = {"name": service.name, "sms_daily_limit": 10, "email_daily_limit": 10, "letter_daily_limit": 10,
            "active": "on" if service.active else "", "dataretention_set-TOTAL_FORMS": 0,
            "dataretention_set-INITIAL_FORMS": 0}  # fmt: skip
    answer = client.post(address(service), form | fields, follow=True)
    assert answer.status_code == 200
    service.refresh_from_db()
    return answer.content.decode()


def test_the_page_says_what_waits_and_leads_to_it(admin_client, service):
    shown = admin_client.get(address(service)).content.decode()
    assert "2 to be sent, 1 to be printed, 1 held for a person" in shown
    listed = f"/admin/notify/notification/?service__id__exact={service.pk}&amp;status__exact=created"
    assert listed in shown
    assert admin_client.get(listed.replace("&amp;", "&")).context["cl"].result_count == 4
    assert f"/admin/jobs/job/?service__id__exact={service.pk}" in shown


def test_more_than_can_be_counted_quickly_is_said_to_be_more(admin_client, service, monkeypatch):
    monkeypatch.setattr(admin_base, "COUNTED", 2)
    assert "2 or more to be sent" in admin_client.get(address(service)).content.decode()


def test_a_service_that_is_added_has_nothing_waiting_yet(admin_client):
    assert "to be sent" not in admin_client.get("/admin/notify/service/add/").content.decode()


def test_switched_off_it_says_what_waits_and_keeps_it(admin_client, service, woken, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        shown = save(admin_client, service, active="")
    assert service.active is False
    assert "its waiting messages (2) are kept" in shown
    assert woken == []
    assert Notification.objects.filter(service=service).to_send().count() == 2


def test_switched_on_again_sending_is_woken_once(admin_client, service, woken, django_capture_on_commit_callbacks):
    Service.objects.update(active=False)
    service.refresh_from_db()
    with django_capture_on_commit_callbacks(execute=True):
        shown = save(admin_client, service, active="on")
        save(admin_client, service, active="on")
    assert service.active is True
    assert "its waiting messages (2) go out now" in shown
    assert woken == ["sending"]


def test_another_change_wakes_nobody(admin_client, service, woken, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        shown = save(admin_client, service, name="Another name")
    assert service.name == "Another name"
    assert "waiting messages" not in shown
    assert woken == []


def test_who_may_only_look_sees_what_waits(client, service):
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_service"))
    client.force_login(viewer)
    assert "2 to be sent" in client.get(address(service)).content.decode()
    client.post(address(service), {"name": "x"})
    service.refresh_from_db()
    assert service.name != "x"
