"""What cannot be read because its key is not in ENCRYPTION_KEYS waits: a key taken out too early can be put back."""

from datetime import datetime, timedelta

from django.db.models import QuerySet

from notify.alerts import close_gone, raise_alert

KIND = "encryption-key-missing"
MESSAGES, LETTERS = SCOPES = ("messages", "letters")
REASON = "waits: the key it was encrypted with is not in ENCRYPTION_KEYS"
AGAIN = timedelta(minutes=1)  # until it is looked at again


def tell(scope: str, *, now: datetime) -> None:
    """Alert for messages or letters that were put off."""
    raise_alert(
        KIND, scope,
        f"Some {scope} cannot be read, because the key they were encrypted with is not in ENCRYPTION_KEYS of the "
        "workers. They wait without using up tries and are looked at every minute. Put the key back, at the end of "
        f"the list, and restart the workers. See README, {KIND}.", now=now,
    )  # fmt: skip


def close(scope: str, waiting: QuerySet, *, now: datetime) -> None:
    """Resolve the alert when none of those `waiting` is left."""
    close_gone(KIND, lambda: [one for one in SCOPES if one != scope or waiting.exists()], now=now)
