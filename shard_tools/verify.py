"""Is a dataset intact? Every byte of every shard is compared with what the index says it has to be.

The index holds all facts of a sample, so headers, `.cls` and `.json` can be written out again and compared; the image
is compared by its sha256. What is left to trust is index.parquet alone, whose pages carry checksums.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from genimage_stream.dataset.info import WrittenFields
from genimage_stream.dataset.opening import open_index
from genimage_stream.decode import DecodeError, ImageFacts
from genimage_stream.decode.image import decode_with_facts
from genimage_stream.resources import cores
from genimage_stream.schema import (
    DATASET_FILE,
    INDEX_FILE,
    LATER_COLUMNS,
    MAP_FILE,
    PACK_FOLDER,
    PLAN_FILE,
    QUARANTINE_FILE,
    idx_path,
    index_schema,
    kept_column,
)
from shard_tools import tar
from shard_tools.cards.facts import CARD_FILE, CROISSANT_FILE
from shard_tools.cards.files import is_ours
from shard_tools.crop_ready import pixel_digest, segments_of, segments_worth_listing
from shard_tools.errors import TargetError, UnreadableImageError
from shard_tools.finished import finished_info, read_index, read_quarantine
from shard_tools.inspect import image_facts, need_reader
from shard_tools.keys import UNSAFE
from shard_tools.sample import index_line, sample_facts
from shard_tools.target.local_storage import Storage, is_unfinished, open_storage
from shard_tools.terminal.progress import Progress

_OTHER_SEGMENTS = "the index's segments are not those of the image"


@dataclass
class Verified:
    destination: str
    samples: int = 0
    shards: int = 0
    size_bytes: int = 0
    decoded: bool = False
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # about files that are none of the dataset's

    @property
    def intact(self) -> bool:
        return not self.problems


def verify(destination: str, progress: Progress, *, decode: bool = False, threads: int = 0) -> Verified:
    """Compare a finished dataset with its index. Raises TargetError when there is none."""
    store, info = finished_info(destination)
    storage, dataset = open_storage(destination), info.fields
    result = Verified(storage.url, decoded=decode)
    try:
        index = read_index(store)
    except TargetError as error:
        result.problems.append(str(error))
        return result
    names = [name for name in index_schema(crop_ready=info.crop_ready).names if name not in LATER_COLUMNS]
    kept = kept_column("")
    if [name for name in index.schema.names if name not in LATER_COLUMNS and not name.startswith(kept)] != names:
        result.problems.append(
            f"{storage.shown(INDEX_FILE)} has other columns than format {dataset.get('format_version')}"
        )
        return result
    result.samples = len(index)
    result.problems += _counts(storage, dataset, index)
    listed = {shard["path"]: shard["size"] for shard in dataset["shards"]}
    runs = shard_runs(index)
    result.shards = len(runs)
    progress.begin("verifying", len(index), int(pc.sum(index["size"]).as_py() or 0), "damaged")
    try:
        with ThreadPoolExecutor(threads or cores()) as pool:
            waiting: set[Future[tuple[list[str], int]]] = set()
            for path, begin, end in runs:
                rows = index.slice(begin, end - begin)
                waiting.add(pool.submit(verify_shard, storage, path, rows, listed.get(path), decode, progress))
                if len(waiting) >= 4 * (threads or cores()):
                    waiting = _take(waiting, result, FIRST_COMPLETED)
            while waiting:
                waiting = _take(waiting, result, FIRST_COMPLETED)
    finally:
        progress.end()
    known = {path for path, _, _ in runs} | {idx_path(path) for path, _, _ in runs}
    known |= {DATASET_FILE, INDEX_FILE, QUARANTINE_FILE, CARD_FILE, CROISSANT_FILE, MAP_FILE}
    if (files := open_index(store).map_files()) is not None and (fault := files.fault_beside()) is not None:
        result.notes.append(
            f"{storage.shown(MAP_FILE)}: {fault}; readers make another one in the user's cache, so it may be removed"
        )
    if not is_ours(storage):
        result.notes.append(f"{storage.shown(CARD_FILE)}: not the card that pack writes; it stays")
    there = storage.files()
    foreign = sorted(set(there) - known)
    for name in foreign:
        if PLAN_FILE in there and (name.startswith(f"{PACK_FOLDER}/") or name.endswith((".tar", ".idx"))):
            result.notes.append(f"{storage.shown(name)}: of a command that is not finished; run it again")
        elif name.removesuffix(".idx") in known and name.endswith(".tar.idx"):
            result.notes.append(f"{storage.shown(name)}: the index of a shard by another reader; it may be removed")
        elif name.endswith((".tar", ".idx")):  # readers that go by file names would take it for a shard
            result.problems.append(f"{storage.shown(name)}: not part of the dataset, although named like a shard of it")
        else:
            what = "an unfinished file of a packer" if is_unfinished(name) else "not part of the dataset"
            result.notes.append(f"{storage.shown(name)}: {what}; it may be removed")
    result.problems.sort()
    return result


def _take(
    waiting: set[Future[tuple[list[str], int]]], result: Verified, when: str
) -> set[Future[tuple[list[str], int]]]:
    done, rest = wait(waiting, return_when=when)
    for future in done:
        problems, size = future.result()
        result.problems += problems
        result.size_bytes += size
    return rest


def _counts(storage: Storage, dataset: WrittenFields, index: pa.Table) -> list[str]:
    problems = []
    counts = dataset["counts"]
    if counts["samples"] != len(index):
        problems.append(f"{storage.shown(INDEX_FILE)} has {len(index)} rows, {DATASET_FILE} says {counts['samples']}")
    try:
        raw = storage.read(QUARANTINE_FILE)
        if raw is None:
            raise FileNotFoundError("it is missing")
        quarantined = len(read_quarantine(raw))
        if counts["quarantined"] != quarantined:
            problems.append(
                f"{storage.shown(QUARANTINE_FILE)} has {quarantined} rows, {DATASET_FILE} says {counts['quarantined']}"
            )
    except (OSError, pa.ArrowException, TargetError) as error:
        problems.append(f"{storage.shown(QUARANTINE_FILE)} cannot be read: {error}")
    odd = index.filter(pc.match_substring_regex(index["key"], UNSAFE))["key"]
    if len(odd):
        problems.append(
            f"{storage.shown(INDEX_FILE)}: {len(odd)} keys have characters that WebDataset readers split at, for "
            f"example {odd[0].as_py()!r}: pack again"
        )
    if len(index) and pc.count_distinct(index["key"]).as_py() != len(index):
        problems.append(f"{storage.shown(INDEX_FILE)}: keys are not unique")
    in_index = {path: end - begin for path, begin, end in shard_runs(index)}
    for shard in dataset["shards"]:
        if in_index.pop(shard["path"], 0) != shard["samples"]:
            problems.append(f"{shard['path']}: the index and {DATASET_FILE} differ about the number of samples")
    problems += [f"{path}: {DATASET_FILE} does not know this shard of the index" for path in in_index]
    return problems


def shard_runs(index: pa.Table) -> list[tuple[str, int, int]]:
    """(shard, first row, row after the last) for each run of rows of one shard."""
    runs: list[tuple[str, int, int]] = []
    at = 0
    for chunk in index["shard"].chunks:
        encoded = pc.run_end_encode(chunk.dictionary_decode() if pa.types.is_dictionary(chunk.type) else chunk)
        begin = 0
        for end, path in zip(encoded.run_ends.to_pylist(), encoded.values.to_pylist(), strict=True):
            if runs and runs[-1][0] == path:
                runs[-1] = (path, runs[-1][1], at + end)
            else:
                runs.append((path, at + begin, at + end))
            begin = end
        at += len(chunk)
    return runs


def verify_shard(
    storage: Storage, path: str, rows: pa.Table, size: int | None, decode: bool, progress: Progress
) -> tuple[list[str], int]:
    """(problems, bytes read) of one shard."""
    shown = storage.shown(path)
    problems: list[str] = []
    lines: list[str] = []
    position = 0
    try:
        with storage.open(path) as file:
            actual = file.size
            if size is not None and actual != size:
                problems.append(f"{shown} has {actual} bytes, {DATASET_FILE} says {size}")
            for row in rows.to_pylist():
                known = len(problems)
                position, line = _sample(file, row, position, shown, problems, decode)
                lines.append(line)
                progress.advance(1, row["size"], int(len(problems) > known))
                if len(problems) >= 20:
                    problems.append(f"{shown}: more problems, not looked at")
                    return problems, position
            if file.read(len(tar.END) + 1) != tar.END:
                problems.append(f"{shown}: the end of the archive is not where the index says")
            position += len(tar.END)
    except OSError as error:
        return [f"{shown} cannot be read: {error.strerror or 'it is missing'}"], position
    except TargetError as error:
        return [str(error)], position
    expected = f"v1.2 {len(lines)}\n" + "".join(lines)
    try:
        raw = storage.read(idx_path(path))
    except TargetError as error:
        return [*problems, str(error)], position
    if raw is None:
        problems.append(f"{storage.shown(idx_path(path))} is missing")
    elif raw != expected.encode():
        problems.append(f"{storage.shown(idx_path(path))} does not describe its shard")
    return problems, position


def _sample(
    file: Any, row: dict[str, Any], position: int, shown: str, problems: list[str], decode: bool
) -> tuple[int, str]:
    """Compare one sample at the file's place; returns the position after it and its line of the DALI index."""
    key, size = row["key"], row["size"]
    suffix = tar.suffix_of(row["format"])
    head = tar.header(f"{key}.{suffix}", size)
    quality, progressive = row["jpeg_quality"], row["progressive"]
    facts = ImageFacts(row["format"], row["mode"], row["width"], row["height"], 8, quality, progressive)
    class_index = -1 if row["class_index"] is None else row["class_index"]
    fields = sample_facts(
        row["generator"],
        row["split"],
        row["label"],
        class_index,
        row["synset"],
        facts,
        size,
        row["sha256"],
        row.get("stored_sha256"),
    )
    small, tail = tar.small_members(key, row["label"], fields)
    if row["offset"] != position + len(head):
        problems.append(f"{shown}: {key}: the index says offset {row['offset']}, it is {position + len(head)}")
    found_head, data = file.read(len(head)), file.read(size)
    found_pad, found_tail = file.read(-size % tar.BLOCK), file.read(len(tail))
    if len(found_tail) != len(tail):
        problems.append(f"{shown}: {key}: the shard ends within this sample")
    elif found_head != head:
        problems.append(f"{shown}: {key}: the tar header of the image is not what the index says")
    elif hashlib.sha256(data).hexdigest() != (row.get("stored_sha256") or row["sha256"]):
        problems.append(f"{shown}: {key}: the image's bytes have changed (sha256 differs)")
    elif found_tail != tail or found_pad != tar.padding(size):
        problems.append(f"{shown}: {key}: .cls or .json are not what the index says")
    elif decode and row.get("pixel_sha256"):
        problems += _shows_the_original(data, facts, row, f"{shown}: {key}")
    elif "segments" in row and row["segments"] != segments_of(data):
        problems.append(f"{shown}: {key}: {_OTHER_SEGMENTS}")
    elif decode:
        problems += _decodes(data, facts, f"{shown}: {key}")
    end_of_image = position + len(head) + size + len(found_pad)
    line = index_line(key, suffix, position + len(head), size, small, end_of_image)
    return end_of_image + len(tail), line


def _decodes(data: bytes, facts: ImageFacts, name: str) -> Iterator[str]:
    try:
        yield from _as_listed(facts, image_facts(data, "full", name), name)
    except UnreadableImageError as error:
        yield f"{name}: does not decode: {error}"


def _shows_the_original(data: bytes, facts: ImageFacts, row: dict[str, Any], name: str) -> Iterator[str]:
    """Of an image whose original's pixels have a digest in the index."""
    need_reader(data, name)
    try:
        decoded, found, segments = decode_with_facts(data)
    except DecodeError as error:
        yield f"{name}: does not decode: {error}"
        return
    if "segments" in row and row["segments"] != segments_worth_listing(data, segments):
        yield f"{name}: {_OTHER_SEGMENTS}"
    elif pixel_digest(decoded) != row["pixel_sha256"]:
        yield f"{name}: does not show the pixels of the original (their sha256 differs)"
    else:
        yield from _as_listed(facts, found, name)


def _as_listed(facts: ImageFacts, found: ImageFacts, name: str) -> Iterator[str]:
    said, seen = ((f.format, f.mode, f.width, f.height) for f in (facts, found))
    if said != seen:
        yield f"{name}: is {seen}, the index says {said}"
