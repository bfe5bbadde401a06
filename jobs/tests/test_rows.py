"""Every row yields exactly one notification; one that cannot be sent says why."""

from datetime import UTC, datetime, timedelta

import pytest

from callbacks.models import Callback
from callbacks.payloads import open_payload
from jobs.models import Job
from jobs.processing import claim_job, process_rows
from letters.models import Letter
from notify import crypto
from notify.models import Notification
from notify.testing import ADDRESS, make_endpoint, make_job, make_service, make_template

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 29, 12, tzinfo=UTC)
LINES = {f"address line {number}": line for number, line in enumerate(ADDRESS, start=1)}


def process(rows, *, template=None):
    """Process a pending job of these rows. Returns its notifications in the order of the rows."""
    job = make_job(rows, template=template or make_template(), status=Job.Status.PENDING)
    assert process_rows(claim_job(job.pk, now=NOW), clock=lambda: NOW)
    made = list(job.notifications.order_by("job_row_number"))
    assert [one.job_row_number for one in made] == list(range(len(made)))
    assert len(made) == job.notification_count
    return made


def sms(number="07700900001", **values):
    return {"phone number": number, "name": "Ann", "date": "1 May", **values}


def test_a_good_row_is_created_and_due_at_once():
    (made,) = process([sms("+44 (0)7700 900-001")])
    assert (made.status, made.due_at, made.created_at, made.attempts) == ("created", NOW, NOW, 0)
    assert (made.recipient, made.personalisation) == ("+447700900001", {"name": "Ann", "date": "1 May"})
    assert made.recipient_hash == crypto.search_hash("+447700900001")
    assert (made.status_reason, made.provider_name, made.client_reference, made.claimed_at) == ("", "", "", None)


@pytest.mark.parametrize(
    ("row", "code"),
    [
        (sms(""), "RECIPIENT_MISSING"),
        (sms("0770"), "PHONE_TOO_SHORT"),
        (sms("077009000011234567"), "PHONE_TOO_LONG"),
        (sms("0770090000x"), "PHONE_CHARACTERS"),
        (sms("٠٧٧٠٠٩٠٠٠٠١"), "PHONE_CHARACTERS"),
        (sms("7700900001"), "PHONE_LEADING_ZERO"),
        (sms("020 7946 0000"), "PHONE_NOT_MOBILE"),
        (sms("09011234567"), "PHONE_NOT_MOBILE"),
        (sms("+4915112345678"), "PHONE_ABROAD"),
        (sms("+99912345678"), "PHONE_COUNTRY"),
        (sms(name=""), "VALUE_MISSING"),
        (sms(name="  "), "VALUE_MISSING"),
        (sms(name="A\x01n"), "CSV_CONTROL_CHAR"),
        (sms(name="x" * 919), "MESSAGE_TOO_LONG"),
    ],
)
def test_a_text_message_that_cannot_be_sent_keeps_its_place_with_the_reason(row, code):
    before, bad, after = process([sms(), row, sms()])
    assert (bad.status, bad.due_at, bad.status_reason.partition(": ")[0]) == ("validation-failed", None, code)
    assert {before.status, after.status} == {"created"}


@pytest.mark.parametrize(("length", "status"), [(917, "created"), (918, "created"), (919, "validation-failed")])
def test_a_text_message_may_have_918_characters(length, status):
    template = make_template(content="((name))")
    (made,) = process([{"phone number": "07700900001", "name": "x" * length}], template=template)
    assert made.status == status


def test_a_message_of_blanks_is_empty():
    (made,) = process([{"phone number": "07700900001", "late": "no"}], template=make_template(content="((late??Late))"))
    assert (made.status, made.status_reason.partition(":")[0]) == ("validation-failed", "MESSAGE_EMPTY")


@pytest.mark.parametrize(
    "address", ["no-at.example.org", "a@b@example.org", "a@example", "a@example.org.", "a b@c.org"]
)
def test_an_email_address_that_is_none_keeps_its_place_with_the_reason(address):
    rows = [{"email address": one, "name": "Ann", "date": "1 May"} for one in (address, "ann@EXAMPLE.org")]
    bad, good = process(rows, template=make_template(None, "email"))
    assert (bad.status, bad.status_reason.partition(":")[0]) == ("validation-failed", "EMAIL_INVALID")
    assert (good.status, good.recipient, good.due_at) == ("created", "ann@example.org", NOW)


