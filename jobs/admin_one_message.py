"""The admin's “send one to myself”: one test message from a template. Linked from the template's own page."""

from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.safestring import SafeString, mark_safe

from jobs.creation import JobRefused
from jobs.one_message import send_one
from jobs.tasks import send_due_notifications
from notify import content
from notify.admin_base import ReadOnlyAdmin, list_link
from notify.models import Notification, NotificationType, Template


class OneMessageForm(forms.Form):
    """To whom, and a value for each placeholder."""

    to = forms.CharField(max_length=320)

    def __init__(self, template: Template, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        email = template.notification_type == NotificationType.EMAIL
        self.fields["to"].label = "Email address" if email else "Phone number"
        self.names = content.placeholders(template.subject, template.content)
        for place, name in enumerate(self.names):
            self.fields[f"value_{place}"] = forms.CharField(label=name, required=False, max_length=8_000)

    def values(self) -> dict[str, str]:
        """Return the values by placeholder."""
        return {name: self.cleaned_data[f"value_{place}"] for place, name in enumerate(self.names)}


class OneMessagePage(ReadOnlyAdmin):
    """Sending one message without a job."""

    def get_urls(self) -> list[URLPattern]:
        """The page's address."""
        page = self.admin_site.admin_view(self.send_one_view)
        return [path("send-one/<uuid:pk>/", page, name="jobs_job_send_one"), *super().get_urls()]

    def send_one_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Show the form, or send what was filled in."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        template = get_object_or_404(Template.objects.select_related("service"), pk=pk)
        form = OneMessageForm(template, request.POST or None)
        if request.method == "POST" and form.is_valid() and self._send(request, template, form):
            return HttpResponseRedirect(reverse("admin:notify_template_change", args=[pk]))
        context = self.admin_site.each_context(request) | {
            "title": "Send one to myself", "opts": self.opts, "form": form, "template": template,
        }  # fmt: skip
        return TemplateResponse(request, "admin/jobs/job/send_one.html", context)

    def _send(self, request: HttpRequest, template: Template, form: OneMessageForm) -> bool:
        now = timezone.now()
        try:
            send_one(template, recipient=form.cleaned_data["to"], values=form.values(), now=now)
        except JobRefused as refusal:
            form.add_error("to" if refusal.code.startswith(("PHONE", "EMAIL")) else None, f"{refusal.code}: {refusal}")
            return False
        send_due_notifications.nudge()
        made = Notification.objects.filter(template=template, job__isnull=True, created_at=now).first()
        self.log_addition(request, made, "One test message sent to oneself.")
        self.message_user(request, _said(made), messages.SUCCESS)
        return True


def _said(made: Notification) -> SafeString:
    link = list_link("See what becomes of it", "notify_notification", q=made.pk)
    return mark_safe(f"One message is on its way. {link}")  # noqa: S308  (the link is made safe by its maker)
