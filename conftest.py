"""What holds for all tests: their own folder and database server, aware times only, and no skips where CI is set."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import django
import pytest
import time_machine

# Tests write below a folder of their own. Before settings are loaded, so that they and every child see it.
os.environ.setdefault("NOTIFY_VAR_DIR", str(Path(__file__).resolve().parent / "var" / "test"))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "notify.settings")

django.setup()  # now: the conftests below import models
from django.db.backends.postgresql.operations import DatabaseOperations  # noqa: E402  (imports models' base)

time_machine.naive_mode = time_machine.NaiveMode.ERROR


_truncated = DatabaseOperations.sql_flush


def _emptied(
    self: DatabaseOperations, style: Any, tables: list[str], *, reset_sequences: bool = False, **kwargs: Any
) -> list[str]:
    """Empty tables as TRUNCATE does, whoever uses them waited for, but without a new file for every table and index.

    After a test with few rows that is a hundred times as fast.
    """
    if reset_sequences or not tables:
        return _truncated(self, style, tables, reset_sequences=reset_sequences, **kwargs)
    names = [self.quote_name(table) for table in tables]
    return [f"LOCK TABLE {', '.join(names)}", *[f"DELETE FROM {name}" for name in names]]


DatabaseOperations.sql_flush = _emptied  # type: ignore[method-assign]


def pytest_configure(config: pytest.Config) -> None:
    """Start the embedded server once, in the process that starts the workers: it outlives them and stops it."""
    from django.conf import settings

    from notify import embedded

    if settings.EMBEDDED_DATABASE and not hasattr(config, "workerinput"):
        embedded.ensure_running(settings.EMBEDDED_DATA_DIR)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop it, unless somebody else uses it."""
    from notify import embedded

    embedded.stop_if_last()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where CI is set, a skipped test is a failure: nobody would notice it otherwise."""
    if list(_skipped(session.config)) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name the skipped tests that made it fail."""
    skipped = list(_skipped(config))
    if skipped:
        terminalreporter.section("Skipped, which is a failure where CI is set", red=True)
        for name in skipped:
            terminalreporter.line(name)


def _skipped(config: pytest.Config) -> Iterator[str]:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter and os.environ.get("CI", "").lower() in ("1", "true", "yes"):
        yield from (report.nodeid for report in reporter.stats.get("skipped", []))
