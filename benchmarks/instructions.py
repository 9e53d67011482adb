"""Does it stay fast? Counts the instructions of fixed work and compares them with committed numbers, within 3 %.

    python -m benchmarks.instructions             compare; exit 1 when one is above
    python -m benchmarks.instructions --record    renew those of this compiler and these libraries

Valgrind's callgrind counts, and no other load of the machine matters. Numbers are kept by what decides them: the
extension's compiler and libraries, libc, and zlib, which compresses the inputs. For others, and without valgrind, the
check is skipped and says why. Work runs twice, with the plain kernels and with AVX2's: valgrind cannot run AVX-512.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from benchmarks.environments import ROOT

KEPT = Path(__file__).with_name("instructions.json")
TOLERANCE = 0.03
LEVELS = {"plain": 0, "AVX2": 2}  # as base/cpu.hpp numbers them
#: What starts and stops the counting, from within the program.
SWITCH = """
#include <valgrind/callgrind.h>
void begin_count(void) { CALLGRIND_ZERO_STATS; CALLGRIND_START_INSTRUMENTATION; }
void end_count(const char* name) { CALLGRIND_DUMP_STATS_AT(name); CALLGRIND_STOP_INSTRUMENTATION; }
"""

Counts = dict[str, int]


def works() -> dict[str, Callable[[], object]]:
    """The fixed work, by its name; each is one image, or one batch."""
    import numpy as np

    from genimage_stream import transforms as T  # noqa: N812
    from genimage_stream.decode import BatchDecoder, decode, make_crop_ready, native
    from genimage_stream.transforms.chance import Chance, identity_of
    from genimage_stream.transforms.step import Sample, Size, ordinals_of

    def picture(width: int, height: int) -> np.ndarray:
        """Slopes, edges and grain, by whole numbers, so that it is the same everywhere."""
        y, x = np.mgrid[:height, :width].astype(np.int64)
        grain = np.random.Philox(key=7).random_raw(height * width * 3).reshape(height, width, 3) % np.uint64(13)
        slopes = np.stack([x + y, 2 * x + (y * y >> 7), 3 * y + (x * y >> 8)], axis=2)
        edges = 40 * (((x >> 5) + (y >> 4)) & 1)[:, :, None]
        return np.ascontiguousarray((slopes + edges + grain.astype(np.int64)) & 255, dtype=np.uint8)

    def png(pixels: np.ndarray) -> bytes:
        """Filters in turn, as libpng's choice among them would have it, and zlib's usual level."""
        height, width, _ = pixels.shape
        rows = pixels.reshape(height, width * 3).astype(np.int64)
        above = np.vstack([np.zeros_like(rows[:1]), rows[:-1]])
        left = np.hstack([np.zeros((height, 3), np.int64), rows[:, :-3]])
        corner = np.hstack([np.zeros((height, 3), np.int64), above[:, :-3]])
        guess = left + above - corner
        distances = np.stack([abs(guess - left), abs(guess - above), abs(guess - corner)])
        paeth = np.choose(distances.argmin(axis=0), [left, above, corner])
        predictions = np.stack([np.zeros_like(rows), left, above, (left + above) >> 1, paeth])
        kinds = np.array([1, 2, 4, 4, 3])[np.arange(height) % 5]
        filtered = (rows - predictions[kinds, np.arange(height)]) & 255
        data = np.hstack([kinds[:, None], filtered]).astype(np.uint8).tobytes()

        def chunk(name: bytes, content: bytes) -> bytes:
            return len(content).to_bytes(4, "big") + name + content + zlib.crc32(name + content).to_bytes(4, "big")

        head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
        parts = [chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(data, 6)), chunk(b"IEND", b"")]
        return b"\x89PNG\r\n\x1a\n" + b"".join(parts)

    def step(one: T.Step, pixels: np.ndarray) -> Callable[[], object]:
        sample = Sample(Chance(1, 0, 0, identity_of(bytes(8))), ordinals_of([one]))
        operations = one.plan(sample, 0, Size(pixels.shape[1], pixels.shape[0])).operations
        return lambda: native.run_steps(pixels, list(operations), None)  # type: ignore[arg-type]

    def ready(data: bytes) -> bytes:
        recoded = make_crop_ready(data)
        assert recoded is not None
        return recoded

    photograph, generated = picture(500, 375), picture(512, 512)
    jpeg, plain = native.encode_jpeg(photograph, 90), png(generated)
    ready_jpeg, ready_png = ready(jpeg), ready(plain)
    crop, images = (120, 100, 224, 224), [jpeg, plain, ready_jpeg, ready_png]
    decoder, out = BatchDecoder(threads=1), np.empty((len(images), 3, 224, 224), np.float32)
    corners = np.tile(np.array([crop[:2]], np.int32), (len(images), 1))

    def batch() -> None:
        job = decoder.submit(images, out, crops=corners, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
        job.wait()
        assert not job.errors()

    return {
        "JPEG, whole": lambda: decode(jpeg),
        "JPEG, crop": lambda: decode(jpeg, crop=crop),
        "JPEG, crop-ready crop": lambda: decode(ready_jpeg, crop=crop),
        "PNG, whole": lambda: decode(plain),
        "PNG, crop": lambda: decode(plain, crop=crop),
        "PNG, crop-ready crop": lambda: decode(ready_png, crop=crop),
        "JPEG round trip": step(T.JPEG(75), photograph),
        "blur": step(T.GaussianBlur(2.0), photograph),
        "resize": step(T.Resize(256), photograph),
        "batch of 4 crops": batch,
    }


def work(switch: str, level: int) -> None:
    """All work at one level; run under callgrind, which counts between the switches."""
    import ctypes

    from genimage_stream.decode import native

    native.set_simd_level(level)
    counting = ctypes.CDLL(switch)
    for name, run in works().items():
        run()  # tables and buffers that are made once
        counting.begin_count()
        run()
        counting.end_count(name.encode())


def count(folder: Path) -> dict[str, Counts]:
    """Instructions of all work at each level; the levels run side by side."""
    source, switch = folder / "switch.c", folder / "switch.so"
    source.write_text(SWITCH)
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", source, "-o", switch], check=True)
    environment = {**os.environ, "PYTHONHASHSEED": "0", "JSIMD_FORCEAVX2": "1", "OMP_NUM_THREADS": "1"}
    running = {}
    for name, level in LEVELS.items():
        command = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={folder}/{name}"]
        command += [sys.executable, "-m", "benchmarks.instructions", "--work", str(switch), str(level)]
        running[name] = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
    found = {}
    for name, process in running.items():
        said, _ = process.communicate()
        if process.returncode:
            raise SystemExit(f"bench-check: counting failed ({name}):\n{said}")
        found[name] = counted(folder, name)
    return found


def counted(folder: Path, name: str) -> Counts:
    """What callgrind wrote: a file for each time that the counting was stopped, and one at the end."""
    found: Counts = {}
    for path in sorted(folder.glob(f"{name}.*"), key=lambda path: int(path.suffix[1:])):
        text = path.read_text(errors="replace")
        trigger = re.search(r"^desc: Trigger: Client Request: (.*)$", text, re.MULTILINE)
        total = re.search(r"^(?:summary|totals): (\d+)", text, re.MULTILINE)
        if trigger and total:
            found[trigger[1]] = int(total[1])
    return found


def key() -> dict[str, str]:
    """What decides how many instructions the work takes, besides our sources."""
    from genimage_stream.decode import native

    compilers = sorted(set(re.findall(rb"GCC: \([^)\n\0]*\) [0-9.]+|clang version [0-9.]+", extension().read_bytes())))
    return {
        "machine": platform.machine(),
        "compiler": ", ".join(one.decode() for one in compilers) or "unknown",
        **native.library_versions(),
        "libc": " ".join(platform.libc_ver()),
        "zlib": zlib.ZLIB_RUNTIME_VERSION,
    }


def extension() -> Path:
    spec = find_spec("genimage_stream.decode._core")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin)


def hindrance() -> str | None:
    """Why nothing can be counted here."""
    from genimage_stream.decode import native

    if shutil.which("valgrind") is None:
        return "valgrind is not installed"
    if native.simd_level() < LEVELS["AVX2"]:
        return "this machine has no AVX2"
    source = "#include <valgrind/callgrind.h>\n"
    if subprocess.run(["cc", "-E", "-"], input=source, text=True, capture_output=True, check=False).returncode:
        return "valgrind's headers, or a C compiler, are missing"
    return None


def compared(before: dict[str, Counts], now: dict[str, Counts]) -> tuple[list[str], list[str]]:
    """Lines for all work, and the names of what takes more than before, or is new."""
    lines, worse = [], []
    for level, counts in now.items():
        for name, instructions in counts.items():
            known = before.get(level, {}).get(name)
            change = "new: record it" if known is None else f"{instructions / known - 1:+.1%}"
            lines.append(f"{level:6} {name:24} {instructions:>12,}  {change}")
            if known is None or instructions > known * (1 + TOLERANCE):
                worse.append(f"{name} ({level})")
            elif instructions < known * (1 - TOLERANCE):
                lines[-1] += ", less: record it (make bench-check ARGS=--record)"
    gone = [
        f"{name} ({level})" for level, counts in before.items() for name in counts if name not in now.get(level, {})
    ]
    return lines, worse + gone


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="renew the numbers of this compiler and these libraries")
    parser.add_argument("--work", nargs=2, metavar=("SWITCH", "LEVEL"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        work(given.work[0], int(given.work[1]))
        return 0
    if reason := hindrance():
        print(f"bench-check: skipped: {reason}")
        return 0
    here = key()
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else []
    known = next((one for one in kept if one["key"] == here), None)
    if known is None and not given.record:
        versions = ", ".join(f"{name} {version}" for name, version in here.items())
        print(f"bench-check: skipped: no numbers are kept for {versions}; make bench-check ARGS=--record keeps some")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        now = count(Path(folder))
    lines, worse = compared(known["counts"] if known else {}, now)
    print("\n".join(lines))
    if given.record:
        others = [one for one in kept if one["key"] != here]
        KEPT.write_text(json.dumps([*others, {"key": here, "counts": now}], indent=1) + "\n")
        print(f"bench-check: kept in {KEPT.relative_to(ROOT)}")
        return 0
    if worse:
        print(f"bench-check: more than {TOLERANCE:.0%} above the kept numbers: {', '.join(worse)}", file=sys.stderr)
        return 1
    print("bench-check: as fast as recorded")
    return 0


if __name__ == "__main__":
    sys.exit(main())
