"""What letters depend on fails under them: the virus scanner is killed, the line to the postal provider is cut."""

import contextlib
import dataclasses
import hashlib
import random
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from drills.house import House, NotAsExpected
from drills.letters_site import Site

SCANNED = 300  # letters at most: each is large enough for the scanner to be killed at it
_LETTER_BYTES = (100_000, 900_000)  # from … to …; below the scanner's limit of one stream
_INFECTED = 10  # one of as many
_SCAN = "letters.scan_letters"
_TOWARDS = 65_536  # bytes relayed at a time


def scanner_killed(site: Site) -> str:
    """Kill a real clamd again and again while letters are scanned; none may be called clean that was not scanned."""
    from letters.tests import clamd_server

    house = site.house
    infected, clean = wait_for_scan(site)
    total = len(infected) + len(clean)
    with clamd_server.running(extra="LogClean yes\n") as server:
        house.processes.environment["CLAMD_SOCKET"] = server.address
        house.duties = (_SCAN,)
        house.processes.start_worker("letters", ["letters"], 2)
        for _ in range(site.kills):
            more = site.chance.randrange(1, max(2, total // site.kills))
            wanted = min(total, scanned(house) + more)
            house.wait(
                lambda wanted=wanted: scanned(house) >= wanted, lambda: f"{scanned(house)} scanned", beating=True
            )
            house.pause(site.chance.uniform(0, 0.05))
            server.stop()
            house.pause(site.chance.uniform(0, 0.2))
            server.start()
            make_due(house)
        left = total - scanned(house)
        house.wait(lambda: make_due(house) == 0, lambda: f"{scanned(house)} scanned", beating=True)
        said = (server.home / "log").read_text(errors="replace").count(": OK")
    house.processes.stop(within=5)
    judge_scan(house, infected, clean, said)
    site.finish()
    return f"{site.kills} kills of clamd in {total} scans, {left} left after the last; {said} OKs"


def wait_for_scan(site: Site) -> tuple[list[str], list[str]]:
    """Turn some letters into precompiled ones that wait for their check; the infected are no letters to be printed."""
    from django.core.files.base import ContentFile
    from django.core.files.storage import storages

    from letters import clamd
    from letters.tests import made_up_pdfs as pdfs

    chosen = site.chance.sample(site.keys, min(SCANNED, len(site.keys)))
    infected = chosen[: len(chosen) // _INFECTED]
    for key in chosen:
        text = b"% " + site.chance.randbytes(site.chance.randrange(*_LETTER_BYTES))
        if key in infected:  # some of them in a way that the scanner does not unpack by itself
            data = site.chance.choice([pdfs.with_differences, lambda text: pdfs.good(text=text)])(text + clamd._EICAR)
        else:
            data = pdfs.good(text=text)
        name = storages["letters-scan"].save(f"drill/{key}.pdf", ContentFile(data))
        site.house.query(
            "UPDATE letters_letter SET kind = 'precompiled', pdf = %s, sha256 = %s, due_at = now() "
            "WHERE notification_id = %s", name, hashlib.sha256(data).hexdigest(), key,
        )  # fmt: skip
    sql = "UPDATE notify_notification SET status = 'pending-virus-check' WHERE id = ANY(%s::uuid[])"
    site.house.query(sql, chosen)
    for key in infected:
        site.keys.remove(key)
    return infected, chosen[len(infected) :]


def scanned(house: House) -> int:
    """Count the letters with a verdict."""
    return house.query("SELECT count(*) FROM letters_letter WHERE scan_verdict <> ''")[0][0]


def make_due(house: House) -> int:
    """Let those put back be tried at once: a drill does not wait a minute. Returns how many wait."""
    sql = "UPDATE letters_letter SET due_at = now() WHERE kind = 'precompiled' AND due_at > now() "
    house.query(sql + "AND claimed_at IS NULL")
    return house.query("SELECT count(*) FROM letters_letter WHERE kind = 'precompiled' AND due_at IS NOT NULL")[0][0]


def judge_scan(house: House, infected: list[str], clean: list[str], said: int) -> None:
    """Raise NotAsExpected where a letter's verdict or place is not what its bytes ask for."""
    sql = (
        "SELECT l.notification_id::text, n.status, l.scan_verdict, l.scanned_sha256 = l.sha256, l.pdf "
        "FROM letters_letter l JOIN notify_notification n ON n.id = l.notification_id WHERE n.id = ANY(%s::uuid[])"
    )
    for keys, wanted, alias in (
        (infected, ("virus-scan-failed", "infected", True), "letters-invalid"),
        (clean, ("created", "clean", True), "letters-pdf"),
    ):
        for key, *found, name in house.query(sql, keys):
            if tuple(found) != wanted or not (house.var / alias / name).exists():
                raise NotAsExpected(f"Letter {key} is {found}, and should be {wanted} in {alias}.")
            others = {"letters-invalid", "letters-pdf"} - {alias}
            if any((house.var / other / name).exists() for other in others):
                raise NotAsExpected(f"Letter {key} lies in two places.")
    if said < 2 * len(clean):  # each as it is, and taken apart
        raise NotAsExpected(f"clamd said “clean” {said} times, and {len(clean)} letters count as clean.")


def line_cut(site: Site) -> str:
    """Cut the line to a real SFTP server after so and so many bytes, again and again; every zip arrives whole, once."""
    from letters.tests import sftp_server

    if sftp_server.missing():
        raise NotAsExpected(sftp_server.missing())
    house, postal, home = site.house, site.house.var / "postal", site.house.var / "sshd"
    home.mkdir()
    cuts, parts = [], 0
    with sftp_server.running(home) as server, cutting_proxy(server.port) as proxy:
        known = home / "known_hosts_of_proxy"
        known.write_text(f"[127.0.0.1]:{proxy.port} {(home / 'host.pub').read_text()}")
        address = dataclasses.replace(server, port=proxy.port).address(postal, known_hosts=known)
        house.processes.environment["LETTERS_POSTAL_STORAGE"] = address
        try:
            for _ in range(site.kills):
                proxy.allow(site.chance)
                member = site.collate("collating")
                site.wait_for_end([member])
                if member.status == 0:
                    break
                cuts.append(proxy.cut_at)
                parts += len(list(postal.glob("*.part")))
                whole(house, postal)
            proxy.left = None
            site.finish()
        finally:
            house.processes.environment["LETTERS_POSTAL_STORAGE"] = ""
    if not cuts:
        raise NotAsExpected("Everything was handed over before the first cut: give it more --letters.")
    whole(house, postal)
    if left := [path.name for path in postal.glob("*.part")]:
        raise NotAsExpected(f"Parts are left: {left[:5]}.")
    at = f"{min(cuts):,} to {max(cuts):,}"
    return f"{len(cuts)} cuts after {at} bytes, {parts} parts of a zip seen then"


def whole(house: House, postal: Path) -> None:
    """Raise NotAsExpected where a name without `.part` is not a whole file that its row knows."""
    known = dict(house.query("SELECT name, sha256 FROM letters_printfile"))
    for path in postal.glob("*.zip"):
        if hashlib.sha256(path.read_bytes()).hexdigest() != known.get(path.name):
            raise NotAsExpected(f"{path.name} has a whole file's name and is none.")


class Proxy:
    """Relays to a port on this machine, until so many bytes went there; then the line is cut, both ways at once."""

    def __init__(self, target: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.target = target
        self.left: int | None = None  # bytes until the cut; None: no cut
        self.cut_at = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def allow(self, chance: random.Random) -> None:
        """Let some bytes through: the greeting alone, or some zips."""
        self.left = self.cut_at = int(10 ** chance.uniform(3, 6))

    def close(self) -> None:
        """Take no more."""
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self.target))
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._relay, args=(*pair, near), daemon=True).start()

    def _relay(self, source: socket.socket, sink: socket.socket, near: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_TOWARDS):
                if source is near and self.left is not None:
                    data = data[: self.left]
                    self.left -= len(data)
                sink.sendall(data)
                if source is near and self.left == 0:
                    break
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@contextlib.contextmanager
def cutting_proxy(target: int) -> Iterator[Proxy]:
    """Run a proxy before a port."""
    proxy = Proxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
