"""Letters' files on an SFTP server: only one whose key is known; with renaming, so that a name means a whole file."""

import os
from typing import IO, Any

import paramiko
from storages.backends.sftpstorage import SFTPStorage as Base
from storages.utils import is_seekable

_ALIVE_EVERY = 15  # seconds between signs of life on an idle line


class SFTPStorage(Base):
    """As django-storages', but an unknown or changed host key is refused, and a lost line is opened anew."""

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        """Keep the name: whoever saves deletes first, or means to write the same bytes again."""
        return name

    def delete(self, name: str) -> None:
        """Delete a file, or nothing where there is none; any other error is raised."""
        try:
            self.sftp.remove(self._remote_path(name))
        except FileNotFoundError:
            return

    def rename(self, before: str, after: str) -> None:
        """Give a file its new name in one step, in place of a file that has it."""
        self._make_parent(after)
        self.sftp.posix_rename(self._remote_path(before), self._remote_path(after))

    def _save(self, name: str, content: IO[bytes]) -> str:
        self._make_parent(name)
        if is_seekable(content):
            content.seek(0, os.SEEK_SET)
        self.sftp.putfo(content, self._remote_path(name))  # asks for the size at the end and compares
        return name

    def _make_parent(self, name: str) -> None:
        folder = os.path.dirname(self._remote_path(name))
        if folder and not self._path_exists(folder):
            self._mkdir(folder)

    def _connect(self) -> None:
        client = paramiko.SSHClient()
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        try:
            client.load_host_keys(self.known_host_file)  # a file that is not there is an error, not an open door
            client.connect(self.host, **self.params)
            sftp = client.open_sftp()
        except BaseException as error:
            client.close()
            if isinstance(error, FileNotFoundError):  # else it would read as “no such file” on the server
                raise ConnectionError(f"{error.filename} is missing: no connection to {self.host}") from error
            raise
        client.get_transport().set_keepalive(_ALIVE_EVERY)
        sftp.get_channel().settimeout(self.params.get("timeout"))
        self.close()
        self._ssh, self._sftp = client, sftp

    def __getstate__(self) -> dict[str, Any]:
        """Leave the line behind: it belongs to this process."""
        return self.__dict__ | {"_ssh": None, "_sftp": None}
