"""Letters' storages by address: folders, a real SFTP server and an S3 server; what goes wrong with each is an error."""

import hashlib
import os
from datetime import UTC, datetime
from io import BytesIO

import paramiko
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import ContentFile
from django.core.files.storage import storages

from letters import postal, print_run
from letters.acknowledgements import read_acknowledgements
from letters.models import PrintFile
from letters.tests import sftp_server
from letters.tests.storages import use_folders
from notify.models import Alert, Notification
from notify.storages import storage
from notify.testing import make_letter, make_service

NOON = datetime(2026, 7, 1, 11, tzinfo=UTC)
AT = datetime(2026, 7, 1, 16, 50, tzinfo=UTC)


@pytest.fixture(autouse=True)
def folder(settings, tmp_path):
    return use_folders(settings, tmp_path)


@pytest.fixture(scope="session")
def sftp(tmp_path_factory):
    """A server for all tests of this session."""
    if sftp_server.missing():
        pytest.skip(sftp_server.missing())
    with sftp_server.running(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture
def s3():
    """S3 as moto plays it to boto3, with one bucket; gives the address of that."""
    import boto3
    from moto import mock_aws

    with mock_aws():
        place = {"LocationConstraint": "eu-west-2"}
        boto3.client("s3", region_name="eu-west-2").create_bucket(Bucket="letters", CreateBucketConfiguration=place)
        yield "s3://letters"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("ftp://host/folder", "no kind of storage"),
        ("relative/folder", "full path"),
        ("file://host/folder", "full path"),
        ("s3:///prefix", "bucket or host is missing"),
        ("s3://bucket?endpont=x", "unknown option endpont"),
        ("sftp://user@host/folder", "known_hosts is missing"),
        ("sftp://host/folder?known_hosts=/k", "user is missing"),
        ("sftp://user@host:abc/folder?known_hosts=/k", "cannot be used"),
    ],
)
def test_an_address_that_cannot_be_is_refused_with_what_is_wrong(tmp_path, address, words):
    with pytest.raises(ImproperlyConfigured, match=words):
        storage(address, folder=tmp_path)


def test_a_password_in_a_bad_address_is_not_repeated(tmp_path):
    with pytest.raises(ImproperlyConfigured) as caught:
        storage("sftp://user:secret@host/folder", folder=tmp_path)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("address", ["", "/srv/letters", "file:///srv/letters"])
def test_a_folder_is_written_in_three_ways(tmp_path, address):
    options = storage(address, folder=tmp_path)["OPTIONS"]
    assert str(options["location"]) == ("/srv/letters" if address else str(tmp_path))


def test_s3_takes_another_endpoint_and_keeps_no_second_copy_of_a_name(tmp_path):
    options = storage("s3://letters/a/b?endpoint=https://s3.example.org", folder=tmp_path)["OPTIONS"]
    wanted = {"bucket_name": "letters", "location": "a/b", "endpoint_url": "https://s3.example.org"}
    assert options == wanted | {"file_overwrite": True}


def use(settings, **addresses):
    """Point storages at addresses and return them."""
    own = {alias.replace("_", "-"): storage(address, folder=None) for alias, address in addresses.items()}
    settings.STORAGES = settings.STORAGES | own


@pytest.fixture(params=["folder", "sftp", "s3"])
def everywhere(request, settings, tmp_path):
    """PDFs and zips on one kind of storage."""
    if request.param == "sftp":
        server = request.getfixturevalue("sftp")
        use(settings, **{alias: server.address(tmp_path / alias) for alias in ("letters_pdf", "postal")})
    elif request.param == "s3":
        bucket = request.getfixturevalue("s3")
        use(settings, **{alias: f"{bucket}/{alias}?region=eu-west-2" for alias in ("letters_pdf", "postal")})
    yield request.param
    for alias in ("letters-pdf", "postal"):
        if request.param == "sftp":
            storages[alias].close()


def content(name):
    with storages["postal"].open(name, "rb") as file:
        return file.read()


