"""Keys from the environment, or in development from a file made once."""

import multiprocessing
import stat

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured

from notify.keys import NAMES, load_keys

GIVEN = {"SECRET_KEY": "s", "ENCRYPTION_KEYS": "e", "SEARCH_HASH_KEY": "h"}


def test_keys_of_the_environment_need_no_file(tmp_path):
    file = tmp_path / "secrets.env"
    assert load_keys({**GIVEN, "OTHER": "x"}, file=file, production=True) == GIVEN
    assert load_keys(GIVEN, file=file, production=False) == GIVEN
    assert not file.exists()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("empty", [False, True])
def test_in_production_a_missing_key_is_named_and_nothing_is_made(tmp_path, name, empty):
    file = tmp_path / "secrets.env"
    environment = GIVEN | {name: ""} if empty else {key: value for key, value in GIVEN.items() if key != name}
    with pytest.raises(ImproperlyConfigured, match=rf"^{name} is not set"):
        load_keys(environment, file=file, production=True)
    assert not file.exists()


def test_in_production_a_development_file_is_not_used(tmp_path):
    file = tmp_path / "secrets.env"
    load_keys({}, file=file, production=False)
    with pytest.raises(ImproperlyConfigured):
        load_keys({}, file=file, production=True)


def test_the_first_start_makes_keys_that_work_and_the_next_reads_them(tmp_path):
    file = tmp_path / "new" / "secrets.env"
    first = load_keys({}, file=file, production=False)
    assert set(first) == set(NAMES)
    assert len(first["SECRET_KEY"]) >= 50
    assert len(set(first.values())) == 3
    Fernet(first["ENCRYPTION_KEYS"])
    assert load_keys({}, file=file, production=False) == first


def test_the_file_can_be_read_by_its_owner_only(tmp_path):
    file = tmp_path / "secrets.env"
    load_keys({}, file=file, production=False)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["secrets.env"]  # and no half-written one beside it


def test_the_environment_wins_over_the_file_key_by_key(tmp_path):
    file = tmp_path / "secrets.env"
    stored = load_keys({}, file=file, production=False)
    mixed = load_keys({"SECRET_KEY": "mine"}, file=file, production=False)
    assert mixed == stored | {"SECRET_KEY": "mine"}


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_lacks_a_key_is_named_with_the_key(tmp_path, name):
    file = tmp_path / "secrets.env"
    file.write_text("".join(f"{key}={value}\n" for key, value in GIVEN.items() if key != name) + "\n# a comment\n")
    with pytest.raises(ImproperlyConfigured, match=rf"secrets.env has no {name}"):
        load_keys({}, file=file, production=False)


def test_two_installations_have_different_keys(tmp_path):
    first = load_keys({}, file=tmp_path / "a", production=False)
    second = load_keys({}, file=tmp_path / "b", production=False)
    assert not set(first.values()) & set(second.values())


def _start(file, barrier, answers):
    barrier.wait()
    answers.put(load_keys({}, file=file, production=False))


def test_eight_first_starts_at_once_make_one_file(tmp_path):
    file = tmp_path / "new" / "secrets.env"
    context = multiprocessing.get_context("fork")
    barrier, answers = context.Barrier(8), context.Queue()
    processes = [context.Process(target=_start, args=(file, barrier, answers)) for _ in range(8)]
    for process in processes:
        process.start()
    keys = [answers.get(timeout=120) for _ in processes]
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * 8
    assert keys == [load_keys({}, file=file, production=False)] * 8
    assert [path.name for path in file.parent.iterdir()] == ["secrets.env"]
