"""Where providers report: authenticated, stored, answered 200; nothing is parsed here."""

import logging
from collections.abc import Callable
from functools import wraps

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from notify import crypto
from notify.models import NotificationType
from providers import receipts
from providers.esp import label, views
from providers.receipt_auth import Reporter, reporter, reporter_of
from providers.request_body import CutOff, TooLarge, read_body
from providers.tasks import apply_receipts

logger = logging.getLogger(__name__)


def _or_later(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Answer 503, so that the provider tries again, where a provider's configuration cannot be read at the moment."""

    @wraps(view)
    def guarded(request: HttpRequest, **named: str) -> HttpResponse:
        try:
            return view(request, **named)
        except crypto.Unreadable:
            logger.exception("A receipt was put off: a provider's configuration cannot be read; see ENCRYPTION_KEYS")
            return JsonResponse({"error": "RECEIPT_LATER: Not possible at the moment. Send it again."}, status=503)

    return guarded


@csrf_exempt
@require_POST
@_or_later
def receive(request: HttpRequest, identifier: str) -> HttpResponse:
    """Store one receipt of this provider.

    401 for missing or wrong credentials, 413 over RECEIPT_BYTES_LIMIT, 400 for one that did not come whole, 503 where a
    key is missing (nothing is stored), else 200: a provider that gets anything else may stop reporting.
    """
    provider = reporter(identifier, request.headers.get("Authorization", ""))
    if provider is None:
        return _refused(identifier)
    return _stored(request, provider, request.headers.get("Content-Type", ""))


@csrf_exempt
@require_POST
@_or_later
def receive_email(request: HttpRequest, esp: str) -> HttpResponse:
    """Store one delivery report in this email provider's form; the credentials say which of our providers it is of.

    Answers as `receive`, and 404 with the known names for a form that nobody here can read.
    """
    provider = reporter_of(NotificationType.EMAIL, request.headers.get("Authorization", ""))
    if provider is None:
        return _refused(esp)
    if esp not in views():
        known = ", ".join(sorted(views()))
        return JsonResponse({"error": f"Reports in this form are not known. Use one of: {known}."}, status=404)
    return _stored(request, provider, label(esp, request.headers.get("Content-Type", "")))


@csrf_exempt
@require_POST
@_or_later
def receive_letters(request: HttpRequest) -> HttpResponse:
    """Store one report on letters; the credentials say which postal provider it is of. Answers as `receive`."""
    provider = reporter_of(NotificationType.LETTER, request.headers.get("Authorization", ""))
    if provider is None:
        return _refused("letters")
    return _stored(request, provider, request.headers.get("Content-Type", ""))


def _refused(name: str) -> HttpResponse:
    logger.warning("A receipt for %s was refused: wrong credentials", name[:50], extra={"provider": name[:50]})
    answer = JsonResponse({"error": "Wrong or missing credentials."}, status=401)
    answer["WWW-Authenticate"] = 'Basic realm="receipts"'
    return answer


def _stored(request: HttpRequest, provider: Reporter, content_type: str) -> HttpResponse:
    limit = settings.RECEIPT_BYTES_LIMIT
    try:
        body = read_body(request, limit=limit, within=settings.RECEIPT_SENT_WITHIN)
    except TooLarge as error:
        _log_refused(request, provider, "%s bytes are too many", error.size)
        text = f"RECEIPT_TOO_LARGE: A receipt has at most {limit:,} bytes. Send fewer at once."
        return JsonResponse({"error": text}, status=413)
    except CutOff:
        _log_refused(request, provider, "it did not come whole within %s s", settings.RECEIPT_SENT_WITHIN.seconds)
        text = "RECEIPT_CUT_OFF: The receipt did not come whole. Send it again."
        return JsonResponse({"error": text}, status=400)
    receipts.store(provider, body, content_type, now=timezone.now())
    apply_receipts.nudge()
    return JsonResponse({"result": "success"})


def _log_refused(request: HttpRequest, provider: Reporter, why: str, number: int) -> None:
    peer = request.META.get("REMOTE_ADDR", "")
    logger.warning(
        f"A receipt of %s from %s was refused: {why}",  # noqa: G004 - one of our own texts
        provider.identifier,
        peer,
        number,
        extra={"provider": provider.identifier, "count": number},
    )
