"""Known bad files and odd ones: what is broken goes to quarantine with its reason, what is merely odd is packed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
from PIL import Image, features

import genimage_stream as gs
from tests.fixtures.genimage import GENERATORS, bad_files, encode, fake_png, make_tree, real_jpeg
from tests.fixtures.jpegs import SAMPLINGS, jpeg
from tests.shard_tools.conftest import index_rows, pack_here, quarantine_rows, shard_tools_here, tars

#: Every broken file known from GenImage, by the place it has there.
BAD_NAMES = {
    "biggan": [f"116_biggan_{n:05d}.png" for n in (81, 94, 98, 107)],
    "sd14": [f"033_sdv4_{n:05d}.png" for n in (134, 137, 152)],
    "adm": [f"115_adm_{n}.PNG" for n in (135, 141, 142, 154, 156, 164)],
    "midjourney": [f"208_midjourney_{n}.png" for n in (76, 91, 92)],
    "glide": ["GLIDE_1000_200_01_116_glide_00001.png"],
}
REASONS = {
    "empty": "empty",
    "truncated png": "truncated",
    "damaged png": "",
    "truncated jpeg": "truncated",
    "not an image": "not an image",
}


def folder(generator: str, split: str = "train", label: str = "ai") -> str:
    one = GENERATORS[generator]
    return f"{one.outer}/{one.archive}/{split}/{label}"


def put(root: Path, path: str, data: bytes) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(data)


@pytest.mark.parametrize("kind", bad_files())
def test_each_kind_of_bad_file_in_each_known_place(kind: str, tmp_path: Path) -> None:
    bad = bad_files()[kind]
    expected = {}
    for generator, names in BAD_NAMES.items():
        for name in names:
            put(tmp_path / "src", f"{folder(generator)}/{name}", bad)
            expected[f"{folder(generator)}/{name}"] = (generator, "train", "fake")
    for synset in ("n03444034", "n03530642"):  # sd15: thousands of unreadable reals between these synsets
        put(tmp_path / "src", f"{folder('sd15', label='nature')}/{synset}_1.JPEG", bad)
        expected[f"{folder('sd15', label='nature')}/{synset}_1.JPEG"] = ("sd15", "train", "real")
    put(tmp_path / "src", f"{folder('sd15')}/000_sdv5_00000.png", fake_png(np.random.default_rng(3), 32))
    done = pack_here(tmp_path / "src", tmp_path / "dst")
    rows = quarantine_rows(tmp_path / "dst")
    assert {path: (r["generator"], r["split"], r["label"]) for path, r in rows.items()} == expected
    assert all(REASONS[kind] in row["reason"] and row["reason"] for row in rows.values())
    assert (done.samples, done.quarantined) == (1, len(expected))


def test_bad_files_leave_their_neighbours_in_place(tmp_path: Path) -> None:
    """Quarantine leaves a gap: the order of the others is the same as it would be with a sound file in the place."""
    made = make_tree(tmp_path / "src", generators=("adm",), splits=("train",), count=8)
    pack_here(tmp_path / "src", tmp_path / "whole")
    victim = made[4]
    data = bytearray(victim.data)
    data[len(data) // 2] ^= 0x55
    put(tmp_path / "src", victim.path, bytes(data))
    pack_here(tmp_path / "src", tmp_path / "bad")
    expected = [row["key"] for row in index_rows(tmp_path / "whole") if row["source"] != victim.path]
    assert [row["key"] for row in index_rows(tmp_path / "bad")] == expected


@pytest.mark.parametrize(
    ("kind", "form", "mode", "progressive"),
    [
        ("cmyk", "jpeg", "CMYK", False),
        ("gray", "jpeg", "L", False),
        ("progressive", "jpeg", "RGB", True),
        ("rotated", "jpeg", "RGB", False),
        ("png", "png", "RGB", False),
    ],
)
def test_odd_reals_are_packed_by_their_true_format(
    kind: str, form: str, mode: str, progressive: bool, tmp_path: Path
) -> None:
    data = real_jpeg(np.random.default_rng(2), 50, 40, kind)
    put(tmp_path / "src", f"{folder('adm', label='nature')}/n02105855_2933.JPEG", data)
    pack_here(tmp_path / "src", tmp_path / "dst")
    (row,) = index_rows(tmp_path / "dst")
    found = (row["format"], row["mode"], row["progressive"], row["width"], row["height"])
    assert found == (form, mode, progressive, 50, 40)
    assert (row["class_index"], row["synset"]) == (230, "n02105855")
    line = next((tmp_path / "dst").rglob("*.idx")).read_text().splitlines()[1]
    assert line.startswith({"jpeg": "jpg ", "png": "png "}[form])


@pytest.mark.parametrize("sampling", ["440", "411", "422", "444"])
def test_oddly_subsampled_reals(sampling: str, tmp_path: Path) -> None:
    put(tmp_path / "src", f"{folder('adm', label='nature')}/n01440764_1.JPEG", jpeg(70, 50, sampling=sampling))
    assert pack_here(tmp_path / "src", tmp_path / "dst").samples == 1


def test_ycck_real(tmp_path: Path) -> None:
    """As CMYK, but the colours are transformed: Adobe's marker says 2."""
    data = bytearray(real_jpeg(np.random.default_rng(2), kind="cmyk"))
    adobe = data.index(b"Adobe")
    data[adobe + 11] = 2
    put(tmp_path / "src", f"{folder('adm', label='nature')}/n01440764_1.JPEG", bytes(data))
    pack_here(tmp_path / "src", tmp_path / "dst")
    (row,) = index_rows(tmp_path / "dst")
    assert (row["format"], row["mode"]) == ("jpeg", "CMYK")
    assert shard_tools_here("verify", tmp_path / "dst", "--decode").code == 0


