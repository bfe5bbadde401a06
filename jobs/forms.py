"""The form that makes a job of a file."""

import uuid
from datetime import UTC, datetime
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.dateparse import parse_datetime

from jobs.preview import Preview
from notify.clock import from_naive_local, zone
from notify.models import Service, Template


class LocalMomentField(forms.Field):
    """A date and time on local clocks; gives an aware moment in UTC.

    A time that clocks skip in spring is refused. Of one that comes twice in autumn the first is taken
    (see `comes_twice`).
    """

    widget = forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M")

    def to_python(self, value: Any) -> datetime | None:
        """Read `2026-11-24T09:30`, seconds and a zone allowed; raises ValidationError."""
        text = str(value or "").strip()
        if not text:
            return None
        try:
            moment = parse_datetime(text) if ":" in text else None
            if moment is not None and moment.tzinfo is None:
                return _existing(moment)
            if moment is not None:
                return moment.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
        raise ValidationError("SCHEDULE_UNREADABLE: Write a date and a time like 2026-11-24 09:30.")


def _existing(naive: datetime) -> datetime:
    moment = from_naive_local(naive)
    if moment.astimezone(zone()).replace(tzinfo=None, fold=0) != naive:
        raise ValidationError(
            f"SCHEDULE_NO_SUCH_TIME: Clocks go forward on {naive:%d %B %Y} and skip {naive:%H:%M}. Choose another time."
        )
    return moment


def comes_twice(moment: datetime) -> bool:
    """Say whether local clocks show this moment's time a second time, an hour later."""
    local = moment.astimezone(zone())
    return local.utcoffset() != local.replace(fold=1).utcoffset()


class TemplateField(forms.ModelChoiceField):
    """Templates, grouped by their service."""

    def label_from_instance(self, template: Template) -> str:
        """Name the template and its channel."""
        return f"{template.name} ({template.get_notification_type_display()})"


class AddJobForm(forms.Form):
    """What is needed to make a job. job_id is made when the form is shown, so submitting it twice makes one job."""

    ENCODINGS = (("", "UTF-8 or UTF-16, as the file says"), ("cp1252", "Windows-1252 (older Excel exports)"))

    job_id = forms.UUIDField(widget=forms.HiddenInput)
    service = forms.ModelChoiceField(Service.objects.filter(active=True))
    template = TemplateField(Template.objects.none())
    file = forms.FileField(
        allow_empty_file=True,
        max_length=None,
        help_text="CSV with a header: comma, semicolon or tab between the columns.",
    )
    encoding = forms.ChoiceField(choices=ENCODINGS, required=False)
    scheduled_for = LocalMomentField(required=False, label="Send at")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["job_id"].initial = uuid.uuid4
        templates = Template.objects.filter(service__active=True).exclude(content="").select_related("service")
        field: Any = self.fields["template"]
        field.queryset = templates.order_by("service__name", "name")
        field.choices = _grouped(field)
        self.fields["scheduled_for"].help_text = (
            f"Local time ({settings.NOTIFY_TIME_ZONE}), at most {settings.JOB_SCHEDULED_AHEAD_LIMIT.days} days ahead. "
            "Empty: at once."
        )

    def clean(self) -> dict[str, Any]:
        """Refuse a template of another service."""
        cleaned = super().clean() or self.cleaned_data
        service, template = cleaned.get("service"), cleaned.get("template")
        if service and template and template.service_id != service.pk:
            self.add_error(
                "template",
                ValidationError(
                    f"TEMPLATE_OF_OTHER_SERVICE: {template} belongs to another service. Choose one of {service}.",
                    code="TEMPLATE_OF_OTHER_SERVICE",
                ),
            )
        return cleaned


class ConfirmForm(forms.Form):
    """The sender's consent to what the preview showed."""

    token = forms.CharField(widget=forms.HiddenInput, max_length=4_000)
    job_id = forms.UUIDField(widget=forms.HiddenInput)
    accept_invalid = forms.BooleanField(required=False)
    accept_repeated = forms.BooleanField(required=False)

    def require(self, found: Preview) -> None:
        """Ask for what the file makes necessary: a tick for bad rows, and one for repeated recipients."""
        if not found.valid:
            self.add_error(None, "NO_VALID_ROWS: No row of this file can be sent. Fix the file and choose it again.")
        if found.invalid_count and not self.cleaned_data["accept_invalid"]:
            self.add_error("accept_invalid", "INVALID_ROWS: Tick this to send the good rows, or fix the file.")
        if found.repeated_rows and not self.cleaned_data["accept_repeated"]:
            self.add_error("accept_repeated", "REPEATED_RECIPIENTS: Tick this to send all of them, or fix the file.")


def _grouped(field: TemplateField) -> list[tuple[str, Any]]:
    """Return the choices with one group per service, read in one query."""
    groups: dict[str, list[tuple[Any, str]]] = {}
    for template in field.queryset:
        groups.setdefault(template.service.name, []).append((template.pk, field.label_from_instance(template)))
    return [("", "---------"), *groups.items()]
