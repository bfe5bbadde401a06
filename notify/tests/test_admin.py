"""The ground floor's admin pages."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from notify import admin_base
from notify.alerts import raise_alert
from notify.models import Notification, Service, Template, TemplateVersion
from notify.testing import make_notification, make_service, make_template

pytestmark = pytest.mark.django_db
LIST = "/admin/notify/notification/"
SUMMER, WINTER = datetime(2026, 7, 1, 8, 30, tzinfo=UTC), datetime(2026, 11, 24, 9, 30, tzinfo=UTC)


def page(client: Client, address: str, **query: str) -> str:
    """Fetch a page that must be there."""
    answer = client.get(address, query)
    assert answer.status_code == 200, answer.status_code
    return answer.content.decode()


def change(row: object) -> str:
    """Where a row's page is."""
    meta = row._meta
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[row.pk])


@pytest.mark.parametrize(("moment", "shown"), [(SUMMER, "1 Jul 2026, 09:30 BST"), (WINTER, "24 Nov 2026, 09:30 GMT")])
def test_times_are_local_with_their_zone_in_list_and_page(admin_client, moment, shown):
    message = make_notification(created_at=moment)
    assert shown in page(admin_client, LIST)
    assert shown in page(admin_client, change(message))
    assert admin_base.local_time(moment) == shown


def test_no_time_is_a_dash():
    assert admin_base.local_time(None) == "–"


def test_every_list_takes_as_many_queries_for_twenty_rows_as_for_one(admin_client):
    for number, listed in ((1, LIST), (2, "/admin/notify/template/"), (3, "/admin/notify/service/")):
        make_notification(client_reference=str(number))
        with CaptureQueriesContext(connection) as one:
            page(admin_client, listed)
        for _ in range(19):
            make_notification()
        with CaptureQueriesContext(connection) as twenty:
            page(admin_client, listed)
        assert len(twenty) == len(one), listed


def test_a_long_list_is_not_counted_beyond_the_limit(admin_client, monkeypatch):
    monkeypatch.setattr(admin_base, "COUNTED", 3)
    template = make_template()
    for _ in range(2):
        make_notification(template=template)
    assert "2 notifications" in page(admin_client, LIST)
    for _ in range(2):
        make_notification(template=template)
    with CaptureQueriesContext(connection) as queries:
        shown = page(admin_client, LIST)
    assert "3 or more notifications" in " ".join(shown.split())
    counts = [query["sql"] for query in queries if "COUNT(" in query["sql"] and "notify_notification" in query["sql"]]
    assert counts
    assert all("LIMIT 3" in sql for sql in counts)
    assert "3 or more results" in page(admin_client, LIST + "?q=07700900123")


def test_a_status_cannot_be_changed_and_a_message_not_deleted(admin_client):
    message = make_notification()
    assert admin_client.post(change(message), {"status": "delivered"}).status_code == 403
    delete = reverse("admin:notify_notification_delete", args=[message.pk])
    assert admin_client.post(delete, {"post": "yes"}).status_code == 403
    assert Notification.objects.get(pk=message.pk).status == "created"


@pytest.mark.parametrize(
    "query",
    ["job=nonsense", "job=018f3c1e-0000-7000-8000-000000000000", "status__regex=(a+)+$", "o=999", "p=1000000000"],
)
def test_a_made_up_address_gives_a_page_or_a_refusal_never_an_error(admin_client, query):
    make_notification()
    assert admin_client.get(f"{LIST}?{query}").status_code in (200, 302, 400)


def test_an_unknown_id_is_told_kindly(admin_client):
    assert admin_client.get(f"{LIST}{uuid4()}/change/").status_code == 302


def test_markup_in_a_name_is_shown_as_text(admin_client):
    make_service(name="<script>alert(1)</script>")
    shown = page(admin_client, "/admin/notify/service/")
    assert "<script>alert(1)" not in shown
    assert "&lt;script&gt;alert(1)" in shown


def template_form(service: Service, **fields: str) -> dict[str, str]:
    """Fill in the form of a template."""
    empty = {"versions-TOTAL_FORMS": "0", "versions-INITIAL_FORMS": "0"}
    filled = {"service": str(service.pk), "name": "A", "notification_type": "sms", "content": "Hello ((name))"}
    return empty | filled | fields


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"content": "Hello ((name"}, "TEMPLATE_SYNTAX: Line 1, character 7"),
        ({"content": "Hello ((phone number))"}, "TEMPLATE_SYNTAX"),
        ({"subject": "A subject"}, "An SMS has no subject"),
        ({"notification_type": "email"}, "An email needs a subject"),
        ({"postage": "first"}, "Only letters have postage"),
    ],
)
def test_a_template_that_cannot_work_is_refused_with_the_reason(admin_client, fields, message):
    answer = admin_client.post("/admin/notify/template/add/", template_form(make_service(), **fields))
    assert answer.status_code == 200
    assert message in answer.content.decode()
    assert not Template.objects.exists()


def test_other_words_make_a_new_version_and_the_old_one_can_be_read(admin_client):
    service = make_service()
    admin_client.post("/admin/notify/template/add/", template_form(service))
    template = Template.objects.get()
    assert "phone number, name" in page(admin_client, change(template))
    admin_client.post(change(template), template_form(service, content="Goodbye ((name))"))
    assert [version.content for version in TemplateVersion.objects.order_by("version")] == [
        "Hello ((name))",
        "Goodbye ((name))",
    ]
    assert "Hello ((name))" in page(admin_client, change(template))


def test_a_letter_template_travels_second_class_unless_told(admin_client):
    form = template_form(make_service(), notification_type="letter", subject="A subject")
    admin_client.post("/admin/notify/template/add/", form)
    assert Template.objects.get().postage == "second"


def test_the_overview_counts_open_alerts_and_hides_what_a_person_may_not_see(admin_client, client):
    raise_alert("job-stalled", "job 1", "It stopped.", now=WINTER)
    assert "<strong>1</strong> open alert<" in page(admin_client, "/admin/")
    client.force_login(User.objects.create_user("visitor", is_staff=True))
    assert "open alert" not in page(client, "/admin/")


def test_an_empty_list_says_what_would_fill_it_and_a_search_that_nothing_matches(admin_client):
    assert "Upload a file under Jobs" in page(admin_client, LIST)
    assert "Nothing matches" in page(admin_client, LIST, q="nobody")


def test_a_visitor_who_may_only_look_can_open_every_page_and_one_without_rights_none(client):
    visitor = User.objects.create_user("visitor", is_staff=True)
    client.force_login(visitor)
    assert client.get(LIST).status_code == 403
    visitor.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    make_notification(unknown_outcomes=1)
    for model in admin.site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        page(client, reverse(f"{name}_changelist"))
        row = model._base_manager.first()
        if row is not None:
            page(client, reverse(f"{name}_change", args=[row.pk]))


def test_no_page_holds_an_inline_script_or_style(admin_client):
    message = make_notification()
    for address in ("/admin/", LIST, change(message), change(message.template), "/admin/notify/service/add/"):
        shown = page(admin_client, address)
        assert "<script>" not in shown
        assert "<style" not in shown
        assert " style=" not in shown
        assert " onclick=" not in shown
