"""A finished dataset grows: what results is what packing all at once gives, at any moment it is a whole dataset."""

from __future__ import annotations

import contextlib
import hashlib
import json
import pickle
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import genimage_stream as gs
from genimage_stream.schema import PLAN_FILE
from shard_tools.errors import TargetError, ToolError
from shard_tools.growth.held import Held
from shard_tools.growth.publish import finish_publishing, withdraw
from shard_tools.target.local_storage import LocalStorage
from tests.fixtures.genimage import fake_png, make_tree
from tests.shard_tools.conftest import index_rows, pack_here, quarantine_rows, shard_tools_here, tree_bytes

SIZE = ("--shard-size", "20kB")


def pack(*paths: object, **options: object) -> object:
    return pack_here([Path(str(p)) for p in paths[:-1]], Path(str(paths[-1])), shard_bytes=20_000, **options)


def is_whole(root: Path) -> set[str]:
    """Open a dataset as users do and compare every image with its hash; returns its generators."""
    dataset = gs.open_dataset(root)
    for row in dataset.table(["shard", "offset", "size", "sha256"]).to_pylist():
        data = dataset.access.store.read_range(row["shard"], row["offset"], row["size"])
        assert hashlib.sha256(data).hexdigest() == row["sha256"]
    return set(dataset.generators)


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders a (adm, sd14) and b (biggan: before, between and after these), all: both in one."""
    root = tmp_path_factory.mktemp("trees")
    make_tree(root / "a", generators=("adm", "sd14"), count=3)
    make_tree(root / "b", generators=("biggan", "wukong"), count=3)
    bad = next((root / "b").rglob("*.png"))
    bad.write_bytes(bad.read_bytes()[:200])
    (root / "a" / "notes").mkdir()
    (root / "a" / "notes" / "x.png").write_bytes(b"no one knows what this is")
    shutil.copytree(root / "a", root / "all")
    shutil.copytree(root / "b", root / "all", dirs_exist_ok=True)
    return root


@pytest.mark.parametrize("crop_ready", [False, True])
def test_a_source_that_grew(trees: Path, crop_ready: bool, tmp_path: Path) -> None:
    source = tmp_path / "all"
    shutil.copytree(trees / "a", source)
    assert pack(source, tmp_path / "dst", crop_ready=crop_ready).state == "new"  # type: ignore[attr-defined]
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "dst").rglob("*.tar")}
    shutil.copytree(trees / "b", source, dirs_exist_ok=True)
    done = pack(source, tmp_path / "dst", crop_ready=crop_ready)
    assert done.grown == ["biggan train", "biggan val", "wukong train", "wukong val"]  # type: ignore[attr-defined]
    pack(trees / "all", tmp_path / "whole", crop_ready=crop_ready)
    assert tree_bytes(tmp_path / "dst") == tree_bytes(tmp_path / "whole")
    assert before == {p: p.stat().st_mtime_ns for p in before}
    assert shard_tools_here("verify", tmp_path / "dst").code == 0
    again = shard_tools_here("pack", source, tmp_path / "dst", *SIZE, *(["--crop-ready"] if crop_ready else []))
    assert "nothing to do" in again.out


def test_groups_whose_source_is_gone_stay(trees: Path, tmp_path: Path) -> None:
    """By another source, by --add, and by a selection: all the same bytes as all at once."""
    pack(trees / "a", trees / "b", tmp_path / "whole")
    whole = tree_bytes(tmp_path / "whole")
    shutil.copytree(trees / "a", tmp_path / "a")
    pack(tmp_path / "a", tmp_path / "dst")
    shutil.rmtree(tmp_path / "a")
    shutil.copytree(tmp_path / "dst", tmp_path / "added")
    shutil.copytree(tmp_path / "dst", tmp_path / "named")
    pack(trees / "b", tmp_path / "dst")
    assert tree_bytes(tmp_path / "dst") == whole
    done = shard_tools_here("pack", tmp_path / "added", "--add", trees / "b", *SIZE)
    assert "packed biggan train" in done.out, done.err
    assert tree_bytes(tmp_path / "added") == whole
    assert shard_tools_here("pack", tmp_path / "a", tmp_path / "named", "--add", trees / "b", *SIZE).code == 0
    assert tree_bytes(tmp_path / "named") == whole
    assert "nothing to do" in shard_tools_here("pack", tmp_path / "named", "--add", trees / "b", *SIZE).out
    pack(trees / "all", tmp_path / "piece", generators=("wukong",))
    pack(trees / "all", tmp_path / "piece", generators=("sd14", "adm"), splits=("val",))
    pack(trees / "all", tmp_path / "piece")
    assert tree_bytes(tmp_path / "piece") == whole


def test_sources_with_the_same_paths(tmp_path: Path) -> None:
    """The name of SRC is in front where an earlier one has the path, however they came together."""
    for outer, name in (("one", "ADM"), ("two", "glide")):
        make_tree(tmp_path / outer, generators=("adm",), count=2, folder=lambda g, split: split)
        (tmp_path / outer).rename(tmp_path / name)
    for number, file in enumerate(sorted((tmp_path / "glide").rglob("ai/*"))):
        file.write_bytes(fake_png(np.random.default_rng(number), 32))
    sources = [tmp_path / "ADM", tmp_path / "glide"]
    pack(*sources, tmp_path / "whole")
    assert {row["source"].split("/")[0] for row in index_rows(tmp_path / "whole")} == {"train", "val", "glide"}
    pack(sources[0], tmp_path / "dst")
    pack(sources[1], tmp_path / "dst")
    assert tree_bytes(tmp_path / "dst") == tree_bytes(tmp_path / "whole")
    assert "nothing to do" in shard_tools_here("pack", sources[0], tmp_path / "dst", *SIZE).out


def test_a_group_with_more_files_is_packed_anew_by_itself(trees: Path, tmp_path: Path) -> None:
    source = tmp_path / "all"
    shutil.copytree(trees / "all", source)
    pack(source, tmp_path / "dst")
    shutil.copytree(tmp_path / "dst", tmp_path / "old")
    held = gs.open_dataset(tmp_path / "dst")
    folder = next(source.glob("ADM/*/train/ai"))
    (folder / "9_adm_99.PNG").write_bytes(fake_png(np.random.default_rng(3), 32))
    before = {p: p.stat().st_ino for p in (tmp_path / "dst").rglob("*.tar")}
    done = pack(source, tmp_path / "dst")
    assert done.grown == ["adm train"]  # type: ignore[attr-defined]
    assert {p.parent.parent.name for p, inode in before.items() if p.stat().st_ino != inode} == {"adm"}
    pack(source, tmp_path / "whole")
    assert tree_bytes(tmp_path / "dst") == tree_bytes(tmp_path / "whole")
    # Who had the old dataset open goes on with the groups that stayed.
    batches = list(gs.Loader(held.select(generators=["sd14"]), 4, crop=16))
    assert sum(len(batch) for batch in batches) == 12


@pytest.mark.parametrize("same_size", [False, True])
def test_a_repaired_file_leaves_the_quarantine(trees: Path, same_size: bool, tmp_path: Path) -> None:
    source = tmp_path / "all"
    shutil.copytree(trees / "a", source)
    victim = next(source.glob("ADM/*/train/ai/*"))
    sound = victim.read_bytes()
    victim.write_bytes(bytes(len(sound)) if same_size else sound[:100])
    pack(source, tmp_path / "dst")
    assert len(quarantine_rows(tmp_path / "dst")) == 2
    assert pack(source, tmp_path / "dst").state == "finished"  # type: ignore[attr-defined]
    victim.write_bytes(sound)
    assert pack(source, tmp_path / "dst").grown == ["adm train"]  # type: ignore[attr-defined]
    pack(source, tmp_path / "whole")
    assert tree_bytes(tmp_path / "dst") == tree_bytes(tmp_path / "whole")


def test_a_list_of_broken_files_that_changed(trees: Path, tmp_path: Path) -> None:
    """Files that never belonged to a group come and go without touching shards."""
    source = tmp_path / "a"
    shutil.copytree(trees / "a", source)
    pack(source, tmp_path / "dst")
    (source / "notes" / "y.png").write_bytes(b"another one")
    done = pack(source, tmp_path / "dst")
    assert (done.state, done.grown) == ("grown", [])  # type: ignore[attr-defined]
    pack(source, tmp_path / "whole")
    assert tree_bytes(tmp_path / "dst") == tree_bytes(tmp_path / "whole")


def test_a_lock_of_a_packer_that_was_killed_goes(trees: Path, tmp_path: Path) -> None:
    pack(trees / "a", tmp_path / "dst")
    before = tree_bytes(tmp_path / "dst")
    (tmp_path / "dst" / ".pack").mkdir()
    (tmp_path / "dst" / ".pack" / "lock").write_text("process 1\n")
    assert pack(trees / "a", tmp_path / "dst").state == "finished"  # type: ignore[attr-defined]
    assert tree_bytes(tmp_path / "dst") == before


def test_files_that_moved_are_the_same_files(trees: Path, tmp_path: Path) -> None:
    """An archive that is extracted, a folder of another name: nothing is to be done, the quarantine list stays."""
    shutil.copytree(trees / "b", tmp_path / "b")
    pack(tmp_path / "b", tmp_path / "dst")
    before = tree_bytes(tmp_path / "dst")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "b").rename(tmp_path / "elsewhere" / "b")
    assert pack(tmp_path / "elsewhere", tmp_path / "dst").state == "finished"  # type: ignore[attr-defined]
    assert tree_bytes(tmp_path / "dst") == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seed": 1}, "seed = 0, not 1"),
        ({"check": "header"}, "check = full, not header"),
        ({"crop_ready": True}, "crop_ready = False, not True"),
        ({"shard_bytes": 30_000}, "shard_size = 20kB, not 30kB"),
    ],
)
def test_other_options_are_an_error(options: dict[str, object], said: str, trees: Path, tmp_path: Path) -> None:
    pack(trees / "a", tmp_path / "dst")
    before = tree_bytes(tmp_path / "dst")
    with pytest.raises(TargetError, match=said):
        pack_here(trees / "all", tmp_path / "dst", **{"shard_bytes": 20_000, **options})
    assert tree_bytes(tmp_path / "dst") == before


def test_what_cannot_be_done(trees: Path, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="no finished dataset that --add"):
        pack(trees / "a", tmp_path / "dst", add=True)
    pack(trees / "a", tmp_path / "dst")
    before = tree_bytes(tmp_path / "dst")
    fewer = tmp_path / "fewer"
    shutil.copytree(trees / "a", fewer)
    next(fewer.glob("ADM/*/train/ai/*")).unlink()
    with pytest.raises(TargetError, match=r"holds 1 samples of adm train that the sources lack.*drop"):
        pack(fewer, tmp_path / "dst")
    with pytest.raises(TargetError, match="other files of adm train than those to add"):
        pack(fewer, tmp_path / "dst", add=True)
    done = shard_tools_here("pack", "--add", trees / "b", *SIZE)
    assert done.code == 2
    assert tree_bytes(tmp_path / "dst") == before
    lost = tmp_path / "dst" / "adm" / "val" / "adm-val-00000.tar"
    lost.unlink()
    with pytest.raises(TargetError, match=r"adm-val-00000.tar is missing or cut off, and no source holds"):
        pack(trees / "b", tmp_path / "dst")
    (tmp_path / "dst" / "index.parquet").unlink()
    with pytest.raises(TargetError, match="is missing or cut off, and no source holds"):
        pack(trees / "b", tmp_path / "dst")
    with pytest.raises(TargetError, match="not those that the dataset was packed from"):
        pack(trees / "all", tmp_path / "dst")
    pack(trees / "a", tmp_path / "dst")
    assert tree_bytes(tmp_path / "dst") == before


@pytest.mark.parametrize("crop_ready", [(), ("--crop-ready",)])
def test_a_map_that_was_forgotten(crop_ready: tuple[str, ...], tmp_path: Path) -> None:
    """The files would be packed again as those of a second generator."""
    make_tree(tmp_path / "src", generators=("adm",), count=2, folder=lambda g, split: f"odd/{split}")
    (tmp_path / "src" / "pictures").mkdir()
    unknown = tmp_path / "src" / "pictures" / "p.png"
    shutil.copy(next((tmp_path / "src" / "odd" / "val" / "ai").iterdir()), unknown)
    maps = ("--map", "odd=glide::", "--map", "pictures=glide:val:fake")
    assert shard_tools_here("pack", tmp_path / "src", tmp_path / "dst", *SIZE, *maps, *crop_ready).code == 0
    before = tree_bytes(tmp_path / "dst")
    for given, line in ((), "--map odd=glide::"), (maps[:2], "--map pictures=glide:val:fake"):
        done = shard_tools_here("pack", tmp_path / "src", tmp_path / "dst", *SIZE, *given, *crop_ready)
        assert done.code == 2
        assert "of these files under another name" in done.err
        assert f"(e.g. {line})" in done.err
    assert (
        "nothing to do" in shard_tools_here("pack", tmp_path / "src", tmp_path / "dst", *SIZE, *maps, *crop_ready).out
    )
    assert tree_bytes(tmp_path / "dst") == before


def test_photographs_of_two_generators(tmp_path: Path) -> None:
    """The same reals under the same path within each source are no files under another name."""
    make_tree(tmp_path / "ADM", generators=("adm",), count=2, folder=lambda g, split: split)
    for file in sorted((tmp_path / "ADM").rglob("nature/*")):
        place = tmp_path / "glide" / file.relative_to(tmp_path / "ADM")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place)
        (place.parent.parent / "ai").mkdir(exist_ok=True)
        (place.parent.parent / "ai" / f"{file.stem}.png").write_bytes(fake_png(np.random.default_rng(3), 32))
    pack(tmp_path / "ADM", tmp_path / "dst")
    pack(tmp_path / "glide", tmp_path / "dst")
    assert is_whole(tmp_path / "dst") == {"adm", "glide"}


def test_a_dataset_of_an_earlier_version(trees: Path, tmp_path: Path) -> None:
    pack(trees / "a", tmp_path / "dst")
    info = json.loads((tmp_path / "dst" / "dataset.json").read_text())
    del info["plans"]
    (tmp_path / "dst" / "dataset.json").write_text(json.dumps(info))
    with pytest.raises(TargetError, match="an earlier version wrote it: pack anew"):
        pack(trees / "all", tmp_path / "dst")
    assert is_whole(tmp_path / "dst") == {"adm", "sd14"}


KILLED = """
import os, random, signal, sys
from shard_tools.cli import app
left = int(sys.argv[1])
def counted(f):
    def call(*arguments, **options):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return f(*arguments, **options)
    return call
