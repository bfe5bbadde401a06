"""The demonstration: what it makes, and how it judges what became of the rows."""

import json
from collections import Counter
from datetime import UTC, datetime

import pytest
from cryptography.fernet import Fernet
from django.contrib.auth import authenticate

from callbacks.models import Callback, Endpoint
from jobs import demo
from jobs.demo_progress import figures
from jobs.models import Job
from notify.models import Service, Template
from notify.testing import make_endpoint, make_job, make_notification, make_provider
from providers.models import Provider

NOW = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)  # clocks go back half an hour later
LATER = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)


@pytest.mark.django_db
def test_prepare_twice_makes_one_of_each_and_follows_the_simulator():
    first = demo.prepare("127.0.0.1:8100", now=NOW)
    second = demo.prepare("127.0.0.1:8101", now=LATER)
    assert [model.objects.count() for model in (Service, Endpoint, Template, Provider)] == [1, 1, 3, 2]
    assert first.template == second.template
    assert Endpoint.objects.get().url == "http://127.0.0.1:8101/callbacks/"
    assert {provider.config["url"] for provider in Provider.objects.all()} == {
        "http://127.0.0.1:8101/mmg/",
        "http://127.0.0.1:8101/firetext/",
    }
    assert {provider.updated_at for provider in Provider.objects.all()} == {LATER}


@pytest.mark.django_db
def test_prepare_gives_the_user_a_new_password_each_time():
    first, second = (demo.prepare("127.0.0.1:8100", now=NOW).password for _ in range(2))
    assert authenticate(username=demo.USER, password=first) is None
    assert authenticate(username=demo.USER, password=second).is_superuser


@pytest.mark.django_db
def test_prepare_leaves_shares_alone_that_somebody_changed():
    demo.prepare("127.0.0.1:8100", now=NOW)
    Provider.objects.filter(identifier="mmg").update(share=10)
    demo.prepare("127.0.0.1:8101", now=NOW)
    assert Provider.objects.get(identifier="mmg").share == 10


@pytest.mark.django_db
def test_the_demo_refuses_a_database_with_real_providers_and_accepts_its_own():
    demo.refuse_real_installation()
    demo.prepare("127.0.0.1:8100", now=NOW)
    demo.refuse_real_installation()
    Provider.objects.filter(identifier="mmg").delete()
    make_provider("mmg", config={"api_key": "real"})
    with pytest.raises(demo.DemoRefused, match="provider mmg that the demo did not make"):
        demo.refuse_real_installation()


@pytest.mark.django_db
def test_the_demo_refuses_providers_whose_configuration_cannot_be_opened(settings):
    demo.prepare("127.0.0.1:8100", now=NOW)
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    with pytest.raises(demo.DemoRefused, match=r"configuration of provider \w+ in this database cannot be opened"):
        demo.refuse_real_installation()


@pytest.mark.django_db
def test_the_demo_refuses_production(settings):
    settings.PRODUCTION = True
    with pytest.raises(demo.DemoRefused, match="NOTIFY_ENVIRONMENT"):
        demo.refuse_real_installation()


@pytest.fixture
def played(monkeypatch, tmp_path, db):
    """A demonstration of two good rows and a bad one that went well: job and ledger."""
    monkeypatch.setattr(demo, "GOOD_ROWS", 2)
    monkeypatch.setattr(demo, "BAD_ROWS", 1)
    job = make_job(3, status=Job.Status.COMPLETE)
    endpoint = make_endpoint(job.service)
    ledger = tmp_path / "ledger.jsonl"
    for row, status in enumerate(["delivered", "delivered", "validation-failed"]):
        reason = "PHONE_TOO_SHORT: 5 digits." if status == "validation-failed" else ""
        message = make_notification(job, row, status=status, status_reason=reason, due_at=None)
        Callback.objects.create(
            endpoint=endpoint,
            notification_id=message.pk,
            notification_status=status,
            payload=b"",
            status="delivered",
        )
        if status == "delivered":
            write(ledger, message.pk, "sms", "accepted")
    return job, ledger


def write(ledger, key, channel, outcome):
    with ledger.open("a") as out:
        out.write(json.dumps({"id": str(key), "channel": channel, "at": "", "outcome": outcome}) + "\n")


