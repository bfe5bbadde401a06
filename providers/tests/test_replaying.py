"""Receipts that are put back: which, how often, and what becomes of them and of the alert."""

import json
from datetime import UTC, datetime, timedelta
from io import StringIO
from uuid import uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from notify.models import Alert, Notification
from notify.testing import make_notification, make_provider
from notify.tests.together import together
from providers import receipts
from providers.backends import mmg as mmg_backend
from providers.models import Receipt
from providers.replaying import OUTCOMES, PutBack, put_back
from providers.tasks import apply_receipts

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 29, 0, 59, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
LIST = "/admin/providers/receipt/"


@pytest.fixture
def mmg():
    return make_provider("mmg")


@pytest.fixture
def known(monkeypatch):
    """Add code 77 to MMG's table, as a release would."""
    return lambda: monkeypatch.setitem(mmg_backend.STATUSES, "77", "delivered")


def sent(**fields):
    return make_notification(**({"status": "sending", "provider_name": "mmg", "sent_at": NOW - MINUTE} | fields))


def element(reference, status="77"):
    return {"CID": str(reference), "status": status}


def arrive(provider, content, *, now=NOW):
    receipts.store(provider, json.dumps(content).encode(), "application/json", now=now)
    receipts.apply_batch(now=now)


def replay(chosen=None, *, now=NOW + DAY, limit=100):
    return sum(put_back(Receipt.objects.all() if chosen is None else chosen, now=now, limit=limit), PutBack())


def outcomes():
    return sorted(Receipt.objects.values_list("outcome", flat=True))


def open_alerts():
    return list(Alert.objects.open().values_list("kind", "scope").order_by("scope"))


def status_of(message):
    return Notification.objects.get(pk=message.pk).status


def command(*arguments):
    out = StringIO()
    call_command("replay_receipts", *arguments, stdout=out)
    return out.getvalue()


def refused(*arguments):
    """Run the command, which must refuse; returns its exit status and its one line."""
    with pytest.raises(CommandError) as error:
        command(*arguments)
    assert "\n" not in str(error.value)
    return error.value.returncode, str(error.value)


@pytest.fixture
def woken(monkeypatch):
    """What the command woke."""
    calls = []
    monkeypatch.setattr(apply_receipts, "apply_async", lambda *args, **kwargs: calls.append(args) or "sent")
    return calls


def test_an_unknown_code_that_became_known_is_applied_and_its_alert_closes(mmg, known):
    messages = [sent(), sent()]
    for message in messages:
        arrive(mmg, element(message.pk))
    arrive(mmg, element(messages[0].pk, "78"))
    assert "replay_receipts --provider mmg" in Alert.objects.open().first().message
    known()
    assert replay(Receipt.objects.filter(code="77")) == PutBack(again=2)
    assert open_alerts() == [("unknown-receipt-code", "mmg 77"), ("unknown-receipt-code", "mmg 78")]
    receipts.apply_batch(now=NOW + DAY)
    assert [status_of(message) for message in messages] == ["delivered"] * 2
    assert open_alerts() == [("unknown-receipt-code", "mmg 78")]


def test_the_alert_stays_open_while_one_receipt_with_the_code_is_left(mmg, known):
    for _ in range(2):
        arrive(mmg, element(sent().pk))
    known()
    replay(Receipt.objects.filter(pk=Receipt.objects.first().pk))
    receipts.apply_batch(now=NOW + DAY)
    assert (outcomes(), open_alerts()) == (["applied", "unknown-code"], [("unknown-receipt-code", "mmg 77")])
    replay()
    receipts.apply_batch(now=NOW + DAY, limit=1)  # a full batch: the backlog may go on
    receipts.apply_batch(now=NOW + DAY)
    assert open_alerts() == []


def test_the_alert_of_another_provider_with_the_same_code_stays_open(mmg, known):
    other = make_provider("other", backend="providers.backends.mmg.MMG")
    arrive(mmg, element(sent().pk))
    arrive(other, element(sent(provider_name="other").pk))
    known()
    replay(Receipt.objects.filter(provider=mmg))
    receipts.apply_batch(now=NOW + DAY)
    assert open_alerts() == [("unknown-receipt-code", "other 77")]


def test_a_code_that_is_still_unknown_ends_as_before_and_the_alert_counts(mmg):
    message = sent()
    arrive(mmg, element(message.pk))
    replay()
    receipts.apply_batch(now=NOW + DAY)
    assert (status_of(message), outcomes(), Alert.objects.open().get().times_seen) == ("sending", ["unknown-code"], 2)


def test_the_alert_closes_when_retention_took_the_last_receipt_with_the_code(mmg):
    arrive(mmg, element(sent().pk))
    Receipt.objects.all().delete()
    receipts.apply_batch(now=NOW + DAY)
    assert open_alerts() == []


