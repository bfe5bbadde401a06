"""A replay as a picture in a file. Matplotlib is heavy, so nothing else imports this module at its start."""

from pathlib import Path

from matplotlib import dates
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from notify.clock import zone
from providers.replay import Replay


def draw(replay: Replay, path: Path) -> None:
    """Draw how slow each provider was, against the threshold, and the shares of the replay. Times are local.

    Raises OSError where the file cannot be written.
    """
    figure = Figure(figsize=(12, 6), layout="constrained")
    slow, shares = figure.subplots(2, 1, sharex=True)
    for name, points in replay.curves.items():
        times = [point.at for point in points]
        slow.plot(times, [float("nan") if point.ratio is None else point.ratio for point in points], label=name)
        shares.step(times, [point.share for point in points], where="post", label=name)
    slow.axhline(replay.policy.threshold, color="black", linestyle="--", linewidth=1, label="threshold")
    for switch in replay.switches:
        for axes in (slow, shares):
            axes.axvline(switch.at, color="crimson" if switch.flap else "grey", linestyle=":", linewidth=1)
    slow.set(ylabel="slow messages, as really sent", ylim=(0, 1))
    slow.yaxis.set_major_formatter(PercentFormatter(1))
    shares.set(ylabel="share of traffic in the replay", ylim=(-5, 105))
    shares.yaxis.set_major_formatter(PercentFormatter(100))
    locator = dates.AutoDateLocator(tz=zone())
    shares.xaxis.set_major_locator(locator)
    shares.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator, tz=zone()))
    slow.legend(loc="upper left")
    figure.suptitle(f"{replay.policy.notification_type}: {len(replay.switches)} switches, {replay.flaps} of them flaps")
    figure.savefig(path, dpi=120, format="png")
