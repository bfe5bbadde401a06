"""The only way up: ask every floor that has a module of this name, from the top one down."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

FLOORS = ("jobs", "letters", "providers", "callbacks", "notify")


def ask(name: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Call `run(...)` of `<app>/<name>.py` on each floor that has one. Returns {app: its answer}."""
    present = [app for app in FLOORS if find_spec(f"{app}.{name}")]
    return {app: import_module(f"{app}.{name}").run(*args, **kwargs) for app in present}
