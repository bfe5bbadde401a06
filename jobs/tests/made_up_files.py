"""Reading made-up files in tests."""

import io

import pytest

from jobs.recipients_file import FileProblem, RecipientsFile, read_recipients

MB = 1_000_000
HEAD = "phone number,name\n"
ROW = "07700900001,Jo\n"


def read(data: bytes | str, names: tuple[str, ...] = ("name",), kind: str = "sms", **options) -> RecipientsFile:
    stream = io.BytesIO(data.encode() if isinstance(data, str) else data)
    return read_recipients(
        stream,
        placeholders=list(names),
        notification_type=kind,
        **({"max_rows": 1_000, "max_bytes": 200 * MB} | options),
    )


def refused(data: bytes | str, names: tuple[str, ...] = ("name",), kind: str = "sms", **options) -> FileProblem:
    with pytest.raises(FileProblem) as caught:
        read(data, names, kind, **options)
    return caught.value


def values(found: RecipientsFile, key: str = "name") -> list[str]:
    return [row.values[key] for row in found.rows()]
