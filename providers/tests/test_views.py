"""The address providers report to."""

import base64
import io
import json

import pytest
from django.db import connection
from django.test import RequestFactory

from notify import crypto
from notify.testing import make_provider
from providers import views
from providers.models import Provider, Receipt
from providers.tasks import apply_receipts

pytestmark = pytest.mark.django_db
URL = "/receipts/mmg/"
BODY = json.dumps({"CID": "a-plain-reference", "status": "3"})
CONFIG = {"receipt_user": "mmg", "receipt_passwords": ["newer", "older"]}


def basic(text, *, scheme="Basic"):
    return f"{scheme} {base64.b64encode(text.encode()).decode()}"


RIGHT = basic("mmg:newer")


@pytest.fixture
def mmg():
    return make_provider("mmg", config=CONFIG)


@pytest.fixture
def report(client, mmg):
    """Post a body as the provider would."""

    def post(body=BODY, *, url=URL, authorization=RIGHT, **extra):
        headers = {"Authorization": authorization} if authorization is not None else {}
        return client.post(url, body, content_type="application/json", headers=headers, **extra)

    return post


@pytest.mark.parametrize("password", ["newer", "older"])
def test_a_receipt_is_stored_encrypted_and_answered_200(report, password):
    answer = report(authorization=basic(f"mmg:{password}"))
    assert (answer.status_code, answer.json()) == (200, {"result": "success"})
    stored = Receipt.objects.get()
    assert (stored.applied_at, stored.outcome, stored.content_type) == (None, "", "application/json")
    assert b"plain" not in bytes(stored.body)
    assert crypto.decrypt(stored.body).decode() == BODY


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Basic",
        "Basic !!!not base64!!!",
        "Basic " + "=" * 7,
        "Basic bW1nOm5ld2V",  # cut short
        basic("mmg:newer", scheme="Bearer"),
        basic("mmg:wrong"),
        basic("mmg:"),
        basic("mmg"),
        basic(":newer"),
        basic("other:newer"),
        basic("MMG:newer"),
        basic("mmg:newer "),
        basic("firetext:theirs"),
        basic("mmg:newér"),
    ],
)
def test_wrong_credentials_get_401_and_nothing_is_stored(report, authorization):
    make_provider("firetext", config={"receipt_user": "firetext", "receipt_passwords": ["theirs"]})
    answer = report(authorization=authorization)
    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, 'Basic realm="receipts"')
    assert not Receipt.objects.exists()


def test_the_scheme_is_read_in_any_case(report):
    assert report(authorization=basic("mmg:newer", scheme="bAsIc")).status_code == 200


@pytest.mark.parametrize("config", [{}, {"receipt_user": "mmg"}, {"receipt_user": "mmg", "receipt_passwords": []}])
def test_a_provider_without_a_receipt_password_takes_nothing(client, config):
    make_provider("mmg", config=config)
    for text in ("mmg:", ":", "mmg:None"):
        assert client.post(URL, BODY, "text/plain", headers={"Authorization": basic(text)}).status_code == 401


def test_an_unknown_provider_looks_like_a_wrong_password(report):
    unknown, wrong = report(url="/receipts/nobody/"), report(authorization=basic("mmg:wrong"))
    assert (unknown.status_code, unknown.content) == (wrong.status_code, wrong.content) == (401, wrong.content)


def test_credentials_are_not_logged(report, caplog):
    report(authorization=basic("secretuser:secretword"))
    assert "wrong credentials" in caplog.text
    assert "secret" not in caplog.text
    assert basic("secretuser:secretword") not in caplog.text


@pytest.mark.parametrize(("length", "status"), [(99, 200), (100, 200), (101, 413), (5_000, 413)])
def test_a_body_may_be_as_long_as_the_limit(report, settings, length, status):
    settings.RECEIPT_BYTES_LIMIT = 100
    assert report("x" * length).status_code == status
    assert Receipt.objects.count() == (1 if status == 200 else 0)


def test_a_content_length_over_the_limit_is_refused_without_reading(mmg, settings):
    settings.RECEIPT_BYTES_LIMIT = 100
    request = RequestFactory().post(URL, b"", content_type="text/plain", headers={"Authorization": RIGHT})
    request.META["CONTENT_LENGTH"] = "101"
    request.META["wsgi.input"] = request._stream = None  # touching it would raise
    assert views.receive(request, identifier="mmg").status_code == 413


