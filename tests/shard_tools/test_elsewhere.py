"""The shards and the files beside them, read by the libraries of others."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.genimage import make_tree
from tests.shard_tools.conftest import index_rows, pack_here, shard_tools_here, tree_bytes

SUFFIXES = {"jpeg": "jpg"}


@pytest.fixture(scope="module")
def dst(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("elsewhere")
    make_tree(root / "src", generators=("adm", "sd14"), count=3)
    pack_here(root / "src", root / "dst", shard_bytes=20_000)
    return root / "dst"


def expected(dst: Path) -> dict[str, tuple[int, str, str]]:
    """key -> (class, suffix, sha256 of the image)."""
    return {
        row["key"]: (int(row["label"] == "fake"), SUFFIXES.get(row["format"], row["format"]), row["sha256"])
        for row in index_rows(dst)
    }


def seen(sample: dict[str, Any]) -> tuple[int, str, str]:
    """The same of a sample as webdataset gives it, whose values are bytes."""
    (suffix,) = {name.lstrip(".") for name in sample if not name.startswith("_")} & {"jpg", "png"}
    get = {name.lstrip("."): value for name, value in sample.items()}
    return int(get["cls"]), suffix, hashlib.sha256(get[suffix]).hexdigest()


def shards(dst: Path) -> list[str]:
    return sorted(map(str, dst.glob("*/*/*.tar")))


def test_webdataset(dst: Path) -> None:
    wds = pytest.importorskip("webdataset")
    samples = list(wds.WebDataset(shards(dst), shardshuffle=False))
    assert {sample["__key__"]: seen(sample) for sample in samples} == expected(dst)


def test_wids(dst: Path, tmp_path: Path) -> None:
    wids = pytest.importorskip("wids")
    listed = [
        {"url": shard["path"], "nsamples": shard["samples"]}
        for shard in json.loads((dst / "dataset.json").read_text())["shards"]
    ]
    listing = {"wids_version": 1, "shardlist": [{**one, "url": str(dst / one["url"])} for one in listed]}
    (tmp_path / "index.json").write_text(json.dumps(listing))
    dataset = wids.ShardListDataset(str(tmp_path / "index.json"), transformations=[], cache_dir=str(tmp_path / "cache"))
    samples = [dataset[number] for number in range(len(dataset))]
    raw = [
        {name: value if isinstance(value, str) else value.read() for name, value in s.items() if name in WIDS}
        for s in samples
    ]
    assert {sample["__key__"]: seen(sample) for sample in raw} == expected(dst)


WIDS = ("__key__", ".jpg", ".png", ".cls", ".json")


@pytest.mark.parametrize("index", [True, False])
def test_dali(index: bool, dst: Path) -> None:
    pytest.importorskip("nvidia.dali")
    from nvidia.dali import fn, pipeline_def

    @pipeline_def(batch_size=4, num_threads=1, device_id=None)
    def read() -> Any:
        paths = shards(dst)
        names = {"index_paths": [path.replace(".tar", ".idx") for path in paths]} if index else {}
        return tuple(fn.readers.webdataset(paths=paths, ext=["jpg;png", "cls", "json"], name="reader", **names))

    pipeline = read()
    pipeline.build()
    found = set()
    for _ in range(len(expected(dst)) // 4):
        images, classes, facts = pipeline.run()
        for i in range(4):
            image, number = bytes(images.at(i)), int(bytes(classes.at(i)))
            suffix = "jpg" if image.startswith(b"\xff\xd8") else "png"
            assert json.loads(bytes(facts.at(i)))["sha256"] == hashlib.sha256(image).hexdigest()
            found.add((number, suffix, hashlib.sha256(image).hexdigest()))
    assert found == set(expected(dst).values())


@pytest.mark.alone  # Ray takes its time to start
def test_ray_data(dst: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray.data", exc_type=ImportError)
    script = """
import hashlib, json, sys, ray
ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
rows = ray.data.read_webdataset(sys.argv[2:], decoder=None).take_all()
def of(row):
    suffix = next(s for s in ("jpg", "png") if isinstance(row.get(s), bytes))  # nan: has none
    return [int(row["cls"]), suffix, hashlib.sha256(row[suffix]).hexdigest()]