os.rename, os.unlink = counted(os.rename), counted(os.unlink)
app(sys.argv[2:])
"""


def killed_and_run_again(command: list[object], look: Callable[[], None], seed: int) -> int:
    """Run a command that kills itself after a number of renamed and removed files, until it gets to its end; `look` is
    called in between. Returns the kills."""
    rng = random.Random(seed)
    for kills in range(40):
        script = [sys.executable, "-c", KILLED, str(rng.randint(8, 40)), *map(str, command)]
        done = subprocess.run(script, capture_output=True, text=True, check=False)
        look()
        if done.returncode != -signal.SIGKILL:
            assert done.returncode == 0, done.stderr
            return kills
    raise AssertionError("it never got to its end")


def test_killed_at_random_moments(trees: Path, tmp_path: Path) -> None:
    """One group more, one with more files, one with fewer shards: at every moment readers find a whole dataset."""
    source = tmp_path / "all"
    shutil.copytree(trees / "a", source)
    broken = next(source.glob("ADM/*/val/ai/*"))
    sound = broken.read_bytes()
    broken.write_bytes(sound + bytes(30_000))
    pack(source, tmp_path / "dst")
    broken.write_bytes(sound)
    shutil.copytree(next((trees / "b").glob("[wW]ukong")), source / "wukong")
    pack(source, tmp_path / "whole")
    seen: list[set[str]] = []
    command = ["pack", source, tmp_path / "dst", *SIZE, "--workers", 1]
    kills = killed_and_run_again(command, lambda: seen.append(is_whole(tmp_path / "dst")), 2)
    assert kills >= 2
    assert seen[-1] == {"adm", "sd14", "wukong"}
    assert tree_bytes(tmp_path / "dst") == tree_bytes(tmp_path / "whole")
    assert "nothing to do" in shard_tools_here("pack", source, tmp_path / "dst", *SIZE).out


class StopsBeforeTheIndex(LocalStorage):
    """Ends with the second announcement of an index."""

    announced = 0

    def write(self, name: str, data: bytes, *, durable: bool = True) -> None:
        if name == PLAN_FILE and b'"index"' in data:
            self.announced += 1
            if self.announced == 2:
                raise KeyboardInterrupt
        super().write(name, data, durable=durable)


def test_killed_between_two_publications(trees: Path, tmp_path: Path) -> None:
    """The files that wait for the second index do not follow the first one."""
    pack(trees / "a", tmp_path / "dst")
    storage = StopsBeforeTheIndex(str(tmp_path / "dst"))
    for split in ("train", "val"):
        held = Held.read(storage)
        assert held is not None
        with contextlib.suppress(KeyboardInterrupt):
            withdraw(held, [("sd14", split)])
    assert storage.announced == 2
    finish_publishing(LocalStorage(str(tmp_path / "dst")))
    assert len(gs.open_dataset(tmp_path / "dst").select(generators=["sd14"], splits=["val"]))


def test_a_growth_that_was_given_up(trees: Path, tmp_path: Path) -> None:
    """Another source the next time: what the first one wrote goes."""
    pack(trees / "a", tmp_path / "dst")
    script = [sys.executable, "-c", KILLED, "12", "pack", str(trees / "b"), str(tmp_path / "dst"), *SIZE]
    assert subprocess.run(script, capture_output=True, check=False).returncode == -signal.SIGKILL
    assert list((tmp_path / "dst" / "biggan").rglob("*.tar"))
    found = shard_tools_here("verify", tmp_path / "dst", "--json")
    assert found.code == 0, found.json
    assert any("not finished" in note for note in found.json["notes"])
    make_tree(tmp_path / "c", generators=("glide",), count=2)
    pack(tmp_path / "c", tmp_path / "dst")
    pack(trees / "a", tmp_path / "c", tmp_path / "whole")
    assert tree_bytes(tmp_path / "dst") == tree_bytes(tmp_path / "whole")


def test_states_and_pickles_survive_growth(trees: Path, tmp_path: Path) -> None:
    pack(trees / "a", tmp_path / "dst")
    chosen = gs.open_dataset(tmp_path / "dst").select(generators=["sd14"])
    loader = gs.Loader(chosen, 4, crop=16, seed=1)
    steps = iter(loader)
    next(steps)
    state, pickled = loader.state_dict(), pickle.dumps(chosen)
    rest = [batch.keys for batch in steps]
    pack(trees / "b", tmp_path / "dst")
    grown = pickle.loads(pickled)
    assert grown.index_rows.tolist() != chosen.index_rows.tolist()
    for dataset in (grown, gs.open_dataset(tmp_path / "dst").select(generators=["sd14"])):
        again = gs.Loader(dataset, 4, crop=16, seed=1)
        again.load_state_dict(state)
        assert [batch.keys for batch in again] == rest


def test_sources_are_checked_as_ever(trees: Path, tmp_path: Path) -> None:
    pack(trees / "a", tmp_path / "dst")
    with pytest.raises(ToolError, match="there is no such folder"):
        pack(tmp_path / "missing", tmp_path / "dst", add=True)
