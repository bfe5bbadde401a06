"""Arrows point down: imports between apps, foreign keys, and inside an app only the shell imports tasks."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.apps import apps
from django.conf import settings

FLOORS = ("notify", "callbacks", "providers", "letters", "jobs")  # from the ground up
TEST_DATA = "notify/testing.py"  # builds rows of every app, imports them lazily: the only file left out
FOREIGN_KEYS_UP = {"notify.Notification.job"}  # "a row is never added twice" is a unique constraint on notifications
BANNED_NAMES = {"utils.py", "helpers.py", "services.py", "constants.py"}


def application_files() -> list[Path]:
    """Every module of the five apps that is neither a test nor test data."""
    files = [path for app in FLOORS for path in (settings.BASE_DIR / app).rglob("*.py")]
    names = [path.relative_to(settings.BASE_DIR) for path in files if "tests" not in path.parts]
    return sorted(name for name in names if str(name) != TEST_DATA)


def imported(source: str, module: str, *, package: bool = False) -> Iterator[str]:
    """Give the dotted name of everything a module imports, anywhere in it, relative imports resolved."""
    home = module.split(".") if package else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = home[: len(home) - node.level + 1] if node.level else []
            start = [*base, *([node.module] if node.module else [])]
            yield from (".".join([*start, alias.name]) for alias in node.names)


def pointing_up(source: str, module: str, *, package: bool = False) -> list[str]:
    """Return the imports of a higher app."""
    floor = FLOORS.index(module.split(".")[0])
    names = imported(source, module, package=package)
    return [name for name in names if name.split(".")[0] in FLOORS[floor + 1 :]]


def importing_tasks(source: str, module: str, *, package: bool = False) -> list[str]:
    """Return the imports of a `tasks` module of one of the apps."""
    names = [name.split(".") for name in imported(source, module, package=package)]
    return [".".join(name) for name in names if name[0] in FLOORS and "tasks" in name[1:3]]


def is_shell(path: Path) -> bool:
    """True for tasks.py, the admin, views and management commands."""
    return path.name in ("tasks.py", "views.py") or "admin" in path.stem.split("_") or "commands" in path.parts


def read(path: Path) -> tuple[str, str, bool]:
    """Return a file's source, its dotted module name and whether it is a package."""
    package = path.name == "__init__.py"
    dotted = ".".join((path.parent if package else path.with_suffix("")).parts)
    return (settings.BASE_DIR / path).read_text(), dotted, package


@pytest.mark.parametrize(
    ("source", "module", "found"),
    [
        ("import jobs.models", "notify.alerts", ["jobs.models"]),
        ("def later():\n    from callbacks import outcomes", "notify.alerts", ["callbacks.outcomes"]),
        ("from ..jobs import models", "letters.backends.deep", []),  # relative names stay inside their package
        ("from ...jobs import models", "letters.backends.deep", ["jobs.models"]),
        ("from providers.models import Provider", "callbacks.delivery", ["providers.models.Provider"]),
        ("from notify.models import Service", "callbacks.delivery", []),
        ("from callbacks.outcomes import settle", "jobs.cancelling", []),
        ("import jobsearch", "notify.alerts", []),
    ],
)
def test_an_import_that_points_up_is_seen(source, module, found):
    assert pointing_up(source, module) == found


@pytest.mark.parametrize(
    ("source", "seen"),
    [
        ("from jobs.tasks import process_job", True),
        ("from jobs import tasks", True),
        ("from . import tasks", True),
        ("from .tasks import process_job", True),
        ("import jobs.tasks as shell", True),
        ("from celery import tasks", False),
        ("from jobs import processing", False),
    ],
)
def test_an_import_of_tasks_is_seen(source, seen):
    assert bool(importing_tasks(source, "jobs.processing")) is seen


def test_there_is_something_to_walk():
    walked = {str(path) for path in application_files()}
    assert {"notify/loops.py", "callbacks/outcomes.py", "providers/views.py", "letters/models.py"} <= walked
    assert TEST_DATA not in walked


def test_imports_between_apps_point_down():
    found = {str(path): pointing_up(*read(path)[:2], package=read(path)[2]) for path in application_files()}
    assert {path: names for path, names in found.items() if names} == {}


def test_only_the_shell_imports_tasks():
    inner = [path for path in application_files() if not is_shell(path)]
    found = {str(path): importing_tasks(*read(path)[:2], package=read(path)[2]) for path in inner}
    assert {path: names for path, names in found.items() if names} == {}


def test_conditions_do_not_import_the_tables_they_are_attached_to():
    """Querysets lie below models, models below verbs."""
    for app in FLOORS:
        path = Path(app, "querysets.py")
        if (settings.BASE_DIR / path).exists():
            names = set(imported(*read(path)[:2]))
            assert not [name for name in names if name.startswith(f"{app}.models")]


def test_foreign_keys_point_down_with_one_exception():
    up = set()
    for app in FLOORS:
        for model in apps.get_app_config(app).get_models():
            for field in () if model._meta.proxy else model._meta.get_fields():  # a proxy has no column of its own
                target = field.related_model._meta.app_label if field.is_relation and field.concrete else app
                if target in FLOORS and FLOORS.index(target) > FLOORS.index(app):
                    up.add(f"{app}.{model.__name__}.{field.name}")
    assert up == FOREIGN_KEYS_UP


def test_installed_apps_lists_the_floors_from_the_top_down():
    ours = [name for name in settings.INSTALLED_APPS if name in FLOORS]
    assert ours == list(reversed(FLOORS))


def test_no_module_has_a_name_that_could_hold_anything():
    assert [str(path) for path in application_files() if path.name in BANNED_NAMES] == []


@pytest.mark.parametrize("app", FLOORS)
def test_files_stay_short(app):
    long = {
        str(path): lines
        for path in application_files()
        if path.parts[0] == app and "migrations" not in path.parts
        if (lines := len((settings.BASE_DIR / path).read_text().splitlines())) > 250
    }
    assert long == {}