json.dump({row["__key__"]: of(row) for row in rows}, open(sys.argv[1], "w"))
"""
    out = tmp_path / "out.json"
    done = subprocess.run(
        [sys.executable, "-c", script, str(out), *shards(dst)], capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert {key: tuple(value) for key, value in json.loads(out.read_text()).items()} == expected(dst)


def test_energon(dst: Path, tmp_path: Path) -> None:
    """Prepared in place, as its documentation says for WebDatasets of one's own; verify only notes what it adds."""
    energon = pytest.importorskip("megatron.energon", reason="megatron-energon is not installed", exc_type=ImportError)
    from megatron.energon.flavors.webdataset import BaseWebdatasetFactory

    root = tmp_path / "dst"
    shutil.copytree(dst, root)
    paths = [str(Path(path).relative_to(dst)) for path in shards(dst)]
    BaseWebdatasetFactory.prepare_dataset(
        root, paths, split_parts_ratio=[("val", 1.0)], progress_fn=lambda items, _total: items, workers=1
    )
    (root / ".nv-meta" / "dataset.yaml").write_text("__module__: megatron.energon\n__class__: CrudeWebdataset\n")

    @energon.stateless  # type: ignore[untyped-decorator]
    def cook(sample: dict[str, Any]) -> dict[str, Any]:
        return {**energon.basic_sample_keys(sample), "found": seen({k: v for k, v in sample.items() if k[0] != "_"})}

    class Encoder(energon.DefaultTaskEncoder):  # type: ignore[misc, name-defined]
        decoder = None
        cookers = (energon.Cooker(cook),)

        def encode_sample(self, sample: Any) -> Any:
            return sample

        def batch(self, samples: list[Any]) -> Any:
            return samples

        def encode_batch(self, batch: Any) -> Any:
            return batch

    one = energon.WorkerConfig(rank=0, world_size=1, num_workers=0)
    dataset = energon.get_val_dataset(root, task_encoder=Encoder(), batch_size=1, worker_config=one)
    found = [tuple(sample["found"]) for batch in energon.get_loader(dataset) for sample in batch]
    assert sorted(found) == sorted(expected(dst).values())
    assert shard_tools_here("verify", root).code == 0


def load(script: str, dst: Path, tmp_path: Path) -> Any:
    """What a script of datasets prints as JSON, in a process whose Hub is offline and whose cache is its own."""
    pytest.importorskip("datasets")
    script = f"""
import hashlib, json, os, sys
os.environ.update(HF_HUB_OFFLINE="1", HF_HOME={str(tmp_path / "hf")!r}, HF_DATASETS_DISABLE_PROGRESS_BARS="1")
import datasets
dst = {str(dst)!r}
{script}
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_load_dataset_gives_images_of_both_formats(dst: Path, tmp_path: Path) -> None:
    script = """
parts = datasets.load_dataset(dst)
raw = datasets.Image(decode=False)
undecoded = {split: part.cast_column("jpg", raw).cast_column("png", raw) for split, part in parts.items()}
found = {}
for split, part in undecoded.items():
    for row in part:
        suffix = next(s for s in ("jpg", "png") if row[s] is not None)
        assert row["json"]["split"] == split and not (row["jpg"] and row["png"])
        found[row["__key__"]] = [row["cls"], suffix, hashlib.sha256(row[suffix]["bytes"]).hexdigest()]
