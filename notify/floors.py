"""The only way up: ask every floor that has a module of this name, from the top one down."""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

FLOORS = ("jobs", "letters", "providers", "callbacks", "notify")


def having(name: str) -> dict[str, Callable[..., Any]]:
    """Return {app: its `run`} of each floor that has `<app>/<name>.py`, from the top one down."""
    return {app: import_module(f"{app}.{name}").run for app in FLOORS if find_spec(f"{app}.{name}")}


def ask(name: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Call `run(...)` of `<app>/<name>.py` on each floor that has one. Returns {app: its answer}."""
    return {app: run(*args, **kwargs) for app, run in having(name).items()}
