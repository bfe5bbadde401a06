"""Django's PostgreSQL backend on the embedded server, which is started by the first connection that needs it."""

from typing import Any

from django.conf import settings
from django.db.backends.postgresql import base

from notify import embedded


class DatabaseWrapper(base.DatabaseWrapper):
    """ENGINE "notify.postgresql"; also serves test databases and the maintenance database of the same server."""

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Connect, after starting the server if nobody answers; raises OperationalError when it cannot run."""
        try:
            embedded.ensure_running(settings.EMBEDDED_DATA_DIR)
        except embedded.EmbeddedPostgresError as error:
            raise self.Database.OperationalError(str(error)) from error
        return super().get_new_connection({**conn_params, "port": embedded.PORT})