sizes = [image.size for row in parts["val"] for image in (row["jpg"], row["png"]) if image is not None]
one = datasets.load_dataset(dst, "adm", split="val", streaming=True)
print(json.dumps({"found": found, "sizes": sizes, "one": [row["json"]["generator"] for row in one]}))
"""
    out = load(script, dst, tmp_path)
    assert {key: tuple(value) for key, value in out["found"].items()} == expected(dst)
    rows = [row for row in index_rows(dst) if row["split"] == "val"]
    assert sorted(map(tuple, out["sizes"])) == sorted((row["width"], row["height"]) for row in rows)
    assert out["one"] == ["adm"] * 6


def test_croissant(dst: Path) -> None:
    croissant = pytest.importorskip("mlcroissant")
    dataset = croissant.Dataset(str(dst / "croissant.json"))
    assert not dataset.metadata.issues.errors
    assert dataset.metadata.license == ["https://creativecommons.org/licenses/by-nc-sa/4.0/"]
    records = list(dataset.records("samples"))
    assert [record["samples/key"].decode() for record in records] == [row["key"] for row in index_rows(dst)]
    assert [record["samples/width"] for record in records] == [row["width"] for row in index_rows(dst)]


def yaml_of(dst: Path) -> dict[str, Any]:
    yaml = pytest.importorskip("yaml")
    parsed: dict[str, Any] = yaml.safe_load((dst / "README.md").read_text().split("---\n")[1])
    return parsed


def test_licenses(dst: Path, tmp_path: Path) -> None:
    """GenImage's own; otherwise what is said; a dataset that grows keeps it."""
    assert yaml_of(dst)["license"] == "cc-by-nc-sa-4.0"
    make_tree(tmp_path / "src", generators=("adm",), splits=("val",), count=1)
    (tmp_path / "src" / "ADM").rename(tmp_path / "src" / "flux")
    inner = next((tmp_path / "src" / "flux").iterdir())
    inner.rename(inner.with_name("flux"))
    pack_here(tmp_path / "src", tmp_path / "none")
    assert yaml_of(tmp_path / "none")["license"] == "unknown"
    assert "license" not in json.loads((tmp_path / "none" / "croissant.json").read_text())
    done = shard_tools_here("pack", tmp_path / "src", tmp_path / "dst", "--license", "Ours: 'for' \"research\"")
    assert done.code == 0, done.err
    card = yaml_of(tmp_path / "dst")
    assert (card["license"], card["license_name"]) == ("other", "Ours: 'for' \"research\"")
    assert json.loads((tmp_path / "dst" / "croissant.json").read_text())["license"] == "Ours: 'for' \"research\""
    make_tree(tmp_path / "more", generators=("sd14",), splits=("val",), count=1)
    assert shard_tools_here("pack", tmp_path / "dst", "--add", tmp_path / "more").code == 0
    assert yaml_of(tmp_path / "dst")["license_name"] == "Ours: 'for' \"research\""
    for text in ("", "two\nlines", "x" * 2000):
        assert shard_tools_here("pack", tmp_path / "src", tmp_path / "no", "--license", text).code == 2


def test_a_card_of_ones_own_stays(dst: Path, tmp_path: Path) -> None:
    shutil.copytree(dst, tmp_path / "dst")
    (tmp_path / "dst" / "README.md").write_text("# Mine\n")
    make_tree(tmp_path / "more", generators=("glide",), splits=("val",), count=1)
    pack_here(tmp_path / "more", tmp_path / "dst", shard_bytes=20_000)
    assert (tmp_path / "dst" / "README.md").read_text() == "# Mine\n"
    assert "glide" in str(json.loads((tmp_path / "dst" / "dataset.json").read_text()))
    done = shard_tools_here("verify", tmp_path / "dst", "--json")
    assert (done.code, len(done.json["notes"])) == (0, 1)
    assert "README.md: not the card that pack writes" in done.json["notes"][0]


def test_many_generators_have_one_config(tmp_path: Path) -> None:
    from shard_tools.cards.facts import facts_of
    from shard_tools.cards.readme import readme

    info = json.loads(_many(4800))
    text = readme(facts_of(info, {"png", "jpeg"}, "0" * 64))
    assert text.count("config_name") == 2
    assert len(text) < 100_000


def _many(n: int) -> str:
    groups = [
        {"generator": f"g{i:04d}", "split": "train", "label": "fake", "samples": 1, "quarantined": 0, "size": 1}
        for i in range(n)
    ]
    counts = {"samples": n, "quarantined": 0, "shards": n, "size": n, "groups": groups}
    return json.dumps({"options": {"crop_ready": False}, "counts": counts})


def test_the_files_depend_on_the_dataset_alone(dst: Path, tmp_path: Path) -> None:
    pack_here(dst.parent / "src", tmp_path / "other-name", shard_bytes=20_000, workers=2)
    assert tree_bytes(tmp_path / "other-name") == tree_bytes(dst)
