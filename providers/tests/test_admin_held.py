"""Held messages in the admin: listed, shown with the evidence, decided once, and written into their history."""

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from notify.models import Notification
from notify.testing import make_notification, make_provider, make_service
from providers.admin_held import deliver_due_callbacks, send_due_notifications
from providers.models import Receipt
from providers.tests.test_held import NOW, make_held

pytestmark = pytest.mark.django_db
LIST = "/admin/providers/heldnotification/"
NOBODY = "01930000-0000-7000-8000-000000000000"


@pytest.fixture(autouse=True)
def woken(monkeypatch):
    """Collect the wake-ups instead of sending them to a broker."""
    sent = []
    for task in (send_due_notifications, deliver_due_callbacks):
        monkeypatch.setattr(task, "apply_async", lambda args=(), *rest, name=task.name, **options: sent.append(name))
    return sent


def text(answer):
    assert answer.status_code == 200
    return answer.content.decode()


def answer(client, name, *messages):
    shown = " ".join(f"{message.pk}:{message.attempts}" for message in messages)
    return text(client.post(f"{LIST}{name}/", {"seen": shown}, follow=True))


def page(message, name="change"):
    return reverse(f"admin:providers_heldnotification_{name}", args=[message.pk])


def test_the_list_holds_what_waits_for_a_person_with_masked_recipient_and_receipts(admin_client):
    mmg = make_provider()
    message = make_held()
    make_notification(provider_name="firetext")
    for key in ("one", "two"):
        Receipt.objects.create(provider=mmg, dedupe_key=key, body=b"", notification_id=message.pk, received_at=NOW)
    shown = admin_client.get(LIST)
    assert [row.pk for row in shown.context["cl"].result_list] == [message.pk]
    assert [row.receipt_count for row in shown.context["cl"].result_list] == [2]
    assert "•••• 123" in text(shown)
    assert "07700900123" not in text(shown)
    assert "+447700900123" not in text(shown)


def test_the_list_is_narrowed_by_provider_and_service(admin_client):
    service = make_service()
    mine, other = make_held(service=service), make_held(provider_name="firetext")
    by_provider = admin_client.get(LIST, {"provider_name": "firetext"}).context["cl"].result_list
    by_service = admin_client.get(LIST, {"service__id__exact": str(service.pk)}).context["cl"].result_list
    assert [row.pk for row in by_provider] == [other.pk]
    assert [row.pk for row in by_service] == [mine.pk]


def test_a_long_list_takes_as_many_queries_as_a_short_one(admin_client):
    make_held()
    admin_client.get(LIST)
    with CaptureQueriesContext(connection) as one:
        admin_client.get(LIST)
    for _ in range(19):
        make_held()
    with CaptureQueriesContext(connection) as twenty:
        admin_client.get(LIST)
    assert len(twenty) == len(one)


def test_an_empty_list_says_what_would_fill_it(admin_client):
    assert "No message is held." in text(admin_client.get(LIST))


def test_the_page_shows_the_evidence_and_both_ways_out(admin_client):
    make_provider()
    message = make_held()
    shown = text(admin_client.get(page(message)))
    assert "2 tries, 2 of unknown outcome" in shown
    assert "The last try, at Mmg, ended without an answer; held since." in shown
    assert f"search for <code>{message.pk}</code>" in shown
    assert page(message, "send_again") in shown
    assert page(message, "leave") in shown


def test_the_page_of_one_that_is_held_no_more_says_so_and_offers_nothing(admin_client):
    message = make_held(status="delivered")
    shown = text(admin_client.get(page(message)))
    assert "not held any more" in shown
    assert page(message, "send_again") not in shown
    assert "Already done" in text(admin_client.get(page(message, "send_again"), follow=True))


def test_a_question_changes_nothing_and_warns_that_a_person_may_be_told_twice(admin_client, woken):
    message = make_held()
    shown = text(admin_client.get(page(message, "send_again")))
    assert "its recipient is told twice" in shown
    assert f"{message.pk}:2" in shown
    message.refresh_from_db()
    assert message.due_at is None
    assert woken == []


