"""Admin pages of jobs: add one with a file, watch it, cancel it. What is stored is never edited."""

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

from jobs.admin_one_message import OneMessagePage
from jobs.admin_problems import Problem, ProblemPages
from jobs.admin_upload import UploadPages
from jobs.cancelling import cancel_job
from jobs.models import Job
from jobs.progress import Progress, progress_of
from notify.admin_base import badge, list_link
from notify.notification_admin import status_badge

_TONES = {Job.Status.COMPLETE: "good", Job.Status.FINISHED: "good", Job.Status.CANCELLED: "quiet",
          Job.Status.ERROR: "bad", Job.Status.LIMITS_EXCEEDED: "bad"}  # fmt: skip
_FIELD_OF_CODE = {"TEMPLATE": "template", "SERVICE": "service", "SCHEDULE": "scheduled_for"}


@admin.register(Job)
class JobAdmin(UploadPages, ProblemPages, OneMessagePage):
    """Uploaded files, newest first."""

    list_display = ("original_file_name", "shown_status", "rows", "service", "template", "scheduled_for", "created_at")
    list_filter = (Problem, "status", "archived", "service")
    list_select_related = ("service", "template")
    search_fields = ("original_file_name", "id__iexact")
    search_help_text = "Part of the file's name, or the job's exact id"
    empty_text = "No job yet. Add one: choose a template and upload a file, and every row becomes one message."
    change_form_template = "admin/jobs/job/change_form.html"
    fieldsets = (
        (None, {"fields": ("original_file_name", "service", "template", "template_version", "rows", "created_by")}),
        ("Times", {"fields": ("created_at", "scheduled_for", "processing_started", "progressed_at",
                              "processing_finished")}),
        ("File", {"classes": ("collapse",), "fields": ("id", "encoding", "delimiter", "sha256", "recoveries",
                                                       "archived")}),
    )  # fmt: skip

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Who may add jobs uploads files."""
        return request.user.has_perm("jobs.add_job")

    def get_urls(self) -> list[URLPattern]:
        """The pages of one job beside the usual ones."""
        wrap = self.admin_site.admin_view
        return [
            path("<uuid:pk>/progress/", wrap(self.progress_view), name="jobs_job_progress"),
            path("<uuid:pk>/cancel/", wrap(self.cancel_view), name="jobs_job_cancel"),
            *super().get_urls(),
        ]

    @admin.display(description="status", ordering="status")
    def shown_status(self, job: Job) -> SafeString:
        """Show the status."""
        return badge(job.get_status_display().capitalize(), _TONES.get(Job.Status(job.status), "busy"))

    @admin.display(description="rows", ordering="notification_count")
    def rows(self, job: Job) -> str:
        """Count the file's rows, invalid ones included."""
        return f"{job.notification_count:,}"

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Show a job with its progress on top."""
        job = self.get_object(request, object_id)
        extra = self._shown(request, job) | self.troubles(request, job) if job else {}
        return super().change_view(request, object_id, form_url, (extra_context or {}) | extra)

    @method_decorator(require_safe)
    def progress_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Return the progress as a piece of HTML, for the job's page to show in place of the old one."""
        return render(request, "admin/jobs/job/progress.html", self._shown(request, self.viewable(request, pk)))

    def cancel_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Say what cancelling does; after the answer, do it."""
        job = self.viewable(request, pk)
        if not request.user.has_perm("jobs.change_job"):
            raise PermissionDenied
        if request.method == "POST":
            self._cancel(request, job)
            return HttpResponseRedirect(_page(pk))
        shown = self._shown(request, job)
        if not shown["may_cancel"]:
            self.message_user(request, "This job can no longer be cancelled.", messages.WARNING)
            return HttpResponseRedirect(_page(pk))
        context = self.admin_site.each_context(request) | shown | {"title": "Cancel this job?", "opts": self.opts}
        return TemplateResponse(request, "admin/jobs/job/cancel.html", context)

    def _shown(self, request: HttpRequest, job: Job) -> dict[str, Any]:
        """Return what the progress, the job's page and the question before cancelling show."""
        progress = progress_of(job)
        allowed = Job.Status.CANCELLED in Job.MOVES[Job.Status(job.status)] and not progress.done
        return {
            "original": job,
            "progress": progress,
            "words": _words(progress),
            "state": self.shown_status(job),
            "by_status": [
                (list_link(f"{count:,}", "notify_notification", job=job.pk, status__exact=status), status_badge(status))
                for status, count in progress.counts.items()
            ],
            "all_messages": list_link("All messages of this job", "notify_notification", job=job.pk),
            "may_cancel": allowed and request.user.has_perm("jobs.change_job"),
        }

    def _cancel(self, request: HttpRequest, job: Job) -> None:
        count = cancel_job(job.pk, now=timezone.now())
        if count is None:
            self.message_user(request, "This job was cancelled already, or can no longer be.", messages.WARNING)
            return
        with_it = f"{count:,} {'message' if count == 1 else 'messages'} with it."
        self.log_change(request, job, f"Cancelled, {with_it}")
        self.message_user(request, f"The job is cancelled, {with_it}", messages.SUCCESS)


def _page(pk: UUID) -> str:
    return reverse("admin:jobs_job_change", args=[pk])


def _words(progress: Progress) -> str:
    total = progress.job.notification_count
    words = f"{progress.created:,} of {total:,} {'row' if total == 1 else 'rows'} became messages"
    return words + (f", {progress.on_their_way:,} of them still on the way." if progress.on_their_way else ".")
