"""`manage.py backtest_policy`: what it prints, what it draws and what it refuses."""

from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import connection

from notify.models import Notification
from notify.testing import make_provider, make_template
from providers.models import Provider, SwitchPolicy

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
_TRAFFIC = """
    INSERT INTO notify_notification (id, service_id, template_id, template_version, notification_type, recipient,
        recipient_hash, personalisation, client_reference, status, status_reason, provider_name, provider_reference,
        attempts, unknown_outcomes, created_at, sent_at, delivered_at, updated_at)
    SELECT gen_random_uuid(), %(service)s, %(template)s, 1, 'sms', '', '', '', '', 'delivered', '', name, '', 1, 0, at,
        at, at + took, at + took
    FROM (SELECT name, %(start)s + minute * interval '1 minute' AS at,
            CASE WHEN name = 'mmg' AND minute >= 60 AND number <= 5 THEN interval '8 minutes'
            ELSE interval '20 seconds' END AS took
          FROM generate_series(0, 179) minute, generate_series(1, 10) number, unnest('{mmg,firetext}'::text[]) name
    ) messages
"""


@pytest.fixture
def slow_hours():
    """Ten messages a minute by each of two providers since 8:00; from 9:00 on half of mmg's take eight minutes."""
    template = make_template()
    make_provider("mmg"), make_provider("firetext")
    with connection.cursor() as cursor:
        cursor.execute(_TRAFFIC, {"template": template.pk, "service": template.service_id, "start": NOW - 4 * HOUR})
    with time_machine.travel(NOW, tick=False):
        yield


def run(*arguments):
    out, errors = StringIO(), StringIO()
    call_command("backtest_policy", *arguments, stdout=out, stderr=errors)
    return " ".join(out.getvalue().split()), errors.getvalue()


def test_it_says_when_traffic_had_left_and_what_that_had_saved(slow_hours):
    out, errors = run("--days", "1")
    assert errors == ""
    assert "24 Nov 2026, 09:08 GMT │ mmg (25 of 110 messages) │ firetext 100, mmg 0" in out
    # A tenth of it had come back at 10:10, as always after an hour, and left again when it had settled.
    assert "24 Nov 2026, 10:21 GMT │ mmg (" in out
    # 9:08 to 11:09, when the last message leaves the sample. Of the replay: ten at 9:08, two a minute from 10:11 on.
    assert "│ mmg │ 1,800 │ 122 │ 1,120 │ 32 │ 1,088 │ 0 │" in out
    assert "Holds of the past are not stored" in out
    assert set(Provider.objects.values_list("share", flat=True)) == {50}


def test_a_parameter_changes_the_answer_and_the_rest_comes_from_the_policy(slow_hours):
    SwitchPolicy.objects.create(notification_type="sms", minimum_sample=1_000)
    assert "It would not have switched." in run("--days", "1")[0]
    assert "09:08 GMT" in run("--days", "1", "--minimum-sample", "10")[0]
    assert "09:10 GMT" in run("--days", "1", "--minimum-sample", "10", "--threshold", "0.3")[0]
    assert "firetext 65, mmg 35" in run("--days", "1", "--minimum-sample", "10", "--step", "15")[0]
    assert SwitchPolicy.objects.get().minimum_sample == 1_000


def test_a_switch_back_is_counted_as_a_flap(slow_hours):
    Notification.objects.filter(sent_at__gte=NOW - 160 * MINUTE, provider_name="mmg").update(provider_name="swap")
    Notification.objects.filter(sent_at__gte=NOW - 160 * MINUTE, provider_name="firetext").update(provider_name="mmg")
    Notification.objects.filter(provider_name="swap").update(provider_name="firetext")
    out, _ = run("--days", "1")
    assert "09:28 GMT │ firetext (25 of 110 messages) │ firetext 0, mmg 100 │ yes" in out
    assert "3 switches, 1 of them back within an hour" in out


def test_nothing_stored_is_no_error(slow_hours):
    Notification.objects.all().delete()
    assert "It would not have switched." in run()[0]
    Provider.objects.all().delete()
    assert "There is no provider of this channel." in run()[0]


def test_days_past_retention_are_said_and_replayed_all_the_same(slow_hours):
    out, errors = run("--days", "30")
    assert "kept for 7" in errors
    assert "09:08 GMT" in out


def test_the_picture_is_a_png(slow_hours, tmp_path):
    picture = tmp_path / "replay.png"
    assert f"Drawn to {picture}." in run("--days", "1", "--png", str(picture))[0]
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--threshold", "NaN"], "THRESHOLD_RANGE"),
        (["--threshold", "inf"], "THRESHOLD_RANGE"),
        (["--threshold", "10%"], "THRESHOLD_RANGE"),
        (["--threshold", "0"], "THRESHOLD_RANGE"),
        (["--threshold", "1e-400"], "THRESHOLD_RANGE"),
        (["--threshold", "1.5"], "THRESHOLD_RANGE"),
        (["--threshold", " "], "--threshold"),
        (["--days", "0"], "--days '0'"),
        (["--days", "91"], "--days '91'"),
        (["--days", "a week"], "--days 'a week'"),
        (["--type", "letter"], "--type 'letter'"),
        (["--step", "101"], "--step"),
        (["--minimum-sample", "0"], "--minimum-sample"),
        (["--window-minutes", "nan"], "--window-minutes"),
        (["--window-minutes", "3.9"], "WINDOW_RANGE"),
        (["--png", "replay.txt"], ".png"),
        (["--png", "/there/is/no/such.png"], "/there/is/no"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_two(arguments, words):
    with pytest.raises(CommandError) as refused:
        run(*arguments)
    assert refused.value.returncode == 2
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_stored_policy_that_cannot_be_replayed_is_named(db):
    SwitchPolicy.objects.create(notification_type="sms", window=timedelta(days=99_999))
    with pytest.raises(CommandError, match="--window-minutes: WINDOW_RANGE"):
        run("--days", "1")
    assert "It would not have switched" in run("--days", "1", "--window-minutes", "10")[0]


def test_a_picture_that_cannot_be_written_is_said_in_a_line(tmp_path):
    (tmp_path / "is-a-file").write_text("")
    with pytest.raises(CommandError, match=r"is-a-file"):
        run("--days", "1", "--png", str(tmp_path / "is-a-file" / "replay.png"))
