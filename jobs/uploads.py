"""Files between upload and consent: kept in the job storage, known only by a signed token, gone after a day."""

import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any, BinaryIO

from django.conf import settings
from django.core import signing
from django.core.files import File
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from jobs.models import job_storage

logger = logging.getLogger(__name__)
FOLDER = "uploads"
KEPT_FOR = timedelta(hours=24)
_SALT = "jobs.uploads"
_FORM_BYTES = 100_000  # what the other fields of the form may take


class UploadGone(Exception):
    """The kept file is not there any more, or the token is not this person's."""

    code = "UPLOAD_GONE"

    def __init__(self) -> None:
        super().__init__("The file is not kept any more (a day at most). Choose it again.")


def keep(stream: BinaryIO, *, user: Any, now: datetime, **facts: Any) -> str:
    """Keep a file for its sender. Returns a token that holds the facts and opens the file again for this user.

    Files that were kept for more than KEPT_FOR are removed on this occasion.
    """
    _sweep(now=now)
    stream.seek(0)
    name = job_storage().save(f"{FOLDER}/{uuid.uuid4()}.csv", File(stream))
    return signing.dumps({"name": name, "user": user.pk, **facts}, salt=_SALT)


def facts_of(token: str, *, user: Any) -> dict[str, Any]:
    """Return what a token holds; raises UploadGone for another user's, an old or a made-up one."""
    try:
        facts = signing.loads(token, salt=_SALT, max_age=KEPT_FOR)
    except signing.BadSignature:
        raise UploadGone from None
    if facts["user"] != user.pk or not job_storage().exists(facts["name"]):
        raise UploadGone
    return facts


def refuse_unread(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware: refuse a form over its page's limit (413), or a compressed one (415), before any of it is read.

    Before the CSRF check, which would read the whole form. A body without a length is read as empty by Django.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        limit, text = _limit_of(request)
        length = request.META.get("CONTENT_LENGTH") or "0"
        if length.isascii() and length.isdigit() and int(length) > limit + _FORM_BYTES:
            logger.info("Refused an upload of %s bytes", length, extra={"count": int(length)})
            return HttpResponse(f"UPLOAD_TOO_LARGE: {text}", status=413, content_type="text/plain; charset=utf-8")
        coding = request.headers.get("Content-Encoding", "identity").strip().lower()
        if coding != "identity" and request.content_type == "multipart/form-data":
            text = "UPLOAD_COMPRESSED: The upload is compressed. Send the file as it is."
            return HttpResponse(text, status=415, content_type="text/plain; charset=utf-8")
        return get_response(request)

    return middleware


def _limit_of(request: HttpRequest) -> tuple[int, str]:
    """Return how many bytes a file sent to this page may have, and what is said of a larger one."""
    if request.path == reverse("admin:letters_letter_add"):
        limit = settings.LETTER_FILE_BYTES_LIMIT
        text = "The PDF is larger than {limit} MB, so no letter was made. Use smaller pictures and add it again."
    else:
        limit = settings.JOB_FILE_BYTES_LIMIT
        text = "The file is larger than {limit} MB. Split it into several files."
    return limit, text.format(limit=limit // 1_000_000)


@contextmanager
def opened(facts: dict[str, Any]) -> Iterator[BinaryIO]:
    """Open the kept file for reading, and close it."""
    with job_storage().open(facts["name"], "rb") as kept:
        yield kept.file


def forget(facts: dict[str, Any]) -> None:
    """Remove a file that became a job, or that its sender takes back."""
    job_storage().delete(facts["name"])


def _sweep(*, now: datetime) -> None:
    """Remove files whose senders never came back."""
    with suppress(FileNotFoundError, NotADirectoryError):
        for name in job_storage().listdir(FOLDER)[1]:
            path = f"{FOLDER}/{name}"
            with suppress(FileNotFoundError):  # two uploads may sweep at once
                if job_storage().get_created_time(path) < now - KEPT_FOR:
                    job_storage().delete(path)
