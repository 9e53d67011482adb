"""pack --crop-ready: shards that everybody reads, with digests that prove the recode lossless."""

from __future__ import annotations

import hashlib
import io
import json
import random
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import genimage_stream as gs
from genimage_stream.schema import index_schema
from shard_tools.crop_ready import pixel_digest, recode_image
from shard_tools.errors import UnreadableImageError
from shard_tools.pack import pack
from shard_tools.terminal.progress import make_progress
from shard_tools.verify import verify
from shard_tools.work import PackOptions
from tests.fixtures.jpegs import jpeg, photograph
from tests.shard_tools.conftest import shard_tools_here


def png(width: int, height: int, seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(photograph(width, height, seed)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    ai, nature = (root / "wukong" / "imagenet_ai_0424_wukong" / "train" / label for label in ("ai", "nature"))
    ai.mkdir(parents=True)
    nature.mkdir()
    for i in range(6):
        (ai / f"{i}_wukong_image{i}.png").write_bytes(png(150 + 40 * i, 120, i))
        (nature / f"n01440764_{i}.JPEG").write_bytes(jpeg(260, 200, seed=i, progressive=i % 2 == 0))
    (ai / "7_wukong_image7.png").write_bytes(png(100, 100, 7)[:2000])
    tiny = io.BytesIO()
    Image.fromarray(photograph(40, 40)).save(tiny, "PNG")
    (ai / "8_wukong_image8.png").write_bytes(tiny.getvalue())
    return root


@pytest.fixture(scope="module")
def packed(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    there = tmp_path_factory.mktemp("out") / "ds"
    pack([str(tree)], str(there), PackOptions(crop_ready=True, workers=1), make_progress())
    return there


def rows(there: Path) -> list[dict[str, object]]:
    table = pq.read_table(there / "index.parquet")
    assert table.schema.equals(index_schema(crop_ready=True))
    return table.to_pylist()


def test_index_holds_the_digests(tree: Path, packed: Path) -> None:
    found = rows(packed)
    assert len(found) == 13
    assert pq.read_table(packed / "quarantine.parquet").num_rows == 1
    recoded = 0
    for row in found:
        original = (tree / str(row["source"])).read_bytes() if (tree / str(row["source"])).exists() else None
        assert original is not None
        with open(packed / str(row["shard"]), "rb") as file:
            file.seek(int(str(row["offset"])))
            stored = file.read(int(str(row["size"])))
        assert row["sha256"] == hashlib.sha256(original).hexdigest()
        assert row["stored_sha256"] == hashlib.sha256(stored).hexdigest()
        assert row["pixel_sha256"] == hashlib.sha256(gs.decode(original).tobytes()).hexdigest()
        assert np.array_equal(gs.decode(stored), gs.decode(original))
        with Image.open(io.BytesIO(stored)) as ours, Image.open(io.BytesIO(original)) as theirs:
            assert ours.convert("RGB").tobytes() == theirs.convert("RGB").tobytes()
        recoded += stored != original
    assert recoded == 12  # all but the tiny one


def test_shards_are_the_same_with_any_number_of_workers(tree: Path, packed: Path, tmp_path: Path) -> None:
    pack([str(tree)], str(tmp_path / "two"), PackOptions(crop_ready=True, workers=2), make_progress())
    for shard in packed.rglob("*.tar"):
        assert shard.read_bytes() == (tmp_path / "two" / shard.relative_to(packed)).read_bytes()


def test_the_json_member_names_both_digests(packed: Path) -> None:
    by_key = {row["key"]: row for row in rows(packed)}
    for shard in packed.rglob("*.tar"):
        with tarfile.open(shard) as archive:
            for member in archive:
                if member.name.endswith(".json"):
                    facts = json.loads(archive.extractfile(member).read())  # type: ignore[union-attr]
                    row = by_key[member.name.removesuffix(".json")]
                    assert facts["sha256"] == row["sha256"]
                    assert facts["stored_sha256"] == row["stored_sha256"]
                    assert facts["size"] == row["size"]


def test_verify_proves_the_pixels(packed: Path, tmp_path: Path) -> None:
    assert verify(str(packed), make_progress(), decode=True).intact
    index = pq.read_table(packed / "index.parquet")
    digests = index["pixel_sha256"].to_pylist()
    copy = tmp_path / "ds"
    copy.mkdir()
    for path in packed.rglob("*"):
        if path.is_file():
            (copy / path.relative_to(packed)).parent.mkdir(parents=True, exist_ok=True)
            (copy / path.relative_to(packed)).write_bytes(path.read_bytes())
    place = index.schema.get_field_index("pixel_sha256")
    changed = index.set_column(place, index.schema.field(place), [[digests[1], *digests[1:]]])
    pq.write_table(changed, copy / "index.parquet")
    assert verify(str(copy), make_progress()).intact
    problems = verify(str(copy), make_progress(), decode=True).problems
    assert len(problems) == 1
    assert "pixels of the original" in problems[0]


def test_a_loader_gives_the_batches_of_plain_shards(tree: Path, packed: Path, tmp_path: Path) -> None:
    pack([str(tree)], str(tmp_path / "plain"), PackOptions(workers=1), make_progress())
    batches = []
    for there in (packed, tmp_path / "plain"):
        loader = gs.Loader(gs.open_dataset(str(there)), batch_size=5, crop=64, seed=3, rank=0, world_size=1)
        batches.append([(batch.keys, batch.images.numpy()) for batch in loader])
    for (keys, images), (plain_keys, plain_images) in zip(*batches, strict=True):
        assert keys == plain_keys
        assert np.array_equal(images, plain_images)


def test_webdataset_and_pillow_see_the_images_of_plain_shards(tree: Path, packed: Path, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    pack([str(tree)], str(tmp_path / "plain"), PackOptions(workers=1), make_progress())
    seen = []
    for there in (packed, tmp_path / "plain"):
        shards = sorted(str(path) for path in there.rglob("*.tar"))
        dataset = webdataset.WebDataset(shards, shardshuffle=False).decode("rgb8")
        seen.append([(s["__key__"], s["cls"], s.get("jpg") if "jpg" in s else s["png"]) for s in dataset])
    assert len(seen[0]) == 13
    for ours, plain in zip(*seen, strict=True):
        assert ours[:2] == plain[:2]
        assert np.array_equal(ours[2], plain[2])


def test_dali_decodes_the_images_of_plain_shards(tree: Path, packed: Path, tmp_path: Path) -> None:
    pytest.importorskip("nvidia.dali")
    from nvidia.dali import fn, pipeline_def, types

    pack([str(tree)], str(tmp_path / "plain"), PackOptions(workers=1), make_progress())
    seen = []
    for there in (packed, tmp_path / "plain"):
        shards = sorted(there.rglob("*.tar"))

        @pipeline_def(batch_size=13, num_threads=1, device_id=None)
        def pipeline(shards: list[Path] = shards) -> Any:
            image, cls = fn.readers.webdataset(
                paths=[str(path) for path in shards],
                index_paths=[str(path.with_suffix(".idx")) for path in shards],
                ext=["jpg;png", "cls"],
                missing_component_behavior="error",
            )
            return fn.decoders.image(image, device="cpu", output_type=types.RGB), cls

        reader = pipeline()
        reader.build()
        images, classes = reader.run()
        seen.append([(images.at(i), classes.at(i).tobytes()) for i in range(13)])
    for (ours, our_class), (theirs, their_class) in zip(*seen, strict=True):
        assert our_class == their_class
        assert np.array_equal(ours, theirs)


def test_info_tells_crop_ready_shards_and_their_level(tree: Path, packed: Path, tmp_path: Path) -> None:
    told = " ".join(shard_tools_here("info", packed).out.split())  # as wide as the terminal is
    assert "crop-ready, PNGs at level 4" in told
    pack([str(tree)], str(tmp_path / "plain"), PackOptions(workers=1), make_progress())
    told = " ".join(shard_tools_here("info", tmp_path / "plain").out.split())
    assert "files as they were" in told
    assert "crop-ready" not in told


@pytest.mark.parametrize("level", [3, 4])
def test_a_png_level_without_crop_ready_is_refused(tree: Path, tmp_path: Path, level: int) -> None:
    done = shard_tools_here("pack", tree, tmp_path / "out", "--png-level", level)
    assert done.code == 2
    assert "--crop-ready" in done.err
    assert not (tmp_path / "out").exists()


def test_png_level_is_part_of_the_plan(tree: Path, packed: Path, tmp_path: Path) -> None:
    options = json.loads((packed / "dataset.json").read_text())["options"]
    assert (options["crop_ready"], options["png_level"]) == (True, 4)
    pack([str(tree)], str(tmp_path / "l0"), PackOptions(crop_ready=True, png_level=0, workers=1), make_progress())
    sizes = [sum(int(str(r["size"])) for r in rows(there)) for there in (tmp_path / "l0", packed)]
    assert sizes[0] > 1.2 * sizes[1]


def test_recode_of_one_image() -> None:
    chance = random.Random(0)
    original = jpeg(300, 200, progressive=True)
    done = recode_image(original, 4)
    assert done.pixel_sha256 == pixel_digest(gs.decode(original))
    assert done.sha256 != done.stored_sha256
    with pytest.raises(UnreadableImageError):
        recode_image(original[: chance.randrange(len(original) // 2)], 4)
