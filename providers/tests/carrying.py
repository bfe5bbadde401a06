"""Messages that wait and providers that carry them, for tests of sending."""

from datetime import UTC, datetime, timedelta

from notify.models import Alert
from notify.testing import make_notification, make_provider, make_template
from providers.sending import send_due

SECOND = timedelta(seconds=1)


def now():
    """Return this moment."""
    return datetime.now(UTC)


def provider_at(server, identifier="mmg", timeout="10", **fields):
    """Make a provider that leads to the server. timeout: of a request, in seconds."""
    config = {"url": server.url, "api_key": "key", "timeout": timeout}
    return make_provider(identifier, config=config, backend="providers.backends.mmg.MMG", **fields)


def waiting(number=1, **fields):
    """Make messages that have been due for a minute."""
    template = fields.pop("template", None) or make_template(fields.get("service"))
    return [make_notification(template=template, **({"due_at": now() - 60 * SECOND} | fields)) for _ in range(number)]


def send():
    """Send what is due; returns how many messages were handled."""
    return send_due(now=now())


def fresh(row):
    """Read a row again."""
    row.refresh_from_db()
    return row


def open_alerts():
    """Name the open alerts by kind and scope."""
    return list(Alert.objects.open().values_list("kind", "scope"))
