"""The only way up: every floor that has a module of a name is asked, from the top one down."""

import sys
from types import ModuleType

import pytest
from django.conf import settings
from django.core.management import call_command

from notify import floors, testing


@pytest.fixture
def three_floors(monkeypatch):
    """Floors `attic`, `hall` and `cellar`; the middle one has nothing to say."""
    for name in ("attic", "hall", "cellar"):
        package = ModuleType(name)
        package.__path__ = []
        monkeypatch.setitem(sys.modules, name, package)
    for name in ("attic", "cellar"):
        module = ModuleType(f"{name}.answers")
        module.__spec__ = object()
        module.run = lambda *args, name=name, **kwargs: (name, args, kwargs)
        monkeypatch.setitem(sys.modules, f"{name}.answers", module)
    monkeypatch.setattr(floors, "FLOORS", ("attic", "hall", "cellar"))


def test_each_floor_answers_in_order_with_the_arguments_given(three_floors):
    answers = floors.ask("answers", 1, now=2)
    assert list(answers.items()) == [("attic", ("attic", (1,), {"now": 2})), ("cellar", ("cellar", (1,), {"now": 2}))]


def test_a_name_that_no_floor_has_gives_no_answers():
    assert floors.ask("no_floor_has_this") == {}


def test_the_floors_are_the_apps_from_the_top_down():
    assert list(floors.FLOORS) == [name for name in settings.INSTALLED_APPS if name in floors.FLOORS]


def test_invariants_hold_in_an_empty_installation(db, capsys):
    call_command("check_invariants")
    assert capsys.readouterr().out.startswith("All invariants hold (jobs, ")


def test_a_broken_invariant_is_printed_and_ends_with_1(db, capsys):
    testing.make_job(rows=3, file="a.csv", status="finished")
    with pytest.raises(SystemExit) as ended:
        call_command("check_invariants")
    assert ended.value.code == 1
    assert "jobs: " in capsys.readouterr().out