@pytest.mark.parametrize("length", ["many", "1e9", "9" * 5_000])
def test_a_content_length_that_is_no_number_is_no_error_of_ours(mmg, length):
    request = RequestFactory().post(URL, b"x", content_type="text/plain", headers={"Authorization": RIGHT})
    request.META["CONTENT_LENGTH"] = length
    assert views.receive(request, identifier="mmg").status_code == 413


@pytest.mark.parametrize(("length", "status"), [(100, 200), (101, 413), (10_000, 413)])
def test_a_body_sent_in_chunks_is_read_up_to_the_limit(mmg, settings, length, status):
    settings.RECEIPT_BYTES_LIMIT = 100
    stream = io.BytesIO(b"y" * length)
    request = RequestFactory().generic(
        "POST",
        URL,
        headers={"Authorization": RIGHT},
        **{"wsgi.input": stream, "wsgi.input_terminated": True},
    )
    assert views.receive(request, identifier="mmg").status_code == status
    assert stream.tell() <= 101
    assert [crypto.decrypt(one.body) for one in Receipt.objects.all()] == ([b"y" * 100] if status == 200 else [])


@pytest.mark.parametrize("body", ["", "{", "status=3&status=2", "\x00", "é" * 50])
def test_what_is_not_understood_is_stored_and_answered_200_all_the_same(report, body):
    assert report(body).status_code == 200
    assert crypto.decrypt(Receipt.objects.get().body).decode() == body


def test_the_same_request_again_is_counted_and_answered_200(report):
    assert [report().status_code for _ in range(3)] == [200] * 3
    assert Receipt.objects.get().times_received == 3


@pytest.mark.parametrize("method", ["get", "put", "delete", "patch"])
def test_only_post_is_allowed(client, mmg, method):
    assert getattr(client, method)(URL, headers={"Authorization": RIGHT}).status_code == 405


def test_a_provider_that_is_switched_off_may_still_report(client):
    make_provider("mmg", config=CONFIG, active=False)
    assert client.post(URL, BODY, "text/plain", headers={"Authorization": basic("mmg:older")}).status_code == 200


def test_a_receipt_wakes_the_loop_that_applies_it_after_commit(report, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks() as woken:
        report()
    assert [callback.func.__self__.name for callback in woken] == [apply_receipts.name]


def test_a_refused_receipt_wakes_nobody(report, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks() as woken:
        report(authorization=basic("mmg:wrong"))
    assert woken == []


def test_a_receipt_costs_few_queries(report, django_assert_max_num_queries):
    with django_assert_max_num_queries(2):
        report()


def test_a_changed_password_counts_at_once(report, mmg):
    assert report().status_code == 200
    mmg.config = CONFIG | {"receipt_passwords": ["newest"]}
    mmg.save()
    assert (report().status_code, report(authorization=basic("mmg:newest")).status_code) == (401, 200)


def test_a_provider_whose_configuration_cannot_be_read_is_asked_to_try_again(report, mmg):
    with connection.cursor() as cursor:
        cursor.execute("UPDATE providers_provider SET config = 'broken'")
    answer = report()
    assert (answer.status_code, "RECEIPT_LATER" in answer.content.decode()) == (503, True)
    assert not Receipt.objects.exists()


def test_one_email_provider_that_cannot_be_read_keeps_no_other_out(report):
    broken = make_provider("a-broken-one", notification_type="email", backend=Provider.Backend.EMAIL)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE providers_provider SET config = 'broken' WHERE id = %s", [broken.pk])
    whole = make_provider("email", config=CONFIG)
    assert report(url="/receipts/email/postmark/").status_code == 200
    assert Receipt.objects.get().provider == whole
    assert report(url="/receipts/email/postmark/", authorization=basic("mmg:wrong")).status_code == 503


@pytest.mark.parametrize(("said", "came"), [(8, 7), (8, 0), (7, 7)])
def test_a_body_shorter_than_it_says_is_refused(mmg, said, came):
    stream = io.BytesIO(b"y" * came)
    request = RequestFactory().post(URL, b"", content_type="text/plain", headers={"Authorization": RIGHT})
    request.META |= {"CONTENT_LENGTH": str(said), "wsgi.input": stream, "wsgi.input_terminated": True}
    answer = views.receive(request, identifier="mmg")
    assert answer.status_code == (200 if said == came else 400)
    assert Receipt.objects.exists() == (said == came)
