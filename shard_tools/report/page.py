"""The report as one HTML page."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from genimage_stream.page import charts, html
from genimage_stream.page.html import Cell, Section
from genimage_stream.page.scales import dimensions, number, percent, size
from genimage_stream.vocabulary import LABELS, REAL_POOL
from shard_tools.report import statistics
from shard_tools.report.shortcuts import Shortcut
from shard_tools.report.statistics import Part, Samples, Words
from shard_tools.report.thumbnails import Thumbnail

LEGEND = [("real", "real"), ("fake", "fake")]
LISTED = 200  # quarantined files shown by name

Quarantine = list[dict[str, str | None]]


@dataclass(frozen=True)
class Findings:
    """Everything that the page shows."""

    name: str
    samples: Samples
    parts: list[Part]
    quarantine: Quarantine
    shortcuts: list[Shortcut]
    by_generator: dict[str, list[Shortcut]]
    borrowed_reals: list[str]  # generators compared with the pool of reals
    thumbnails: list[Thumbnail]
    version: str


def render(found: Findings) -> str:
    samples = found.samples
    pieces = [_composition(found), _shortcuts(found), _sizes(samples), _encoding(samples), _sheet(found), _quarantine(found)]
    fakes = int(samples.fake.sum())
    lead = html.facts(
        [
            ("Images", number(samples.count)),
            ("Real / fake", f"{number(samples.count - fakes)} / {number(fakes)}"),
            ("Generators", len([g for g in samples.generators if g != REAL_POOL])),
            ("Shards", number(samples.shards)),
            ("Image bytes", size(float(samples.size_bytes.sum()))),
            ("Quarantined files", number(len(found.quarantine))),
        ]
    )
    lead = f'<p class="lead">{html.text(_headline(found))}</p>' + lead
    made = f"Made by shard-tools {found.version} from index.parquet and quarantine.parquet of {found.name}."
    if found.thumbnails:
        made += " The thumbnails are excerpts of the data set and stay under its licence."
    return html.page(f"What is in {found.name}", lead=lead, sections=pieces, footer=made)


def _headline(found: Findings) -> str:
    usable = [s for s in found.shortcuts if not s.reason]
    if not usable:
        return "Real and fake cannot be compared: there are too few images of one of them."
    best = max(usable, key=lambda s: s.best)
    if best.best < 0.55:
        return "No property of the files alone separates real from fake."
    how = f"separates real from fake with {percent(best.best)} accuracy"
    return f"Without a look at the picture, the {_lower(best.feature.name)} alone {how}; a coin has 50 %."


def _lower(name: str) -> str:
    return name if name.startswith("JPEG") else name[0].lower() + name[1:]


# -- composition ---------------------------------------------------------------------------------------------------------


def _composition(found: Findings) -> Section:
    totals: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for part in found.parts:
        for k in (0, 1):
            totals[part.generator][k] += part.packed[k]
    rows = [
        (part.generator, part.split, *_counted(part, 0), *_counted(part, 1), sum(part.quarantined) or "–")
        for part in found.parts
    ]
    columns = ("Generator", "Split", "Real", "of published", "Fake", "of published", "Quarantined")
    chart = charts.bars(
        "Images per generator",
        "Horizontal bars, reals and fakes of each generator end to end; the table holds the numbers.",
        [(name, counts) for name, counts in totals.items()],
        ["real", "fake"],
    )
    counts = html.table("Packed images beside the published counts of GenImage", columns, rows, numeric=range(2, 7))
    section = Section("Composition").add(_completeness(found.parts))
    return section.add(html.figure("Images per generator", chart, legend=LEGEND), counts)


def _counted(part: Part, label: int) -> tuple[str, Cell]:
    have = part.packed[label]
    if part.published is None:
        return number(have), Cell("not listed")
    wanted = part.published[label]
    if have == wanted:
        return number(have), Cell("all", style_class="good-text")
    return number(have), Cell(f"{percent(have / wanted)} of {number(wanted)}")


def _completeness(parts: Sequence[Part]) -> str:
    listed = [part for part in parts if part.published is not None]
    if not listed:
        return html.note("None of the generators has published counts to compare with.")
    packed = sum(sum(part.packed) for part in listed)
    wanted = sum(sum(part.published or ()) for part in listed)
    missing = sum(part.missing for part in listed)
    bad = sum(sum(part.quarantined) for part in listed)
    if packed == wanted and not missing:
        return html.note("Every published image of these generators is packed.", "good")
    sentence = f"{number(packed)} of the {number(wanted)} published images of these generators are packed"
    sentence += f", {number(bad)} are quarantined" if bad else ""
    return html.note(html.text(sentence + (f", {number(missing)} are not there." if missing else ".")))


# -- shortcuts -----------------------------------------------------------------------------------------------------------


def _shortcuts(found: Findings) -> Section:
    section = Section("Shortcuts a detector could take").add(
        html.paragraph(
            "How well does one property of the file, without a look at the picture, tell real from fake?",
            "Whatever scores high here can be learned instead of the traces of a generator, and a test on data with the",
            "same bias will not show it.",
        )
    )
    usable = sorted((s for s in found.shortcuts if not s.reason), key=lambda s: -s.best)
    if usable:
        chart = charts.bars(
            "Balanced accuracy of one property alone",
            "Horizontal bars from 50 percent, chance, to 100 percent; the table below holds the numbers.",
            [(s.feature.name, [max(0.5, s.best)]) for s in usable],
            ["third"],
            write=percent,
            low=0.5,
            high=1.0,
        )
        section.add(html.figure("Accuracy of one property alone, all generators together (50 % is chance)", chart))
    rows = [_shortcut_row(s) for s in sorted(found.shortcuts, key=lambda s: (bool(s.reason), -s.best if not s.reason else 0))]
    columns = ("Property", "Verdict", "Threshold", "Look-up", "AUC", "Best rule", "What takes it away")
    section.add(html.table("Every property, all generators together", columns, rows, numeric=(2, 3, 4), cards=True))
    section.sub(
        "Each generator on its own",
        html.paragraph(
            "A detector is usually trained on one generator. The better rule's accuracy within each generator's subset:",
        ),
        _matrix(found),
    )
    if found.borrowed_reals:
        names = ", ".join(found.borrowed_reals)
        section.add(html.paragraph(f"No reals of their own have {names}: compared with the pool of reals ({REAL_POOL})."))
    return section.add(
        html.details(
            "How these figures are computed",
            html.paragraph(
                "Accuracy is balanced: the mean of the share of reals and the share of fakes told rightly. Threshold is the",
                "best single cut of a number; look-up answers each value by what was more frequent for it (for file size",
                "and bytes per pixel: each of up to 256 ranges). Rules are found on one half of the images and scored on",
                "the other, both ways round. AUC is the area under the ROC curve: 1 is perfect, 0.5 is chance.",
            ),
        )
    )


def verdict(accuracy: float) -> str:
    for limit, words in ((0.99, "gives it away"), (0.9, "very strong"), (0.7, "strong"), (0.55, "weak")):
        if accuracy >= limit:
            return words
    return "none"


def _shortcut_row(s: Shortcut) -> list[object]:
    why = f"{html.text(s.feature.name)}<small>{html.text(s.feature.why)}</small>"
    head = Cell(html=why)
    remedy = Cell(html=f"<small>{html.text(s.feature.remedy)}</small>")
    if s.reason:
        return [head, "–", "–", "–", "–", s.reason, remedy]
    figures = [Cell(_accuracy(v), style_class="bar", share=2 * v - 1) if v == v else "–" for v in (s.threshold, s.look_up)]
    return [head, verdict(s.best), *figures, f"{s.auc:.3f}", s.rule, remedy]


def _accuracy(value: float) -> str:
    return percent(value)


def _matrix(found: Findings) -> str:
    names = list(found.by_generator)
    rows: list[list[object]] = []
    for place, overall in enumerate(found.shortcuts):
        row: list[object] = [overall.feature.name]
        for name in names:
            s = found.by_generator[name][place]
            filled = Cell(percent(s.best, 0), style_class="heat", share=max(0.0, 2 * s.best - 1))
            row.append(Cell("–") if s.reason else filled)
        rows.append(row)
    caption = "Accuracy of one property alone, within each generator (– where one label has too few images)"
    return html.table(caption, ["Property", *names], rows, numeric=range(1, len(names) + 1))


# -- sizes and encoding --------------------------------------------------------------------------------------------------


def _sizes(samples: Samples) -> Section:
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
            f"{label.capitalize()} images come in {number(different)} {'size' if different == 1 else 'sizes'}; the most "
            f"common is {dimensions(*first[:2])} ({percent(first[2] / total)})."
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
        rows = [(dimensions(w, h), number(n), Cell(percent(n / total), style_class="bar", share=n / total)) for w, h, n in common]
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
    return html.table("Most common sizes of each generator", columns, rows, numeric=(3,))


def _encoding(samples: Samples) -> Section:
    section = Section("Formats, quality and compression")
    for title, words in (("Format", samples.format), ("Colour mode", samples.mode)):
        section.add(_shares_figure(title, words, samples))
    section.add(_quality(samples), _bytes_per_pixel(samples))
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
            drawn.append(charts.share_bars(f"{title} of {label} images", "Horizontal bars of shares.", shown, label))
        rows += [(name, label, number(count), percent(count / total)) for name, count in found]
    data = html.table(f"{title} per label", (title, "Label", "Images", "Share"), rows, numeric=(2, 3))
    return html.figure(f"{title}, share of each label's images", drawn, data=data)


def _quality(samples: Samples) -> str:
    series, rows = [], []
    edges = np.arange(0.5, 101.5)
    for label in LABELS:
        keep = samples.of_label(label) & (samples.jpeg_quality >= 0)
        values = samples.jpeg_quality[keep]
        if len(values):
            series.append(charts.Series(label, label, statistics.shares(values, edges), dash=label == "fake"))
            rows.append((label, number(len(values)), *(f"{q:.0f}" for q in statistics.quantiles(values))))
    if not series:
        return html.figure("JPEG quality", []) + html.paragraph("There are no JPEGs.")
    without = [label for label in LABELS if label not in {s.name for s in series}]
    chart = charts.histogram(
        "Share of each label's JPEGs",
        "Histogram of the JPEG quality, one step per quality from 1 to 100.",
        edges,
        series,
        x_label="JPEG quality (from the quantisation tables)",
    )
    columns = ("Label", "JPEGs", *(f"{q:.0%}".replace("%", " %") for q in statistics.QUANTILES))
    data = html.table("Quantiles of the JPEG quality", columns, rows, numeric=range(1, 7))
    missing = "".join(html.paragraph(f"There is no {label} JPEG.") for label in without)
    return html.figure("JPEG quality", chart, legend=LEGEND, data=data) + missing


def _bytes_per_pixel(samples: Samples) -> str:
    values = samples.bytes_per_pixel
    positive = values[values > 0]
    if not len(positive):
        return ""
    low, high = (float(q) for q in np.quantile(positive, (0.0005, 0.9995)))
    edges = np.geomspace(low * 0.95, high * 1.05, 49)
    series = [
        charts.Series(label, label, statistics.shares(values[samples.of_label(label)], edges), dash=label == "fake")
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
    return html.figure("Bytes per pixel of the stored files", chart, legend=LEGEND, data=data)


# -- pictures and quarantine ---------------------------------------------------------------------------------------------


def _sheet(found: Findings) -> Section:
    section = Section("Contact sheet")
    if not found.thumbnails:
        return section.add(html.paragraph("No thumbnails were asked for."))
    section.add(html.paragraph("Evenly spread over each generator's shards, shrunk by the mean of areas; hover for the key."))
    groups: dict[str, dict[str, list[Thumbnail]]] = defaultdict(lambda: defaultdict(list))
    for one in found.thumbnails:
        groups[one.generator][one.label].append(one)
    for generator, labels in groups.items():
        section.sub(generator)
        for label, sheet in labels.items():
            items = "".join(map(_thumbnail, sheet))
            section.add(f'<p class="tag {html.text(label)}">{html.text(label)}</p><ul class="sheet">{items}</ul>')
    return section


def _thumbnail(one: Thumbnail) -> str:
    if not one.address:
        return f'<li title="{html.text(one.key)}"><div class="missing">unreadable</div>{html.text(one.reason)}</li>'
    alt = html.text(f"{one.label} of {one.generator}, {one.key}")
    return f'<li title="{html.text(one.key)}"><img src="{one.address}" alt="{alt}" loading="lazy">{html.text(one.description)}</li>'


def _quarantine(found: Findings) -> Section:
    section = Section("Quarantined files")
    if not found.quarantine:
        return section.add(html.note("No file was quarantined: everything found was packed.", "good"))
    reasons = Counter(_kind(row["reason"]) for row in found.quarantine)
    count = len(found.quarantine)
    section.add(html.paragraph(f"{number(count)} {'file was' if count == 1 else 'files were'} not packed, for these reasons."))
    total = sum(reasons.values())
    ranked = [(reason, number(n), Cell(percent(n / total), style_class="bar", share=n / total)) for reason, n in reasons.most_common()]
    section.add(html.table("Reasons", ("Reason", "Files", "Share"), ranked[:50], numeric=(1, 2)))
    rows = [
        (Cell(html=f"<code>{html.text(row['source'])}</code>"), *(row[name] or "–" for name in ("generator", "split", "label", "reason")))
        for row in found.quarantine[:LISTED]
    ]
    listing = html.table("Quarantined files", ("File", "Generator", "Split", "Label", "Reason"), rows)
    if len(found.quarantine) > LISTED:
        rest = number(len(found.quarantine) - LISTED)
        listing += html.paragraph(f"{rest} more are listed in quarantine.parquet.")
    return section.add(html.details("The files", listing))


def _kind(reason: str | None) -> str:
    """The reason without the particulars of one file (after a colon, or in brackets), so that like counts with like."""
    words = (reason or "not said").split(": ")[0].split(" (")[0]
    return words.strip() or "not said"
