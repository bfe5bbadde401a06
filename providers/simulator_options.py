"""How a simulator is told to behave, and which values make sense."""

import math
from dataclasses import dataclass, field, fields
from pathlib import Path
from urllib.parse import urlsplit

DELAY_LIMIT = 3_600.0  # seconds
RATE = {"kind": "rate"}  # 0 to 1
DELAY = {"kind": "delay"}  # seconds


class OptionProblem(ValueError):
    """An option with an impossible value; the text is for the person who typed it."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How the simulator behaves. Rates are 0 to 1 of the requests (or receipts), delays are in seconds.

    web: where receipts go; empty for none. The failure rates decide what receipts say: `failure` is half permanent,
    half temporary. cut, hang, drip and garbage take the message first. Raises OptionProblem.
    """

    host: str = "127.0.0.1"
    port: int = 0  # 0: any free one
    smtp_port: int = 0  # as port; of the mail server
    web: str = ""
    receipt_user: str = "simulator"
    receipt_password: str = "simulator"  # noqa: S105 - the default of a toy
    ledger: Path
    seed: int | None = None
    receipt_delay: float = field(default=0.5, metadata=DELAY)
    answer_delay: float = field(default=0.05, metadata=DELAY)
    callback_delay: float = field(default=0.01, metadata=DELAY)
    failure_rate: float = field(default=0.0, metadata=RATE)
    permanent_rate: float = field(default=0.0, metadata=RATE)
    temporary_rate: float = field(default=0.0, metadata=RATE)
    refuse_rate: float = field(default=0.0, metadata=RATE)
    try_later_rate: float = field(default=0.0, metadata=RATE)
    cut_rate: float = field(default=0.0, metadata=RATE)
    hang_rate: float = field(default=0.0, metadata=RATE)
    drip_rate: float = field(default=0.0, metadata=RATE)
    garbage_rate: float = field(default=0.0, metadata=RATE)
    duplicate_rate: float = field(default=0.0, metadata=RATE)
    callback_failure_rate: float = field(default=0.0, metadata=RATE)

    def __post_init__(self) -> None:
        for option in fields(self):
            name, value = f"--{option.name.replace('_', '-')}", getattr(self, option.name)
            if option.metadata == RATE and not 0 <= value <= 1:
                raise OptionProblem(f"{name} is {value:g}: give a share of all requests from 0 to 1, such as 0.05.")
            if option.metadata == DELAY and not (math.isfinite(value) and 0 <= value <= DELAY_LIMIT):
                raise OptionProblem(f"{name} is {value:g}: give seconds from 0 to {DELAY_LIMIT:g}.")
        for name, port in (("--port", self.port), ("--smtp-port", self.smtp_port)):
            if not 0 <= port <= 65_535:
                raise OptionProblem(f"{name} is {port}: give 1 to 65535, or 0 for any free port.")
        if self.web and (urlsplit(self.web).scheme not in ("http", "https") or not urlsplit(self.web).hostname):
            raise OptionProblem("--web is no address of a web process: give one such as http://localhost:8000.")
        if ":" in self.receipt_user:
            raise OptionProblem("--receipt-user holds a colon, which basic authentication does not allow.")
        answers = "--refuse-rate, --try-later-rate, --cut-rate, --hang-rate, --drip-rate and --garbage-rate"
        self._at_most_all(answers, self.answers)
        self._at_most_all("--failure-rate, --permanent-rate and --temporary-rate", self.statuses)

    @property
    def answers(self) -> dict[str, float]:
        """How often a message meets each fate; what is left is accepted."""
        return {
            "refused": self.refuse_rate,
            "try-later": self.try_later_rate,
            "cut": self.cut_rate,
            "hung": self.hang_rate,
            "dripped": self.drip_rate,
            "garbled": self.garbage_rate,
        }

    @property
    def statuses(self) -> dict[str, float]:
        """How often a receipt reports each failure; what is left is delivered."""
        half = self.failure_rate / 2
        return {"permanent-failure": self.permanent_rate + half, "temporary-failure": self.temporary_rate + half}

    @staticmethod
    def _at_most_all(names: str, rates: dict[str, float]) -> None:
        if (total := sum(rates.values())) > 1 + 1e-9:  # 0.1 ten times is a hair over 1
            raise OptionProblem(f"{names} make {total:g} together: at most 1 is left for all of them.")
