"""The tables of the GPU check, and the goals beside what was measured."""

from __future__ import annotations

from typing import Any

from benchmarks.gpu.contestants import CONTESTANTS
from benchmarks.gpu.rounds import Outcome
from benchmarks.gpu.setting import STREAMS
from benchmarks.harness import ratio_text

BEST = "dali-crop-ready"
HEADINGS = {"mixed": "All images", "reals": "Reals alone (JPEG)", "fakes": "Fakes alone (PNG)"}


def percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} %"


def rate_table(outcome: Outcome, stream: str) -> str:
    """Markdown. Ratios are to the faster of DALI's own pipelines, which is measured on the mix only."""
    baseline = outcome.baseline()
    compared = stream == "mixed" and baseline is not None
    head = "| | images/s | spread |" + (f" times {CONTESTANTS[baseline].title} |" if compared and baseline else "")
    lines = [f"{head} CPUs busy | GPU | JPEG decoder |", "|---|---:|---:|" + "---:|" * (3 + compared)]
    for name, one in outcome.measurements(stream).items():
        cost = outcome.cost(stream, name)
        ratio = f" {outcome.ratio(name)} |" if compared else ""
        lines.append(
            f"| {CONTESTANTS[name].title} | {one.rate:,.0f} | {one.spread:.0%} |{ratio} {cost['cpus']:.1f} "
            f"| {percent(cost['utilization.gpu'])} | {percent(cost['utilization.jpeg'])} |"
        )
    return "\n".join(lines)


def training_table(outcome: Outcome) -> str:
    lines = ["| fed by | images/s | on a batch that is there | waiting for data |", "|---|---:|---:|---:|"]
    lines += [
        f"| {CONTESTANTS[name].title} | {one['images_per_second']:,.0f} | {one['alone']:,.0f} | {one['waiting']:.1%} |"
        for name, one in outcome.training.items()
    ]
    return "\n".join(lines)


def kernels_table(found: list[dict[str, Any]], threads: int) -> str:
    """What benchmarks.gpu.kernels.measure found."""
    lines = [
        f"| | {threads} CPU threads | GPU | times | kernels alone | kB sent | pixels |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    lines += [
        f"| {one['kind']} | {one['cpu']:,.0f} | {one['gpu']:,.0f} | {ratio_text(one['times'])} | {one['kernel']:,.0f} "
        f"| {one['sent'] / 1000:.0f} | {'bit-equal' if one['equal'] else 'DIFFERENT'} |"
        for one in found
        if one["times"]
    ]
    lines += [
        "",
        "Images per second, from crop-ready files in memory to uint8 crops on the device, in batches of one kind. The "
        "CPUs decode and copy pixels; the GPU gets the compressed bands or restart intervals and decodes them by "
        "`benchmarks/gpu/kernels/`. Not counted is what a loader would do before on the host, checking and listing "
        "them. The loader does not do so yet.",
    ]
    return "\n".join(lines)


def goals_table(outcome: Outcome) -> str:
    """The figures that the issue asks for, of one GPU and 16 cores."""
    measured = outcome.measurements("mixed")
    rate = f"{measured[BEST].rate:,.0f}" if BEST in measured else "not measured"
    waiting = f"{outcome.training[BEST]['waiting']:.1%}" if BEST in outcome.training else "not measured"
    return "\n".join(
        [
            "| crop-ready shards, DALI | goal | measured |",
            "|---|---:|---:|",
            f"| images/s | 40,000 | {rate} |",
            f"| times DALI's own pipeline | 5 | {outcome.ratio(BEST)} |",
            f"| ResNet-50 step waits for data | under 5 % | {waiting} |",
        ]
    )


def sections(outcome: Outcome, *, on_gpu: bool) -> dict[str, str]:
    found = {"Goals": goals_table(outcome)} if on_gpu else {}
    for stream in STREAMS:
        if outcome.answers.get(stream):
            heading = f"{HEADINGS[stream]}: images per second, in ready batches on the device"
            found[f"{heading}, {outcome.rounds[stream]} rounds"] = rate_table(outcome, stream)
    if outcome.training:
        found["A ResNet-50 training step in half precision"] = training_table(outcome)
    if outcome.left_out:
        lines = [f"* {CONTESTANTS[name].title}: {why}" for name, why in outcome.left_out.items()]
        found["Gave up"] = "\n".join(lines)
    if not on_gpu:
        found["Not measured"] = "There was no GPU: these are CPU-mode figures, and say nothing about a GPU."
    return found


def data(outcome: Outcome) -> dict[str, Any]:
    """Every round, so that a reader can compute what the tables leave out."""
    rates = []
    for stream in STREAMS:
        for name, one in outcome.measurements(stream).items():
            rates.append(
                {
                    "stream": stream,
                    "contestant": name,
                    "images_per_second": one.rate,
                    "times_dali_by_round": [round(r, 4) for r in outcome.ratios(name)] if stream == "mixed" else [],
                    **outcome.cost(stream, name),
                    "rounds": outcome.answers[stream][name],
                }
            )
    return {"rates": rates, "training": outcome.training, "left_out": outcome.left_out, "baseline": outcome.baseline()}


def short_table(outcome: Outcome, correct: bool) -> str:
    """What matters, for the end of the output."""
    lines = ["| mixed | images/s | times DALI's own | CPUs | GPU | waiting |", "|---|---:|---:|---:|---:|---:|"]
    for name, one in outcome.measurements("mixed").items():
        cost = outcome.cost("mixed", name)
        waiting = f"{outcome.training[name]['waiting']:.1%}" if name in outcome.training else "-"
        lines.append(
            f"| {CONTESTANTS[name].title} | {one.rate:,.0f} | {outcome.ratio(name)} | {cost['cpus']:.1f} "
            f"| {percent(cost['utilization.gpu'])} | {waiting} |"
        )
    lines += ["", "Pixels that must be equal are equal." if correct else "PIXELS DIFFER THAT MUST BE EQUAL: a defect."]
    return "\n".join(lines)
