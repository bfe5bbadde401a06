"""The log: one line per event on standard error, never with personal data."""

import logging
import re
from typing import Any

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")


class OneLine(logging.Formatter):
    """Writes what breaks a line as it is written in Python (`\\n`): no text can look like an event of its own.

    A traceback that belongs to an event follows it on lines of its own.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the event's line."""
        return _CONTROL.sub(lambda found: repr(found.group())[1:-1], super().formatMessage(record))


def configuration(level: str) -> dict[str, Any]:
    """Return Django's LOGGING; level: of everything that is not quieter by a line of its own."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": OneLine, "format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            "django": {"handlers": [], "propagate": True},
            "celery.app.trace": {"level": "WARNING"},  # its INFO line would print what tasks return
            "celery.worker.strategy": {"level": "WARNING"},
            "celery.beat": {"level": "WARNING"},
            "mail.log": {"level": "WARNING"},  # the simulator's mail server would name recipients
            "django_celery_beat": {"level": "WARNING"},
        },
    }
