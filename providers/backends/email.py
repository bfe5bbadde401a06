"""Email through Django's email API: SMTP, or any provider that django-anymail speaks to.

Django's backends block, so messages are handed over in a few threads of our own; connections are kept and used again
for as long as the loop runs.
"""

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from email.utils import formataddr
from queue import Empty, LifoQueue
from typing import Any

import environ
from django.conf import settings
from django.core.mail import EmailMultiAlternatives, get_connection

from providers import esp
from providers.backends import Backend, Message, Outcome, Report, Result, one_line
from providers.backends.email_answers import judge, later, reference

CONNECTIONS = 10  # at once, per loop; common servers allow this many from one address
IDLE_FOR = 1.0  # seconds; a connection idle for longer is asked whether it still lives before it is used
NO_LINE_FREE = Result(Outcome.TRY_LATER, "no connection was free", begun=False)
SMTP = "django.core.mail.backends.smtp.EmailBackend"


class Email(Backend):
    """Sends plain text with an HTML part, one recipient per message.

    config: url such as smtp+tls://user:password@host:587 (default: the EMAIL_URL of the settings), and optionally
    from_address (default: DEFAULT_FROM_EMAIL), esp (whose delivery reports come to the plain receipt address),
    connections (1 or more), timeout (seconds). Raises ValueError for a url that is none of a mail server.
    """

    notification_type = "email"

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        self.timeout = float(config.get("timeout") or settings.PROVIDER_REQUEST_TIMEOUT.total_seconds())
        self.from_address = config.get("from_address") or settings.DEFAULT_FROM_EMAIL
        self.arguments = _connection_arguments(config.get("url") or "", self.timeout)
        self.idle: LifoQueue[tuple[Any, float]] = LifoQueue()
        self.closed = False
        connections = int(config.get("connections") or CONNECTIONS)
        self.pool = ThreadPoolExecutor(connections, thread_name_prefix="email")  # starts no thread before it must

    async def send(self, session: Any, message: Message) -> Result:
        """Hand one message over within `timeout` seconds by the wall clock; the HTTP session is not used.

        A message for which no connection was free in half of the time is not begun, so that one that is has the rest.
        """
        start_by = time.monotonic() + self.timeout / 2
        work: Future[Result] = self.pool.submit(self._hand_over, message, start_by)
        waiting = asyncio.wrap_future(work)
        done, _ = await asyncio.wait({waiting}, timeout=self.timeout)
        if done:
            return waiting.result()
        not_begun = work.cancel()
        waiting.cancel()  # nobody listens any more; a thread that is stuck ends with its socket's own time-out
        if not_begun:
            return NO_LINE_FREE
        return Result(Outcome.UNKNOWN, f"no answer within {self.timeout:g} seconds")

    def close(self) -> None:
        """Say goodbye on the idle connections; one still at work is closed by its thread."""
        self.closed = True
        self.pool.shutdown(wait=False, cancel_futures=True)
        while True:
            try:
                connection, _ = self.idle.get_nowait()
            except Empty:
                return
            _hang_up(connection)

    def read_receipt(self, body: bytes, content_type: str) -> list[Report]:
        """Read an email provider's delivery report; which provider's is written before the content type."""
        return esp.read(body, content_type, default=self.config.get("esp") or "")

    def _hand_over(self, message: Message, start_by: float) -> Result:
        """Send in this thread. Never raises for what a server does."""
        if time.monotonic() > start_by:
            return NO_LINE_FREE
        try:
            connection = self._connection()
        except Exception as error:  # noqa: BLE001 - nothing of the message was written
            return later(f"no connection could be made ({type(error).__name__})")
        try:
            mail = self._compose(message, connection)
            taken = connection.send_messages([mail])
        except Exception as error:  # noqa: BLE001 - each backend raises its own classes
            _hang_up(connection)
            return judge(error)
        self._put_back(connection)
        if not taken:
            return later("the mail backend took nothing")
        return Result(Outcome.ACCEPTED, provider_reference=reference(mail))

    def _connection(self) -> Any:
        """Take an idle connection that still lives, else open one."""
        while True:
            try:
                connection, since = self.idle.get_nowait()
            except Empty:
                connection = get_connection(fail_silently=False, **self.arguments)
                try:
                    connection.open()
                except Exception:
                    _hang_up(connection)  # greeted and then refused, by its password say: the line is open still
                    raise
                return connection
            if time.monotonic() - since <= IDLE_FOR or _lives(connection):
                return connection
            _hang_up(connection)

    def _put_back(self, connection: Any) -> None:
        if self.closed:
            _hang_up(connection)
        else:
            self.idle.put((connection, time.monotonic()))

    def _compose(self, message: Message, connection: Any) -> EmailMultiAlternatives:
        """Put headers and both parts together. No value can reach a header with a line break in it."""
        domain = self.from_address.rpartition("@")[2].strip(">")
        mail = EmailMultiAlternatives(
            subject=one_line(message.subject, 998),  # RFC 5322 §2.1.1
            body=message.body,
            from_email=formataddr((one_line(message.sender, 100), self.from_address)),
            to=[message.recipient],
            reply_to=[message.reply_to] if message.reply_to else None,
            headers={"Message-ID": f"<{message.id}@{domain}>", "X-Notification-Id": message.id},
            connection=connection,
        )
        if message.html:
            mail.attach_alternative(message.html, "text/html")
        mail.metadata = {esp.METADATA_KEY: message.id}  # read by django-anymail alone; comes back in its reports
        return mail


def _connection_arguments(url: str, timeout: float) -> dict[str, Any]:
    """Read a url as Django's get_connection wants it; an empty one means the settings."""
    if not url:
        smtp = settings.EMAIL_BACKEND == SMTP
        return {"timeout": timeout} if smtp else {}
    try:
        read = environ.Env.email_url_config(url)
    except Exception:  # noqa: BLE001 - each part of a url breaks in its own way
        read = {}
    if read.get("EMAIL_BACKEND") != SMTP or not read.get("EMAIL_HOST"):
        raise ValueError("The url is none of a mail server: write one such as smtp+tls://user:password@host:587.")
    return {
        "backend": SMTP,
        "host": read["EMAIL_HOST"],
        "port": read["EMAIL_PORT"],
        "username": read["EMAIL_HOST_USER"] or "",
        "password": read["EMAIL_HOST_PASSWORD"] or "",
        "use_tls": read.get("EMAIL_USE_TLS", False),
        "use_ssl": read.get("EMAIL_USE_SSL", False),
        "timeout": timeout,
    }


def _lives(connection: Any) -> bool:
    """Ask an SMTP server that may have hung up meanwhile; other backends have nothing to ask."""
    smtp = getattr(connection, "connection", None)
    if not hasattr(smtp, "noop"):
        return True
    try:
        return smtp.noop()[0] == 250
    except Exception:  # noqa: BLE001 - whatever it is, another connection is opened
        return False


def _hang_up(connection: Any) -> None:
    try:
        connection.close()
    except Exception:  # noqa: BLE001 - it was broken already, which is why it is closed
        return
