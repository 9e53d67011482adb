"""Read a dataset's two tables, compute the report and write the page: what `shard-tools report` does."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

import genimage_stream
from genimage_stream import schema
from genimage_stream.addresses import shown
from genimage_stream.page.file import check_writable, write_page
from genimage_stream.remedies import sentence
from genimage_stream.vocabulary import LABELS, REAL_POOL
from shard_tools.addresses import is_object_url
from shard_tools.errors import TargetError, ToolError
from shard_tools.finished import open_finished, read_quarantine
from shard_tools.report.features import FEATURES
from shard_tools.report.findings import Findings, Quarantine
from shard_tools.report.page import headline, render
from shard_tools.report.shortcuts import Shortcut, code, measure
from shard_tools.report.spectra import spectra
from shard_tools.report.statistics import Samples, composition
from shard_tools.report.thumbnails import contact_sheet
from shard_tools.report.unbiased import MOST_LOOKED_AT, Unbiasing, unbiasing

if TYPE_CHECKING:
    from genimage_stream.dataset.dataset import Dataset


def report(destination: str, html: str, *, thumbnails: int = 4, images: int = 64) -> dict[str, Any]:
    """Write the page about the dataset at `destination` to the file `html`; returns its main figures, ready for JSON.

    `thumbnails` images of every generator and label go into the page, and the mean spectra of `images`; 0 for none, and
    for no figures after `gs.unbiased`. Raises ToolError when the dataset is not there, not finished or not readable, or
    the page cannot be written.
    """
    if not is_object_url(destination):
        inside = os.path.realpath(destination)
        if os.path.commonpath([inside, os.path.realpath(html)]) == inside:
            raise ToolError(
                f"{html} lies within the dataset, where `shard-tools verify` takes it for damage: write it elsewhere"
            )
    try:
        check_writable(html)
        found = findings(destination, thumbnails=thumbnails, images=images)
        write_page(html, render(found))
    except OSError as error:
        raise ToolError(str(error)) from error
    fakes = int(found.samples.fake.sum())
    return {
        "destination": shown(destination),
        "html": html,
        "headline": headline(found),
        "samples": found.samples.count,
        "real": found.samples.count - fakes,
        "fake": fakes,
        "quarantined": len(found.quarantine),
        "missing_shards": missing_shards(destination),
        "unreadable_thumbnails": [f"{t.key}: {t.reason}" for t in found.thumbnails if t.reason],
        "shortcuts": [_plain(shortcut) for shortcut in found.shortcuts],
        "shortcuts_by_generator": {g: [_plain(s) for s in many] for g, many in found.by_generator.items()},
        "unbiased": [_plain_unbiasing(one) for one in found.unbiased],
    }


def _plain(shortcut: Shortcut) -> dict[str, Any]:
    figures = {"threshold": shortcut.threshold, "look_up": shortcut.look_up, "auc": shortcut.auc}
    plain: dict[str, Any] = {"property": shortcut.feature.name}
    plain |= {name: round(value, 6) if not math.isnan(value) else None for name, value in figures.items()}
    return plain | {"rule": shortcut.rule, "reason": shortcut.reason}


def _plain_unbiasing(one: Unbiasing) -> dict[str, Any]:
    """Accuracies of the best shortcut before and after `gs.unbiased`."""
    plain: dict[str, Any] = {"generator": one.generator, "real": one.kept[0], "fake": one.kept[1], "crop": one.crop}
    for name, pair in (("facts", one.facts), ("jpeg_traces", one.traces)):
        for when, value in zip(("before", "after"), pair, strict=True):
            plain[f"{name}_{when}"] = None if math.isnan(value) else round(value, 6)
    return plain | {"reason": one.reason}


def findings(destination: str, *, thumbnails: int = 4, images: int = 0) -> Findings:
    """Everything the page shows. Raises ToolError."""
    dataset = open_finished(destination)
    with _named(destination):
        samples = Samples(dataset)
    quarantine = _quarantine(dataset)
    if not samples.count and not quarantine:
        raise TargetError(f"{destination} holds no samples: there is nothing to report")
    overall, by_generator, borrowed = _shortcuts(samples)
    with _named(destination):
        pictures = contact_sheet(dataset, samples, thumbnails) if thumbnails else []
        spectrum = spectra(dataset, samples, images) if images else []
        after = unbiasing(dataset, samples, min(images, MOST_LOOKED_AT)) if images and samples.count else []
    return Findings(
        name=os.path.basename(os.path.normpath(destination)) or destination,
        samples=samples,
        parts=composition(samples, quarantine),
        quarantine=quarantine,
        shortcuts=overall,
        by_generator=by_generator,
        borrowed_reals=borrowed,
        unbiased=after,
        thumbnails=pictures,
        spectra=spectrum,
        version=genimage_stream.__version__,
    )


@contextmanager
def _named(destination: str) -> Iterator[None]:
    """Errors of reading a damaged index, as a TargetError that names it."""
    try:
        yield
    except PermissionError as error:
        raise TargetError(sentence(error)) from error
    except (OSError, ValueError) as error:
        raise TargetError(
            f"{destination}/{schema.INDEX_FILE} cannot be read ({error}): run shard-tools verify"
        ) from error


def _shortcuts(samples: Samples) -> tuple[list[Shortcut], dict[str, list[Shortcut]], list[str]]:
    """Every feature over all samples, and within each generator's subset; which subsets use the pool of reals.

    A generator without reals of its own is compared with the pool. One feature at a time, to bound the memory.
    """
    pool = samples.of(REAL_POOL) if REAL_POOL in samples.generator.names else np.zeros(samples.count, bool)
    subsets, borrowed = {}, []
    for generator in samples.generators:
        if generator == REAL_POOL:
            continue
        rows = samples.of(generator)
        if pool.any() and not (rows & samples.of_label(LABELS[0])).any():
            rows = rows | pool
            borrowed.append(generator)
        subsets[generator] = rows
    overall: list[Shortcut] = []
    by_generator: dict[str, list[Shortcut]] = {generator: [] for generator in subsets}
    for feature in FEATURES:
        coded = code(samples, feature)
        overall.append(measure(samples, coded))
        for generator, rows in subsets.items():
            by_generator[generator].append(measure(samples, coded, rows))
    return overall, by_generator, borrowed


def missing_shards(destination: str) -> list[str]:
    """Shards that the index names and the folder lacks; of an address nothing is known without asking for each."""
    dataset = open_finished(destination)
    places = {path: dataset.access.store.local_path(path) for path in dataset.access.shards()[1]}
    return [path for path, place in places.items() if place is not None and not os.path.exists(place)]


def _quarantine(dataset: Dataset) -> Quarantine:
    """The rows of quarantine.parquet. Raises TargetError when it is missing or damaged."""
    import pyarrow as pa

    try:
        rows: Quarantine = read_quarantine(dataset.access.store.read(schema.QUARANTINE_FILE)).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise TargetError(
            f"{dataset.path}/{schema.QUARANTINE_FILE} cannot be read ({error}): run shard-tools verify"
        ) from error
    return rows