@pytest.mark.django_db
def test_a_print_run_and_its_acknowledgement_work_on_each_kind_of_storage(everywhere):
    service = make_service()
    good, bad = (make_letter(created_at=NOON, service=service) for _ in range(2))
    storages["letters-pdf"].delete(bad.pdf.name)
    print_run.collate(clock=lambda: AT)
    assert dict(Notification.objects.values_list("pk", "status")) == {good.pk: "sent", bad.pk: "technical-failure"}
    file = PrintFile.objects.get()
    data = content(file.name)
    assert (hashlib.sha256(data).hexdigest(), len(data)) == (file.sha256, file.size)
    assert sorted(storages["postal"].listdir("")[1]) == sorted([file.name, "NOTIFY.2026-07-01.manifest.json"])
    line = f"{file.name},1,{file.sha256},accepted\n".encode()
    storages["postal"].save("acknowledgements/a.csv", ContentFile(line))
    assert read_acknowledgements(now=AT) == {"acknowledged": 1, "unreadable": 0}
    assert storages["postal"].listdir("acknowledgements")[1] == []
    assert content("acknowledgements/read/a.csv") == line


def test_a_file_is_put_in_place_of_another_of_its_name_and_found_whole(everywhere):
    for data in (b"first", b"second"):
        postal.put_whole(storages["postal"], "A.zip", BytesIO(data))
        assert content("A.zip") == data
    row = {"name": "A.zip", "size": 6, "sha256": hashlib.sha256(b"second").hexdigest()}
    assert postal.lies_whole(storages["postal"], PrintFile(**row), lambda: None)
    assert not postal.lies_whole(storages["postal"], PrintFile(**row | {"sha256": "0" * 64}), lambda: None)
    assert not postal.lies_whole(storages["postal"], PrintFile(**row | {"size": 5}), lambda: None)
    assert not postal.lies_whole(storages["postal"], PrintFile(**row | {"name": "B.zip"}), lambda: None)


@pytest.mark.django_db
def test_a_line_cut_while_a_zip_is_uploaded_leaves_only_a_part_and_the_next_run_finishes(
    settings, tmp_path, sftp, monkeypatch
):
    use(settings, postal=sftp.address(tmp_path / "postal"))
    one = make_letter(created_at=NOON, pdf=os.urandom(3_000_000))
    real, writes = paramiko.SFTPFile.write, []

    def cutting(file, data):
        writes.append(1)
        if len(writes) == 20:
            assert sftp.cut()
        return real(file, data)

    monkeypatch.setattr(paramiko.SFTPFile, "write", cutting)
    with pytest.raises((OSError, EOFError, paramiko.SSHException)):
        print_run.collate(clock=lambda: AT)
    file = PrintFile.objects.get()
    left = [path.name for path in (tmp_path / "postal").iterdir()]
    assert left == [f"{file.name}.part"]
    assert (tmp_path / "postal" / left[0]).stat().st_size < file.size
    assert Alert.objects.open().get().kind == "print-run-failed"
    print_run.collate(clock=lambda: AT)
    data = (tmp_path / "postal" / file.name).read_bytes()
    assert hashlib.sha256(data).hexdigest() == file.sha256
    assert not list((tmp_path / "postal").glob("*.part"))
    assert Notification.objects.get(pk=one.pk).status == "sent"
    assert not Alert.objects.open().exists()
    storages["postal"].close()


@pytest.mark.parametrize("known", ["", "another key"])
def test_a_host_that_is_unknown_or_has_another_key_is_refused(settings, tmp_path, sftp, known):
    hosts = tmp_path / "hosts"
    line = f"[127.0.0.1]:{sftp.port} {(sftp.home / 'user.pub').read_text()}"
    hosts.write_text(line if known else "")
    use(settings, postal=sftp.address(tmp_path / "postal", known_hosts=hosts))
    with pytest.raises(paramiko.SSHException):
        postal.put_whole(storages["postal"], "A.zip", BytesIO(b"data"))
    assert not (tmp_path / "postal").exists()


def test_without_a_file_of_known_hosts_nothing_is_sent(settings, tmp_path, sftp):
    use(settings, postal=sftp.address(tmp_path / "postal", known_hosts=tmp_path / "nowhere"))
    with pytest.raises(ConnectionError, match="nowhere is missing"):
        postal.put_whole(storages["postal"], "A.zip", BytesIO(b"data"))


def test_deleting_what_is_not_there_is_no_error_and_being_kept_from_it_is(settings, tmp_path, sftp):
    use(settings, postal=sftp.address(tmp_path))
    storages["postal"].delete("nothing.zip")
    (tmp_path / "a folder").mkdir()
    with pytest.raises(OSError, match="Failure"):
        storages["postal"].delete("a folder")
    storages["postal"].close()