def test_an_element_of_an_array_is_read_again_with_its_array(mmg, known):
    messages = [sent() for _ in range(3)]
    arrive(mmg, [element(messages[0].pk, "3"), element(messages[1].pk), element(messages[2].pk)])
    arrive(mmg, [element(uuid4(), "3"), element(uuid4(), "3")])  # another array, which is left alone
    known()
    assert replay(Receipt.objects.filter(outcome="unknown-code")) == PutBack(arrays=1)
    receipts.apply_batch(now=NOW + DAY)
    assert [status_of(message) for message in messages] == ["delivered"] * 3
    assert Receipt.objects.get(provider=mmg, outcome="split", applied_at=NOW + DAY)
    assert outcomes() == ["applied"] * 3 + ["split"] * 2 + ["waiting"] * 2
    assert open_alerts() == []


def test_what_counts_already_or_waits_for_its_first_reading_is_left_alone(mmg):
    arrive(mmg, element(sent().pk, "3"))
    arrive(mmg, [element(sent().pk, "3"), element(sent().pk, "4")])
    Receipt.objects.filter(outcome="split").delete()
    receipts.store(mmg, b"not read yet", "", now=NOW)
    before = list(Receipt.objects.order_by("pk").values())
    assert replay() == PutBack()
    assert list(Receipt.objects.order_by("pk").values()) == before


def test_parked_and_unreadable_ones_are_due_at_once_and_stay_what_they_are(mmg):
    for outcome in ("unreadable", "waiting"):
        arrive(mmg, element(uuid4()))
        Receipt.objects.filter(outcome="waiting").update(outcome=outcome, due_at=NOW + 2 * DAY)
    assert replay() == PutBack(hurried=2)
    assert set(Receipt.objects.values_list("due_at", "applied_at")) == {(NOW + DAY, None)}
    assert outcomes() == ["unreadable", "waiting"]
    assert replay() == PutBack()


def test_a_parked_one_whose_code_became_known_is_read_anew_when_its_message_comes(mmg, known):
    key = uuid4()
    arrive(mmg, element(key))
    known()
    message = sent(pk=key)
    receipts.apply_batch(now=NOW + DAY)
    assert (status_of(message), open_alerts()) == ("delivered", [])


def test_one_given_up_for_want_of_its_message_is_applied_once_the_message_is_there(mmg):
    key = uuid4()
    arrive(mmg, element(key, "3"))
    receipts.apply_batch(now=NOW + 8 * DAY)
    assert outcomes() == ["no-such-message"]
    message = sent(pk=key)
    assert replay(now=NOW + 9 * DAY) == PutBack(again=1)
    receipts.apply_batch(now=NOW + 9 * DAY)
    assert status_of(message) == "delivered"


def test_batches_end_although_the_loop_finishes_the_same_receipts_in_vain_meanwhile(mmg):
    for _ in range(5):
        arrive(mmg, element(sent().pk))
    done = []
    for batch in put_back(Receipt.objects.filter(outcome="unknown-code"), now=NOW + DAY, limit=2):
        done.append(batch.again)
        receipts.apply_batch(now=NOW + DAY)
    assert (done, outcomes()) == ([2, 2, 1], ["unknown-code"] * 5)


@pytest.mark.django_db(transaction=True)
def test_two_at_once_put_each_receipt_back_once_and_pass_over_what_a_worker_holds():
    mmg = make_provider("mmg")
    for _ in range(6):
        arrive(mmg, element(sent().pk))
    held = Receipt.objects.first().pk
    with transaction.atomic():
        Receipt.objects.select_for_update().get(pk=held)
        done = together(*[lambda: replay(limit=2)] * 2)
    assert sum(done, PutBack()) == PutBack(again=5)
    assert Receipt.objects.get(applied_at__isnull=False).pk == held


# --- The command ---------------------------------------------------------------------------------------------------


def test_the_command_puts_unknown_codes_back_and_wakes_the_loop(mmg, woken):
    arrive(mmg, element(sent().pk))
    arrive(mmg, b"{}".decode())
    assert command() == "Receipts that are put back: 1 to be read again.\n"
    assert (outcomes(), len(woken)) == (["", "RECEIPT_UNREADABLE"], 1)
    assert command() == "Nothing to put back.\n"
    assert len(woken) == 1


def test_the_command_narrows_by_provider_outcome_and_id(mmg, woken):
    other = make_provider("other", backend="providers.backends.mmg.MMG")
    for provider in (mmg, other):
        arrive(provider, element(sent(provider_name=provider.identifier).pk))
        arrive(provider, {"bad": provider.identifier})
        arrive(provider, element(uuid4(), "3"))
    assert command("--provider", "mmg") == "Receipts that are put back: 1 to be read again.\n"
    assert command("--outcome", "RECEIPT_UNREADABLE", "--provider=mmg").startswith("Receipts that are put back: 1 to")
    due_later = Receipt.objects.filter(outcome="waiting").update(due_at=datetime(2099, 1, 1, tzinfo=UTC))
    assert command("--outcome", "parked") == (
        f"Receipts that are put back: {due_later} that waited and are due at once.\n"
    )
    left = [str(key) for key in Receipt.objects.filter(provider=other, applied_at__isnull=False).values_list("pk")[0]]
    assert command(*left, *left).startswith("Receipts that are put back: 1 to be")


