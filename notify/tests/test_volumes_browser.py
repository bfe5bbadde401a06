"""The page of volumes in a real browser, under the strict policy."""

from datetime import timedelta

from django.utils import timezone

from notify.clock import local_date
from notify.models import DailyTotal
from notify.testing import make_service
from notify.tests.test_browser import WIDTH, browser  # noqa: F401  (a fixture)


def test_charts_have_their_colours_and_the_page_fits_a_screen(browser):  # noqa: F811
    service = make_service(name="Housing and Council Tax Office of the Borough")
    for age in range(1, 31):
        for channel, number in (("sms", 12_345_678), ("email", 4_000_000), ("letter", 99)):
            DailyTotal.objects.create(
                day=local_date(timezone.now()) - timedelta(days=age), service=service, notification_type=channel,
                counts={"delivered": number, "permanent-failure": age * 1_000, "sent": 7},
            )  # fmt: skip
    assert "delivered" in browser.visit("/admin/notify/dailytotal/volumes/")
    fills = browser.do(
        lambda page: page.eval_on_selector_all(
            ".chart g rect", "all => [...new Set(all.map(one => getComputedStyle(one).fill))]"
        )
    )
    assert len(fills) == 3
    assert "rgb(0, 0, 0)" not in fills
    wide = browser.do(lambda page: page.evaluate("document.documentElement.scrollWidth"))
    assert wide <= WIDTH
    browser.do(lambda page: page.locator("summary").first.click())
    assert "12,345,678" in browser.text()
