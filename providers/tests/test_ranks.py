"""Which status a message has: the set of what was reported decides, never its order."""

from datetime import UTC, datetime, timedelta
from itertools import permutations
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from notify.models import Notification
from notify.testing import make_notification, make_provider
from providers import ranks, receipts
from providers.models import Receipt
from providers.ranks import TIMED_OUT, UNCLEAR

NOW = datetime(2026, 3, 29, 12, tzinfo=UTC)
T, P, D = "temporary-failure", "permanent-failure", "delivered"
STRONGEST = {  # from the weakest to the strongest, as SPEC §2 has them
    "sms": ["sending", "pending", "sent", T, P, D],
    "email": ["sending", T, D, P],
    "letter": ["sending", "technical-failure", D, "returned-letter"],
}


def message(status="sending", *, kind="sms", reason=""):
    return Notification(notification_type=kind, status=status, status_reason=reason)


@pytest.mark.parametrize("kind", STRONGEST)
def test_the_strongest_report_wins_in_every_order(kind):
    for reports in permutations(STRONGEST[kind], 3):
        wanted = max(reports, key=STRONGEST[kind].index)
        assert ranks.strongest(kind, reports) == ranks.strongest(kind, [*reports, *reports]) == wanted


def test_nothing_reported_and_reports_of_no_meaning_give_nothing():
    assert ranks.strongest("sms", []) == ranks.strongest("sms", ["", "complaint", "returned-letter"]) == ""


@pytest.mark.parametrize(
    ("reports", "status"),
    [
        ([UNCLEAR], P),
        ([UNCLEAR, "pending"], T),
        (["pending", UNCLEAR], T),
        ([UNCLEAR, "pending", P], P),
        ([UNCLEAR, "pending", D], D),
        ([UNCLEAR, D], D),
        ([UNCLEAR, T], P),
    ],
)
def test_a_failure_without_a_known_code_is_temporary_where_pending_was_reported_too(reports, status):
    assert ranks.strongest("sms", reports) == status


@pytest.mark.parametrize(
    ("own", "reported", "verdict"),
    [
        (message(), ["pending"], "pending"),
        (message("created"), [D], D),
        (message("pending"), ["pending"], ""),
        (message("sent"), ["pending"], ""),
        (message("sent"), [T], T),
        (message(T, reason=TIMED_OUT), ["pending"], ""),
        (message(T, reason=TIMED_OUT), [T], ""),
        (message(T, reason=TIMED_OUT), [P], P),
        (message(T, reason=TIMED_OUT), [D], D),
        (message("technical-failure"), ["pending"], ""),
        (message("technical-failure"), [T], T),
        (message(P), ["pending", UNCLEAR], T),
        (message(D), [D, P, T], ""),
        (message(D, kind="email"), [D, P], P),
        (message(T, kind="email", reason=TIMED_OUT), [D], D),
        (message(P, kind="email"), [P, D], ""),
        (message("technical-failure", kind="letter"), ["sending"], ""),
        (message("technical-failure", kind="letter"), [D], D),
        (message(D, kind="letter"), [D, "returned-letter"], "returned-letter"),
        (message("sent", kind="letter"), [D], D),
    ],
)
def test_our_own_time_out_and_failure_rank_below_what_a_provider_reports_in_the_end(own, reported, verdict):
    assert ranks.verdict(own, reported) == verdict


@pytest.mark.parametrize("status", ["cancelled", "validation-failed", "virus-scan-failed"])
def test_what_never_went_out_keeps_its_status(status):
    assert ranks.verdict(message(status), [D, P]) == ""


@pytest.mark.parametrize(("kind", "order"), STRONGEST.items())
def test_every_climb_a_report_can_cause_is_an_allowed_move(kind, order):
    for place, status in enumerate(order):
        for higher in [one for one in order[place + 1 :] if one not in ("sending", "sent")]:
            assert higher in Notification.MOVES[status], (kind, status, higher)


# --- The whole way, through the table of receipts ------------------------------------------------------------------

BODIES = {  # what Firetext sends, and what it means
    "pending": {"status": "2"},
    "delivered": {"status": "0", "code": "000"},
    "unclear": {"status": "1"},
    "temporary": {"status": "1", "code": "102"},
    "permanent": {"status": "1", "code": "101"},
    "unknown code": {"status": "7"},
}
OWN = {"created": 0, "sending": 1, "sent": 3, "technical-failure": 4, "timed-out": 4}


def wanted_status(own, reported):
    """The rule once more in other words: numbers instead of names, the weakest 0."""
    found = {OWN[own]: T if own == "timed-out" else own}
    if "pending" in reported:
        found[2] = "pending"
    if "temporary" in reported or {"unclear", "pending"} <= reported:
        found[5] = T
    if "permanent" in reported or ("unclear" in reported and "pending" not in reported):
        found[6] = P
    if "delivered" in reported:
        found[7] = D
    return found[max(found)]


def body(key, name, number):
    """Write a receipt; the number tells two of the same kind apart."""
    return urlencode(BODIES[name] | {"reference": str(key), "mobile": f"44770090{number:04d}"}).encode()


@pytest.mark.django_db
@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    own=st.sampled_from(list(OWN)),
    arrivals=st.lists(
        st.tuples(st.sampled_from(list(BODIES)), st.integers(0, 2), st.booleans()), min_size=1, max_size=7
    ),
)
def test_any_order_repetition_and_split_into_batches_gives_the_same_status(own, arrivals):
    provider = receipts.Provider.objects.filter(identifier="firetext").first() or make_provider("firetext")
    status, reason = (T, TIMED_OUT) if own == "timed-out" else (own, "")
    target = make_notification(status=status, status_reason=reason, provider_name="firetext", sent_at=NOW)
    for place, (name, number, batch_ends) in enumerate(arrivals):
        moment = NOW + timedelta(seconds=place)
        receipts.store(provider, body(target.pk, name, number), "", now=moment)
        if batch_ends:
            receipts.apply_batch(now=moment)
    receipts.apply_batch(now=NOW + timedelta(minutes=1))
    target.refresh_from_db()
    assert target.status == wanted_status(own, {name for name, _, _ in arrivals})
    assert Receipt.objects.filter(notification_id=target.pk).count() == len({one[:2] for one in arrivals})