def test_a_dry_run_says_the_same_and_changes_nothing(mmg, woken):
    arrive(mmg, element(sent().pk))
    arrive(mmg, [element(sent().pk), element(sent().pk)])
    before = list(Receipt.objects.order_by("pk").values())
    said = command("--dry-run")
    assert said == (
        "Receipts that would be put back: 1 to be read again, 1 arrays to be read again for the sake of their "
        "elements.\n"
    )
    assert (list(Receipt.objects.order_by("pk").values()), woken) == (before, [])
    assert command() == said.replace("would be", "are")


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--provider", "nobody"], 2, "There is no provider 'nobody'. Known: mmg."),
        (["--outcome", "applied"], 2, "No outcome 'applied' can be put back. Known: unknown-code, parked"),
        (["--outcome", ""], 2, "No outcome ''"),
        (["12", "x" * 50], 2, f"No receipt ids: '12', '{'x' * 40}'. One looks like"),
        (["018f3c1e-0000-7000-8000-000000000000"], 3, "There are no such receipts"),
        ([str(uuid4()) for _ in range(9)], 3, "and 4 more"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line_and_nothing_is_put_back(mmg, woken, arguments, status, words):
    arrive(mmg, element(sent().pk))
    good = str(Receipt.objects.get().pk)
    for more in ([], [good]):
        code, said = refused(*arguments, *more)
        assert (code, words.removesuffix("and 4 more") in said, outcomes()) == (status, True, ["unknown-code"]), said
    assert woken == []


def test_an_id_that_counts_already_is_refused_and_beside_others_left_alone(mmg, woken):
    arrive(mmg, element(sent().pk, "3"))
    applied = str(Receipt.objects.get().pk)
    assert refused(applied)[0] == 3
    arrive(mmg, element(sent().pk))
    assert command(*map(str, Receipt.objects.values_list("pk", flat=True))).endswith("put back: 1 to be read again.\n")
    assert str(Receipt.objects.get(outcome="applied").pk) == applied


def test_without_a_broker_the_receipts_are_put_back_and_the_command_says_that_nobody_was_woken(mmg, monkeypatch):
    monkeypatch.setattr(apply_receipts, "apply_async", lambda: None)
    arrive(mmg, element(sent().pk))
    assert "not sent" in command()
    assert outcomes() == [""]


def test_ctrl_c_half_way_keeps_what_is_done_and_says_how_to_go_on(mmg, woken, monkeypatch):
    def interrupted(*args, **kwargs):
        yield PutBack(again=3)
        raise KeyboardInterrupt

    monkeypatch.setattr("providers.management.commands.replay_receipts.put_back", interrupted)
    assert refused() == (3, "Stopped: 3 are put back. Run it again for the rest.")
    assert len(woken) == 1


def test_every_outcome_a_receipt_can_end_in_can_be_asked_for():
    ends = {receipts.UNKNOWN_CODE, receipts.MISMATCH, receipts.NO_MESSAGE, receipts.PARKED, receipts.UNREADABLE}
    assert ends <= set(OUTCOMES.values())


# --- The admin -----------------------------------------------------------------------------------------------------


def act(client, *keys):
    return client.post(LIST, {"action": "apply_again", "_selected_action": [str(key) for key in keys]}, follow=True)


def test_the_admin_puts_chosen_ones_back_with_a_line_in_their_history(
    mmg, admin_client, django_capture_on_commit_callbacks
):
    arrive(mmg, element(sent().pk))
    arrive(mmg, element(sent().pk, "3"))
    again, applied = (Receipt.objects.get(code=code) for code in ("77", "3"))
    with django_capture_on_commit_callbacks() as callbacks:
        answer = act(admin_client, again.pk, applied.pk)
    assert "Put back: 1." in answer.content.decode()
    assert outcomes() == ["", "applied"]
    assert list(LogEntry.objects.values_list("object_id", flat=True)) == [str(again.pk)]
    assert [callback.args for callback in callbacks] == [()]
    assert "Nothing was put back" in act(admin_client, applied.pk).content.decode()
    assert LogEntry.objects.count() == 1


def test_only_who_may_change_receipts_is_offered_the_action(mmg, client, django_user_model):
    arrive(mmg, element(sent().pk))
    user = django_user_model.objects.create_user("viewer", password="a-long-password", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_receipt"))
    client.force_login(user)
    assert "apply_again" not in client.get(LIST).content.decode()
    act(client, Receipt.objects.get().pk)
    assert outcomes() == ["unknown-code"]
    user.user_permissions.add(Permission.objects.get(codename="change_receipt"))
    assert "apply_again" in client.get(LIST).content.decode()


def test_the_index_of_unknown_codes_serves_the_question_whether_an_alert_may_close(mmg):
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        plan = Receipt.objects.with_unknown_code().explain()
    assert "receipt_with_unknown_code" in plan, plan
