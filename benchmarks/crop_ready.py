"""What the crop-ready form costs and gains: a table and a plot (SVG) over PNG levels, band heights, tile widths and
JPEG restart intervals; and what restart intervals cost when the whole image is decoded.

    python -m benchmarks.crop_ready [IMAGES] [--per-kind 12] [--record]

IMAGES is a folder of JPEG and PNG files (searched with its subfolders); without it the stand-ins of
`benchmarks/data.py`. The table, the plot and all figures go to .bench/results; with --record the table and the plot to
docs/ and the figures to benchmarks/results. Times are CPU times of one thread, medians over
rounds in which all variants take turns, so that a noisy machine falls on all of them alike. Peers that are installed
(Pillow, OpenCV, simplejpeg, imagecodecs) decode the original in full, since none of them can decode less. Whole JPEGs
are decoded by libjpeg-turbo and by our decoder, from the same coefficients and the same Huffman tables.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypedDict, cast

import genimage_stream as gs
from benchmarks import harness
from benchmarks.data import tree as stand_ins
from benchmarks.environments import ROOM, ROOT
from genimage_stream.decode import native
from genimage_stream.decode.crop_ready import recode

CROP = 224


class Form(TypedDict, total=False):
    """A crop-ready form: arguments of `recode`."""

    png_level: int
    band_rows: int
    tile_width: int
    interval_width: int


LEVELS: list[Form] = [{"png_level": level} for level in (0, 1, 2, 4, 6, 9)]
SHAPES: list[Form] = [{"band_rows": rows, "tile_width": tile} for tile in (0, 256, 128) for rows in (16, 32, 64)]
A_ROW = 65535  # pixels; wider than any JPEG
INTERVALS: list[Form] = [{"interval_width": width} for width in (32, 64, 128, A_ROW)]
DECODERS = {"libjpeg": "libjpeg-turbo", "auto": "own"}


def name_of(options: Form) -> str:
    named: dict[str, dict[object, str]] = {"interval_width": {0: "none", A_ROW: "a row"}}
    return ", ".join(f"{key} {named.get(key, {}).get(value, value)}" for key, value in options.items())


def pictures(folder: Path, per_kind: int) -> dict[str, list[bytes]]:
    """Files by kind: `png 1024`, `jpeg`; at most `per_kind` of each, spread over the folder."""
    kinds: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                head = file.read(1 << 16)
            try:
                facts = gs.inspect(head)
            except gs.DecodeError:
                continue
            if facts.format == "jpeg":
                kinds["jpeg"].append(path)
            elif facts.format == "png" and facts.width == facts.height:
                kinds[f"png {facts.width}{' rgba' if facts.mode == 'RGBA' else ''}"].append(path)
    spread = {kind: paths[:: max(1, len(paths) // per_kind)][:per_kind] for kind, paths in sorted(kinds.items())}
    return {kind: [path.read_bytes() for path in paths] for kind, paths in spread.items()}


def windows(files: Sequence[bytes], seed: int) -> list[tuple[int, int, int, int]]:
    chance = random.Random(seed)
    found = []
    for data in files:
        facts = gs.inspect(data)
        w, h = min(CROP, facts.width), min(CROP, facts.height)
        found.append((chance.randint(0, facts.width - w), chance.randint(0, facts.height - h), w, h))
    return found


def decode_crops(files: Sequence[bytes], where: Sequence[tuple[int, int, int, int]]) -> None:
    for data, crop in zip(files, where, strict=True):
        gs.decode(data, crop=crop)


def decode_all(decode: Callable[[bytes], object], files: Sequence[bytes]) -> None:
    for data in files:
        decode(data)


def cpu_time(work: Callable[[], object]) -> float:
    begin = time.thread_time()
    work()
    return time.thread_time() - begin


def peers() -> dict[str, Callable[[bytes], object]]:
    found: dict[str, Callable[[bytes], object]] = {}
    try:
        from PIL import Image

        found["pillow"] = lambda data: Image.open(io.BytesIO(data)).convert("RGB").tobytes()
    except ImportError:
        pass
    try:
        import cv2
        import numpy as np

        cv2.setNumThreads(1)
        found["opencv"] = lambda data: cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except ImportError:
        pass
    try:
        import simplejpeg

        found["simplejpeg"] = lambda data: simplejpeg.decode_jpeg(data) if data[:2] == b"\xff\xd8" else None
    except ImportError:
        pass
    try:
        import imagecodecs

        found["imagecodecs"] = lambda data: (
            imagecodecs.jpeg8_decode(data) if data[:2] == b"\xff\xd8" else imagecodecs.spng_decode(data)
        )
    except ImportError:
        pass
    return found


def measure(files: Sequence[bytes], variants: Sequence[Form], rounds: int) -> list[dict[str, Any]]:
    """A row per variant, then one for plain crops and one per peer; microseconds an image."""
    stored, rows = [], []
    for options in variants:
        spent, made = 0.0, []
        for data in files:
            begin = time.thread_time()
            result = recode(data, **options)[0]
            spent += time.thread_time() - begin
            made.append(data if result is None else result)
        stored.append(made)
        size = sum(map(len, made)) / sum(map(len, files))
        rows.append({"what": options, "size": size, "recode_us": spent / len(files) * 1e6})
    crops: list[list[float]] = [[] for _ in variants]
    plain: list[float] = []
    decoders = {name: decode for name, decode in peers().items() if decode(files[0]) is not None}
    full: dict[str, list[float]] = {name: [] for name in decoders}
    for number in range(rounds):
        where = windows(files, number)
        for made, times in zip(stored, crops, strict=True):
            times.append(cpu_time(partial(decode_crops, made, where)))
        plain.append(cpu_time(partial(decode_crops, files, where)))
        for name, times in full.items():
            times.append(cpu_time(partial(decode_all, decoders[name], files)))
    per_image = 1e6 / len(files)
    for row, times in zip(rows, crops, strict=True):
        row["crop_us"] = statistics.median(times) * per_image
    rows.append({"what": "plain file, crop by gs.decode", "crop_us": statistics.median(plain) * per_image})
    rows += [{"what": f"{n}, full decode", "crop_us": statistics.median(t) * per_image} for n, t in full.items()]
    return rows


def measure_whole(files: Sequence[bytes], rounds: int) -> list[dict[str, Any]]:
    """What restart intervals cost a decode of whole JPEGs: a row per interval, none first; microseconds an image.

    Files that stay as they are at any interval are left out, so that every row holds the same images.
    """
    variants: list[Form] = [{"interval_width": 0}, *INTERVALS]
    made = [[recode(data, **options)[0] for options in variants] for data in files]
    kept = [cast(list[bytes], versions) for versions in made if None not in versions]
    if not kept:
        return []
    times: dict[tuple[int, str], list[float]] = defaultdict(list)
    try:
        for _ in range(rounds):
            for path in DECODERS:
                native.set_jpeg_path(path)
                for number in range(len(variants)):
                    same = [versions[number] for versions in kept]
                    times[number, path].append(cpu_time(partial(decode_all, gs.decode, same)))
    finally:
        native.set_jpeg_path("auto")
    plain = sum(len(versions[0]) for versions in kept)
    return [
        {
            "what": options,
            "images": len(kept),
            "size": sum(len(versions[number]) for versions in kept) / plain,
            **{f"{path}_us": statistics.median(times[number, path]) / len(kept) * 1e6 for path in DECODERS},
        }
        for number, options in enumerate(variants)
    ]


def whole_table(rows: Sequence[dict[str, Any]]) -> str:
    names = " | ".join(f"{name}, us | its time against none" for name in DECODERS.values())
    lines = [
        "### jpeg, whole images",
        "",
        f"The same coefficients with and without restart intervals ({rows[0]['images']} images):",
        "",
        f"| | size | {names} |",
        "|---|---|" + "---|---|" * len(DECODERS),
    ]
    for row in rows:
        cells = (f"{row[f'{p}_us']:.0f} | {row[f'{p}_us'] / rows[0][f'{p}_us']:.3f}" for p in DECODERS)
        lines.append(f"| {name_of(row['what'])} | {row['size']:.3f} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def table(kind: str, rows: Sequence[dict[str, Any]]) -> str:
    best = min((r["crop_us"] for r in rows if str(r["what"]).endswith("full decode")), default=float("nan"))
    lines = [
        f"### {kind}",
        "",
        "| | size | recode, img/s | crop, us | against the best peer |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        what = row["what"]
        name = name_of(cast(Form, what)) if isinstance(what, dict) else what
        size = f"{row['size']:.3f}" if "size" in row else ""
        speed = f"{1e6 / row['recode_us']:.0f}" if "recode_us" in row else ""
        lines.append(f"| {name} | {size} | {speed} | {row['crop_us']:.0f} | {best / row['crop_us']:.1f}x |")
    return "\n".join([*lines, ""])


def plot(results: dict[str, list[dict[str, Any]]]) -> str:
    """Stored size (x) against crops per second (y), a line per kind of picture, a dot per variant."""
    width, height, left, bottom = 720, 420, 70, 50
    colours = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"]
    points = {
        kind: [(r["size"], 1e6 / r["crop_us"], name_of(r["what"])) for r in rows if r.get("size", 9) < 1.2]
        for kind, rows in results.items()
    }
    low = min(x for line in points.values() for x, _, _ in line) - 0.005
    high = max(x for line in points.values() for x, _, _ in line) + 0.005
    top = max(y for line in points.values() for _, y, _ in line) * 1.05

    def place(x: float, y: float) -> tuple[float, float]:
        return left + (x - low) / (high - low) * (width - left - 150), height - bottom - y / top * (
            height - bottom - 20
        )

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif">']
    out.append(f'<rect width="{width}" height="{height}" fill="white"/>')
    for step in range(6):
        x, y = low + (high - low) * step / 5, top * step / 5
        (px, _), (_, py) = place(x, 0), place(low, y)
        out.append(f'<text x="{px:.0f}" y="{height - bottom + 18}" font-size="11" text-anchor="middle">{x:.3f}</text>')
        out.append(f'<text x="{left - 6}" y="{py + 4:.0f}" font-size="11" text-anchor="end">{y:,.0f}</text>')
        out.append(f'<line x1="{left}" x2="{width - 150}" y1="{py:.0f}" y2="{py:.0f}" stroke="#ddd"/>')
    for number, (kind, line) in enumerate(points.items()):
        colour = colours[number % len(colours)]
        for x, y, what in line:
            px, py = place(x, y)
            out.append(
                f'<circle cx="{px:.1f}" cy="{py:.1f}" r="4" fill="{colour}"><title>{kind}: {what}</title></circle>'
            )
        out.append(f'<text x="{width - 140}" y="{30 + 18 * number}" font-size="12" fill="{colour}">{kind}</text>')
    middle = (left + width - 150) / 2
    out.append(
        f'<text x="{middle}" y="{height - 12}" font-size="12" text-anchor="middle">stored size / original</text>'
    )
    out.append(f'<text x="14" y="14" font-size="12">{CROP} crops per second and thread</text></svg>')
    return "\n".join(out) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, nargs="?")
    parser.add_argument("--per-kind", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--record", action="store_true", help="write to docs and benchmarks/results")
    options = parser.parse_args()
    variants = [*LEVELS, *SHAPES]
    results: dict[str, list[dict[str, Any]]] = {}
    whole: list[dict[str, Any]] = []
    for kind, files in pictures(options.images or stand_ins(), options.per_kind).items():
        results[kind] = measure(files, INTERVALS if kind == "jpeg" else variants, options.rounds)
        print(table(kind, results[kind]), flush=True)
        if kind == "jpeg":
            whole = measure_whole(files, options.rounds)
    if not results:
        raise SystemExit(f"no JPEG or PNG in {options.images}")
    tables = [table(kind, rows) for kind, rows in results.items()]
    if whole:
        tables.append(whole_table(whole))
        print(tables[-1], flush=True)
    folder = harness.RESULTS if options.record else ROOM / "results"
    folder.mkdir(parents=True, exist_ok=True)
    shown = ROOT / "docs" if options.record else folder
    report = {
        "title": "What the crop-ready form costs and gains",
        "date": time.strftime("%Y-%m-%d"),
        "command": harness.command_line(),
        "machine": harness.machine(),
        "versions": harness.versions("genimage-stream", "numpy"),
        "crop": CROP,
        "per_kind": options.per_kind,
        "results": results,
        "whole_jpegs": whole,
    }
    (folder / "crop_ready.json").write_text(json.dumps(report, indent=1) + "\n")
    (shown / "crop-ready-table.md").write_text("\n".join(tables))
    (shown / "crop-ready.svg").write_text(plot(results))


if __name__ == "__main__":
    main()
