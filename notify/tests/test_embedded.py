"""The embedded server, used by real processes that start, leave, fork and are killed."""

import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest

from notify import embedded
from notify.postgresql import programs
from notify.tests.server_users import all_at_once, ask, leave, server_pid, starting


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data directory for all tests that do not need their own; each test leaves it stopped."""
    return embedded.data_directory(tmp_path_factory.mktemp("var"))


@pytest.fixture
def users():
    with starting() as start:
        yield start


def test_of_six_first_starts_at_once_one_starts_the_server_and_all_can_use_it(users, tmp_path):
    own = embedded.data_directory(tmp_path)
    processes = users(own, 6)
    assert all_at_once(processes) == ["False"] * 5 + ["True"]
    assert {ask(process, "query('SELECT current_database()')") for process in processes} == {"('notify',)"}


def test_after_a_kill_of_the_server_six_connect_at_once_and_nothing_committed_is_lost(users, data):
    processes = users(data, 6)
    assert ask(processes[0], "ensure()") == "True"
    ask(processes[0], "query('CREATE TABLE kept AS SELECT 42 AS answer')")
    os.kill(server_pid(data), signal.SIGKILL)
    assert all_at_once(processes) == ["False"] * 5 + ["True"]
    assert {ask(process, "query('TABLE kept')") for process in processes} == {"(42,)"}


def test_the_last_user_stops_the_server_and_nobody_before_it(users, data):
    first, second = users(data, 2)
    assert [ask(first, "ensure()"), ask(second, "ensure()")] == ["True", "False"]
    leave(first)
    assert ask(second, "query('SELECT 1')") == "(1,)"
    leave(second)
    assert not (data / "postmaster.pid").exists()


def test_users_that_leave_at_once_do_not_leave_the_server_behind(users, data):
    processes = users(data, 4)
    all_at_once(processes)
    for process in processes:
        process.stdin.close()
    assert [process.wait() for process in processes] == [0] * 4
    assert not programs.alive(data)


def test_a_killed_user_leaves_the_server_to_the_next_one(users, data):
    first, second = users(data, 2)
    ask(first, "ensure()")
    first.kill()
    first.wait()
    assert programs.alive(data)
    assert ask(second, "ensure()") == "False"
    leave(second)
    assert not programs.alive(data)


def test_a_forked_child_that_exits_does_not_stop_the_server(users, data):
    [parent] = users(data)
    assert ask(parent, "ensure()") == "True"
    assert ask(parent, "fork_and_exit_the_child()") == "0"
    assert ask(parent, "query('SELECT 1')") == "(1,)"


def test_giving_up_twice_is_harmless_and_the_next_use_starts_again(users, data):
    [process] = users(data)
    assert ask(process, "ensure(), ensure()") == "(True, False)"
    assert ask(process, "embedded.stop_if_last(), embedded.stop_if_last()") == "(None, None)"
    assert not programs.alive(data)
    assert ask(process, "ensure()") == "True"


def test_an_explicit_stop_cuts_users_and_their_next_use_starts_again(users, data):
    [process] = users(data)
    ask(process, "ensure()")
    embedded.stop(data)
    assert not programs.alive(data)
    embedded.stop(data)
    assert ask(process, "ensure()") == "True"


def test_a_long_path_gets_its_socket_elsewhere_and_open_to_its_user_alone(users, tmp_path):
    own = embedded.data_directory(tmp_path / ("long" * 20) / "with 'quotes' and $spaces")
    sockets = embedded.socket_directory(own)
    assert sockets != own
    [process] = users(own)
    try:
        assert ask(process, "ensure(), query('SELECT 1')") == "(True, (1,))"
        assert (sockets.stat().st_mode & 0o777, sockets.stat().st_uid) == (0o700, os.geteuid())
        sockets.chmod(0o755)
        assert ask(process, "ensure()").startswith(f"refused: {sockets} belongs to another user or is open")
        sockets.chmod(0o700)
        leave(process)
    finally:
        shutil.rmtree(sockets)


def test_the_socket_lies_with_the_data_up_to_eighty_five_bytes():
    assert embedded.socket_directory(Path("/" + "a" * 84)) == Path("/" + "a" * 84)
    assert embedded.socket_directory(Path("/" + "a" * 85)).parent == Path(tempfile.gettempdir())
    assert embedded.socket_directory(Path("/" + "é" * 43)).parent == Path(tempfile.gettempdir())


def test_a_folder_that_cannot_be_made_is_named_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(embedded.EmbeddedPostgresError) as refusal:
        embedded.ensure_running(embedded.data_directory(tmp_path / "file" / "var"))
    assert str(refusal.value).startswith(f"The embedded PostgreSQL cannot use {tmp_path}/file/var (Not a directory).")
    assert "\n" not in str(refusal.value)
