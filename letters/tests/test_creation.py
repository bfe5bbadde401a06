"""Every notification of type letter gets its letter, in the transaction that made it."""

from datetime import UTC, datetime

import pytest
from django.db import transaction

from jobs.models import Job
from jobs.processing import claim_job, process_rows
from letters import creation
from letters.creation import create_letters
from letters.models import Letter
from notify.models import Notification
from notify.testing import make_job, make_notification, make_template

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 29, 12, tzinfo=UTC)


def letter_job(rows=3, **fields):
    return make_job(rows, template=make_template(None, "letter", **fields))


def test_each_letter_that_can_be_printed_gets_one_and_a_second_call_makes_none():
    job = letter_job()
    good = [make_notification(job), make_notification(job)]
    make_notification(job, status="validation-failed")
    make_notification(letter_job())  # another job's
    assert create_letters(job.pk, now=NOW) == 2
    assert create_letters(job.pk, now=NOW) == 0
    made = Letter.objects.all()
    assert {letter.notification_id for letter in made} == {notification.pk for notification in good}
    assert {(letter.kind, letter.pdf.name, letter.sha256, letter.pages) for letter in made} == {
        ("templated", "", "", None)
    }


@pytest.mark.parametrize("status", ["cancelled", "sending", "technical-failure"])
def test_what_has_left_created_gets_none(status):
    job = letter_job()
    make_notification(job, status=status)
    assert create_letters(job.pk, now=NOW) == 0


def test_other_channels_get_none():
    job = make_job()
    make_notification(job)
    assert create_letters(job.pk, now=NOW) == 0


def test_postage_is_that_of_the_version_the_letter_was_made_with():
    job = letter_job(postage="first")
    make_notification(job)
    job.template.postage = "economy"
    job.template.save()
    newer = make_notification(job, template_version=job.template.version)
    create_letters(job.pk, now=NOW)
    postage = dict(Letter.objects.values_list("notification_id", "postage"))
    assert postage[newer.pk] == "economy"
    assert sorted(postage.values()) == ["economy", "first"]


def test_without_postage_a_letter_goes_second_class():
    job = letter_job(postage="")
    make_notification(job)
    create_letters(job.pk, now=NOW)
    assert Letter.objects.get().postage == "second"


def test_rows_and_letters_are_written_together_or_not_at_all(monkeypatch):
    job = letter_job()
    Job.objects.update(status=Job.Status.PENDING)
    claimed = claim_job(job.pk, now=NOW)

    def broken(*args, **kwargs):
        raise RuntimeError("the table of letters is away")

    monkeypatch.setattr(creation.Letter.objects, "bulk_create", broken, raising=False)
    with pytest.raises(RuntimeError), transaction.atomic():
        process_rows(claimed, clock=lambda: NOW)
    assert (Notification.objects.count(), Letter.objects.count()) == (0, 0)
    monkeypatch.undo()
    assert process_rows(claimed, clock=lambda: NOW)
    assert (Notification.objects.count(), Letter.objects.count()) == (3, 3)


def test_queries_do_not_grow_with_the_number_of_letters(django_assert_max_num_queries):
    job = letter_job(50)
    for _ in range(50):
        make_notification(job)
    with django_assert_max_num_queries(4):
        assert create_letters(job.pk, now=NOW) == 50
