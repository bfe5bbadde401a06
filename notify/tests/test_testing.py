"""Test data is valid without any argument and takes every field of its model."""

from datetime import UTC, datetime

import pytest
from django.apps import apps
from django.core.files.storage import storages

from notify import crypto, testing

NOW = datetime(2020, 2, 29, 12, 0, tzinfo=UTC)
MAKERS = {
    "service": testing.make_service,
    "template": testing.make_template,
    "provider": testing.make_provider,
    "endpoint": testing.make_endpoint,
    "job": testing.make_job,
    "notification": testing.make_notification,
    "letter": testing.make_letter,
}


@pytest.mark.parametrize("name", list(MAKERS))
def test_a_row_is_made_and_valid_without_any_argument(db, name):
    row = MAKERS[name]()
    row.full_clean()
    assert type(row).objects.get() == row
    if name != "provider":
        assert MAKERS[name]().pk != row.pk


@pytest.mark.parametrize("name", list(MAKERS))
def test_every_time_can_be_set(db, name):
    fields = [field.name for field in model_named(name)._meta.fields if field.get_internal_type() == "DateTimeField"]
    row = MAKERS[name](**dict.fromkeys(fields, NOW))
    row.refresh_from_db()
    assert {field: getattr(row, field) for field in fields} == dict.fromkeys(fields, NOW)


def model_named(name):
    labels = {"provider": "providers", "endpoint": "callbacks", "job": "jobs", "letter": "letters"}
    return apps.get_model(labels.get(name, "notify"), name)


def test_a_template_has_a_first_version_kept(db):
    template = testing.make_template()
    assert template.version == 1
    assert template.versions.get().content == template.content
    assert testing.make_template(version=4).version == 4


@pytest.mark.parametrize("kind", ["sms", "email", "letter"])
def test_each_channel_has_its_template_job_and_notification(db, kind):
    template = testing.make_template(notification_type=kind)
    job = testing.make_job(template=template)
    row = testing.make_notification(job)
    assert (template.notification_type, row.notification_type) == (kind, kind)
    assert (row.template, row.service, row.job, row.job_row_number) == (template, template.service, job, 0)


@pytest.mark.parametrize(
    ("identifier", "kind"), [("mmg", "sms"), ("firetext", "sms"), ("email", "email"), ("postal", "letter")]
)
def test_a_provider_is_active_and_has_its_backend(db, identifier, kind):
    provider = testing.make_provider(identifier)
    assert (provider.identifier, provider.notification_type) == (identifier, kind)
    assert (provider.active, provider.share, provider.held_until) == (True, 50, None)
    assert provider.backend.startswith(f"providers.backends.{identifier}.")
    assert not apps.get_model("providers", "ProviderChange").objects.exists()


def test_a_job_has_its_file_and_no_notification(db):
    job = testing.make_job(rows=3)
    with storages["jobs"].open(job.file.name) as stored:
        lines = stored.read().decode().splitlines()
    assert (len(lines), job.notification_count, job.notifications.count()) == (4, 3, 0)
    assert (job.status, job.template.notification_type) == ("finished", "sms")
    job = testing.make_job(rows=[{"phone number": "07700900001", "name": "Ada, Countess"}])
    with storages["jobs"].open(job.file.name) as stored:
        assert b'"Ada, Countess"' in stored.read()
    assert testing.make_job(rows=0).notification_count == 0
    assert testing.make_job(notification_count=9, sha256="x").notification_count == 9


def test_notifications_of_a_job_take_the_next_row(db):
    job = testing.make_job()
    assert [testing.make_notification(job).job_row_number for _ in range(2)] == [0, 1]
    assert testing.make_notification(job, 7).job_row_number == 7
    assert testing.make_notification().job is None


def test_a_notification_can_be_found_by_its_recipient_and_is_due_while_created(db):
    row = testing.make_notification(recipient="+447700900999", created_at=NOW)
    assert row.recipient_hash == crypto.search_hash("+447700900999")
    assert (row.status, row.due_at) == ("created", NOW)
    assert testing.make_notification(status="delivered").due_at is None
    assert testing.make_notification(due_at=None).due_at is None


def test_a_letter_takes_the_fields_of_both(db):
    letter = testing.make_letter(status="sending", sent_at=NOW, pages=3)
    assert (letter.notification.status, letter.notification.sent_at, letter.pages) == ("sending", NOW, 3)
    assert letter.pdf.storage.exists(letter.pdf.name)
    assert not testing.make_letter(pdf=None).pdf
    with testing.make_letter(pdf=b"%PDF-1.7 mine").pdf.open() as stored:
        assert stored.read() == b"%PDF-1.7 mine"
