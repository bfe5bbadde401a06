"""The command and the admin's action that put receipts back."""

from datetime import UTC, datetime
from io import StringIO
from uuid import uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command

from notify.testing import make_provider
from providers import receipts
from providers.models import Receipt
from providers.replaying import OUTCOMES, PutBack
from providers.tasks import apply_receipts
from providers.tests.putting_back import arrive, element, outcomes, sent

pytestmark = pytest.mark.django_db
LIST = "/admin/providers/receipt/"


@pytest.fixture
def mmg():
    return make_provider("mmg")


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
