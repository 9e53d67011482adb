"""What the measured speed means: how long an epoch takes, and which GPUs it is enough for."""

from __future__ import annotations

from genimage_stream.page.scales import number, percent
from genimage_stream.vocabulary import PUBLISHED

#: Images per second at which a model trains on one GPU: the rows of the table.
TRAINING = (250, 500, 1_000, 2_000, 4_000)


def duration(seconds: float) -> str:
    """0.4 s, 48 s, 12 min, 3.4 h, 2.1 days."""
    for limit, unit in ((86_400 * 2, "days"), (3_600 * 2, "h"), (120, "min"), (0, "s")):
        if seconds >= limit:
            value = seconds / {"days": 86_400, "h": 3_600, "min": 60, "s": 1}[unit]
            return f"{value:.2g} {unit}" if value < 10 else f"{value:,.0f} {unit}"
    return "0 s"


def sentence(images_per_second: float, samples: int) -> str:
    """The answer to: is this enough for my GPU, and how long is an epoch?"""
    speed = number(round(images_per_second))
    return (
        f"This machine feeds a model that trains at up to {speed} images/s, all GPUs together; an epoch of these "
        f"{number(samples)} samples takes at least {duration(samples / images_per_second)}."
    )


def epochs(images_per_second: float, samples: int) -> list[tuple[str, str, str]]:
    """(what, images, time of an epoch) at this speed."""
    one = PUBLISHED["sd14"]
    everything = sum(sum(counts) for counts in PUBLISHED.values())
    sets = (
        ("these samples", samples),
        ("one generator of GenImage, train", one.train_fake + one.train_real),
        ("all of GenImage, train and val", everything),
    )
    return [(name, number(count), duration(count / images_per_second)) for name, count in sets]


def fed(images_per_second: float) -> list[tuple[str, str]]:
    """(training speed of a model on one GPU, how many such GPUs this machine feeds)."""
    rows = []
    for speed in TRAINING:
        fed = int(images_per_second / speed)
        waits = f"none: one waits {percent(1 - images_per_second / speed, 0)} of the time"
        rows.append((f"{number(speed)} images/s", number(fed) if fed else waits))
    return rows