def test_the_index_says_how_chroma_is_sampled(tmp_path: Path) -> None:
    """Of a JPEG by its factors, "other" where these have no name here; null for other formats."""
    rng = np.random.default_rng(5)
    kinds = [*SAMPLINGS, "gray", "png"]
    for number, kind in enumerate(kinds):
        if kind in SAMPLINGS:
            data = jpeg(40, 33, sampling=kind)
        else:
            data = encode(Image.fromarray(rng.integers(0, 255, (9, 8), np.uint8)), "JPEG" if kind == "gray" else "PNG")
        put(tmp_path / "src", f"{folder('adm', label='nature')}/n01440764_{number}.JPEG", data)
    for way in ([], ["--crop-ready"]):
        root = tmp_path / f"dst{len(way)}"
        assert shard_tools_here("pack", tmp_path / "src", root, *way).code == 0
        found = {kinds[int(row["key"].rsplit("_", 1)[1])]: row["chroma"] for row in index_rows(root)}
        known = {"444": "444", "422": "422", "420": "420", "440": "other", "411": "other", "gray": "other", "png": None}
        assert found == known
        assert len(gs.open_dataset(root).select(where=pc.field("chroma") == "other")) == 3
        assert shard_tools_here("verify", root, "--decode").code == 0


def test_exif_that_does_not_parse_is_no_fault(tmp_path: Path) -> None:
    plain = real_jpeg(np.random.default_rng(2))
    broken = plain[:2] + b"\xff\xe1\x00\x20Exif\0\0" + b"\xff" * 24 + plain[2:]
    put(tmp_path / "src", f"{folder('adm', label='nature')}/n01440764_1.JPEG", broken)
    assert pack_here(tmp_path / "src", tmp_path / "dst").samples == 1


