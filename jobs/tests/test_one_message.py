"""One test message from a template."""

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from notify.models import Notification
from notify.testing import make_notification, make_service, make_template

pytestmark = pytest.mark.django_db


def send(template, to="07700 900123", *values):
    arguments = [argument for value in values or ("name=Sam", "date=1 May") for argument in ("--value", value)]
    call_command("send_one", str(template.pk), to, *arguments)


def test_the_message_is_due_at_once_and_belongs_to_no_job():
    template = make_template()
    send(template)
    message = Notification.objects.get()
    assert (message.status, message.recipient, message.job_id, message.job_row_number) == (
        "created", "+447700900123", None, None,
    )  # fmt: skip
    assert message.personalisation == {"name": "Sam", "date": "1 May"}
    assert message.due_at is not None
    assert Notification.objects.found_by("+447700900123").exists()


def test_an_email_goes_the_same_way():
    send(make_template(notification_type="email"), "me@example.org")
    assert Notification.objects.get().recipient == "me@example.org"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("not a number",), "PHONE_CHARACTERS"),
        (("07700 900123", "name=Sam"), "VALUE_MISSING"),
        (("07700 900123", f"name={'x' * 919}", "date=1"), "MESSAGE_TOO_LONG"),
    ],
)
def test_bad_input_is_refused_with_its_code_and_nothing_is_stored(arguments, code):
    with pytest.raises(CommandError, match=code) as refused:
        send(make_template(), *arguments)
    assert refused.value.returncode == 3
    assert not Notification.objects.exists()


def test_letters_inactive_services_and_a_used_up_day_are_refused():
    with pytest.raises(CommandError, match="LETTER"):
        send(make_template(notification_type="letter"))
    with pytest.raises(CommandError, match="SERVICE_INACTIVE"):
        send(make_template(make_service(active=False)))
    full = make_template(make_service(sms_daily_limit=1))
    make_notification(template=full)
    with pytest.raises(CommandError, match="DAILY_LIMIT"):
        send(full)


def test_wrong_usage_ends_with_two():
    for arguments in (("nobody", "07700900123"), (make_template().name, "07700900123", "--value", "noequals")):
        with pytest.raises(CommandError) as refused:
            call_command("send_one", *arguments)
        assert refused.value.returncode == 2
