"""The switch that stops all sending, in the admin, and what every page says while it is on."""

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.urls import reverse

from notify.models import Alert
from notify.testing import make_notification
from providers.admin_pause import send_due_notifications
from providers.models import Pause

pytestmark = pytest.mark.django_db
LIST = "/admin/providers/pause/"
BANNER = "All sending is paused by admin since "


@pytest.fixture(autouse=True)
def woken(monkeypatch):
    """Collect the wake-ups instead of sending them to a broker."""
    sent = []
    monkeypatch.setattr(send_due_notifications, "apply_async", lambda *args, **options: sent.append("sending"))
    return sent


def text(answer):
    assert answer.status_code == 200
    return answer.content.decode()


def pause(client, reason="the network is down"):
    return text(client.post(f"{LIST}pause/", {"reason": reason}, follow=True))


def test_a_pause_is_asked_about_with_what_waits_then_begun_and_written_down(admin_client):
    make_notification()
    question = text(admin_client.get(f"{LIST}pause/"))
    assert "<strong>1</strong> message is due at present." in question
    assert "Nothing is lost" in question
    assert not Pause.objects.exists()
    shown = pause(admin_client)
    assert "All sending is paused." in shown
    begun = Pause.objects.get()
    assert (begun.reason, begun.paused_by.username, begun.ended_at) == ("the network is down", "admin", None)
    assert Alert.objects.open().get().kind == "sending-paused"
    assert LogEntry.objects.get().change_message == "All sending is paused. the network is down"
    assert reverse("admin:providers_pause_resume") in shown
    assert reverse("admin:providers_pause_pause") not in shown


def test_the_second_click_finds_it_done(admin_client):
    pause(admin_client)
    assert "Already done: all sending is paused already." in pause(admin_client, "again")
    assert "Already done" in text(admin_client.get(f"{LIST}pause/", follow=True))
    assert [begun.reason for begun in Pause.objects.all()] == ["the network is down"]
    assert LogEntry.objects.count() == 1
    assert "the network is down" in Alert.objects.open().get().message


def test_resuming_ends_the_pause_that_was_seen_and_wakes_the_loop(
    admin_client, woken, django_capture_on_commit_callbacks
):
    pause(admin_client)
    seen = Pause.objects.get().pk
    assert f'name="pause" value="{seen}"' in text(admin_client.get(f"{LIST}resume/"))
    with django_capture_on_commit_callbacks(execute=True):
        first = text(admin_client.post(f"{LIST}resume/", {"reason": "mended", "pause": seen}, follow=True))
        again = text(admin_client.post(f"{LIST}resume/", {"reason": "mended", "pause": seen}, follow=True))
    assert "Sending goes on." in first
    assert "Already done: this pause has ended." in again
    assert woken == ["sending"]
    assert not Alert.objects.open().exists()
    assert (Pause.objects.get().ended_by.username, LogEntry.objects.count()) == ("admin", 2)


def test_an_old_page_does_not_end_somebody_elses_later_pause(admin_client, woken):
    pause(admin_client)
    old = Pause.objects.get().pk
    admin_client.post(f"{LIST}resume/", {"reason": "mended", "pause": old})
    pause(admin_client, "down again")
    for stale in (old, "", 10**30):
        assert "Already done" in text(
            admin_client.post(f"{LIST}resume/", {"reason": "mended", "pause": stale}, follow=True)
        )
    assert Pause.objects.on().get().reason == "down again"
    assert Alert.objects.open().get().kind == "sending-paused"


@pytest.mark.parametrize("name", ["pause", "resume"])
@pytest.mark.parametrize("reason", ["", "   "])
def test_without_a_reason_nothing_is_switched(admin_client, name, reason):
    if name == "resume":
        pause(admin_client)
    before = list(Pause.objects.values_list("pk", "ended_at"))
    shown = text(admin_client.post(f"{LIST}{name}/", {"reason": reason, "pause": before[0][0] if before else ""}))
    assert "PAUSE_REASON" in shown
    assert list(Pause.objects.values_list("pk", "ended_at")) == before


def test_too_long_a_reason_is_shown_again(admin_client):
    shown = text(admin_client.post(f"{LIST}pause/", {"reason": "x" * 301}))
    assert "at most 300 characters" in shown
    assert "x" * 301 in shown
    assert not Pause.objects.exists()


def test_every_page_says_so_while_it_is_on_and_none_afterwards(admin_client):
    pages = ["/admin/", LIST, "/admin/notify/notification/", "/admin/notify/service/add/", "/admin/jobs/job/add/"]
    assert not any(BANNER in text(admin_client.get(page)) for page in pages)
    pause(admin_client, "<script>alert(1)</script>")
    for page in pages:
        shown = text(admin_client.get(page))
        assert BANNER in shown
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
        assert f'<a href="{LIST}">Pauses</a>' in shown
    Pause.objects.update(ended_at="2026-01-01T00:00:00Z")
    assert not any(BANNER in text(admin_client.get(page)) for page in pages)


def test_who_may_not_see_pauses_is_told_without_the_link_and_a_stranger_nothing(admin_client, client):
    pause(admin_client)
    assert BANNER not in text(client.get("/admin/login/"))
    client.force_login(User.objects.create_user("guest", is_staff=True))
    shown = text(client.get("/admin/"))
    assert BANNER in shown
    assert LIST not in shown


def test_who_may_only_look_switches_nothing(client):
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_pause"))
    client.force_login(viewer)
    assert reverse("admin:providers_pause_pause") not in text(client.get(LIST))
    for name in ("pause", "resume"):
        assert client.get(f"{LIST}{name}/").status_code == 403
        assert client.post(f"{LIST}{name}/", {"reason": "x"}).status_code == 403
    assert not Pause.objects.exists()
