"""One request of a callback against a real server: what is sent, and what is made of the answer."""

import asyncio
import json
import socket
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from callbacks import client

NOW = datetime.now(UTC)
OLD, NEW = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
BODY = {"id": "1", "to": "+447700900123", "reference": None, "name": "Zoë “quoted”"}


@pytest.fixture(autouse=True)
def impatient(receiver, settings):
    """Receivers are not waited for."""
    settings.CALLBACK_TRUSTED_TARGETS = [f"127.0.0.1:{receiver.port}", f"localhost:{receiver.port}"]
    settings.CALLBACK_REQUEST_TIMEOUT = timedelta(seconds=0.5)


def post(url: str, *, times: int = 1, **over) -> client.Answer:
    """Send to an address in a session as the loop opens it. Returns the last answer."""
    opened = {"url": url, "token": "token-token", "body": BODY}

    async def send():
        session = client.session()
        try:
            for _ in range(times):
                answer = await client.post(
                    session, **({"key": "key-1", "opened": opened, "secrets": [OLD], "now": NOW} | over)
                )
            return answer
        finally:
            await session.close()

    return asyncio.run(send())


def test_body_token_and_headers_arrive(receiver):
    assert post(receiver.url("200")) == client.Answer(200)
    (request,) = receiver.received
    assert json.loads(request.body) == BODY
    assert request.headers["Authorization"] == "Bearer token-token"
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["webhook-id"] == "key-1"
    assert request.headers["webhook-timestamp"] == str(int(NOW.timestamp()))


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_each_of_two_secrets_verifies_the_signature(receiver, secret):
    post(receiver.url("200"), secrets=[OLD, NEW], now=datetime.now(UTC))
    (request,) = receiver.received
    assert Webhook(secret).verify(request.body, request.headers) == BODY
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(request.body + " ", request.headers)


def test_another_secret_does_not_verify(receiver):
    post(receiver.url("200"), secrets=[OLD])
    with pytest.raises(WebhookVerificationError):
        Webhook(NEW).verify(receiver.received[0].body, receiver.received[0].headers)


def test_without_a_secret_nothing_is_signed(receiver):
    assert post(receiver.url("200"), secrets=[]).status_code == 200
    assert "webhook-signature" not in receiver.received[0].headers


@pytest.mark.parametrize("status", [200, 204, 299, 400, 404, 410, 429, 500, 503])
def test_the_status_comes_back_as_it_is(receiver, status):
    assert post(receiver.url(str(status))) == client.Answer(status)


def test_a_redirect_is_not_followed(receiver):
    receiver.answers["moved"] = {"status": 307, "headers": {"Location": receiver.url("200")}}
    assert post(receiver.url("moved")) == client.Answer(307)
    assert receiver.paths() == ["moved"]


def http_date(after: timedelta) -> str:
    return (NOW + after).strftime("%a, %d %b %Y %H:%M:%S GMT")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (timedelta(minutes=5), 300),
        (timedelta(minutes=-5), 0),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("²", None),
        ("Tue, 24 Nov 2026 09:30:00", None),  # no zone
        ("Tue, 99 Nov 2026 09:30:00 GMT", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(receiver, header, seconds):
    header = http_date(header) if isinstance(header, timedelta) else header
    receiver.answers["later"] = {"status": 429, "headers": {"Retry-After": header.encode().decode("latin-1")}}
    found = post(receiver.url("later"))
    assert found.status_code == 429
    assert found.retry_after == (None if seconds is None else pytest.approx(seconds, abs=1))


@pytest.mark.parametrize(
    ("path", "error"), [("hang", "TimeoutError"), ("cut", "ServerDisconnectedError")], ids=["hang", "cut"]
)
def test_no_answer_is_status_0_with_the_kind_of_error(receiver, path, error):
    assert post(receiver.url(path)) == client.Answer(0, error)
    assert receiver.paths() == [path]  # sent once, not quietly again


def test_nobody_listening_is_status_0():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        found = post(url)
    assert (found.status_code, found.error) == (0, "ClientConnectorError")


@pytest.mark.parametrize(
    "url", ["", "nonsense", "http://", "ftp://127.0.0.1/", "http://[::1", "http://127.0.0.1:99999/"]
)
def test_an_address_that_is_none_is_status_0(url):
    found = post(url)
    assert found.status_code == 0
    assert found.error


@pytest.mark.parametrize("path", ["drip", "cut-body"])
def test_the_status_decides_whatever_becomes_of_the_body(receiver, path):
    assert post(receiver.url(path)).status_code == 200


def test_a_large_or_compressed_answer_is_not_read_in_full(receiver):
    receiver.answers["large"] = {"body": b"x" * 5_000_000}
    receiver.answers["packed"] = {"body": b"not gzip at all", "headers": {"Content-Encoding": "gzip"}}
    assert post(receiver.url("large")) == client.Answer(200)
    assert post(receiver.url("packed")) == client.Answer(200)


def test_cookies_are_not_kept(receiver):
    receiver.answers["cookie"] = {"headers": {"Set-Cookie": "session=1; Path=/"}}
    post(receiver.url("cookie").replace("127.0.0.1", "localhost"), times=2)
    assert [request.headers.get("Cookie") for request in receiver.received] == [None, None]


def test_proxies_of_the_environment_are_not_used(receiver, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9/")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert post(receiver.url("200")) == client.Answer(200)
