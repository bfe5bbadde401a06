"""What a replay says, the same words in the command and the admin."""

from datetime import timedelta

from notify.admin_base import local_time
from providers.replay import Replay

LIMITS = (
    "A replay knows the delivery times of messages that really went by each provider, and takes a provider to be as "
    "fast with more load as with less. Where it sends by a provider that really carried nothing in that minute, nobody "
    "knows how fast that had been: these messages are counted as “unknown”. Holds of the past are not stored, so it "
    "has none; people's changes of share are made again at their time."
)


def described(replay: Replay) -> str:
    """Say which rule was tried on which time."""
    policy = replay.policy
    return (
        f"{policy.notification_type}, {local_time(replay.start)} to {local_time(replay.end)}: a provider is slow when "
        f"{100 * policy.threshold:g} % of at least {policy.minimum_sample:,} messages of the last "
        f"{minutes(policy.window)} took {minutes(policy.slow_after)} or more; then {policy.step} points of its share "
        f"move, and nothing moves for {minutes(policy.settle_for)} after a change."
    )


def summary(replay: Replay) -> str:
    """Say how often it would have switched, back, and not been able to."""
    switches, flaps = len(replay.switches), replay.flaps
    return (
        f"{switches:,} switch{'' if switches == 1 else 'es'}, {flaps:,} of them back within an hour; every provider "
        f"was slow, so that nothing moved, in {replay.all_slow_minutes:,} minute"
        f"{'' if replay.all_slow_minutes == 1 else 's'}."
    )


def minutes(span: timedelta) -> str:
    """Write a span in minutes, or in hours where they are whole."""
    if span >= timedelta(hours=2) and span % timedelta(hours=1) == timedelta(0):
        return f"{span // timedelta(hours=1)} hours"
    count = round(span.total_seconds() / 60, 2)
    return f"{count:g} minute{'' if count == 1 else 's'}"
