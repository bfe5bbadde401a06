"""A storage written as one address: a folder, S3 or SFTP. Plain values: settings call it before anything is loaded.

* empty: the folder that is named beside it
* `/a/folder` or `file:///a/folder`
* `s3://bucket/prefix?endpoint=https://…&region=…`; credentials come from the environment, as boto3 reads them
* `sftp://user@host:22/a/folder?key=/path/of/the/key&known_hosts=/path`; the host must be in known_hosts
"""

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

FOLDER = "django.core.files.storage.FileSystemStorage"
_OPTIONS = {"s3": {"endpoint", "region"}, "sftp": {"key", "known_hosts"}}


def storage(address: str, *, folder: Path) -> dict[str, Any]:
    """Return the entry of STORAGES an address means. Raises ImproperlyConfigured naming what is wrong with it."""
    if not address:
        return {"BACKEND": FOLDER, "OPTIONS": {"location": folder}}
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as error:
        raise _wrong(address, str(error)) from None
    if parts.scheme in ("", "file"):
        if parts.netloc or not parts.path.startswith("/"):
            raise _wrong(address, "a folder is written as its full path, such as /srv/letters")
        return {"BACKEND": FOLDER, "OPTIONS": {"location": unquote(parts.path)}}
    if parts.scheme not in _OPTIONS:
        raise _wrong(address, f"{parts.scheme!r} is no kind of storage; known are file, s3 and sftp")
    options = dict(parse_qsl(parts.query))
    unknown = sorted(set(options) - _OPTIONS[parts.scheme])
    if unknown:
        raise _wrong(address, f"unknown option {', '.join(unknown)}; known are {', '.join(_OPTIONS[parts.scheme])}")
    if not parts.hostname:
        raise _wrong(address, "the bucket or host is missing")
    if parts.scheme == "s3":
        return _s3(parts.netloc, parts.path, options)
    if not options.get("known_hosts"):
        raise _wrong(address, "known_hosts is missing: without it nobody knows that the host is the right one")
    return _sftp(address, parts.hostname, port, unquote(parts.username or ""), unquote(parts.path), options)


def _s3(bucket: str, path: str, options: dict[str, str]) -> dict[str, Any]:
    own = {
        "bucket_name": bucket,
        "location": path.strip("/"),
        "endpoint_url": options.get("endpoint"),
        "region_name": options.get("region"),
        "file_overwrite": True,  # an upload is repeated after a crash, under the same name and with the same bytes
        "default_acl": None,
    }
    return {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": {k: v for k, v in own.items() if v is not None}}


def _sftp(address: str, host: str, port: int | None, user: str, path: str, options: dict[str, str]) -> dict[str, Any]:
    if not user:
        raise _wrong(address, "the user is missing: sftp://user@host/folder")
    own = {
        "host": host,
        "root_path": path or "/",
        "known_host_file": options["known_hosts"],
        "params": {
            "port": port or 22, "username": user, "timeout": 30, "banner_timeout": 30, "auth_timeout": 30,
            "allow_agent": False, "look_for_keys": False,
        } | ({"key_filename": options["key"]} if "key" in options else {}),
    }  # fmt: skip
    return {"BACKEND": "letters.sftp.SFTPStorage", "OPTIONS": own}


def _wrong(address: str, why: str) -> ImproperlyConfigured:
    """Name the fault without the address's password, if somebody put one there."""
    return ImproperlyConfigured(f"The storage address {address.split('@')[-1]!r} cannot be used: {why}.")