def wrong(job, ledger, **options):
    job.refresh_from_db()
    return [finding.text for finding in demo.judge(job, ledger, now=NOW, **options) if not finding.holds]


def test_judge_finds_nothing_wrong_where_all_went_well(played):
    assert wrong(*played) == []


def test_judge_sees_a_message_that_no_provider_took(played):
    job, ledger = played
    ledger.write_text(ledger.read_text().splitlines()[0] + "\n")
    assert wrong(job, ledger) == ["the providers took 1 messages, 0 of them more than once"]
    ledger.unlink()
    assert wrong(job, ledger) == ["the providers took 0 messages, 0 of them more than once"]


def test_judge_allows_as_many_doubled_messages_as_a_killed_worker_had_on_the_wire(played):
    job, ledger = played
    sent = job.notifications.filter(status="delivered")
    write(ledger, sent[0].pk, "sms", "accepted")
    assert len(wrong(job, ledger)) == 1
    assert wrong(job, ledger, doubled_allowed=1) == []
    write(ledger, sent[1].pk, "sms", "cut")
    assert len(wrong(job, ledger, doubled_allowed=1)) == 1
    assert wrong(job, ledger, doubled_allowed=2) == []


def test_judge_leaves_other_runs_messages_in_the_ledger_alone(played):
    job, ledger = played
    for _ in range(2):
        write(ledger, "of-an-earlier-run", "sms", "accepted")
    assert wrong(job, ledger) == []


def test_judge_sees_a_message_and_a_callback_that_are_not_through(played):
    job, ledger = played
    message = job.notifications.filter(status="delivered").first()
    Callback.objects.filter(notification_id=message.pk).update(status="pending")
    assert wrong(job, ledger) == ["2 of 3 callbacks delivered"]
    job.notifications.filter(pk=message.pk).update(status="temporary-failure")
    assert wrong(job, ledger)[0] == "1 delivered, 1 validation-failed, 1 other"


def test_judge_sees_a_row_without_message_through_the_invariants_too(played):
    job, ledger = played
    job.notifications.filter(job_row_number=1).delete()
    assert any(str(job.pk) in text for text in wrong(job, ledger))


def test_judge_sees_a_job_that_is_not_complete(played):
    job, ledger = played
    Job.objects.filter(pk=job.pk).update(status=Job.Status.FINISHED)
    assert "the job is “finished”" in wrong(job, ledger)


def test_refused_rows_are_numbered_as_people_count(played):
    assert demo.refused_rows(played[0]) == [(4, "PHONE_TOO_SHORT")]


def test_the_ledger_counts_only_what_was_taken(tmp_path):
    ledger = tmp_path / "ledger.jsonl"
    for outcome in ("accepted", "cut", "hung", "refused", "try-later"):
        write(ledger, outcome, "sms", outcome)
    write(ledger, "told", "callback", "delivered")
    write(ledger, "untold", "callback", "failed")
    assert demo.read_ledger(ledger) == Counter(["accepted", "cut", "hung"])
    assert demo.read_ledger(ledger, "callback") == Counter(["told"])
    assert demo.read_ledger(tmp_path / "none") == Counter()


def test_settled_means_every_row_final_and_told():
    states = {
        "all": demo.Standing(2, Counter(delivered=2), Counter(delivered=2)),
        "given up": demo.Standing(2, Counter({"delivered": 1, "technical-failure": 1}), Counter(exhausted=2)),
        "one row missing": demo.Standing(2, Counter(delivered=1), Counter(delivered=1)),
        "one on its way": demo.Standing(2, Counter(delivered=1, sending=1), Counter(delivered=2)),
        "one untold": demo.Standing(2, Counter(delivered=2), Counter(delivered=1, pending=1)),
        "nothing yet": demo.Standing(2, Counter(), Counter()),
    }
    assert [label for label, state in states.items() if state.settled] == ["all", "given up"]


def test_the_figures_show_each_message_in_one_column():
    counted = Counter(
        {"created": 1, "sending": 2, "pending": 3, "delivered": 4, "validation-failed": 5, "cancelled": 6}
    )
    shown = figures(demo.Standing(21, counted, Counter(delivered=7, pending=8)))
    assert shown == {"created": 1, "sending": 5, "delivered": 4, "failed": 11, "callbacks": 7}
