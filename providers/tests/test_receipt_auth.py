"""Asking who reports, over a connection that is kept between requests."""

import base64
from contextlib import closing

import pytest
from django.db import OperationalError, connection

from notify.testing import make_provider
from providers.models import Receipt
from providers.receipt_auth import reporter

LOGIN = "Basic " + base64.b64encode(b"who:word").decode()
CONFIG = {"receipt_user": "who", "receipt_passwords": ["word"]}


@pytest.mark.django_db(transaction=True)
def test_a_receipt_is_taken_although_the_kept_connection_was_cut(client):
    make_provider("mmg", config=CONFIG)
    for number in range(2):
        with closing(connection.copy()) as other, other.cursor() as cursor:  # nobody has noticed yet
            cursor.execute("SELECT pg_terminate_backend(%s)", [connection.connection.info.backend_pid])
        answer = client.post(
            "/receipts/mmg/", f'{{"n": {number}}}', "application/json", headers={"Authorization": LOGIN}
        )
        assert answer.status_code == 200
    assert Receipt.objects.count() == 2


@pytest.mark.django_db
def test_within_a_transaction_an_error_is_not_asked_away():
    make_provider("mmg", config=CONFIG)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 1")
        with pytest.raises(OperationalError), connection.execute_wrapper(_slow):
            reporter("mmg", LOGIN)


def _slow(execute, sql, params, many, context):
    return execute("SELECT pg_sleep(5)", None, many, context)
