"""Which provider carries the next message: by share, never one that is switched off."""

import random
from collections.abc import Mapping, Sequence

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


def choose_each(kinds: Mapping[str, str], carrying: Mapping[str, Sequence[Provider]]) -> dict[str, Provider]:
    """Return the provider of each message. kinds: its channel; carrying: of each channel some that may send."""
    chosen: dict[str, Provider] = {}
    for kind in dict.fromkeys(kinds.values()):
        keys = [key for key, its_kind in kinds.items() if its_kind == kind]
        chosen |= zip(keys, choose(carrying[kind], len(keys)), strict=True)
    return chosen
