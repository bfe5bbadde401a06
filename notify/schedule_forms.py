"""Forms of the schedule: a periodic task with a crontab of its own, and when that fires next.

Only the duties in notify/schedule.py can be chosen: whoever may use this form could otherwise run any task with any
arguments.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from typing import Any

from cron_descriptor import FormatException, MissingFieldException, Options, WrongArgumentException, get_description
from django import forms
from django.conf import settings
from django.utils import timezone
from django_celery_beat.models import CrontabSchedule, PeriodicTask

from notify.schedule import ROWS

TASKS = tuple(row.task for row in ROWS)
CRONTAB_FIELDS = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week", "timezone")
_LOOK_AHEAD = 41 * 366  # days: a 29 February on a given day of the week may be forty years away around 2100
_NOT_ALLOWED = "TASK_NOT_ALLOWED: Choose one of the platform's periodic duties; no other task may be scheduled here."


def next_runs(tab: CrontabSchedule, *, now: datetime) -> Iterator[datetime]:
    """Give the moments (UTC) after `now` at which a crontab fires, soonest first.

    As the scheduler does, all five fields must match. A time that clocks skip is given as far after the change; one
    that comes twice is given once. Raises ValueError for a crontab that cannot be read or names a date no month has.
    """
    cron, local_now = tab.schedule, now.astimezone(tab.timezone)
    clocks = [time(hour, minute) for hour in sorted(cron.hour) for minute in sorted(cron.minute)]
    for ahead in range(_LOOK_AHEAD):
        day = local_now.date() + timedelta(days=ahead)
        if not (day.month in cron.month_of_year and day.day in cron.day_of_month
                and day.isoweekday() % 7 in cron.day_of_week):  # fmt: skip
            continue
        moments = {datetime.combine(day, clock, tzinfo=tab.timezone).astimezone(UTC) for clock in clocks}
        yield from sorted(moment for moment in moments if moment > now)


def in_words(tab: CrontabSchedule) -> str:
    """Write a crontab as a sentence, with its zone where that is not the local one."""
    zone = str(tab.timezone)
    fields = [getattr(tab, name) for name in CRONTAB_FIELDS[:5]]
    options = Options()
    options.use_24hour_time_format = True
    try:
        words = get_description(" ".join(field.replace(" ", "") for field in fields), options)
    except (FormatException, MissingFieldException, Options, WrongArgumentException):
        words = " ".join(fields)
    return words if zone == settings.NOTIFY_TIME_ZONE else f"{words} ({zone})"


def refuse_never(tab: CrontabSchedule) -> None:
    """Raise ValidationError for a crontab that cannot be read or never fires, such as 31 February."""
    try:
        next(next_runs(tab, now=timezone.now()))
    except (ValueError, OverflowError, StopIteration) as error:
        raise forms.ValidationError(
            f"SCHEDULE_INVALID: It would never run. {error}", code="SCHEDULE_INVALID"
        ) from error


class CrontabForm(forms.ModelForm):
    """A crontab that fires some day."""

    class Meta:
        model = CrontabSchedule
        fields = CRONTAB_FIELDS

    def clean(self) -> dict[str, Any]:
        """Refuse what never runs."""
        cleaned = super().clean() or self.cleaned_data
        if not self.errors:
            refuse_never(CrontabSchedule(**{name: cleaned[name] for name in CRONTAB_FIELDS}))
        return cleaned


class ScheduleForm(forms.ModelForm):
    """A periodic task together with its own crontab."""

    task = forms.ChoiceField(choices=[(name, name) for name in TASKS], error_messages={"invalid_choice": _NOT_ALLOWED})

    class Meta:
        model = PeriodicTask
        fields = ("name", "task", "enabled", "description", "expire_seconds", "args", "kwargs")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.tab = self.instance.crontab or CrontabSchedule(timezone=settings.NOTIFY_TIME_ZONE)
        self.tab_form = CrontabForm(self.data if self.is_bound else None, instance=self.tab)
        self.fields |= self.tab_form.fields
        self.initial = {name: self.tab_form[name].initial for name in CRONTAB_FIELDS} | self.initial

    def clean(self) -> dict[str, Any]:
        """Hold the crontab, the task and its arguments against the rules."""
        cleaned = super().clean() or self.cleaned_data
        for field, messages in self.tab_form.errors.as_data().items():
            if field == "__all__" or field not in self.errors:
                self.add_error(None if field == "__all__" else field, messages)
        task = cleaned.get("task") or self.instance.task
        if task not in TASKS and "task" not in self.errors:
            self.add_error(None, forms.ValidationError(_NOT_ALLOWED, code="TASK_NOT_ALLOWED"))
        instance = self.instance
        instance.crontab, instance.interval, instance.solar, instance.clocked = self.tab, None, None, None
        return cleaned

    def clean_args(self) -> str:
        """Return the positional arguments: a JSON list."""
        return self._json("args", list, "[]")

    def clean_kwargs(self) -> str:
        """Return the named arguments: a JSON object."""
        return self._json("kwargs", dict, "{}")

    def _json(self, field: str, kind: type, empty: str) -> str:
        text = self.cleaned_data[field].strip() or empty
        try:
            value = json.loads(text)
        except ValueError as error:
            raise forms.ValidationError(
                f"TASK_NOT_ALLOWED: This is not JSON ({error}). Leave it as {empty}."
            ) from error
        if not isinstance(value, kind):
            raise forms.ValidationError(f"TASK_NOT_ALLOWED: Write it like {empty}.")
        return text
