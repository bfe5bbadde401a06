"""Who carries the next message."""

from collections import Counter
from uuid import UUID

import pytest

from providers.models import Provider
from providers.shares import choose, choose_each


def providers(**shares):
    return [Provider(identifier=name, share=share) for name, share in shares.items()]


def names(chosen):
    return {provider.identifier for provider in chosen}


@pytest.mark.parametrize("share", [0, 1, 100])
def test_one_provider_alone_gets_everything_whatever_its_share(share):
    assert names(choose(providers(mmg=share), 5)) == {"mmg"}
    assert len(choose(providers(mmg=share), 5)) == 5


def test_nobody_active_or_several_that_are_all_at_zero_get_nothing():
    assert choose([], 3) == []
    assert choose(providers(mmg=0, firetext=0), 3) == []


def test_of_several_a_zero_share_gets_nothing():
    assert names(choose(providers(mmg=0, firetext=1), 500)) == {"firetext"}


def test_shares_are_weights_and_need_not_add_up_to_a_hundred():
    counts = Counter(provider.identifier for provider in choose(providers(mmg=30, firetext=10), 4_000))
    assert 0.70 < counts["mmg"] / 4_000 < 0.80  # three quarters, within seven standard deviations
    assert counts.total() == 4_000


def test_each_message_is_chosen_for_anew():
    assert names(choose(providers(mmg=50, firetext=50), 200)) == {"mmg", "firetext"}


def test_each_message_gets_a_provider_of_its_own_channel():
    carrying = {"sms": providers(mmg=50, firetext=0), "email": providers(ses=1)}
    kinds = {UUID(int=number): "email" if number % 3 else "sms" for number in range(12)}
    chosen = choose_each(kinds, carrying)
    assert {key: provider.identifier for key, provider in chosen.items()} == {
        key: "ses" if kind == "email" else "mmg" for key, kind in kinds.items()
    }
    assert choose_each({}, carrying) == {}
