"""The admin's way from a file to a job: choose it, see what it would become, agree."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from jobs import uploads
from jobs.creation import (
    JobRefused,
    create_job,
    judge_file,
    read_file,
    sha256_of,
    shown_name,
)
from jobs.forms import AddJobForm, ConfirmForm, comes_twice
from jobs.models import Job
from jobs.preview import Preview, checker_of, invalid_rows, preview
from jobs.processing import left_today
from jobs.recipients_file import FileProblem
from jobs.tasks import process_job
from notify.admin_base import ReadOnlyAdmin, local_time
from notify.export import stream
from notify.models import Template

_FIELD_OF_CODE = {"TEMPLATE": "template", "SERVICE": "service", "SCHEDULE": "scheduled_for"}


class UploadPages(ReadOnlyAdmin):
    """Adding a job in two steps. Between them the file is kept for its sender; nothing is in the database."""

    def get_urls(self) -> list[URLPattern]:
        """The second step's pages."""
        wrap = self.admin_site.admin_view
        return [
            path("confirm/", wrap(self.confirm_view), name="jobs_job_confirm"),
            path("preview/", wrap(self.preview_view), name="jobs_job_preview"),
            path("invalid-rows/", wrap(self.invalid_rows_view), name="jobs_job_invalid_rows"),
            *super().get_urls(),
        ]

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Show the form; of what was sent, show the preview."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = AddJobForm(request.POST or None, request.FILES or None)
        if request.method == "POST" and form.is_valid():
            made = Job.objects.filter(pk=form.cleaned_data["job_id"]).first()
            if made is not None:
                return self._made_already(request, made)
            token = self._keep(request, form)
            if token is not None:
                return self._preview(request, token, ConfirmForm(initial={"token": token}))
        context = self.admin_site.each_context(request) | {
            "title": "Add job",
            "opts": self.opts,
            "form": form,
            "media": form.media,
            "has_templates": form.fields["template"].queryset.exists(),
            "as_windows_1252": self._as_windows_1252(request, form),
        }
        return TemplateResponse(request, "admin/jobs/job/add_form.html", context)

    def preview_view(self, request: HttpRequest) -> HttpResponse:
        """Show the preview of a file that is kept: one that its sender says is Windows-1252."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        token = request.POST.get("token", "")
        try:
            return self._preview(request, token, ConfirmForm(initial={"token": token}))
        except uploads.UploadGone as gone:
            return self._gone(request, None, str(gone))

    def confirm_view(self, request: HttpRequest) -> HttpResponse:
        """Make the job that was agreed to; submitting twice makes one."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = ConfirmForm(request.POST or None)
        if request.method != "POST" or not form.is_valid():
            return HttpResponseRedirect(reverse("admin:jobs_job_add"))
        try:
            facts = uploads.facts_of(form.cleaned_data["token"], user=request.user)
        except uploads.UploadGone as gone:
            return self._gone(request, form.cleaned_data["job_id"], str(gone))
        look = _look(facts)
        form.require(look.found)
        job = self._create(request, facts, form) if form.is_valid() else None
        if job is None:
            return self._preview(request, form.cleaned_data["token"], form, look)
        uploads.forget(facts)
        return HttpResponseRedirect(reverse("admin:jobs_job_change", args=[job.pk]))

    def invalid_rows_view(self, request: HttpRequest) -> HttpResponse:
        """Download every row that cannot be sent, with its reason."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        try:
            facts = uploads.facts_of(request.GET.get("token", ""), user=request.user)
        except uploads.UploadGone as gone:
            return self._gone(request, None, str(gone))
        lines = stream(("row", "recipient", "reason"), _invalid_rows(facts))
        answer = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
        answer["Content-Disposition"] = 'attachment; filename="invalid-rows.csv"'
        return answer

    def _keep(self, request: HttpRequest, form: AddJobForm) -> str | None:
        """Keep a file that can be read; None with an error in the form when it is refused, and nothing is kept."""
        asked = form.cleaned_data
        try:
            judge_file(
                asked["file"].file, service=asked["service"], template=asked["template"],
                scheduled_for=asked["scheduled_for"], encoding=asked["encoding"] or None, now=timezone.now(),
            )  # fmt: skip
        except FileProblem as problem:
            form.add_error("file", str(problem))
            return None
        except JobRefused as refusal:
            form.add_error(_FIELD_OF_CODE.get(refusal.code.split("_")[0]), f"{refusal.code}: {refusal}")
            return None
        return self._token(request, form, encoding=asked["encoding"])

    def _as_windows_1252(self, request: HttpRequest, form: AddJobForm) -> str:
        """Keep a file that can be read as Windows-1252 only, so that one button shows how; "" for any other."""
        if not any("CSV_ENCODING" in error for error in form.errors.get("file", [])):
            return ""
        try:
            read_file(form.files["file"].file, form.cleaned_data["template"], encoding="cp1252")
        except FileProblem:
            return ""
        return self._token(request, form, encoding="cp1252")

    def _token(self, request: HttpRequest, form: AddJobForm, *, encoding: str) -> str:
        asked = form.cleaned_data
        scheduled = asked["scheduled_for"]
        return uploads.keep(
            form.files["file"].file, user=request.user, now=timezone.now(), template=str(asked["template"].pk),
            encoding=encoding, scheduled_for=scheduled.isoformat() if scheduled else "",
            job_id=str(asked["job_id"]), file_name=shown_name(form.files["file"].name),
        )  # fmt: skip

    def _preview(
        self, request: HttpRequest, token: str, form: ConfirmForm, look: "_Look | None" = None
    ) -> HttpResponse:
        """Show what a kept file would become; look: where the caller has gone through it already."""
        facts, now = uploads.facts_of(token, user=request.user), timezone.now()
        template, found, notes, digest = look or _look(facts)
        scheduled = parse_datetime(facts["scheduled_for"] or "")
        same = Job.objects.filter(service=template.service, sha256=digest, created_at__gt=now - uploads.KEPT_FOR)
        form.fields["accept_invalid"].label = f"Send the good rows; {found.invalid_count:,} become validation-failed"
        form.fields[
            "accept_repeated"
        ].label = f"Send all {found.repeated_rows:,} messages to these {found.repeated_recipients:,} recipients"
        form.fields["job_id"].initial = facts["job_id"]
        context = self.admin_site.each_context(request) | {
            "title": "Check before sending", "opts": self.opts, "form": form, "found": found, "notes": notes,
            "file_name": facts["file_name"], "template": template, "token": token, "same": list(same[:3]),
            "scheduled": local_time(scheduled) if scheduled else "",
            "left": left_today(template.service, template.notification_type, now=now),
            "invalid_url": reverse("admin:jobs_job_invalid_rows", query={"token": token}),
        }  # fmt: skip
        return TemplateResponse(request, "admin/jobs/job/preview.html", context)

    def _create(self, request: HttpRequest, facts: dict[str, Any], form: ConfirmForm) -> Job | None:
        """Make the job and wake its processing; None with an error in the form when it is refused."""
        template, now = _template(facts), timezone.now()
        try:
            with uploads.opened(facts) as file:
                job = create_job(
                    file, service=template.service, template=template, file_name=facts["file_name"], now=now,
                    scheduled_for=parse_datetime(facts["scheduled_for"] or ""), created_by=request.user,
                    encoding=facts["encoding"] or None, job_id=form.cleaned_data["job_id"],
                )  # fmt: skip
        except (FileProblem, JobRefused) as refusal:
            text = str(refusal) if isinstance(refusal, FileProblem) else f"{refusal.code}: {refusal}"
            form.add_error(None, text)
            return None
        if job.created_at != now:
            self._say_already(request)
            return job
        self.log_addition(request, job, [{"added": {}}])
        if job.status == Job.Status.PENDING:
            process_job.delay_on_commit(str(job.pk))
        self.message_user(request, _made(job), messages.SUCCESS)
        return job

    def _gone(self, request: HttpRequest, job_id: Any, text: str) -> HttpResponse:
        """The kept file is gone: most often because this very job was made already."""
        made = Job.objects.filter(pk=job_id).first() if job_id else None
        if made is not None:
            return self._made_already(request, made)
        self.message_user(request, text, messages.ERROR)
        return HttpResponseRedirect(reverse("admin:jobs_job_add"))

    def _made_already(self, request: HttpRequest, job: Job) -> HttpResponse:
        self._say_already(request)
        return HttpResponseRedirect(reverse("admin:jobs_job_change", args=[job.pk]))

    def _say_already(self, request: HttpRequest) -> None:
        self.message_user(request, "This job was already made; nothing was added.", messages.WARNING)


class _Look(NamedTuple):
    """What a kept file would become."""

    template: Template
    found: Preview
    notes: list[str]
    digest: str


def _look(facts: dict[str, Any]) -> _Look:
    template = _template(facts)
    with uploads.opened(facts) as file:
        kept = read_file(file, template, encoding=facts["encoding"] or None)
        found = preview(kept, checker_of(template))
        return _Look(template, found, kept.notes, sha256_of(file))


def _invalid_rows(facts: dict[str, Any]) -> Iterator[tuple[int, str, str]]:
    """Read the kept file while it is downloaded."""
    template = _template(facts)
    with uploads.opened(facts) as file:
        kept = read_file(file, template, encoding=facts["encoding"] or None)
        yield from invalid_rows(kept, checker_of(template))


def _template(facts: dict[str, Any]) -> Template:
    return Template.objects.select_related("service").get(pk=facts["template"])


def _made(job: Job) -> str:
    rows = "1 row" if job.notification_count == 1 else f"{job.notification_count:,} rows"
    if job.scheduled_for is None:
        return f"The job is made: {rows}."
    twice = " Clocks show that time twice; the first is taken." if comes_twice(job.scheduled_for) else ""
    return f"The job is made: {rows}, to be sent {local_time(job.scheduled_for)}.{twice}"
