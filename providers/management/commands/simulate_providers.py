"""Play the providers and a service's callback address, for a demonstration, a drill or a benchmark."""

import asyncio
import logging
import os
import signal
from argparse import ArgumentParser
from dataclasses import fields
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from providers import simulator
from providers.simulator_options import OptionProblem, Options

logger = logging.getLogger(__name__)

HELP = {
    "host": (str, "address to listen on"),
    "port": (int, "port to listen on; 0 for any free one"),
    "smtp_port": (int, "port of the mail server; 0 for any free one, which GET / names"),
    "web": (str, "where receipts go, such as http://localhost:8000; empty for no receipts"),
    "receipt_user": (str, "name the receipts are authenticated with"),
    "receipt_password": (str, "password the receipts are authenticated with"),
    "ledger": (Path, "file that gets one line per request, begun anew at each start"),
    "seed": (int, "makes chance repeatable"),
    "receipt_delay": (float, "seconds from a message to its receipt"),
    "answer_delay": (float, "seconds a provider takes to answer"),
    "callback_delay": (float, "seconds the callback address takes to answer"),
    "failure_rate": (float, "receipts that report a failure, half permanent, half temporary"),
    "permanent_rate": (float, "receipts that report a permanent failure"),
    "temporary_rate": (float, "receipts that report a temporary failure"),
    "refuse_rate": (float, "messages refused for good"),
    "try_later_rate": (float, "messages put off with Retry-After"),
    "cut_rate": (float, "messages taken, with the line cut instead of an answer"),
    "hang_rate": (float, "messages taken and never answered"),
    "drip_rate": (float, "messages taken and answered without an end, a byte at a time"),
    "garbage_rate": (float, "messages taken and answered with nonsense"),
    "duplicate_rate": (float, "receipts sent twice"),
    "callback_failure_rate": (float, "callbacks answered with 500"),
}


class Command(BaseCommand):
    """Needs no database; ends with 0 on SIGTERM or SIGINT, 2 for an impossible option, 3 when it cannot start."""

    help = "Play MMG (/mmg/), Firetext (/firetext/), a callback address (/callbacks/) and a mail server; GET / counts."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take every field of Options, and where to say that it is ready."""
        defaults = {"ledger": settings.VAR_DIR / "simulator" / "ledger.jsonl"}
        for option in fields(Options):
            kind, text = HELP[option.name]
            default = defaults.get(option.name, option.default)
            unit = " (0 to 1)" if option.name.endswith("_rate") else ""
            flag = f"--{option.name.replace('_', '-')}"
            parser.add_argument(flag, type=kind, default=default, help=f"{text}{unit}; default {default}")
        parser.add_argument("--ready-file", type=Path, help="file that gets host:port once it listens")

    def handle(self, *args: Any, **given: Any) -> None:
        """Run until told to stop."""
        try:
            options = Options(**{option.name: given[option.name] for option in fields(Options)})
        except OptionProblem as problem:
            raise CommandError(str(problem), returncode=2) from problem
        try:
            asyncio.run(serve(options, given["ready_file"]))
        except (simulator.SimulatorBusy, OSError, OverflowError) as problem:
            raise CommandError(f"The simulator cannot start: {problem}", returncode=3) from problem


async def serve(options: Options, ready_file: Path | None) -> None:
    """Listen until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    if ready_file:
        ready_file.unlink(missing_ok=True)  # of an earlier run, whose address nobody should use
    async with simulator.start(options) as running:
        logger.info("Simulator listens on %s", running.url, extra={"url": running.url})
        logger.info("Its mail server on %s", running.mail_address, extra={"address": running.mail_address})
        if ready_file:
            announce(ready_file, running.address)
        await stop.wait()


def announce(ready_file: Path, address: str) -> None:
    """Write the address in one step, so that nobody reads half of it."""
    ready_file.parent.mkdir(parents=True, exist_ok=True)
    part = ready_file.with_name(f"{ready_file.name}.part")
    part.write_text(address, encoding="utf-8")
    os.replace(part, ready_file)
