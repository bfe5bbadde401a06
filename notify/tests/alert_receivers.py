"""What the receivers of alerts on this machine heard, and a port where nobody listens."""

import json
import socket

from callbacks.tests.receiver import Receiver
from notify.tests.mail_server import MailServer


def closed_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))
        return line.getsockname()[1]


def scopes(receiver: Receiver) -> list[str]:
    """Return the scopes that the receiver heard of."""
    texts = [json.loads(request.body)["text"] for request in receiver.received]
    return sorted(line.split(": ")[1] for text in texts for line in text.splitlines() if line.startswith("Affected: "))


def subjects(server: MailServer) -> list[str]:
    return sorted(email["Subject"].split(": ")[1] for email in server.emails)
