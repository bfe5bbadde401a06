"""Rate limits of providers: each request is given the moment at which it may begin.

A provider's moments are spaced evenly by its limit and reach at most AHEAD into the future. What is handed out is kept
in one column of its row, under the row's lock, so all workers together stay within the limit.
"""

import math
from datetime import datetime, timedelta

from providers.models import Provider

AHEAD = timedelta(seconds=1)
CLOCKS_DIFFER = timedelta(seconds=30)  # of two workers, at most


def take_moments(provider: Provider, wanted: int, *, now: datetime) -> list[datetime]:
    """Return the moments at which up to `wanted` requests to a limited provider may begin, the first ones now or later.

    Call it inside the transaction of the claim: of two workers the second waits, and takes the moments after.
    now: the moment of the claim (aware, UTC). Fewer than wanted, also none, are returned when the next AHEAD is full.
    """
    row = Provider.objects.select_for_update(no_key=True).only("rate_limit", "paced_until").get(pk=provider.pk)
    if not row.rate_limit:  # the limit was lifted since the provider was read
        return [now] * wanted
    gap = timedelta(microseconds=math.ceil(1_000_000 / row.rate_limit))
    paced_until = row.paced_until or now
    # So far ahead no moment is given: a worker's clock was, or the limit was much lower. It must not stop the provider.
    first = now if paced_until > now + AHEAD + gap + CLOCKS_DIFFER else max(now, paced_until)
    count = min(wanted, max(0, -((first - now - AHEAD) // gap)))
    if count:
        Provider.objects.filter(pk=provider.pk).update(paced_until=first + count * gap)
    return [first + place * gap for place in range(count)]
