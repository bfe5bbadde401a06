"""README's tables are held against the code."""

import re
from pathlib import Path

import pytest
from django.conf import settings

from jobs.models import Job
from notify.models import Notification
from notify.schedule import QUEUES, ROWS

README = (Path(settings.BASE_DIR) / "README.md").read_text()


def table(heading: str) -> list[list[str]]:
    """Return the cells of the first table whose header starts with this cell."""
    start = README.index(f"\n| {heading} |")
    lines = README[start + 1 :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_watchdog_table_lists_exactly_the_scheduled_tasks_with_their_kinds():
    assert [(row[0].strip("`"), row[1]) for row in table("task")] == [(row.task, row.kind) for row in ROWS]


def test_the_workers_that_production_starts_serve_every_queue_once_and_watchdogs_alone():
    served = re.findall(r"`celery -A notify worker -Q ([a-z,]+)", README)
    assert "watchdogs" in served
    assert sorted(",".join(served).split(",")) == sorted(QUEUES)


@pytest.mark.parametrize(("heading", "model"), [("job", Job), ("notification", Notification)])
def test_state_tables_repeat_the_moves(heading, model):
    written = {}
    for state, targets in table(heading):
        written[state.rstrip(" *").strip("`")] = (set(re.findall(r"`([^`]+)`", targets)), state.endswith("*"))
    assert written == {
        str(state): ({str(target) for target in targets}, state in model.FINAL)
        for state, targets in model.MOVES.items()
    }


def test_settings_table_names_every_variable_the_settings_read():
    source = (Path(settings.BASE_DIR) / "notify" / "settings.py").read_text()
    read = set(re.findall(r"env\.\w+\(\s*\"([A-Z_]+)\"", source))
    read |= {f"{name}_SECONDS" for name in re.findall(r"seconds\(\s*\"([A-Z_]+)\"", source)}
    read |= {"SECRET_KEY", "ENCRYPTION_KEYS", "SEARCH_HASH_KEY"}
    assert {row[0].strip("`") for row in table("variable")} == read


def test_every_alert_has_a_runbook_entry():
    root = Path(settings.BASE_DIR)
    sources = [path for path in root.glob("*/*.py") if path.parent.name not in ("tests", ".venv")]
    texts = [path.read_text() for path in sources]
    kinds = {kind for text in texts for kind in re.findall(r"See README, ([a-z-]+)\.", text)}
    kinds |= {kind for text in texts for kind in re.findall(r"raise_alert\(\s*\"([a-z-]+)\"", text)}
    assert len(kinds) > 5
    assert kinds <= set(re.findall(r"^### ([a-z-]+)$", README, re.MULTILINE))


def test_one_guess_table_names_files_that_exist():
    named = re.findall(r"`((?:notify|jobs|letters|providers|callbacks)/[\w/]+\.py)`", README)
    assert len(named) > 10
    assert [name for name in named if not (Path(settings.BASE_DIR) / name).exists()] == []
