"""The tables of the GPU check, with the goals beside the measured figures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.gpu.contestants import BEST, CONTESTANTS
from benchmarks.gpu.rounds import Outcome
from benchmarks.gpu.setting import DECODERS, STREAMS
from benchmarks.harness import ratio_text

SHORT = {"cpu-crop-ready": "CPU + copy", "dali-crop-ready": "DALI"}
TRAINING = "A ResNet-50 training step in half precision"
VERDICTS = {
    True: "Pixels that must be equal are equal.",
    False: "PIXELS DIFFER THAT MUST BE EQUAL: a defect.",
    None: "Pixels were not all compared, see above: whether those that must be equal are is not known.",
}
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


def kernels_table(found: list[dict[str, Any] | str], threads: int) -> str:
    """What experiments.gpu_decode.measure found: figures of a kind of image, or why there are none."""
    lines = [
        f"| | {threads} CPU threads | GPU | times | kernels alone | kB sent | left to the CPU | pixels |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    figures = [one for one in found if not isinstance(one, str)]
    lines += [
        f"| {one['kind']} | {one['cpu']:,.0f} | {one['gpu']:,.0f} | {ratio_text(one['times'])} | {one['kernel']:,.0f} "
        f"| {one['sent'] / 1000:.0f} | {one['left']} of {one['images']} "
        f"| {'bit-equal' if one['equal'] else 'DIFFERENT: a defect'} |"
        for one in figures
        if one["times"]
    ]
    lines += [
        "",
        "Images per second, from crop-ready files in memory to uint8 crops on the device, in batches of one kind. The "
        "CPUs decode and copy pixels; the GPU gets the compressed bands or restart intervals and decodes them by "
        "`experiments/gpu_decode/`. Not counted is what a loader would do before on the host, checking and listing "
        "them. The loader does not do so yet.",
    ]
    lines += [
        f"* {one['kind']}: none of the {one['images']} is for the kernels." for one in figures if not one["times"]
    ]
    lines += [f"* Not measured: {one}" for one in found if isinstance(one, str)]
    return "\n".join(lines)


def goals_table(outcome: Outcome) -> str:
    """The figures that the issue asks for, of one GPU and 16 cores: of the faster of ours on the mix, and of both."""
    measured = outcome.measurements("mixed")
    better = max((name for name in BEST if name in measured), key=lambda name: measured[name].rate, default=None)
    lines = [
        f"| crop-ready shards | goal | the faster | {' | '.join(SHORT[name] for name in BEST)} |",
        "|---|---:|---:|" + "---:|" * len(BEST),
        f"| | | {SHORT[better] if better else '-'} |" + " |" * len(BEST),
    ]

    def row(title: str, goal: str, value: Callable[[str], str | None]) -> None:
        cells = [value(name) or "not measured" if name else "not measured" for name in (better, *BEST)]
        lines.append(f"| {title} | {goal} | {' | '.join(cells)} |")

    row("images/s", "40,000", lambda name: f"{measured[name].rate:,.0f}" if name in measured else None)
    row("times DALI's own pipeline", "5", lambda name: outcome.ratio(name) if outcome.ratios(name) else None)
    row(
        "ResNet-50 step waits for data",
        "under 5 %",
        lambda name: f"{outcome.training[name]['waiting']:.1%}" if name in outcome.training else None,
    )
    return "\n".join(lines)


def decoder_table(outcome: Outcome) -> str:
    """Whether what decodes JPEGs on a GPU was there and was used; without it everything works, only slower."""
    lines = ["| | libnvjpeg | libnvcuvid | JPEG decoder at most |", "|---|---|---|---:|"]
    peaks, lacking = [], set()
    for name, opened in outcome.opened.items():
        if "dali" not in CONTESTANTS[name].needs:
            continue
        loaded = opened["libraries"]
        known = [
            one["jpeg_peak"]
            for answers in outcome.answers.values()
            for one in answers.get(name, [])
            if one["jpeg_peak"] is not None
        ]
        peaks += known
        lacking |= set() if loaded is None else set(DECODERS) - set(loaded)
        there = ["not known" if loaded is None else "yes" if one in loaded else "no" for one in DECODERS]
        lines.append(f"| {CONTESTANTS[name].title} | {' | '.join(there)} | {percent(max(known, default=None))} |")
    said = [why for one, why in DECODERS.items() if one in lacking]
    if not peaks:
        said.insert(0, "How busy the hardware decoder was is not known: neither NVML nor nvidia-smi said so.")
    elif max(peaks) > 0:
        said = ["The hardware decoder was used."]
    else:
        said = said or [
            "Its libraries were there: the GPU may have no such decoder (the A100 and the H100 have one), or be shared "
            "in a way that leaves it out."
        ]
        said.insert(0, "The hardware decoder was not used, and JPEGs took longer than they need to.")
    return "\n".join([*lines, "", " ".join(said)])


def sections(outcome: Outcome, *, on_gpu: bool) -> dict[str, str]:
    found = {"Goals": goals_table(outcome)} if on_gpu else {}
    for stream in STREAMS:
        if outcome.answers.get(stream):
            found[rate_heading(outcome, stream)] = rate_table(outcome, stream)
    if outcome.training:
        found[TRAINING] = training_table(outcome)
    if on_gpu and any("dali" in CONTESTANTS[name].needs for name in outcome.opened):
        found["Decoding JPEGs on the GPU"] = decoder_table(outcome)
    gave_up = [f"* {CONTESTANTS[name].title}: {why}" for name, why in outcome.left_out.items()]
    gave_up += [f"* {CONTESTANTS[name].title}, training: {why}" for name, why in outcome.training_failed.items()]
    if gave_up:
        found["Gave up"] = "\n".join(gave_up)
    not_measured = [f"* {CONTESTANTS[name].title}: {why}" for name, why in outcome.unfit.items()]
    if outcome.no_time:
        not_measured.append(f"* No time was left for: {'; '.join(outcome.no_time)}. A larger --minutes gives more.")
    if outcome.restless:
        titles = ", ".join(CONTESTANTS[name].title for name in outcome.restless)
        found["Not quiet"] = (
            f"These went on working when it was the others' turn, which cost those something: {titles}."
        )
    if not on_gpu:
        not_measured.append("* There was no GPU: these are CPU-mode figures, and say nothing about a GPU.")
    if not_measured:
        found["Not measured"] = "\n".join(not_measured)
    return found


def rate_heading(outcome: Outcome, stream: str) -> str:
    return f"{HEADINGS[stream]}: images per second, in ready batches on the device, {outcome.rounds[stream]} rounds"


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
    reasons = ("training", "left_out", "training_failed", "unfit", "opened", "no_time", "restless")
    return {"rates": rates, "baseline": outcome.baseline(), **{name: getattr(outcome, name) for name in reasons}}


def short_table(outcome: Outcome, correct: bool | None) -> str:
    """What matters, for the end of the output."""
    lines = ["| mixed | images/s | times DALI's own | CPUs | GPU | waiting |", "|---|---:|---:|---:|---:|---:|"]
    for name, one in outcome.measurements("mixed").items():
        cost = outcome.cost("mixed", name)
        waiting = f"{outcome.training[name]['waiting']:.1%}" if name in outcome.training else "-"
        lines.append(
            f"| {CONTESTANTS[name].title} | {one.rate:,.0f} | {outcome.ratio(name)} | {cost['cpus']:.1f} "
            f"| {percent(cost['utilization.gpu'])} | {waiting} |"
        )
    if not outcome.measurements("mixed"):
        lines = ["NOTHING WAS MEASURED: no contestant came through a round."]
    lines += ["", VERDICTS[correct]]
    return "\n".join(lines)
