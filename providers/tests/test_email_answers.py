"""What an email provider's HTTP interface means by its status."""

import pytest
import requests
from anymail.exceptions import AnymailAPIError

from providers.backends.email_answers import judge


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(200, "unknown"), (302, "try-later"), (401, "try-later"), (422, "refused"), (429, "try-later"),
     (500, "try-later"), (502, "unknown"), (503, "try-later"), (504, "unknown"), (520, "unknown"), (524, "unknown")],
)  # fmt: skip
def test_the_status_says_whether_the_message_may_have_been_taken(status, outcome):
    response = requests.Response()
    response.status_code = status
    assert judge(AnymailAPIError(response=response)).outcome == outcome
