"""Processes that use an embedded server in tests: started, told what to do line by line, and ended."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from notify import embedded

PROJECT = Path(__file__).resolve().parents[2]

# A user of the server: evaluates what it is told, line by line, and leaves in the ordinary way at the end of input.
USER = """
import os, sys
from pathlib import Path
from notify import embedded

data = Path(sys.argv[1])

def ensure():
    return embedded.ensure_running(data)

def query(sql):
    with embedded._connect(data, "notify") as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone() if cursor.description else None

def fork_and_exit_the_child():
    if os.fork() == 0:
        sys.exit()
    return os.wait()[1]

def become(user):
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)

for line in sys.stdin:
    try:
        print(eval(line), flush=True)
    except embedded.EmbeddedPostgresError as error:
        print("refused:", error, flush=True)
"""


@contextmanager
def starting() -> Iterator:
    """Yield start(data, count=1, script=USER, **Popen options) -> processes; everything is stopped at the end."""
    started, directories = [], set()

    def start(data, count=1, script=USER, **options):
        directories.add(data)
        command = [sys.executable, "-W", "error", "-c", script, str(data)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        new = [subprocess.Popen(command, cwd=PROJECT, text=True, **pipes, **options) for _ in range(count)]
        started.extend(new)
        return new

    try:
        yield start
    finally:
        for process in started:
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()
        for directory in directories:
            embedded.stop(directory)


def tell(process, line):
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


def hear(process):
    return process.stdout.readline().strip()


def ask(process, line):
    tell(process, line)
    return hear(process)


def leave(process):
    """Let a user end in the ordinary way; it says nothing and reports success."""
    output, _ = process.communicate()
    assert (output, process.returncode) == ("", 0)


def all_at_once(processes):
    """Let every one of them call ensure_running at the same moment; return their answers, sorted."""
    for process in processes:
        assert ask(process, "1") == "1"  # has loaded
    for process in processes:
        tell(process, "ensure()")
    return sorted(hear(process) for process in processes)


def server_pid(data):
    return int((data / "postmaster.pid").read_text().split("\n", 1)[0])
