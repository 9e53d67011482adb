"""Sizes, formats, JPEG quality and bytes per pixel, real beside fake."""

from __future__ import annotations

import numpy as np

from genimage_stream.page import charts, html
from genimage_stream.page.html import Cell, Section
from genimage_stream.page.scales import dimensions, number, percent
from genimage_stream.vocabulary import FAKE, LABELS
from shard_tools.report import statistics
from shard_tools.report.statistics import Samples, Words


def sizes(samples: Samples) -> Section:
    edges = statistics.size_edges(samples)
    maps, tables, sentences = [], [], []
    for label in LABELS:
        keep = samples.of_label(label)
        total = int(keep.sum())
        if not total:
            continue
        common, different = statistics.common_sizes(samples, keep)
        first = common[0]
        sentences.append(
            f"{label.capitalize()} images come in {number(different)} {'size' if different == 1 else 'sizes'}; "
            f"the most common is {dimensions(*first[:2])} ({percent(first[2] / total)})."
        )
        maps.append(
            charts.heat(
                f"{label} images",
                f"Map of width and height on logarithmic axes, darker where there are more {label} images.",
                statistics.size_map(samples, keep, edges),
                edges,
                label,
                x_label="width, pixels",
                y_label="height, pixels",
                marks=[(w, h, dimensions(w, h)) for w, h, _ in common[:1]],
            )
        )
        rows = [
            (dimensions(w, h), number(n), Cell(percent(n / total), style_class="bar", share=n / total))
            for w, h, n in common
        ]
        caption = f"Most common sizes of {label} images ({len(common)} of {number(different)})"
        tables.append(html.table(caption, ("Size", "Images", "Share"), rows, numeric=(1, 2)))
    section = Section("Image sizes").add(html.paragraph(*sentences))
    return section.add(
        html.figure("Width and height; the broken line marks squares", maps, data="".join(tables)),
        html.details("Most common sizes of each generator", _sizes_by_generator(samples)),
    )


def _sizes_by_generator(samples: Samples) -> str:
    rows = []
    for generator in samples.generators:
        for label in LABELS:
            keep = samples.of(generator) & samples.of_label(label)
            total = int(keep.sum())
            if total:
                common, different = statistics.common_sizes(samples, keep, 3)
                listed = ", ".join(f"{dimensions(w, h)} ({percent(n / total)})" for w, h, n in common)
                rows.append((generator, label, listed, number(different)))
    columns = ("Generator", "Label", "Most common sizes", "Different sizes")
    return html.table("Up to three sizes of each label", columns, rows, numeric=(3,), cards=True)


def encoding(samples: Samples) -> Section:
    section = Section("Formats, quality and compression")
    for title, words in (("Format", samples.format), ("Colour mode", samples.mode)):
        section.add(_shares_figure(title, words, samples))
    section.add(html.pair(_quality(samples), _bytes_per_pixel(samples)), _missing_jpegs(samples))
    return section


def _shares_figure(title: str, words: Words, samples: Samples) -> str:
    drawn, rows = [], []
    for label in LABELS:
        keep = samples.of_label(label)
        total = int(keep.sum())
        found = words.counts(keep)
        if total:
            shown = [(name, count / total) for name, count in found[:6]]
            if found[6:]:
                shown.append(("others", sum(count for _, count in found[6:]) / total))
            drawn.append(charts.share_bars(f"{label} images", f"{title}: horizontal bars of shares.", shown, label))
        rows += [(name, label, number(count), percent(count / total)) for name, count in found]
    data = html.table(f"{title} per label", (title, "Label", "Images", "Share"), rows, numeric=(2, 3))
    return html.figure(f"{title}, share of each label's images", drawn, data=data)


def _quality(samples: Samples) -> str:
    series, rows = [], []
    known = samples.jpeg_quality[samples.jpeg_quality >= 0]
    edges = np.arange(int(np.min(known, initial=90)) // 10 * 10 - 0.5, 101.0, dtype=np.float64)
    for label in LABELS:
        keep = samples.of_label(label) & (samples.jpeg_quality >= 0)
        values = samples.jpeg_quality[keep]
        if len(values):
            series.append(charts.Series(label, label, statistics.shares(values, edges), dash=label == FAKE))
            rows.append((label, number(len(values)), *(f"{q:.0f}" for q in statistics.quantiles(values))))
    if not series:
        return ""
    chart = charts.histogram(
        "Share of each label's JPEGs",
        "Histogram of the JPEG quality, one step per quality; one area per label.",
        edges,
        series,
        x_label="JPEG quality (from the quantisation tables)",
    )
    columns = ("Label", "JPEGs", *(f"{q:.0%}".replace("%", " %") for q in statistics.QUANTILES))
    data = html.table("Quantiles of the JPEG quality", columns, rows, numeric=range(1, 7))
    there = [one.name for one in series]
    whose = f" of {there[0]} images" if len(there) == 1 else ""
    return html.figure(f"JPEG quality{whose}, share of the JPEGs", chart, legend=html.label_keys(*there), data=data)


def _missing_jpegs(samples: Samples) -> str:
    """What the chart of the JPEG quality does not show, in words."""
    without = [k for k in LABELS if not (samples.of_label(k) & (samples.jpeg_quality >= 0)).any()]
    if len(without) == len(LABELS):
        return html.paragraph("There are no JPEGs, so there is no quality to show.")
    return "".join(html.paragraph(f"There is no {label} JPEG, so only one label has a quality.") for label in without)


def _bytes_per_pixel(samples: Samples) -> str:
    values = samples.bytes_per_pixel
    positive = values[values > 0]
    if not len(positive):
        return ""
    low, high = (float(q) for q in np.quantile(positive, (0.0005, 0.9995)))
    edges = np.geomspace(low * 0.95, high * 1.05, 49, dtype=np.float64)
    series = [
        charts.Series(label, label, statistics.shares(values[samples.of_label(label)], edges), dash=label == FAKE)
        for label in LABELS
        if samples.of_label(label).any()
    ]
    chart = charts.histogram(
        "Share of each label's images",
        "Histogram of bytes per pixel on a logarithmic axis; one area per label.",
        edges,
        series,
        x_label="bytes per pixel, logarithmic",
        log=True,
    )
    rows = []
    for generator in (None, *samples.generators):
        for label in LABELS:
            keep = samples.of_label(label) & (samples.of(generator) if generator else True)
            if keep.any():
                rows.append((generator or "all", label, *(f"{q:.2f}" for q in statistics.quantiles(values[keep]))))
    columns = ("Generator", "Label", *(f"{q:.0%}".replace("%", " %") for q in statistics.QUANTILES))
    data = html.table("Quantiles of bytes per pixel", columns, rows, numeric=range(2, 7))
    keys = html.label_keys(*(one.name for one in series))
    return html.figure("Bytes per pixel of the stored files, share of the images", chart, legend=keys, data=data)
