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
from providers.tasks import apply_receipts

logger = logging.getLogger(__name__)


@csrf_exempt
@require_POST
def receive(request: HttpRequest, identifier: str) -> HttpResponse:
    """Store one receipt of this provider.

    401 for missing or wrong credentials (nothing stored), 413 over RECEIPT_BYTES_LIMIT, else 200: a provider that
    gets anything else may stop reporting.
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
    body = _body(request)
    if body is None:
        return JsonResponse({"error": f"At most {settings.RECEIPT_BYTES_LIMIT:,} bytes."}, status=413)
    receipts.store(provider, body, content_type, now=timezone.now())
    apply_receipts.nudge()
    return JsonResponse({"result": "success"})


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


def _body(request: HttpRequest) -> bytes | None:
    """Read the body up to the limit; None when it is larger."""
    limit = settings.RECEIPT_BYTES_LIMIT
    try:
        if int(request.META.get("CONTENT_LENGTH") or 0) > limit:
            return None
    except ValueError:
        return None
    # Django takes a body without Content-Length (sent in chunks) for an empty one, though the server marks its end.
    stream = request.META["wsgi.input"] if request.META.get("wsgi.input_terminated") else request
    body = stream.read(limit + 1)
    return body if len(body) <= limit else None
