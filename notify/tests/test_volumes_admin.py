"""The page of volumes."""

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from notify import volumes
from notify.clock import local_date
from notify.models import DailyTotal
from notify.testing import make_service

PAGE, CSV = "/admin/notify/dailytotal/volumes/", "/admin/notify/dailytotal/volumes/csv/"
pytestmark = pytest.mark.django_db


def back(days):
    return local_date(timezone.now()) - timedelta(days=days)


def total(age=1, service=None, channel="sms", **counts):
    return DailyTotal.objects.create(
        day=back(age), service=service or make_service(), notification_type=channel, counts=counts or {"delivered": 1}
    )


def page(client, **query):
    answer = client.get(PAGE, query)
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_last_thirty_days_that_are_over_are_shown_unless_asked_otherwise(admin_client):
    service = make_service()
    for age, number in {0: 1, 1: 10, 30: 100, 31: 1000}.items():
        total(age, service, delivered=number)
    assert "<strong>110</strong> messages" in page(admin_client)
    assert "<strong>1,000</strong> messages" in page(admin_client, first=back(31), last=back(31))


def test_an_empty_period_says_when_messages_are_counted(admin_client):
    shown = page(admin_client)
    assert "by default at 02:00" in shown
    assert "<figure" not in shown
    assert "CSV" not in shown


def test_charts_tables_and_csv_agree(admin_client):
    service = make_service(name="Licences & more")
    total(2, service, delivered=96, sending=3, **{"permanent-failure": 4})
    total(1, service, "letter", sent=7)
    shown = page(admin_client)
    assert "96.0\u00a0%</strong> delivered" in shown
    for title in ("Messages by day", "Delivery rate by day"):
        assert f"<figcaption>{title}</figcaption>" in shown
    assert shown.count("Licences &amp; more</th>") == 1
    assert shown.count("Licences &amp; more</td>") == 2
    address = re.search(r'href="([^"]+csv[^"]+)" download', shown)[1].replace("&amp;", "&")
    answer = admin_client.get(address)
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert "attachment" in answer["Content-Disposition"]
    assert len(b"".join(answer.streaming_content).splitlines()) == 3


def test_the_list_of_totals_writes_its_numbers_alike_and_says_nothing_of_letters_and_ten_seconds(admin_client):
    for channel in ("sms", "letter"):
        total(1, channel=channel, delivered=12_345)
    DailyTotal.objects.update(sent_within_ten_seconds=2_380)
    shown = admin_client.get("/admin/notify/dailytotal/").content.decode()
    assert shown.count("12,345") == 2
    assert re.findall(r'field-quick">([^<]+)<', shown) == ["–", "2,380"]


def test_the_filter_is_kept_by_the_page_and_by_its_csv(admin_client):
    mine, other = make_service(), make_service()
    for service in (mine, other):
        total(1, service)
        total(1, service, "email")
    query = {"service": str(mine.pk), "channel": "email"}
    shown = page(admin_client, **query)
    assert "<strong>1</strong> message<" in shown
    assert f'value="{mine.pk}" selected' in shown
    lines = b"".join(admin_client.get(CSV, query).streaming_content).splitlines()
    assert len(lines) == 2


BAD = [
    ({"first": "2026-02-30"}, "This is no date. Write it like 2026-11-24."),
    ({"last": "tomorrow"}, "This is no date"),
    ({"first": "\x00"}, "This is no date"),
    ({"first": ""}, "Choose a day, such as 2026-11-24."),
    ({"first": "2026-11-02", "last": "2026-11-01"}, "2026-11-02 is after 2026-11-01. Swap the two dates."),
    ({"first": "2025-01-01", "last": "2026-01-02"}, "367 days are too many; 366 fit."),
    ({"first": "0001-01-01", "last": "9999-12-31"}, "days are too many"),
    ({"service": "nonsense"}, "There is no such service"),
    ({"service": "\x00"}, "There is no such service"),
    ({"service": "018f3c1e-0000-7000-8000-000000000000"}, "There is no such service"),
    ({"channel": "pigeon"}, "There is no such channel"),
]


def test_a_filter_that_makes_no_sense_is_said_beside_its_field(admin_client):
    total()
    for address in (PAGE, CSV):
        for query, words in BAD:
            answer = admin_client.get(address, query)
            assert answer.status_code == 200
            shown = answer.content.decode()
            assert words in shown, query
            assert "<figure" not in shown


def test_exactly_366_days_fit(admin_client):
    assert "too many" not in page(admin_client, first="2025-01-01", last="2026-01-01")


def test_the_last_days_there_are_can_be_shown(admin_client):
    page(admin_client, first="9999-12-01", last="9999-12-31")
    page(admin_client, first="0001-01-01", last="0001-01-31")


def test_a_page_takes_as_many_queries_for_many_totals_as_for_one(admin_client):
    total()
    page(admin_client)
    with CaptureQueriesContext(connection) as one:
        page(admin_client)
    for age in range(1, 11):
        for channel in ("sms", "email"):
            total(age, channel=channel)
    with CaptureQueriesContext(connection) as many:
        page(admin_client)
    assert len(many) == len(one) <= 8


def test_what_does_not_fit_the_page_is_said_and_is_in_the_csv(admin_client, monkeypatch):
    monkeypatch.setattr(volumes, "LINES_SHOWN", 2)
    for age in (1, 2, 3):
        total(age)
    shown = page(admin_client)
    assert "The newest 2 lines are shown" in shown
    assert "1 more services are in" in shown or "1 more service is in" in shown


def test_who_may_not_look_at_totals_sees_neither_page_nor_link(client, admin_client):
    visitor = User.objects.create_user("visitor", is_staff=True)
    client.force_login(visitor)
    for address in (PAGE, CSV):
        assert client.get(address).status_code == 403
    assert PAGE not in client.get("/admin/").content.decode()
    visitor.user_permissions.set(Permission.objects.filter(codename="view_dailytotal"))
    assert client.get(PAGE).status_code == 200
    assert PAGE in client.get("/admin/").content.decode()
    assert admin_client.post(PAGE).status_code == 405
    client.logout()
    assert client.get(PAGE).status_code == 302


def test_no_inline_script_or_style(admin_client):
    total(2)
    total(1)
    shown = page(admin_client)
    assert "<style" not in shown
    assert " style=" not in shown
