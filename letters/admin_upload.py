"""The admin's way from a PDF to a letter that is printed as it is."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from callbacks.tasks import deliver_due_callbacks
from letters.models import Letter
from letters.tasks import scan_letters
from letters.uploading import ADDRESS_LINE_LIMIT, ADDRESS_LINES, LetterRefused, Upload, upload_letter
from notify.admin_base import ReadOnlyAdmin
from notify.fields import new_id
from notify.models import Notification, Service, Template

_FIELD_OF_CODE = {"SERVICE_INACTIVE": "service", "POSTAGE_UNKNOWN": "postage", "REFERENCE_INVALID": "reference",
                  "ADDRESS_INVALID": "address"}  # fmt: skip


class AddLetterForm(forms.Form):
    """A PDF and how it travels. letter_id is made when the form is shown, so submitting it twice makes one letter."""

    letter_id = forms.UUIDField(widget=forms.HiddenInput)
    service = forms.ModelChoiceField(Service.objects.filter(active=True))
    file = forms.FileField(
        allow_empty_file=True,
        max_length=None,
        label="PDF",
        help_text="A4 portrait, at most {pages} pages and {megabytes} MB, without password, script or attachment.",
        widget=forms.FileInput(attrs={"accept": "application/pdf,.pdf"}),
    )
    postage = forms.ChoiceField(choices=Template.Postage, initial=Template.Postage.SECOND)
    reference = forms.CharField(
        max_length=255, required=False, help_text="The service's own, by which the letter is found again."
    )
    address = forms.CharField(
        required=False,
        max_length=ADDRESS_LINES * (ADDRESS_LINE_LIMIT + 2),
        widget=forms.Textarea(attrs={"rows": ADDRESS_LINES, "cols": 40}),
        help_text="The recipient's, for finding the letter again. What is printed is the address in the PDF.",
    )

    def __init__(self, *args: Any, pages: int, megabytes: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["letter_id"].initial = new_id
        file = self.fields["file"]
        file.help_text = str(file.help_text).format(pages=pages, megabytes=megabytes)

    def upload(self) -> Upload:
        """Return what was filled in."""
        given = self.cleaned_data
        return Upload(
            letter_id=given["letter_id"], service=given["service"], file_name=given["file"].name or "",
            postage=given["postage"], reference=given["reference"], address=tuple(given["address"].splitlines()),
        )  # fmt: skip


class UploadPage(ReadOnlyAdmin):
    """Adding a precompiled letter."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Who may add letters uploads PDFs."""
        return request.user.has_perm("letters.add_letter")

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Show the form; of what was sent make a letter and show it."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = _form(request)
        if request.method == "POST" and form.is_valid():
            letter = self._upload(request, form)
            if letter is not None:
                return HttpResponseRedirect(reverse("admin:letters_letter_change", args=[letter.pk]))
        context = self.admin_site.each_context(request) | {
            "title": "Add precompiled letter", "opts": self.opts, "form": form,
        }  # fmt: skip
        return TemplateResponse(request, "admin/letters/letter/add_form.html", context)

    def _upload(self, request: HttpRequest, form: AddLetterForm) -> Letter | None:
        """Make the letter and say what becomes of it; None with an error in the form when it is refused."""
        now = timezone.now()
        try:
            letter = upload_letter(form.files["file"].file, form.upload(), now=now)
        except LetterRefused as refusal:
            form.add_error(_FIELD_OF_CODE.get(refusal.code), str(refusal))
            return None
        message = letter.notification
        if message.created_at != now:
            self.message_user(request, "This letter was already made; nothing was added.", messages.WARNING)
            return letter
        self.log_addition(request, letter, [{"added": {}}])
        if message.status == Notification.Status.PENDING_VIRUS_CHECK:
            scan_letters.nudge()
            self.message_user(request, "The letter is stored; it is printed once it is found clean.", messages.SUCCESS)
            if not settings.CLAMD_SOCKET:
                text = "No virus scanner is set up (CLAMD_SOCKET), so it waits until there is one."
                self.message_user(request, text, messages.WARNING)
        else:
            deliver_due_callbacks.nudge()
            self.message_user(request, f"The letter will not be printed. {message.status_reason}", messages.ERROR)
        return letter


def _form(request: HttpRequest) -> AddLetterForm:
    limits = {"pages": settings.LETTER_PAGES_LIMIT, "megabytes": settings.LETTER_FILE_BYTES_LIMIT // 1_000_000}
    return AddLetterForm(request.POST or None, request.FILES or None, **limits)
