"""The log: one line per event on standard error, never with personal data."""

from typing import Any


def configuration(level: str) -> dict[str, Any]:
    """Return Django's LOGGING; level: of everything that is not quieter by a line of its own."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
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
