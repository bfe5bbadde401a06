"""What tests of sending share: loops that do not linger, and a provider that really answers."""

from datetime import timedelta

import pytest

from providers.tests.made_up_provider import made_up_provider


@pytest.fixture
def impatient(settings):
    """Loops end as soon as nothing is due."""
    settings.LOOP_LINGER_FOR = settings.LOOP_DUE_WITHIN = timedelta(0)


@pytest.fixture
def server():
    """A provider on this machine, which answers as it is told."""
    with made_up_provider() as running:
        yield running