def test_a_value_missing_in_the_subject_alone_counts():
    template = make_template(None, "email", subject="For ((licence))", content="Hello")
    (made,) = process([{"email address": "ann@example.org", "licence": ""}], template=template)
    assert made.status_reason == "VALUE_MISSING: There is no value for licence."


def letter(**lines):
    return LINES | {"name": "Ann", "date": "1 May"} | lines


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ({line: "" for line in LINES}, "RECIPIENT_MISSING"),
        ({"address line 2": "", "address line 3": ""}, "ADDRESS_TOO_FEW_LINES"),
        ({"address line 4": "Nowhere"}, "ADDRESS_POSTCODE"),
        ({"address line 4": "Germany"}, "ADDRESS_ABROAD"),
    ],
)
def test_an_address_that_cannot_be_delivered_to_makes_no_letter(lines, code):
    bad, good = process([letter(**lines), letter()], template=make_template(None, "letter"))
    assert (bad.status, bad.status_reason.partition(":")[0]) == ("validation-failed", code)
    assert (good.status, good.due_at, good.recipient) == ("created", None, "\n".join(ADDRESS))
    assert list(Letter.objects.values_list("notification_id", "postage")) == [(good.pk, "second")]


def test_a_letter_with_a_character_that_cannot_be_printed_is_never_made():
    name, place = letter() | {"name": "漢"}, letter(**{"address line 1": "漢字"})
    bad, worse, good = process([name, place, letter()], template=make_template(None, "letter"))
    assert bad.status_reason.startswith('LETTER_CHARACTER: The text has "漢" (U+6F22)')
    assert worse.status_reason.startswith("LETTER_CHARACTER: The address has")
    assert [row.status for row in (bad, worse, good)] == ["validation-failed", "validation-failed", "created"]
    assert Letter.objects.count() == 1


def test_abroad_is_allowed_where_the_service_sends_abroad():
    template = make_template(make_service(international_sms=True))
    (made,) = process([sms("+4915112345678")], template=template)
    assert (made.status, made.recipient) == ("created", "+4915112345678")


def test_rows_keep_the_version_the_job_was_made_with():
    template = make_template(content="Old ((name))")
    job = make_job([{"phone number": "07700900001", "name": "Ann"}], template=template, status=Job.Status.PENDING)
    template.content = "New ((name)) ((place))"
    template.save()
    process_rows(claim_job(job.pk, now=NOW), clock=lambda: NOW)
    made = Notification.objects.get()
    assert (made.status, made.template_version, made.personalisation) == ("created", 1, {"name": "Ann"})


def test_what_is_born_final_tells_its_service_with_the_row():
    template = make_template()
    make_endpoint(template.service)
    good, bad = process([sms(), sms("0770")], template=template)
    told = Callback.objects.get()
    assert (told.notification_id, told.notification_status, good.status) == (bad.pk, "validation-failed", "created")
    body = open_payload(told.payload)["body"]
    assert (body["to"], body["sent_at"], body["completed_at"]) == ("0770", None, "2026-03-29T12:00:00.000000Z")


def test_personal_data_lies_sealed_and_odd_characters_come_back_as_they_were():
    value = 'Ann\t"O\\N"\n\\.\nend'
    (made,) = process([sms(name=value)])
    assert made.personalisation["name"] == value
    raw = Notification.objects.values("recipient", "personalisation").get()
    assert b"7700900001" not in raw["recipient"]
    assert b"O\\N" not in raw["personalisation"]


def test_only_what_the_template_needs_is_kept():
    (made,) = process([sms(shoe_size="44")])
    assert sorted(made.personalisation) == ["date", "name"]


def test_headers_match_whatever_their_case_blanks_and_dashes():
    (made,) = process([{"PHONE-number": "07700900001", " Na_me": "Ann", "DATE": "1 May"}])
    assert (made.status, made.personalisation) == ("created", {"name": "Ann", "date": "1 May"})


def test_each_chunk_has_its_own_moment(settings):
    settings.JOB_CHUNK_ROWS = 2
    job = make_job(5, status=Job.Status.PENDING)
    ticks = iter(range(1_000))
    process_rows(claim_job(job.pk, now=NOW), clock=lambda: NOW + timedelta(seconds=next(ticks)))
    moments = list(job.notifications.order_by("job_row_number").values_list("created_at", flat=True))
    assert (moments[0] == moments[1], moments[2] == moments[3], len(set(moments))) == (True, True, 3)
    assert moments == sorted(moments)