def test_sent_again_once_however_often_it_is_asked_for(admin_client, woken, django_capture_on_commit_callbacks):
    message = make_held()
    with django_capture_on_commit_callbacks(execute=True):
        first = answer(admin_client, "send-again", message)
        second = answer(admin_client, "send-again", message)
    assert "1 message is sent again." in first
    assert "1 of 1: Already done" in second
    assert woken == ["providers.send_due_notifications"]
    entry = LogEntry.objects.get()
    assert entry.object_id == str(message.pk)
    assert entry.content_type.model_class() is Notification
    assert entry.change_message.startswith("Held message sent again. Known then: 2 tries, 2 of unknown outcome since ")
    assert entry.change_message.endswith(", at mmg.")


def test_left_writes_who_and_wakes_the_callbacks(admin_client, woken, django_capture_on_commit_callbacks):
    message = make_held()
    with django_capture_on_commit_callbacks(execute=True):
        assert "1 message is left as technical-failure." in answer(admin_client, "leave", message)
    message.refresh_from_db()
    assert (message.status, message.status_reason) == ("technical-failure", "outcome unknown, left by admin")
    assert woken == ["callbacks.deliver_due_callbacks"]
    history = admin_client.get(reverse("admin:providers_heldnotification_history", args=[message.pk]), follow=True)
    assert "Held message left as technical-failure." in text(history)


def test_many_chosen_in_the_list_are_asked_about_together_then_decided(admin_client):
    messages = [make_held() for _ in range(25)]
    asked = text(
        admin_client.post(
            LIST, {"action": "send_again", "_selected_action": [str(message.pk) for message in messages], "index": 0}
        )
    )
    assert "25 held messages." in asked
    assert "and 5 more" in asked
    Notification.objects.filter(pk=messages[0].pk).update(status="delivered")
    done = answer(admin_client, "send-again", *messages)
    assert "24 messages are sent again." in done
    assert "1 of 25: Already done" in done
    assert LogEntry.objects.count() == 24


def test_more_than_fit_one_answer_are_decided_in_parts(admin_client, monkeypatch):
    monkeypatch.setattr("providers.admin_held.AT_ONCE", 2)
    messages = [make_held() for _ in range(3)]
    chosen = {"action": "leave", "_selected_action": [str(message.pk) for message in messages], "index": 0}
    assert "Only these 2 are decided now" in text(admin_client.post(LIST, chosen))
    assert "HELD_FORM" in answer(admin_client, "leave", *messages)
    assert Notification.objects.held_for_person().count() == 3


@pytest.mark.parametrize("seen", ["", "x", "x:1", NOBODY, f"{NOBODY}:x", f"{NOBODY}:1:2", "\x00:1", ":"])
def test_a_form_that_cannot_be_read_does_nothing_and_says_so(admin_client, seen):
    make_held()
    for name in ("send-again", "leave"):
        assert "HELD_FORM" in text(admin_client.post(f"{LIST}{name}/", {"seen": seen}, follow=True))
    assert Notification.objects.held_for_person().count() == 1


@pytest.mark.parametrize("seen", [f"{NOBODY}:1", f"{NOBODY}:{10**30}", f"{NOBODY}:-1"])
def test_an_answer_about_a_message_that_is_not_there_is_already_done(admin_client, seen):
    assert "Already done" in text(admin_client.post(f"{LIST}send-again/", {"seen": seen}, follow=True))


def test_who_may_only_look_sees_the_evidence_and_decides_nothing(client):
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_heldnotification"))
    client.force_login(viewer)
    message = make_held()
    assert page(message, "send_again") not in text(client.get(page(message)))
    assert 'name="action"' not in text(client.get(LIST))
    assert client.get(page(message, "send_again")).status_code == 403
    assert client.post(f"{LIST}leave/", {"seen": f"{message.pk}:2"}).status_code == 403
    assert Notification.objects.held_for_person().count() == 1


def test_an_answer_is_not_taken_from_an_address(admin_client):
    message = make_held()
    admin_client.get(f"{LIST}send-again/", {"seen": f"{message.pk}:2"})
    assert Notification.objects.held_for_person().count() == 1


def test_the_overview_counts_held_messages(admin_client):
    make_held()
    assert "<strong>1</strong> held message<" in text(admin_client.get("/admin/"))
