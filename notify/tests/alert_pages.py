"""What tests of the alerts' admin pages do: make an alert, list, act on the list, answer a page, read the history."""

from datetime import UTC, datetime, timedelta

from django.contrib.admin.models import LogEntry
from django.urls import reverse

from notify.models import Alert

LIST = "/admin/notify/alert/"
NOON = datetime(2026, 7, 1, 11, 0, tzinfo=UTC)  # 12:00 in London
HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)


def make(scope="job 1", **fields):
    return Alert.objects.create(kind="job-stalled", scope=scope, message="It stopped.", **fields)


def listed(client, **query):
    return sorted(alert.scope for alert in client.get(LIST, query).context["cl"].queryset)


def act(client, name, *alerts, **more):
    form = {"action": name, "_selected_action": [str(alert.pk) for alert in alerts], **more}
    return client.post(LIST, form, follow=True).content.decode()


def attend(client, alert, name, **form):
    return client.post(reverse(f"admin:notify_alert_{name}", args=[alert.pk]), form, follow=True).content.decode()


def history():
    return list(LogEntry.objects.order_by("pk").values_list("object_id", "change_message"))
