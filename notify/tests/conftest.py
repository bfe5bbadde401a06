"""Where alerts go in the tests: a real mail server and a real HTTP receiver on this machine."""

import pytest

from callbacks.tests.receiver import Receiver
from notify.tests.mail_server import MailServer


@pytest.fixture
def alerts_on(settings):
    settings.ALERTS_ENABLED = True
    settings.ALERT_EMAILS, settings.ALERT_WEBHOOK_URL = [], ""


@pytest.fixture
def mail(alerts_on, settings):
    with MailServer() as server:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT, settings.EMAIL_TIMEOUT = "127.0.0.1", server.port, 2
        settings.ALERT_EMAILS = ["ops@example.org", "duty@example.org"]
        yield server


@pytest.fixture
def hook(alerts_on, settings):
    with Receiver() as receiver:
        settings.ALERT_WEBHOOK_URL = receiver.url("hook")
        yield receiver
