"""A destination on s3://, against a real S3 server: the same bytes as on a disk, also after interruptions."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fixtures.genimage import fake_png, make_tree
from tests.fixtures.s3 import S3Server
from tests.shard_tools.conftest import Ran, pack_here, shard_tools, shard_tools_here, tars, tree_bytes
from tests.shard_tools.sources import test_tables as tables

Tree = tuple[Path, list[Any]]


@pytest.fixture(scope="module")
def server(s3: S3Server) -> S3Server:
    return s3


def environment(server: S3Server) -> dict[str, str]:
    given = {f"AWS_{name.upper()}": value for name, value in server.options.items()}
    return {**os.environ, **given, "AWS_ENDPOINT_URL": server.endpoint}


def run(server: S3Server, *arguments: object) -> Ran:
    return shard_tools(*arguments, env=environment(server))


def run_here(server: S3Server, *arguments: object) -> Ran:
    """The same within this process, without the time that a process takes to start."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(server).items():
            patch.setenv(name, value)
        return shard_tools_here(*arguments)


def objects(server: S3Server, prefix: str) -> dict[str, bytes]:
    import obstore

    store = server.store(prefix)
    names = [entry["path"] for batch in obstore.list(store) for entry in batch]
    return {name: bytes(obstore.get(store, name).bytes()) for name in names}


def test_the_same_bytes_as_on_a_disk(server: S3Server, standard_tree: Tree, packed: Path) -> None:
    url = f"{server.url}/one"
    command = ("pack", standard_tree[0], url, "--shard-size", "60kB", "--workers", 2)
    done = run(server, *command, "--json")
    assert (done.code, done.json["state"]) == (0, "new"), done.err
    assert objects(server, "one") == tree_bytes(packed)
    assert run_here(server, *command, "--json").json["state"] == "finished"
    done = run(server, "verify", url, "--json")
    assert (done.code, done.json["problems"]) == (0, [])
    assert run_here(server, "info", url, "--json").json["samples"] == len(standard_tree[1])
    done = run_here(server, "pack", standard_tree[0], url, "--seed", 3)
    assert done.code == 2
    assert "choose another destination" in done.err


