"""The schedule's admin pages: django-celery-beat's own, narrowed to what a person should set here.

A periodic task has one crontab, its own, edited on the task's page together with when it runs next.
"""

from itertools import islice

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django_celery_beat import admin as beat
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    PeriodicTasks,
    SolarSchedule,
)

from notify.admin_base import NotifyAdmin, OwnFormFields, badge, local_time
from notify.schedule import edited_default, sync_schedule
from notify.schedule_forms import CRONTAB_FIELDS, TASKS, CrontabForm, ScheduleForm, in_words, next_runs

for model in (PeriodicTask, CrontabSchedule, IntervalSchedule, SolarSchedule, ClockedSchedule):
    admin.site.unregister(model)


@admin.register(PeriodicTask)
class ScheduleAdmin(OwnFormFields, NotifyAdmin, beat.PeriodicTaskAdmin):
    """When each periodic duty runs."""

    form = ScheduleForm
    form_only = CRONTAB_FIELDS
    change_form_template = None
    date_hierarchy = None
    list_display = ("name", "enabled", "runs", "last_run_at", "edited")
    list_filter = ("enabled",)
    list_select_related = ("crontab",)
    search_fields = ("name",)
    ordering = ("name",)
    actions = ("enable_tasks", "disable_tasks", "back_to_default")
    fieldsets = (
        (None, {"fields": ("name", "task", "enabled", "description")}),
        ("When it runs", {"fields": (*CRONTAB_FIELDS, "runs", "next_five", "last_run_at", "edited")}),
        ("More", {"classes": ("collapse",), "fields": ("expire_seconds", "args", "kwargs")}),
    )
    readonly_fields = ("runs", "next_five", "last_run_at", "edited")

    def get_readonly_fields(self, request: HttpRequest, obj: PeriodicTask | None = None) -> tuple[str, ...]:
        """A seeded row keeps its name and task: they are how a release finds it again."""
        ours = obj is not None and obj.name in TASKS
        return (*super().get_readonly_fields(request, obj), *(("name", "task") if ours else ()))

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        """Rows with their crontabs."""
        return PeriodicTask.objects.select_related("crontab")

    def has_delete_permission(self, request: HttpRequest, obj: PeriodicTask | None = None) -> bool:
        """Only what an operator added can be deleted; a duty of the platform is switched off instead."""
        ours = obj is None or obj.name in TASKS
        return not ours and request.user.has_perm("django_celery_beat.delete_periodictask")

    def save_model(self, request: HttpRequest, obj: PeriodicTask, form: ScheduleForm, change: bool) -> None:
        """Write the task and a crontab that no other task shares."""
        tab = form.tab
        if tab.pk and PeriodicTask.objects.filter(crontab=tab.pk).exclude(pk=obj.pk).exists():
            tab.pk, tab._state.adding = None, True
        tab.save()
        obj.crontab = tab
        obj.save()

    @admin.display(description="runs")
    def runs(self, task: PeriodicTask) -> str:
        """Say when it runs, in words."""
        return in_words(task.crontab) if task.crontab else "–"

    @admin.display(description="edited")
    def edited(self, task: PeriodicTask) -> SafeString | str:
        """Say whether an operator changed it, and from what."""
        default = edited_default(task)
        if default:
            return badge(f"edited; default is {default}", "busy")
        return "as shipped" if task.name in TASKS else "added here"

    @admin.display(description="next five runs")
    def next_five(self, task: PeriodicTask) -> SafeString | str:
        """List the next runs in local time."""
        if not task.crontab_id:
            return "Shown when the task is saved."
        if not task.enabled:
            return "None: it is switched off."
        try:
            runs = list(islice(next_runs(task.crontab, now=timezone.now()), 5))
        except ValueError as error:
            return f"None: {error}"
        return format_html_join("", "<div>{}</div>", ((local_time(moment),) for moment in runs))

    @admin.action(description="Switch on")
    def enable_tasks(self, request: HttpRequest, queryset: QuerySet) -> None:
        """Switch on the duties of the platform; a row whose task left the code stays off."""
        self._switch(request, queryset.filter(task__in=TASKS), on=True)

    @admin.action(description="Switch off")
    def disable_tasks(self, request: HttpRequest, queryset: QuerySet) -> None:
        """Switch off."""
        self._switch(request, queryset, on=False)

    @admin.action(description="Go back to the default schedule")
    def back_to_default(self, request: HttpRequest, queryset: QuerySet) -> None:
        """Undo the edits of the chosen rows."""
        reset = [
            task.name for task in queryset if sync_schedule(reset=task.name).get(task.name, "").startswith("reset")
        ]
        self.message_user(request, f"Back to the default: {', '.join(reset) or 'none was edited'}.")

    def _switch(self, request: HttpRequest, queryset: QuerySet, *, on: bool) -> None:
        changed = queryset.update(enabled=on) if on else queryset.update(enabled=False, last_run_at=None)
        PeriodicTasks.update_changed()
        self.message_user(request, f"Switched {'on' if on else 'off'}: {changed}.")


@admin.register(CrontabSchedule)
class CrontabAdmin(admin.ModelAdmin):
    """A task's crontab by itself; usually it is edited on the task's page."""

    form = CrontabForm
    list_display = ("__str__",)

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Not on the index page."""
        return False

    def has_add_permission(self, request: HttpRequest) -> bool:
        """A crontab is made with its task."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: CrontabSchedule | None = None) -> bool:
        """Deleting a crontab would delete its task."""
        return False
