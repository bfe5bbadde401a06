"""The admin's answers to jobs in trouble: find them, resume one, make good its missing rows, download its report."""

from collections.abc import Callable
from typing import Any, NamedTuple
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_safe

from jobs import report
from jobs.models import Job
from jobs.querysets import missing_row_numbers
from jobs.recipients_file import FIRST_ROW
from jobs.recovery import allow_again, ask_for_missing_rows
from jobs.tasks import process_incomplete_jobs, process_missing_rows
from notify.admin_base import ReadOnlyAdmin

ROWS_LISTED = 100  # missing rows named on a job's page


class Problem(admin.SimpleListFilter):
    """Jobs that need a look; each choice is the condition its watchdog uses."""

    title = parameter_name = "problem"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        """Name the troubles a job can be in."""
        return [
            ("stalled", "Stalled"),
            ("missing", "Missing rows, being repaired"),
            ("incomplete", "Incomplete"),
            ("given-up", "Given up"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        """Narrow the list to one trouble."""
        now, jobs = timezone.now(), Job.objects
        found = {
            "stalled": lambda: jobs.stalled(now),
            "missing": lambda: jobs.missing_rows(now),
            "incomplete": lambda: jobs.incomplete(now),
            "given-up": jobs.given_up,
        }.get(self.value() or "")
        return queryset.filter(pk__in=found().order_by().values("pk")) if found else queryset


class Remedy(NamedTuple):
    """What a button does: its words, and `apply(job)`, which says whether it had an effect."""

    title: str
    button: str
    promises: tuple[str, ...]
    done: str
    already: str
    apply: Callable[[Job], bool]


def _resume(job: Job) -> bool:
    """Give a job in error its tries back and have it processed after commit."""
    if not allow_again(job.pk, now=timezone.now()):
        return False
    process_incomplete_jobs.delay_on_commit([str(job.pk)])
    return True


def _repair(job: Job) -> bool:
    """Have a finished job's missing rows processed after commit."""
    if not ask_for_missing_rows(job.pk, now=timezone.now()):
        return False
    process_missing_rows.delay_on_commit(str(job.pk))
    return True


REMEDIES = {
    "resume": Remedy(
        "Resume this job?",
        "Resume the job",
        (
            "Exactly the rows without a message become messages; rows that have one are left alone.",
            "The job gets all its automatic tries back, and its alert closes.",
            "If the cause is not mended, the job goes back to error.",
        ),
        "The job is being resumed.",
        "Already done: this job is no longer in error, or its file is gone.",
        _resume,
    ),
    "repair": Remedy(
        "Find and process missing rows?",
        "Process the missing rows",
        (
            "Exactly the rows without a message become messages and are sent; rows that have one are left alone.",
            "A message that retention has deleted counts as missing too: "
            "look at the job's age before you send its rows again.",
        ),
        "The missing rows are being processed.",
        "Already done: this job has no missing rows that can be processed now.",
        _repair,
    ),
}


class ProblemPages(ReadOnlyAdmin):
    """Pages of one job that mend it or report on it."""

    def get_urls(self) -> list[URLPattern]:
        """Add the pages of one job."""
        wrap = self.admin_site.admin_view
        return [
            path("<uuid:pk>/report/", wrap(self.report_view), name="jobs_job_report"),
            *(
                path(f"<uuid:pk>/{name}/", wrap(self.remedy_view), {"name": name}, name=f"jobs_job_{name}")
                for name in REMEDIES
            ),
            *super().get_urls(),
        ]

    @method_decorator(require_safe)
    def report_view(self, request: HttpRequest, pk: UUID) -> StreamingHttpResponse:
        """Stream what became of every row as CSV."""
        job = self.viewable(request, pk)
        answer = StreamingHttpResponse(report.lines(job), content_type="text/csv; charset=utf-8")
        answer["Content-Disposition"] = f'attachment; filename="{report.file_name(job)}"'
        return answer

    def remedy_view(self, request: HttpRequest, pk: UUID, name: str) -> HttpResponse:
        """Say what will happen; after the answer, do it once."""
        job, remedy = self.viewable(request, pk), REMEDIES[name]
        if not request.user.has_perm("jobs.change_job"):
            raise PermissionDenied
        page = reverse("admin:jobs_job_change", args=[pk])
        troubles = self.troubles(request, job)
        if request.method == "POST":
            self._apply(request, job, remedy)
            return HttpResponseRedirect(page)
        if not troubles[f"may_{name}"]:
            self.message_user(request, remedy.already, messages.WARNING)
            return HttpResponseRedirect(page)
        context = troubles | {"title": remedy.title, "remedy": remedy, "original": job, "opts": self.opts}
        return TemplateResponse(request, "admin/jobs/job/remedy.html", self.admin_site.each_context(request) | context)

    def troubles(self, request: HttpRequest, job: Job) -> dict[str, Any]:
        """Return which rows of a job at rest have no message, and which remedies are offered."""
        at_rest = job.status in (Job.Status.FINISHED, Job.Status.ERROR)
        missing = missing_row_numbers(job.pk, job.notification_count) if at_rest else []
        mendable = request.user.has_perm("jobs.change_job") and not job.archived
        return {
            "missing_count": len(missing),
            "missing_rows": [number + FIRST_ROW for number in missing[:ROWS_LISTED]],
            "missing_more": max(0, len(missing) - ROWS_LISTED),
            "may_resume": mendable and job.status == Job.Status.ERROR,
            "may_repair": mendable and job.status == Job.Status.FINISHED and job.service.active and bool(missing),
        }

    def _apply(self, request: HttpRequest, job: Job, remedy: Remedy) -> None:
        with transaction.atomic():
            effect = remedy.apply(job)
            if effect:
                self.log_change(request, job, remedy.done)
        level = messages.SUCCESS if effect else messages.WARNING
        self.message_user(request, remedy.done if effect else remedy.already, level)

    def viewable(self, request: HttpRequest, pk: UUID) -> Job:
        """Return the job where this person may look at it; raises Http404 where not."""
        job = Job.objects.select_related("service").filter(pk=pk).first()
        if job is None or not self.has_view_permission(request, job):
            raise Http404
        return job
