"""Decoding speed beside the decoders that Python loaders use: one image at a time on one thread, then whole batches.

    python -m benchmarks.decode [--images DIR] [--rounds N] [--count N] [--record]

Content: GenImage's formats and sizes, cut from the photographs of scikit-image and scikit-learn, or the files of DIR
(JPEG files together, PNG files by their size). Single decoders are compared by CPU time, batches by the time on the
wall. Peers that are not installed, or cannot be built, are listed as such. Writes decode.md and
decode.json to .bench/results, or with --record to benchmarks/results.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import genimage_stream as gs
from benchmarks import blend2d, harness
from benchmarks.environments import ROOM, NotInstalledError

Pixels = npt.NDArray[np.uint8]
Decode = Callable[[bytes], Any]
WINDOW = 224
SIDES = (128, 256, 512, 1024)


def jpeg_peers() -> dict[str, Decode | None]:
    """Full decoders to RGB with the accurate DCT and fancy upsampling; None: not installed. OpenCV leaves BGR."""
    peers: dict[str, Decode | None] = dict.fromkeys(("simplejpeg", "imagecodecs jpeg8", "OpenCV", "Pillow"))
    try:
        import simplejpeg

        peers["simplejpeg"] = lambda data: simplejpeg.decode_jpeg(data, "RGB", fastdct=False, fastupsample=False)
    except ImportError:
        pass
    try:
        import imagecodecs

        peers["imagecodecs jpeg8"] = imagecodecs.jpeg8_decode
    except ImportError:
        pass
    return {**peers, **common_peers()}


def png_peers() -> dict[str, Decode | None]:
    names = ("kornia-rs", "Blend2D", "imagecodecs spng", "imagecodecs png", "OpenCV", "Pillow")
    peers: dict[str, Decode | None] = dict.fromkeys(names)
    try:
        import kornia_rs

        def by_kornia(data: bytes) -> Any:
            width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
            return kornia_rs.io.decode_image_png_u8(data, (height, width), "rgb")

        peers["kornia-rs"] = by_kornia
    except ImportError:
        pass
    try:
        peers["Blend2D"] = blend2d.decoder()  # into 32 bits, blue first
    except NotInstalledError as error:
        print(f"bench: without Blend2D: {error}", flush=True)
    try:
        import imagecodecs

        peers["imagecodecs spng"] = imagecodecs.spng_decode
        peers["imagecodecs png"] = imagecodecs.png_decode
    except ImportError:
        pass
    return {**peers, **common_peers()}


def common_peers() -> dict[str, Decode | None]:
    peers: dict[str, Decode | None] = {}
    try:
        import cv2

        cv2.setNumThreads(1)
        peers["OpenCV"] = lambda data: cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except ImportError:
        pass
    try:
        from PIL import Image

        peers["Pillow"] = lambda data: np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    except ImportError:
        pass
    return peers


def made_images(count: int) -> dict[str, list[bytes]]:
    """`count` JPEGs as ImageNet's and `count` PNGs of every side."""
    from stand_ins.photographs import cut

    rng = np.random.default_rng(3)
    sizes = [(500, 375)] * 5 + [(500, 333), (375, 500), (400, 300), (640, 480), (334, 500)]
    groups: dict[str, list[bytes]] = {"JPEG": []}
    for number in range(count):
        file = io.BytesIO()
        quality = (96, 96, 96, 75, 90, 92)[number % 6]
        cut("train", *sizes[number % len(sizes)], rng).save(
            file, "JPEG", quality=quality, subsampling=(2, 2, 0, 1)[number % 4]
        )
        groups["JPEG"].append(file.getvalue())
    for side in SIDES:
        groups[f"PNG {side}"] = []
        for _ in range(max(2, min(count, count * 256 // side))):
            file = io.BytesIO()
            cut("train", side, side, rng).save(file, "PNG")
            groups[f"PNG {side}"].append(file.getvalue())
    return groups


def found_images(folder: Path, count: int) -> dict[str, list[bytes]]:
    groups: dict[str, list[bytes]] = {"JPEG": [], **{f"PNG {side}": [] for side in SIDES}}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in {".jpg", ".jpeg", ".png"}:
            continue
        data = path.read_bytes()
        try:
            facts = gs.check(data)
        except gs.DecodeError:
            continue
        name = "JPEG" if facts.format == "jpeg" else f"PNG {facts.width}"
        if name in groups and (facts.format == "jpeg" or facts.width == facts.height) and len(groups[name]) < count:
            groups[name].append(data)
    return {name: images for name, images in groups.items() if images}


def crops_of(images: Sequence[bytes], window: int = WINDOW) -> list[tuple[int, int, int, int]]:
    """A random window in each image, as large as fits."""
    rng = np.random.default_rng(5)
    crops = []
    for data in images:
        facts = gs.inspect(data)
        width, height = min(window, facts.width), min(window, facts.height)
        x, y = int(rng.integers(0, facts.width - width + 1)), int(rng.integers(0, facts.height - height + 1))
        crops.append((x, y, width, height))
    return crops


def single(images: list[bytes], peers: dict[str, Decode | None]) -> list[harness.Contestant]:
    """One image at a time, whole and a random window; each contestant decodes all the images of the group."""
    crops = crops_of(images)

    def whole() -> None:
        for data in images:
            gs.decode(data)

    def windows() -> None:
        for data, crop in zip(images, crops, strict=True):
            gs.decode(data, crop=crop)

    def all_by(decode: Decode) -> Callable[[], None]:
        def run() -> None:
            for data in images:
                decode(data)

        return run

    contestants = [harness.Contestant("this, whole", whole, len(images))]
    if any(gs.inspect(data).height > WINDOW for data in images):
        contestants.append(harness.Contestant(f"this, {WINDOW} window", windows, len(images)))
    return contestants + [harness.Contestant(name, all_by(run), len(images)) for name, run in peers.items() if run]


def batches(images: list[bytes]) -> list[harness.Contestant]:
    """The batch call: windows into one array, by 1 and 2 threads, without and with normalisation, and resized."""
    n = len(images)
    crops = np.array([crop[:2] for crop in crops_of(images)], np.int32)
    normalised = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    contestants = []
    for threads in (1, 2):
        decoder = gs.BatchDecoder(threads)
        for dtype in ("uint8", "float16", "float32"):
            out = np.empty((n, 3, WINDOW, WINDOW), dtype)

            def run(decoder: gs.BatchDecoder = decoder, out: npt.NDArray[Any] = out) -> None:
                how = {} if out.dtype == np.uint8 else normalised
                errors = decoder.decode_batch(images, out, crops=crops, **how)
                assert not errors, errors

            name = f"{threads} thread{'s' * (threads > 1)}, {dtype}"
            contestants.append(harness.Contestant(name, run, n))
        small = np.empty((n, 3, WINDOW, WINDOW), np.uint8)
        sides = np.array([(facts.width, facts.height) for facts in map(gs.inspect, images)])
        resized = np.maximum(sides * 256 // sides.min(1, keepdims=True), 256).astype(np.int32)
        corners = (resized - WINDOW) // 2

        def shrink(
            decoder: gs.BatchDecoder = decoder,
            out: npt.NDArray[Any] = small,
            to: npt.NDArray[Any] = resized,
            at: npt.NDArray[Any] = corners,
        ) -> None:
            errors = decoder.decode_batch(images, out, crops=at, resized=to)
            assert not errors, errors

        name = f"{threads} thread{'s' * (threads > 1)}, resize 256, crop"
        contestants.append(harness.Contestant(name, shrink, n))
    return contestants


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="a folder of JPEG and PNG files instead of made ones")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--count", type=int, default=24, help="images of each kind")
    parser.add_argument("--record", action="store_true", help="write to benchmarks/results")
    parser.add_argument("--skip-single", action="store_true", help="only the batches")
    given = parser.parse_args()
    groups = found_images(given.images, given.count) if given.images else made_images(given.count)
    if not groups:
        raise SystemExit(f"no JPEG or PNG of a known size in {given.images}")

    sections: dict[str, str] = {}
    data: dict[str, Any] = {"content": "files of a folder" if given.images else "photographs of PyPI packages"}
    for name, images in ({} if given.skip_single else groups).items():
        peers = jpeg_peers() if name == "JPEG" else png_peers()
        measured = harness.measure(single(images, peers), rounds=given.rounds, clock=time.process_time)
        missing = [peer for peer, run in peers.items() if run is None]
        best = max((m for m in measured.values() if not m.name.startswith("this")), key=lambda m: m.rate, default=None)
        kilobytes = sum(map(len, images)) / len(images) / 1024
        body = harness.table(measured, baseline=best.name if best else None)
        heading = f"{name}: {len(images)} images of {kilobytes:.0f} kB, one thread"
        sections[heading] = body + (f"\n\nNot installed: {', '.join(missing)}." if missing else "")
        data[name] = harness.as_json(measured)
        print(f"{heading}\n{sections[heading]}\n", flush=True)
    mixed = [image for images in groups.values() for image in images if gs.inspect(image).height >= WINDOW]
    mixed = [image for image in mixed if gs.inspect(image).width >= WINDOW]
    measured = harness.measure(batches(mixed), rounds=given.rounds)
    heading = f"Batches of {len(mixed)} mixed images, {WINDOW} windows"
    sections[heading] = harness.table(measured, baseline="1 thread, uint8")
    ratio = measured["2 threads, uint8"].times_faster(measured["1 thread, uint8"])
    sections[heading] += f"\n\nTwo threads give {ratio:.2f} times one."
    data["batch"] = harness.as_json(measured)
    print(f"{heading}\n{sections[heading]}\n", flush=True)
    packages = harness.versions(
        "genimage-stream", "simplejpeg", "kornia-rs", "imagecodecs", "opencv-python-headless", "pillow", "numpy"
    )
    packages |= dict(one.split("==") for one in blend2d.REQUIREMENTS)
    folder = harness.RESULTS if given.record else ROOM / "results"
    remarks = [
        f"Images: {data['content']}, in GenImage's formats and sizes. One decoder at a time decodes all images of a "
        f"kind on one thread, {given.rounds} rounds taken in turn, and its CPU time counts; batches are timed on the "
        "wall. Ratios are to the best peer of the same round."
    ]
    written = harness.write_results(
        "decode", "Decoding", sections, data, package_versions=packages, remarks=remarks, folder=folder
    )
    print("written:", *(path.name for path in written))


if __name__ == "__main__":
    main()