def test_webp_is_packed_without_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    from tests.fixtures.genimage import encode, pixels

    data = encode(Image.fromarray(pixels(np.random.default_rng(2), 20, 30)), "WEBP")
    put(tmp_path / "src", "flux/train/ai/a.png", data)
    put(tmp_path / "src", "flux/train/ai/b.webp", data[: len(data) // 2])
    monkeypatch.setitem(sys.modules, "PIL", None)
    pack_here(tmp_path / "src", tmp_path / "dst")
    (row,) = index_rows(tmp_path / "dst")
    assert (row["format"], row["mode"], row["width"], row["height"]) == ("webp", "RGB", 30, 20)
    assert row["chroma"] is None
    assert next((tmp_path / "dst").rglob("*.idx")).read_text().splitlines()[1].startswith("webp ")
    assert list(quarantine_rows(tmp_path / "dst")) == ["flux/train/ai/b.webp"]


def test_without_pillow_nothing_is_decided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in a dataset must not depend on what is installed: packing waits for Pillow."""
    from PIL import Image

    from tests.fixtures.genimage import encode, pixels

    data = encode(Image.fromarray(pixels(np.random.default_rng(2), 20, 30)), "TIFF")
    put(tmp_path / "src", "flux/train/ai/a.png", data)
    put(tmp_path / "src", "flux/train/ai/b.png", fake_png(np.random.default_rng(2), 16))
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "PIL", None)
        done = shard_tools_here("pack", tmp_path / "src", tmp_path / "dst", "--shard-size", "60kB")
        assert done.code == 2
        assert "flux/train/ai/a.png is a tiff image, and Pillow is not installed" in done.err
        assert "pip install" in done.err
        assert not (tmp_path / "dst" / "dataset.json").exists()
    assert pack_here(tmp_path / "src", tmp_path / "dst").samples == 2


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_a_pillow_without_avif(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    from tests.fixtures.genimage import encode, pixels

    data = encode(Image.fromarray(pixels(np.random.default_rng(2), 20, 30)), "AVIF")
    put(tmp_path / "src", "flux/train/ai/a.png", data)
    assert pack_here(tmp_path / "src", tmp_path / "dst").samples == 1
    monkeypatch.setattr("PIL.features.check", lambda name: False)
    assert "built without avif" in shard_tools_here("verify", tmp_path / "dst", "--decode").err


def test_system_files_are_ignored_and_counted(tmp_path: Path) -> None:
    data = fake_png(np.random.default_rng(2), 16)
    put(tmp_path / "src", f"{folder('adm')}/0_adm_1.PNG", data)
    for name in ("._0_adm_1.PNG", ".DS_Store", "Thumbs.db", "desktop.ini"):
        put(tmp_path / "src", f"{folder('adm')}/{name}", b"\0\5\26\7junk")
    put(tmp_path / "src", "__MACOSX/ADM/train/ai/._x.png", b"junk")
    done = pack_here(tmp_path / "src", tmp_path / "dst")
    assert (done.samples, done.quarantined, done.system_files) == (1, 0, 5)


def test_upper_case_suffix_is_packed_and_lower_case_in_the_shard(tmp_path: Path) -> None:
    put(tmp_path / "src", f"{folder('adm')}/7_adm_1.PNG", fake_png(np.random.default_rng(2), 16, "RGBA"))
    pack_here(tmp_path / "src", tmp_path / "dst")
    (row,) = index_rows(tmp_path / "dst")
    assert (row["key"], row["mode"], row["class_index"]) == ("adm_train_fake_7_adm_1", "RGBA", 7)
    assert b"adm_train_fake_7_adm_1.png\0" in next(
        iter(v for k, v in tars(tmp_path / "dst").items() if k.endswith("tar"))
    )


def test_a_link_that_leads_nowhere_and_one_that_leads_up(tmp_path: Path) -> None:
    put(tmp_path / "src", f"{folder('adm')}/0_adm_1.PNG", fake_png(np.random.default_rng(2), 16))
    os.symlink("nowhere", tmp_path / "src" / folder("adm") / "0_adm_2.PNG")
    os.symlink(tmp_path / "src", tmp_path / "src" / "ADM" / "loop")
    done = pack_here(tmp_path / "src", tmp_path / "dst")
    assert done.samples == 1
    assert "unreadable" in quarantine_rows(tmp_path / "dst")[f"{folder('adm')}/0_adm_2.PNG"]["reason"]
    assert any("loop is a link to a folder above" in problem for problem in done.problems)


def test_a_link_that_leads_to_itself(tmp_path: Path) -> None:
    """It is one unreadable file, and the files listed after it are still there."""
    for number in range(20):
        put(tmp_path / "src", f"{folder('adm')}/{number}_adm_1.PNG", fake_png(np.random.default_rng(number), 16))
    loop = tmp_path / "src" / folder("adm") / "9_adm_2.PNG"
    os.symlink(loop.name, loop)
    done = shard_tools_here("pack", tmp_path / "src", tmp_path / "dst", "--strict", "--json")
    assert (done.code, done.json["samples"]) == (1, 20)
    assert "unreadable" in quarantine_rows(tmp_path / "dst")[f"{folder('adm')}/9_adm_2.PNG"]["reason"]


def test_links_to_each_others_folder(tmp_path: Path) -> None:
    """Every folder is reached once by each name that is not within itself, not indefinitely."""
    for part in ("1", "2"):
        put(tmp_path / "src", f"adm/{part}/train/ai/0_adm_{part}.PNG", fake_png(np.random.default_rng(2), 16))
    os.symlink("../2", tmp_path / "src" / "adm" / "1" / "other")
    os.symlink("../1", tmp_path / "src" / "adm" / "2" / "other")
    done = pack_here(tmp_path / "src", tmp_path / "dst")
    assert (done.samples, done.quarantined) == (2, 2)
    assert sum("is a link to a folder above itself" in problem for problem in done.problems) == 2


def test_name_that_is_not_utf8(tmp_path: Path) -> None:
    put(tmp_path / "src", f"{folder('adm')}/0_adm_1.PNG", fake_png(np.random.default_rng(2), 16))
    raw = os.fsencode(tmp_path / "src" / folder("adm")) + b"/0_adm_\xff.PNG"
    with open(raw, "wb") as file:
        file.write(b"x")
    pack_here(tmp_path / "src", tmp_path / "dst")
    (row,) = quarantine_rows(tmp_path / "dst").values()
    assert "UTF-8" in row["reason"]


def test_nothing_but_bad_files(tmp_path: Path) -> None:
    """A dataset without samples is still a finished one that says why."""
    put(tmp_path / "src", f"{folder('adm')}/0_adm_1.PNG", b"")
    done = pack_here(tmp_path / "src", tmp_path / "dst")
    assert (done.samples, done.quarantined, done.shards) == (0, 1, 0)
    assert index_rows(tmp_path / "dst") == []
    assert shard_tools_here("verify", tmp_path / "dst").code == 0


def test_strict(tmp_path: Path) -> None:
    put(tmp_path / "src", f"{folder('adm')}/0_adm_1.PNG", fake_png(np.random.default_rng(2), 16))
    assert shard_tools_here("pack", tmp_path / "src", tmp_path / "one", "--strict").code == 0
    put(tmp_path / "src", f"{folder('adm')}/0_adm_2.PNG", b"")
    assert shard_tools_here("pack", tmp_path / "src", tmp_path / "two").code == 0
    done = shard_tools_here("pack", tmp_path / "src", tmp_path / "three", "--strict", "--json")
    assert (done.code, done.json["quarantined"]) == (1, 1)


def test_header_check_only_probes(tmp_path: Path) -> None:
    data = fake_png(np.random.default_rng(2), 32)
    put(tmp_path / "src", f"{folder('adm')}/0_adm_1.PNG", data[: len(data) // 2])
    put(tmp_path / "src", f"{folder('adm')}/0_adm_2.PNG", b"nothing")
    done = pack_here(tmp_path / "src", tmp_path / "dst", check="header")
    assert (done.samples, done.quarantined) == (1, 1)
    assert shard_tools_here("verify", tmp_path / "dst").code == 0
    assert shard_tools_here("verify", tmp_path / "dst", "--decode").code == 1