def test_growth(server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A generator more, files more of another one, and one dropped: what all at once gives."""
    for name, value in environment(server).items():
        monkeypatch.setenv(name, value)
    url = f"{server.url}/growing"
    make_tree(tmp_path / "a", generators=("sd14",), count=2)
    make_tree(tmp_path / "b", generators=("adm", "wukong"), count=1)
    assert shard_tools_here("pack", tmp_path / "a", url).code == 0
    done = shard_tools_here("pack", url, "--add", tmp_path / "b")
    assert "packed adm train, adm val, wukong train, wukong val" in done.out, done.err
    assert shard_tools_here("drop", url, "--generators", "wukong").code == 0
    shutil.rmtree(next((tmp_path / "b").glob("[wW]ukong")))
    more = next((tmp_path / "b").glob("ADM/*/train/ai"))
    (more / "9_adm_99.PNG").write_bytes(fake_png(np.random.default_rng(3), 32))
    assert "packed adm train;" in shard_tools_here("pack", tmp_path / "b", url).out
    assert shard_tools_here("pack", tmp_path / "a", tmp_path / "b", tmp_path / "whole").code == 0
    assert objects(server, "growing") == tree_bytes(tmp_path / "whole")


def test_killed_and_resumed(server: S3Server, standard_tree: Tree, packed: Path) -> None:
    import obstore

    for attempt in range(20):
        name = f"two-{attempt}"
        url = f"{server.url}/{name}"
        command = [sys.executable, "-m", "shard_tools", "pack", str(standard_tree[0]), url, "--shard-size", "60kB"]
        process = subprocess.Popen(
            [*command, "--workers", "2"], env=environment(server), stderr=subprocess.DEVNULL, start_new_session=True
        )
        store = server.store(name)
        while process.poll() is None and sum(len(batch) for batch in obstore.list(store)) < 12:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        left = objects(server, name)
        if "dataset.json" not in left:
            break  # else this machine was busy, and looked too late
    assert "dataset.json" not in left
    expected = tree_bytes(packed)
    assert all(data == expected[name] for name, data in left.items() if not name.startswith(".pack/"))
    done = run(server, *command[3:])
    assert done.code == 0
    assert "going on" in done.err
    assert objects(server, name) == expected


def test_an_upload_that_is_given_up_is_not_visible(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    from shard_tools.target.object_storage import PART_BYTES, ObjectStorage

    for name, value in environment(server).items():
        monkeypatch.setenv(name, value)
    storage = ObjectStorage(f"{server.url}/three")
    file = storage.create("a/b.tar")
    file.write([bytes(PART_BYTES), b"more"])
    file.write([bytes(PART_BYTES)])
    file.abort()
    assert storage.files() == {}
    file = storage.create("a/b.tar")
    file.write([bytes(PART_BYTES), b"more", bytes(PART_BYTES)])
    assert storage.files() == {}
    file.commit()
    assert storage.files() == {"a/b.tar": 2 * PART_BYTES + 4}
    storage.remove("a/b.tar")
    storage.remove("a/b.tar")
    assert storage.read("a/b.tar") is None
    assert storage.size("a/b.tar") is None


def test_damage_is_found(server: S3Server, standard_tree: Tree) -> None:
    import obstore

    url = f"{server.url}/four"
    options = ("--generators", "adm", "--splits", "val")
    assert run_here(server, "pack", standard_tree[0], url, *options).code == 0
    store = server.store("four")
    name = "adm/val/adm-val-00000.tar"
    raw = bytearray(obstore.get(store, name).bytes())
    raw[700] ^= 1
    obstore.put(store, name, bytes(raw))
    done = run_here(server, "verify", url)
    assert done.code == 1
    assert "sha256" in done.out
    obstore.delete(server.store("four"), name)
    done = run_here(server, "verify", url)
    assert done.code == 1
    assert name in done.out


def test_addresses_that_do_not_work(server: S3Server, standard_tree: Tree) -> None:
    done = run_here(server, "pack", standard_tree[0], "s3://no-such-bucket/x")
    assert done.code == 2
    assert "s3://no-such-bucket/x" in done.err
    done = run_here(server, "verify", f"{server.url}/nothing-here")
    assert done.code == 2
    assert "holds no dataset" in done.err
    done = run_here(server, "pack", standard_tree[0], "ftp://host/x")
    assert done.code == 2
    assert "s3://" in done.err


def test_sources_in_the_store(server: S3Server, standard_tree: Tree, packed: Path, tmp_path: Path) -> None:
    """Plain objects and, read by ranges, a multi-volume zip: the same tars as from folders."""
    if not shutil.which("zip"):
        pytest.skip("needs Info-ZIP's zip")
    (tmp_path / "part").mkdir()
    for outer in ("ADM", "BigGAN"):
        shutil.copytree(standard_tree[0] / outer, tmp_path / "part" / outer)
    command = ["zip", "-q", "-r", "-s", "64k", "imagenet_midjourney.zip", "imagenet_midjourney"]
    shutil.copytree(standard_tree[0] / "Midjourney", tmp_path / "part" / "Midjourney")
    subprocess.run(command, cwd=tmp_path / "part" / "Midjourney", check=True)
    shutil.rmtree(tmp_path / "part" / "Midjourney" / "imagenet_midjourney")
    assert len(list((tmp_path / "part" / "Midjourney").iterdir())) > 2
    (tmp_path / "part" / "ADM" / ".DS_Store").write_bytes(b"x")
    url = server.upload(tmp_path / "part", "src")
    done = run_here(server, "pack", url, tmp_path / "dst", "--shard-size", "60kB", "--workers", 2)
    assert done.code == 0, done.err
    assert "1 system file ignored" in done.out
    expected = {name: data for name, data in tars(packed).items() if name.startswith(("adm", "biggan", "midjourney"))}
    assert tars(tmp_path / "dst") == expected
    done = run_here(server, "scan", f"{server.url}/nothing")
    assert done.code == 2
    assert "no files" in done.err


@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_tars_in_the_store(suffix: str, server: S3Server, tmp_path: Path) -> None:
    made = make_tree(tmp_path / "folders", generators=("adm",), count=2)
    pack_here(tmp_path / "folders", tmp_path / "expected")
    (tmp_path / "src").mkdir()
    with tarfile.open(tmp_path / "src" / f"x.{suffix}", "w:gz" if suffix.endswith("gz") else "w") as out:
        for one in made:
            out.add(tmp_path / "folders" / one.path, one.path)
    url = server.upload(tmp_path / "src", f"tars-{suffix}")
    done = run_here(server, "pack", url, tmp_path / "dst", "--shard-size", "60kB", "--workers", 1)
    assert done.code == 0, done.err
    assert tars(tmp_path / "dst") == tars(tmp_path / "expected")


@pytest.mark.parametrize("form", ["arrow", "arrow-file", "parquet"])
def test_tables_in_the_store(form: str, server: S3Server, tmp_path: Path) -> None:
    make_tree(tmp_path / "folders", **tables.OPTIONS)
    pack_here(tmp_path / "folders", tmp_path / "expected")
    tables.write(tmp_path / "src", "struct", form)
    url = server.upload(tmp_path / "src", f"tables-{form}")
    done = run_here(server, "pack", url, tmp_path / "dst", "--shard-size", "60kB", "--workers", 2)
    assert done.code == 0, done.err
    assert tars(tmp_path / "dst") == tars(tmp_path / "expected")
    assert not (tmp_path / "dst" / ".pack").exists()
    done = run_here(server, "pack", url, f"{server.url}/tables-to-store")
    assert done.code == 2
    assert "local destination" in done.err
    (tmp_path / "bad" / "train" / "adm").mkdir(parents=True)
    (tmp_path / "bad" / "train" / "adm" / f"x.{form.removesuffix('-file')}").write_bytes(b"no table")
    done = run_here(server, "pack", server.upload(tmp_path / "bad", f"bad-{form}"), tmp_path / "dst2")
    assert done.code == 2
    assert "cannot be read" in done.err


def test_packing_in_parts(server: S3Server, standard_tree: Tree, packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part is killed and comes again."""
    import obstore

    for name, value in environment(server).items():
        monkeypatch.setenv(name, value)
    source = standard_tree[0]
    command = ("pack", source, f"{server.url}/parts", "--shard-size", "60kB", "--part")
    process = subprocess.Popen(
        [sys.executable, "-m", "shard_tools", *map(str, command), "1/2"], stderr=subprocess.DEVNULL
    )
    store = server.store("parts")
    while process.poll() is None and not any(map(len, obstore.list(store, prefix=".pack/shards"))):
        time.sleep(0.01)
    process.kill()
    process.wait()
    missing = shard_tools_here("gather", f"{server.url}/parts")
    assert (missing.code, "of 2" in missing.out) == (1, True), missing.err
    for part, code in (("1/2", 0), ("1/3", 2), ("2/2", 0)):
        done = shard_tools_here(*command, part)
        assert done.code == code, done.err
    done = shard_tools_here("gather", f"{server.url}/parts")
    assert done.code == 0, done.err
    assert objects(server, "parts") == tree_bytes(packed)
    assert "finished already" in shard_tools_here(*command, "1/3").out


def test_one_of_several_creates_an_object(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(server).items():
        monkeypatch.setenv(name, value)
    from shard_tools.target.object_storage import ObjectStorage

    storage = ObjectStorage(f"{server.url}/new")
    assert [storage.write_new("a", data) for data in (b"first", b"second")] == [True, False]
    assert storage.read("a") == b"first"
