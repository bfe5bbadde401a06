"""A drill with any fault is not survived, and whoever runs it is told."""

from contextlib import nullcontext

import pytest

from drills.outcomes import STOPPED, Outcome, conduct
from notify.processes import StopAsked

FAULTS = [{"lost": 1}, {"doubled": 1}, {"broken": ["a sentence"]}]


def outcome(name="kills", **fault):
    return Outcome(**({"drill": name, "done": "3 kills", "broken": [], "seconds": 1.0, "counted": 1234} | fault))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_drill_with_any_fault_is_not_survived(fault):
    assert outcome().verdict == "survived"
    assert outcome(**fault).verdict == "NOT SURVIVED"


@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault_among_sound_drills_gives_status_1_and_its_sentence(fault, capsys):
    sound, broken = outcome("first"), outcome("second", **fault)
    of_name = {"first": sound, "second": broken}

    def run(house, name):
        return of_name[name]

    assert conduct(nullcontext(), ["first"], run, title="Drills", word="rows") == 0
    capsys.readouterr()
    assert conduct(nullcontext(), ["first", "second"], run, title="Drills", word="rows") == 1
    said = capsys.readouterr().out
    assert "first: survived\nsecond: NOT SURVIVED\n" in said
    assert "1,234" in said
    assert ("second: a sentence" in said) == bool(broken.broken)


def test_without_a_word_nothing_is_counted_in_the_table(capsys):
    conduct(nullcontext(), ["kills"], lambda house, name: outcome(), title="Drills")
    said = capsys.readouterr().out
    assert "3 kills" in said
    assert "lost" not in said
    assert "1,234" not in said


def test_a_drill_that_this_machine_cannot_run_is_not_survived_and_no_failure(capsys):
    lacking = outcome(done="not run: epmd not found", run=False)
    assert conduct(nullcontext(), ["kills"], lambda house, name: lacking, title="Drills", word="rows") == 0
    said = capsys.readouterr().out
    assert said.startswith("kills: not run\n")
    assert "not run: epmd not found" in said
    assert "survived" not in said
    assert "holds" not in said


@pytest.mark.parametrize("raised", [StopAsked, LookupError])
def test_stopped_part_way_it_shows_what_came_to_its_end_and_names_the_rest(raised, capsys):
    def run(house, name):
        if name == "second":
            raise raised
        return outcome(name, lost=7)

    def conducted():
        return conduct(nullcontext(), ["first", "second", "third"], run, title="Drills", word="rows")

    if raised is StopAsked:
        assert conducted() == STOPPED
    else:
        with pytest.raises(LookupError):  # and with it the exit status 1
            conducted()
    said = capsys.readouterr().out
    assert said.startswith("first: NOT SURVIVED\n")
    assert "1,234" in said
    assert said.endswith("Not to the end: second, third.\n")
    assert ("Stopped." in said) == (raised is StopAsked)


def test_stopped_before_anything_came_to_its_end_there_is_no_table(capsys):
    def run(house, name):
        raise StopAsked

    assert conduct(nullcontext(), ["kills"], run, title="Drills", word="rows") == STOPPED
    assert capsys.readouterr().out == "Stopped.\nNot to the end: kills.\n"
