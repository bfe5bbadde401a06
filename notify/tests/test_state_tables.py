"""Every allowed and every forbidden move of every model that has a status, against tables written out here."""

from datetime import UTC, datetime

import pytest
from django.apps import apps
from django.db import IntegrityError, transaction

from notify import testing
from notify.states import Move

NOW = datetime(2027, 3, 28, 1, 30, tzinfo=UTC)  # the day the clocks go forward

# Written out here a second time on purpose: a move that is added or dropped in a model has to be meant.
REPORTED = "pending delivered permanent-failure temporary-failure technical-failure"
MOVES = {
    "notify.Notification": {
        "created": f"{REPORTED} created sending sent cancelled validation-failed",
        "sending": f"{REPORTED} sending sent returned-letter",
        "pending": f"{REPORTED} sent",
        "sent": f"{REPORTED} returned-letter",
        "delivered": "delivered permanent-failure returned-letter",
        "permanent-failure": "permanent-failure temporary-failure delivered",
        "temporary-failure": "temporary-failure permanent-failure delivered",
        "technical-failure": "technical-failure temporary-failure permanent-failure delivered returned-letter",
        "validation-failed": "",
        "pending-virus-check": "created virus-scan-failed validation-failed technical-failure cancelled",
        "virus-scan-failed": "",
        "cancelled": "",
        "returned-letter": "returned-letter",
    },
    "jobs.Job": {
        "scheduled": "pending,cancelled",
        "pending": "in progress,error,cancelled",
        "in progress": "finished,sending limits exceeded,error,cancelled",
        "error": "error,in progress,cancelled",
        "finished": "finished all notifications created,cancelled",
        "finished all notifications created": "cancelled",
        "sending limits exceeded": "",
        "cancelled": "",
    },
    "callbacks.Callback": {"pending": "pending delivered exhausted", "exhausted": "pending", "delivered": ""},
}


def allowed(model: str) -> set[tuple[str, str]]:
    split = "," if model == "jobs.Job" else " "
    return {(source, target) for source, text in MOVES[model].items() for target in text.split(split) if target}


def make(model: str, **fields):
    """One row of a model with a status."""
    if model == "jobs.Job":
        return testing.make_job(rows=0, file="a.csv", **fields)
    if model == "notify.Notification":
        return testing.make_notification(**fields)
    endpoint = testing.make_endpoint()
    notification = testing.make_notification(service=endpoint.service)
    return apps.get_model(model).objects.create(
        endpoint=endpoint, notification_id=notification.pk, notification_status="delivered", payload=b"", **fields
    )


@pytest.fixture(params=list(MOVES))
def each_model(request, db):
    """A model's label, its manager, and one row in each of its statuses: {status: key}."""
    manager = apps.get_model(request.param).objects
    rows = {status: make(request.param, status=status).pk for status in MOVES[request.param]}
    return request.param, manager, rows


def undone(act):
    """Run `act` and roll back what it wrote. Returns what it returned."""
    with transaction.atomic():
        result = act()
        transaction.set_rollback(True)
    return result


@pytest.mark.parametrize("model", list(MOVES))
def test_the_table_names_every_status(model):
    assert set(MOVES[model]) == set(apps.get_model(model).Status.values)


def test_move_to_moves_along_the_table_and_nowhere_else(each_model):
    model, manager, rows = each_model

    def arrives(source, target):
        if not any(target == to for _, to in allowed(model)):
            with pytest.raises(ValueError, match="nothing may move to"):
                manager.filter(pk=rows[source]).move_to(target, now=NOW)
            return False
        moved = manager.filter(pk=rows[source]).move_to(target, now=NOW)
        assert manager.get(pk=rows[source]).status == (target if moved else source)
        return moved == 1

    made = {(source, target) for source in rows for target in rows if undone(lambda s=source, t=target: arrives(s, t))}
    assert made == allowed(model)


def test_move_each_moves_along_the_table_and_nowhere_else(each_model):
    model, manager, rows = each_model
    made = set()
    for target in rows:
        before = undone(lambda t=target: manager.move_each([Move(pk, t) for pk in rows.values()], now=NOW))
        made |= {(source, target) for source in before.values()}
        assert all(rows[source] == pk for pk, source in before.items())
    assert made == allowed(model)


def test_move_each_leaves_a_forbidden_row_and_moves_the_others(each_model):
    model, manager, rows = each_model
    source, target = next(pair for pair in sorted(allowed(model)) if pair[0] != pair[1])
    stuck = next(status for status in rows if (status, target) not in allowed(model))
    moved = manager.move_each([Move(rows[stuck], target), Move(rows[source], target)], now=NOW)
    assert moved == {rows[source]: source}
    assert manager.get(pk=rows[stuck]).status == stuck


@pytest.mark.parametrize("model", list(MOVES))
def test_the_database_itself_knows_the_statuses(db, model):
    row = make(model)
    with pytest.raises(IntegrityError), transaction.atomic():
        type(row).objects.filter(pk=row.pk).update(status="no such status")
