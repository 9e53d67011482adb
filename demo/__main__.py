"""make demo: everything from photographs to a detector, as commands that can be repeated by hand."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

from demo.compare import PACK_OPTIONS, ROOM, ROUNDS, SHARDS, TREE, compare, write

STAND_INS = """\
The fakes of this demo are stand-ins: photographs that were blurred and modulated on a grid, as a generator's
upsampling leaves one. Here, as in GenImage, every fake is a PNG and every real a JPEG, so training compresses all
crops as JPEG alike. The scores below show that the stream trains a detector; they say nothing about any detector's
merit on GenImage."""
FINDINGS = ROOM / "report.json"
PAGES = (ROOM / "report.html", ROOM / "bench.html")


def heading(text: str) -> None:
    print(f"\n== {text}", flush=True)


def run(*command: str, output: Path | None = None) -> None:
    """Echo and run a command of .venv, with its output in a file if one is given; ends the demo when it fails."""
    print("$ " + shlex.join(command) + (f" >{output}" if output else ""), flush=True)
    executable = Path(sys.executable).parent / command[0]
    with open(output, "w") if output else nullcontext() as file:
        code = subprocess.run([str(executable), *command[1:]], check=False, stdout=file).returncode
    if code:
        raise SystemExit(f"demo: {command[0]} {command[1]} ended with exit code {code}; see the lines above")


def shortcuts() -> str:
    """What the report found, as a Markdown table; 50 % is chance."""
    lines = ["| generator | images | file facts | after | JPEG traces | after |", "|---|---:|---:|---:|---:|---:|"]
    for one in json.loads(FINDINGS.read_text())["unbiased"]:
        figures = [one[f"{name}_{when}"] for name in ("facts", "jpeg_traces") for when in ("before", "after")]
        shares = ["" if figure is None else f"{figure:.0%}" for figure in figures]
        lines.append(f"| {one['generator']} | {one['real'] + one['fake']} | {' | '.join(shares)} |")
    return "\n".join(lines)


def main() -> int:
    """Run the whole; returns the exit code."""
    begin = time.perf_counter()
    ROOM.mkdir(exist_ok=True)

    from stand_ins.tree import make_tree

    heading("a GenImage-shaped tree, made from photographs that scikit-image and scikit-learn ship")
    print(make_tree(TREE))
    print(STAND_INS)

    heading("scan: images, and files that will be rejected")
    run("shard-tools", "scan", str(TREE))
    heading("pack: WebDataset shards with an index")
    run("shard-tools", "pack", str(TREE), str(SHARDS), *PACK_OPTIONS)
    heading("verify: every byte checked, every image decoded")
    run("shard-tools", "verify", str(SHARDS), "--decode")
    heading("info: contents of the shards")
    run("shard-tools", "info", str(SHARDS))
    heading("info --quarantine: rejected files, with reasons")
    run("shard-tools", "info", str(SHARDS), "--quarantine")
    heading("report: the shards as a page")
    run("shard-tools", "report", str(SHARDS), "--html", str(PAGES[0]), "--json", output=FINDINGS)
    print(json.loads(FINDINGS.read_text())["headline"])

    import genimage_stream as gs
    from benchmarks.harness import machine
    from demo.detector import control, evaluate, robustness, train

    dataset = gs.open_dataset(SHARDS)
    heading("a small convolutional detector, trained on the train split of all generators")
    model, training = train(dataset)
    print(
        f"{training.epochs} epochs, {training.images:,} images in {training.seconds:.0f} s "
        f"(loading included), loss {training.loss:.2f}"
    )
    heading("evaluated on each generator's val split, every sample exactly once")
    print("| generator | samples | accuracy | average precision |\n|---|---:|---:|---:|")
    for score in evaluate(model, dataset):
        print(f"| {score.generator} | {score.samples} | {score.accuracy:.3f} | {score.average_precision:.3f} |")
    plain, as_reals = control(model, dataset)
    print(
        f"\nControl for the file format: of the fakes {plain:.0%} are classified as fake, and of the same fakes "
        f"compressed to JPEG beforehand, as the reals are, {as_reals:.0%}."
    )
    heading("bench: the speed of these shards on this machine, as a page")
    run("genimage-stream", "bench", str(SHARDS), "--seconds", "1", "--html", str(PAGES[1]))

    heading("images per second: random 224 crop, flip, normalised float32 batches of 64, 2 threads or 2 workers")
    compared = compare(SHARDS, ROOM / "compare", len(dataset))
    print(write(compared, len(dataset), ROOM / "results"))
    facts = machine()
    print(f"\n{facts['processor']}, {facts['cpus']} CPUs; medians of {ROUNDS} rounds, taking turns.")
    heading("the detector by generator and by degradation: accuracy on the val split")
    print(robustness(model, dataset))
    heading("shortcuts: accuracy of the best one before and after gs.unbiased, of each generator's train split")
    print(shortcuts())
    print(f"\nTwo pages to open in a browser: {' and '.join(str(page.resolve()) for page in PAGES)}")
    print(f"The demo took {time.perf_counter() - begin:.0f} s. Its data is in {ROOM}; make clean removes it.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
