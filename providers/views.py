"""Where providers report: authenticated, stored, answered 200; nothing is parsed here."""

import base64
import binascii
import logging
from hmac import compare_digest

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from notify.models import NotificationType
from providers import receipts
from providers.esp import VIEWS, label
from providers.models import Provider
from providers.request_body import CutOff, TooLarge, read_body
from providers.tasks import apply_receipts

logger = logging.getLogger(__name__)


@csrf_exempt
@require_POST
def receive(request: HttpRequest, identifier: str) -> HttpResponse:
    """Store one receipt of this provider.

    401 for missing or wrong credentials, 413 over RECEIPT_BYTES_LIMIT, 400 for one that did not come whole (nothing is
    stored), else 200: a provider that gets anything else may stop reporting.
    """
    provider = Provider.objects.filter(identifier=identifier).first()
    if provider is None or not _authenticated(request, provider):
        return _refused(identifier)
    return _stored(request, provider, request.headers.get("Content-Type", ""))


@csrf_exempt
@require_POST
def receive_email(request: HttpRequest, esp: str) -> HttpResponse:
    """Store one delivery report in this email provider's form; the credentials say which of our providers it is of.

    Answers as `receive`, and 404 with the known names for a form that nobody here can read.
    """
    mine = [
        provider
        for provider in Provider.objects.filter(notification_type=NotificationType.EMAIL).order_by("identifier")
        if _authenticated(request, provider)
    ]
    if not mine:
        return _refused(esp)
    if esp not in VIEWS:
        known = ", ".join(sorted(VIEWS))
        return JsonResponse({"error": f"Reports in this form are not known. Use one of: {known}."}, status=404)
    return _stored(request, mine[0], label(esp, request.headers.get("Content-Type", "")))


def _refused(name: str) -> HttpResponse:
    logger.warning("A receipt for %s was refused: wrong credentials", name[:50], extra={"provider": name[:50]})
    answer = JsonResponse({"error": "Wrong or missing credentials."}, status=401)
    answer["WWW-Authenticate"] = 'Basic realm="receipts"'
    return answer


def _stored(request: HttpRequest, provider: Provider, content_type: str) -> HttpResponse:
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


def _log_refused(request: HttpRequest, provider: Provider, why: str, number: int) -> None:
    peer = request.META.get("REMOTE_ADDR", "")
    logger.warning(
        f"A receipt of %s from %s was refused: {why}",  # noqa: G004 - one of our own texts
        provider.identifier,
        peer,
        number,
        extra={"provider": provider.identifier, "count": number},
    )


def _authenticated(request: HttpRequest, provider: Provider) -> bool:
    """Compare basic auth with the provider's receipt_user and receipt_passwords, in constant time."""
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return False
    try:
        given = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return False
    user = provider.config.get("receipt_user", "")
    expected = [f"{user}:{password}".encode() for password in provider.config.get("receipt_passwords", [])]
    return any([compare_digest(given, one) for one in expected])
