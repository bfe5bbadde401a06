"""Which provider carries the next message: by share, never one that is switched off."""

import random
from collections.abc import Sequence

from providers.models import Provider


def choose(providers: Sequence[Provider], count: int) -> list[Provider]:
    """Return the provider of each of `count` messages, weighted by share; [] when nothing may be sent.

    providers: those switched on for the channel. One alone gets everything, whatever its share; of several a zero
    share gets nothing; several and all zero: nothing is sent.
    """
    if len(providers) == 1:
        return [providers[0]] * count
    weights = [provider.share for provider in providers]
    return random.choices(providers, weights, k=count) if any(weights) else []  # noqa: S311  (load, not secrecy)
