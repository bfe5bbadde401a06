"""Alerts in a real browser: the list fits, and one is snoozed by hand."""

from datetime import timedelta

import pytest
from django.utils import timezone

from notify.alerts import raise_alert
from notify.clock import local_date
from notify.models import Alert
from notify.tests.test_browser import WIDTH, browser  # noqa: F401  (a fixture)

LONG = "service 018f3c1e-0000-7000-8000-000000000000, letter"


@pytest.fixture
def alerts(settings, db):
    settings.ALERTS_ENABLED = True
    settings.ALERT_EMAILS, settings.ALERT_WEBHOOK_URL = ["ops@example.org"], "https://hooks.example.org/x"
    now = timezone.now()
    for scope in (LONG, "x" * 200):
        raise_alert("performance-platform-push", scope, "It stopped. " * 40, now=now)
        raise_alert("outcome-unknown", scope, "word" * 100, now=now)
    Alert.objects.filter(kind="outcome-unknown").update(snoozed_until=now + timedelta(hours=5), email_told_at=now)


def test_the_list_with_everything_in_it_fits_a_screen(alerts, browser):  # noqa: F811
    assert "email not told" in browser.visit("/admin/notify/alert/")
    widths = browser.do(
        lambda page: page.evaluate(
            "[document.documentElement.scrollWidth, "
            "...[...document.querySelectorAll('.results')].map(box => box.scrollWidth - box.clientWidth)]"
        )
    )
    assert widths[0] <= WIDTH
    assert max(widths[1:]) <= 0
    told = "document.querySelector('tbody .field-shown_message').clientWidth"
    assert browser.do(lambda page: page.evaluate(told)) >= 180  # what was seen can be read


@pytest.mark.parametrize("page", ["change", "acknowledge", "snooze", "resolve"])
def test_pages_of_one_alert_with_the_longest_scope_fit_a_screen(alerts, browser, page):  # noqa: F811
    alert = Alert.objects.get(scope="x" * 200, kind="performance-platform-push")
    assert "x" * 200 in browser.visit(f"/admin/notify/alert/{alert.pk}/{page}/")
    widths = browser.do(
        lambda page: page.evaluate(
            "[document.documentElement.scrollWidth, "
            "...[...document.querySelectorAll('.form-row')].map(box => box.scrollWidth - box.clientWidth)]"
        )
    )
    assert widths[0] <= WIDTH
    assert max(widths[1:], default=0) <= 0  # nothing is cut off at the right


def test_an_alert_is_snoozed_until_tomorrow_in_three_clicks(alerts, browser):  # noqa: F811
    def snooze(page):
        page.click(f"tr:has-text('{LONG}'):has-text('open') a")
        page.click("text=Snooze")
        page.click("input[value=Snooze]")
        page.get_by_text("Snoozed until").first.wait_for()

    browser.visit("/admin/notify/alert/?state=unattended")
    browser.do(snooze)
    alert = Alert.objects.get(scope=LONG, kind="performance-platform-push")
    assert local_date(alert.snoozed_until) == local_date(timezone.now()) + timedelta(days=1)
