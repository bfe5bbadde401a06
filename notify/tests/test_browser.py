"""The admin in a real browser, under a strict content security policy."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, time, timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from notify.clock import at_local, local_date

CHROMIUM = "/usr/bin/chromium"
POLICY = "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:"
WIDTH = 1280


class Browser:
    """A page of a headless browser in a thread of its own: its event loop must not meet the ORM's thread."""

    def __init__(self, base: str, cookies: dict[str, str]) -> None:
        self.base = base
        self.complaints: list[str] = []
        self._cookies = cookies
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._thread.submit(self._open).result()

    def do(self, act):
        """Run act(page) in the browser's thread and return what it returns."""
        return self._thread.submit(lambda: act(self._page)).result(timeout=60)

    def visit(self, address, *, javascript=True):
        """Open an address of the site; returns the text that is shown."""
        if not javascript:
            self.do(self._without_javascript)
        self.do(lambda page: page.goto(self.base + address))
        return self.text()

    def text(self):
        """Return what a person reads."""
        return self.do(lambda page: page.inner_text("body"))

    def close(self):
        """End the browser."""
        self._thread.submit(self._close).result()
        self._thread.shutdown()

    def _open(self):
        from playwright.sync_api import sync_playwright

        self._playwright = sync_playwright().start()
        self._browser = self._playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        self._page = self._new_page(java_script_enabled=True)

    def _new_page(self, **options):
        context = self._browser.new_context(viewport={"width": WIDTH, "height": 900}, **options)
        context.add_cookies([{"name": name, "value": text, "url": self.base} for name, text in self._cookies.items()])
        context.route(lambda url: url.startswith(self.base), self._with_policy)
        page = context.new_page()
        page.on("console", lambda message: message.type == "error" and self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        return page

    def _without_javascript(self, page):
        self._page = self._new_page(java_script_enabled=False)

    def _with_policy(self, route):
        if route.request.resource_type != "document" or route.request.method != "GET":
            route.continue_()
            return
        answer = route.fetch(max_redirects=0)
        route.fulfill(response=answer, headers=answer.headers | {"content-security-policy": POLICY})

    def _close(self):
        for context in self._browser.contexts:
            context.unroute_all(behavior="ignoreErrors")
        self._browser.close()
        self._playwright.stop()


@pytest.fixture
def browser(live_server, admin_client):
    """A signed-in browser; the test fails when the browser complained about anything."""
    if not shutil.which(CHROMIUM):
        pytest.skip("needs the system package chromium")
    opened = Browser(live_server.url, {name: morsel.value for name, morsel in admin_client.cookies.items()})
    yield opened
    opened.close()
    assert opened.complaints == []


@pytest.fixture(autouse=True)
def storage(settings, tmp_path):
    """Keep files out of the installation's own folder."""
    place = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": tmp_path}}
    settings.STORAGES = settings.STORAGES | {"jobs": place, "letters-pdf": place}


def some_rows():
    """Make rows of every app, with names as long as people give them."""
    from notify.alerts import raise_alert
    from notify.models import Service
    from notify.testing import make_endpoint, make_job, make_letter, make_notification, make_provider, make_template

    name = "Housing and Council Tax Office of the Borough"
    service = Service.objects.create(name=name)
    template = make_template(service, name="Reminder of the yearly renewal, second version")
    job = make_job(rows=3, template=template, original_file_name=f"{'renewals_of_the_year_' * 6}.csv")
    message = make_notification(job, status="permanent-failure", provider_name="firetext", sent_at=job.created_at)
    make_letter(template=make_template(service, "letter"))
    make_provider(held_until=job.created_at)
    make_endpoint(service, url=f"https://example.org/{'part/' * 40}")
    raise_alert("provider-slow-held", f"job {job.pk}", "It stopped. " * 20, now=job.created_at)
    return message


def test_a_jobs_page_follows_the_job_by_itself_until_all_is_done(browser):
    from jobs.models import Job
    from notify.models import Notification
    from notify.testing import make_job, make_notification

    job = make_job(rows=2, status=Job.Status.IN_PROGRESS)
    shown = browser.visit(reverse("admin:jobs_job_change", args=[job.pk]))
    assert "0 of 2 rows became messages" in shown
    for _ in range(2):
        make_notification(job, status="sending")
    browser.do(lambda page: page.get_by_text("2 of 2 rows became messages, 2 of them still on the way").wait_for())
    Notification.objects.update(status="delivered")
    Job.objects.update(status=Job.Status.COMPLETE)
    browser.do(lambda page: page.locator("[data-done=yes]").wait_for())
    assert "2 of 2 rows became messages." in browser.text()
    assert browser.do(lambda page: page.locator("progress").evaluate("bar => bar.position")) == 1


def test_without_javascript_the_page_shows_how_far_the_job_is(browser):
    from jobs.models import Job
    from notify.testing import make_job, make_notification

    job = make_job(rows=2, status=Job.Status.IN_PROGRESS)
    make_notification(job, status="delivered")
    assert "1 of 2 rows became messages" in browser.visit(
        reverse("admin:jobs_job_change", args=[job.pk]), javascript=False
    )


def test_a_job_is_added_with_the_templates_of_the_chosen_service_only(browser, tmp_path):
    from jobs.models import Job
    from notify.testing import make_template

    mine, other = make_template(), make_template()
    tomorrow = datetime.combine(local_date(timezone.now()) + timedelta(days=1), time(12, 30))
    file = tmp_path / "people.csv"
    file.write_text("phone number,name,date\n07700900123,Anna,1 May\n")

    def fill(page):
        page.select_option("#id_service", str(mine.service_id))
        offered = page.eval_on_selector_all(
            "#id_template option", "all => all.filter(one => !one.parentElement.disabled).map(one => one.value)"
        )
        page.select_option("#id_template", str(mine.pk))
        page.set_input_files("#id_file", str(file))
        page.fill("#id_scheduled_for", f"{tomorrow:%Y-%m-%dT%H:%M}")  # so that no worker is woken
        page.click("text=Check the file")
        page.get_by_text("Anna, your appointment is on 1 May.").wait_for()
        page.click("input[value=Schedule]")
        page.get_by_text("The job is made: 1 row, to be sent").wait_for()
        return offered

    browser.visit("/admin/jobs/job/add/")
    offered = browser.do(fill)
    assert str(mine.pk) in offered
    assert str(other.pk) not in offered
    assert Job.objects.get().scheduled_for == at_local(tomorrow.date(), tomorrow.time())


def test_every_list_fits_a_screen_of_1280_pixels(browser):
    some_rows()
    lists = [
        "notify/notification", "notify/service", "notify/template", "notify/alert", "notify/watchdogrun", "jobs/job",
        "providers/provider", "providers/receipt", "callbacks/endpoint", "callbacks/callback", "letters/letter",
        "django_celery_beat/periodictask",
    ]  # fmt: skip
    too_wide = []
    for listed in lists:
        browser.visit(f"/admin/{listed}/")
        page_width, results = browser.do(
            lambda page: page.evaluate(
                "[document.documentElement.scrollWidth, "
                "[...document.querySelectorAll('.results')].map(box => box.scrollWidth - box.clientWidth)]"
            )
        )
        if page_width > WIDTH or any(over > 0 for over in results):
            too_wide.append((listed, page_width, results))
    assert too_wide == []


def test_forms_and_pages_work_under_the_policy(browser):
    from providers.models import Provider

    message = some_rows()
    for address in (
        "/admin/",
        reverse("admin:notify_notification_change", args=[message.pk]),
        reverse("admin:notify_service_change", args=[message.service_id]),
        "/admin/providers/provider/add/",
        reverse("admin:providers_provider_health", args=[Provider.objects.get().pk]),
        "/admin/providers/switchpolicy/backtest/?days=1",
        "/admin/callbacks/endpoint/add/",
        "/admin/django_celery_beat/periodictask/add/",
    ):
        assert "Notify" in browser.visit(address)
