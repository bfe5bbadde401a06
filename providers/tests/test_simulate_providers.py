"""The command around the simulator: options it refuses, how it says that it is ready, and how it ends."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from providers.backends import Message, client_session
from providers.backends.mmg import MMG
from providers.management.commands.simulate_providers import Command

MANAGE = Path(__file__).parents[2] / "manage.py"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"refuse_rate": 1.01}, "--refuse-rate is 1.01"),
        ({"cut_rate": -0.01}, "--cut-rate is -0.01"),
        ({"duplicate_rate": float("nan")}, "--duplicate-rate is nan"),
        ({"receipt_delay": -1.0}, "--receipt-delay is -1"),
        ({"answer_delay": float("inf")}, "--answer-delay is inf"),
        ({"refuse_rate": 0.6, "hang_rate": 0.6}, "make 1.2 together"),
        ({"failure_rate": 0.6, "permanent_rate": 0.6}, "make 1.2 together"),
        ({"port": 65_536}, "--port is 65536"),
        ({"web": "localhost:8000"}, "--web is no address"),
        ({"receipt_user": "a:b"}, "--receipt-user holds a colon"),
    ],
)
def test_an_impossible_option_ends_the_command_with_2_and_says_which(given, words):
    with pytest.raises(CommandError, match=words) as caught:
        call_command(Command(), **given)
    assert caught.value.returncode == 2


def test_an_address_that_is_taken_ends_the_command_with_3(tmp_path):
    refused = pytest.raises(CommandError, match="cannot start")
    with socket.create_server(("127.0.0.1", 0)) as taken, refused as caught:
        call_command(Command(), port=taken.getsockname()[1], ledger=tmp_path / "ledger")
    assert caught.value.returncode == 3


@pytest.mark.processes
@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
def test_the_command_says_when_it_is_ready_and_ends_cleanly(name, tmp_path):
    ready = tmp_path / "run" / "ready"
    arguments = ["--ready-file", ready, "--ledger", tmp_path / "ledger", "--hang-rate", "1"]
    command = [sys.executable, MANAGE, "simulate_providers", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while not ready.exists() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.02)
        host, _, port = ready.read_text().partition(":")
        asyncio.run(leave_one_hanging(f"http://{host}:{port}/mmg/"))
        process.send_signal(name)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert f"listens on http://{host}:{port}" in errors
    assert "Traceback" not in errors
    assert json.loads((tmp_path / "ledger").read_text())["outcome"] == "hung"


async def leave_one_hanging(url):
    async with client_session(limit=1) as session:
        await MMG({"url": url, "api_key": "key", "timeout": "0.3"}).send(session, Message("a", "+44", "b", "c"))


@pytest.mark.processes
def test_a_rate_that_is_no_number_ends_the_process_with_2():
    command = [sys.executable, MANAGE, "simulate_providers", "--cut-rate", "often"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2
    assert "--cut-rate" in done.stderr
