"""The DALI backend in its CPU mode: the batches of `backend="cpu"`, whatever the images and whatever is wrong."""

from __future__ import annotations

import io
import itertools
import os
import re
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import genimage_stream as gs
from genimage_stream.backends import dali_tuning as tune
from genimage_stream.backends import finishing
from genimage_stream.backends.dali import divert_code
from genimage_stream.backends.dali_options import OLDEST, DaliOptions, load_dali
from genimage_stream.backends.dali_pipeline import DaliPipeline
from genimage_stream.backends.device import resolve_device
from genimage_stream.backends.finishing import Normaliser
from genimage_stream.decode import PixelOptions, make_crop_ready
from tests.fixtures.jpegs import jpeg, jpeg_of_mode, photograph
from tests.fixtures.shards import Sample, make_samples, write_dataset

pytest.importorskip("nvidia.dali", reason="DALI is not installed: pip install nvidia-dali-cuda120")

ROOT = Path(gs.__file__).parents[1]
CROP = 48
Change = Callable[[bytes], bytes]


def odd_samples() -> list[Sample]:
    """JPEGs that hardware decoders do not take, or that are smaller than the crop."""
    progressive = jpeg(90, 70, quality=90, progressive=True)
    made = [
        ("progressive", progressive, (90, 70), "RGB"),
        ("cmyk", jpeg_of_mode("CMYK", 90, 70), (90, 70), "CMYK"),
        ("gray", jpeg_of_mode("L", 90, 70), (90, 70), "L"),
        ("narrow", jpeg(30, 70, quality=90), (30, 70), "RGB"),
        ("tiny", jpeg(9, 5, quality=90), (9, 5), "RGB"),
        ("rotated", rotated(), (90, 70), "RGB"),
        ("tall", jpeg(90, 70, sampling="440"), (90, 70), "RGB"),
        ("wide", jpeg(90, 70, sampling="411"), (90, 70), "RGB"),
    ]
    return [Sample("sd14", "train", "real", f"sd14_train_real_{k}", d, "jpeg", size, m) for k, d, size, m in made]


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    to = io.BytesIO()
    Image.fromarray(photograph(90, 70)).save(to, "JPEG", exif=exif)
    return to.getvalue()


def crop_ready(data: bytes) -> bytes:
    return make_crop_ready(data) or data


def dataset(root: Path, change: Change = bytes, keys: tuple[str, ...] = ()) -> gs.Dataset:
    """Standard and odd samples; `change` is applied to the bytes of all JPEGs, or of those with the given keys."""
    samples = [*make_samples(6), *odd_samples()]
    changed = [replace(s, data=change(s.data)) if s.key in keys or not keys else s for s in samples]
    return gs.open_dataset(write_dataset(root, changed))


def epochs(data: gs.Dataset, backend: Any, count: int = 2, **options: Any) -> list[Any]:
    loader = gs.Loader(data, 7, crop=CROP, seed=3, flip=True, threads=2, backend=backend, **options)
    return [batch for _ in range(count) for batch in loader]


def assert_same(ours: list[Any], theirs: list[Any]) -> None:
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert a.keys == b.keys
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.labels, b.labels)


@pytest.mark.parametrize("output", ["uint8", "float16", "float32"])
@pytest.mark.parametrize("change", [bytes, crop_ready], ids=["plain", "crop-ready"])
def test_the_batches_of_the_cpu_backend(tmp_path: Path, change: Change, output: Any) -> None:
    data = dataset(tmp_path, change)
    assert_same(epochs(data, "dali", output=output), epochs(data, "cpu", output=output))


@pytest.mark.parametrize("small", ["tile", "reflect", "constant", "resize"])
def test_small_images_by_every_policy(tmp_path: Path, small: Any) -> None:
    data = dataset(tmp_path)
    assert_same(epochs(data, "dali", 1, small=small), epochs(data, "cpu", 1, small=small))


def test_dali_gets_what_hardware_takes_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nvidia.dali

    seen: list[bytes] = []
    external_source = nvidia.dali.fn.external_source

    def watched(source: Any, **options: Any) -> Any:
        def give(info: Any) -> Any:
            given = source(info)
            seen.extend(bytes(data) for data in given[0])
            return given

        return external_source(source=give, **options)

    monkeypatch.setattr(nvidia.dali.fn, "external_source", watched)
    epochs(dataset(tmp_path), "dali", 1)
    facts = [gs.inspect(data) for data in seen]
    assert len(facts) == 6 * 3 * 2 + 3  # the standard reals, the gray, the rotated and the tall one
    assert not any(f.progressive or f.mode == "CMYK" for f in facts)
    assert min(min(f.width, f.height) for f in facts) >= CROP


def test_resume_in_the_middle_on_the_other_backend(tmp_path: Path) -> None:
    data = dataset(tmp_path)
    whole = epochs(data, "cpu", 1)
    first = gs.Loader(data, 7, crop=CROP, seed=3, flip=True, backend="dali")
    begun = [batch for _, batch in zip(range(3), first, strict=False)]
    second = gs.Loader(data, 7, crop=CROP, seed=3, flip=True, backend="dali")
    second.load_state_dict(first.state_dict())
    assert_same([*begun, *second], whole)


def test_two_epochs_at_once_and_one_left_early(tmp_path: Path) -> None:
    data = dataset(tmp_path)
    loader = gs.Loader(data, 7, crop=CROP, seed=3, flip=True, backend="dali")
    first, second = iter(loader), iter(loader)
    taken = [(next(first), next(second)) for _ in range(3)]
    first.close()
    rest = list(second)
    reference = epochs(data, "cpu")
    length = len(reference) // 2
    assert_same([a for a, _ in taken], reference[:3])
    assert_same([b for _, b in taken] + rest, reference[length:])


def damaged(data: bytes) -> bytes:
    """An undefined Huffman code in the middle of the picture: sound by its structure, not inside."""
    return data[: len(data) // 2] + b"\xff\x00" * 12 + data[len(data) // 2 + 24 :]


BAD = "sd14_train_real_rotated"


def test_a_truncated_file_costs_one_sample(tmp_path: Path) -> None:
    data = dataset(tmp_path, lambda d: d[: len(d) * 2 // 3], (BAD,))
    with pytest.raises(gs.DecodeError, match=BAD):
        epochs(data, "dali", 1)
    ours = epochs(data, "dali", 1, on_error="skip")
    assert_same(ours, epochs(data, "cpu", 1, on_error="skip"))
    assert sum(len(batch) for batch in ours) == len(data) - 1


@pytest.mark.parametrize("change", [bytes, crop_ready], ids=["plain", "crop-ready"])
def test_damage_inside_the_coded_data_is_an_error_in_cpu_mode(tmp_path: Path, change: Change) -> None:
    """DALI would paint over it; the core decodes what it leaves to DALI, and finds it where the CPU backend does."""
    data = dataset(tmp_path, lambda d: damaged(change(d)), (BAD,))
    with pytest.raises(gs.DecodeError, match=BAD):
        epochs(data, "dali")
    for strict in (True, False):
        ours = epochs(data, "dali", on_error="skip", strict=strict)
        assert_same(ours, epochs(data, "cpu", on_error="skip", strict=strict))
    assert sum(map(len, epochs(data, "dali", 1, on_error="skip"))) == len(data) - 1


def test_without_the_check_dali_paints_over_damage_as_the_docs_say(tmp_path: Path) -> None:
    data = dataset(tmp_path, damaged, (BAD,))
    assert sum(map(len, epochs(data, "dali", 1, dali=DaliOptions(check=False)))) == len(data)
    with pytest.raises(gs.DecodeError, match=BAD):
        epochs(data, "dali", 1, dali=DaliOptions(check=True))


@pytest.mark.parametrize(("check", "device", "divert"), [(None, "cpu", 2), (None, "cuda", 1), (True, "cuda", 2)])
def test_what_is_checked_by_default(check: bool | None, device: str, divert: int) -> None:
    assert divert_code(DaliOptions(check=check), torch.device(device)) == divert


def test_a_batch_that_dali_gives_up_on_is_decoded_by_the_core(tmp_path: Path, caplog: Any) -> None:
    """A frame header that only the real decoder finds impossible: an undefined quantisation table."""

    def no_table(d: bytes) -> bytes:
        at = d.index(b"\xff\xc0")
        return d[: at + 12] + b"\x03" + d[at + 13 :]

    data = dataset(tmp_path, no_table, (BAD,))
    ours = epochs(data, "dali", 1, on_error="skip", dali=DaliOptions(check=False))
    assert_same(ours, epochs(data, "cpu", 1, on_error="skip"))
    assert sum(len(batch) for batch in ours) == len(data) - 1
    assert any("DALI did not decode" in record.message for record in caplog.records)


def fail_at(monkeypatch: pytest.MonkeyPatch, calls: Callable[[int], bool]) -> None:
    """DALI's pipelines break down when asked for their outputs the n-th time, counted over all of them."""
    import nvidia.dali

    share_outputs = nvidia.dali.Pipeline.share_outputs
    counter = itertools.count()

    def share(self: Any, **options: Any) -> Any:
        if calls(next(counter)):
            raise RuntimeError("the GPU has a bad day")
        return share_outputs(self, **options)

    monkeypatch.setattr(nvidia.dali.Pipeline, "share_outputs", share)


def test_a_batch_that_dali_loses_for_no_reason_is_decoded_by_the_core(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = dataset(tmp_path)
    fail_at(monkeypatch, lambda n: n in (0, 3, 4, 9))
    loader = gs.Loader(data, 7, crop=CROP, seed=3, flip=True, backend="dali")
    reference = epochs(data, "cpu")
    begun = [batch for _, batch in zip(range(5), loader, strict=False)]
    resumed = gs.Loader(data, 7, crop=CROP, seed=3, flip=True, backend="dali")
    resumed.load_state_dict(loader.state_dict())
    assert_same([*begun, *resumed, *resumed], reference)


def test_when_dali_always_fails_the_error_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_at(monkeypatch, lambda n: True)
    loader = gs.Loader(dataset(tmp_path), 7, crop=CROP, seed=3, backend="dali", on_error="skip")
    with pytest.raises(RuntimeError, match=r'5 batches in a row.*backend="cpu" goes on working.*a bad day'):
        list(loader)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("where", ["pipeline_def", "channels_last"])
def test_an_error_outside_the_images_ends_the_epoch_and_only_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """No driver for the pipeline, no memory for the batch: an error at once, and a new epoch works."""
    import nvidia.dali

    data = dataset(tmp_path)
    loader = gs.Loader(data, 7, crop=CROP, seed=3, flip=True, backend="dali", prefetch=3, channels_last=True)

    def refuse(*_: Any, **__: Any) -> Any:
        raise RuntimeError("out of everything")

    with monkeypatch.context() as broken:
        begun = iter(loader)
        first = [] if where == "pipeline_def" else [next(begun)]
        broken.setattr(nvidia.dali if where == "pipeline_def" else finishing, where, refuse)
        with pytest.raises(RuntimeError, match="out of everything"):
            list(begun)
    loader.load_state_dict(loader.state_dict())
    assert_same([*first, *loader], epochs(data, "cpu", 1, channels_last=True))


def test_a_forked_process_is_told_that_dali_stayed_behind(tmp_path: Path) -> None:
    loader = gs.Loader(dataset(tmp_path), 7, crop=CROP, backend="dali")
    next(iter(loader))
    child = os.fork()
    if child == 0:
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(20)
            next(iter(loader))
        except RuntimeError as error:
            os._exit(7 if "fork" in str(error) else 1)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


@pytest.mark.parametrize("before", ["another loader", "tuning"])
def test_a_fork_after_other_work_of_dali_does_not_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    """OpenMP's threads, which torch would use for the batches, stay in the parent, and the child waits for them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data = dataset(tmp_path / "data")
    monkeypatch.setattr(tune, "images_per_second", lambda trial, seconds: rate(trial.dali))

    def rate(options: DaliOptions) -> float:
        return float(sum(map(len, epochs(data, "dali", 1, dali=options, output="float16"))))

    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        if before == "another loader":
            rate(DaliOptions())
        options = {"channels_last": True, "output": "float32"}
        loader = gs.Loader(data, 7, crop=CROP, backend="dali", tune=before == "tuning", **options)  # type: ignore[arg-type]
        child = os.fork()
        if child == 0:
            try:
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                signal.alarm(20)
                os._exit(0 if sum(map(len, loader)) == len(data) else 3)
            finally:
                os._exit(1)
    finally:
        torch.set_num_threads(threads)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_what_a_gpu_would_run() -> None:
    """DALI checks names and devices when a pipeline is defined, for which it needs no GPU."""
    pipeline = DaliPipeline((CROP, CROP), 7, torch.device("cuda", 1), DaliOptions()).define()
    assert pipeline.device_id == 1
    assert pipeline.exec_dynamic  # what outputs on a stream of ours, and memory that stays ours, need
    pipeline._build_graph()
    for operator in pipeline._ops:
        operator.check_args()
    specs = {str(operator.spec).split(":")[0].split()[-1]: str(operator.spec) for operator in pipeline._ops}
    for name in ("Slice", "Flip", "Transpose"):
        assert "device: gpu" in specs[name]
    for option in ("device: mixed", "hw_decoder_load: 0.9", "jpeg_fancy_upsampling: True", "adjust_orientation: False"):
        assert option in specs["decoders__Image"]


def test_without_a_gpu_a_cuda_device_is_refused_in_a_sentence(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    data = dataset(tmp_path)
    for name in ("cpu", "dali"):
        with pytest.raises(RuntimeError, match=r"no CUDA device.*without a GPU"):
            gs.Loader(data, backend=name, device="cuda:0")


@pytest.mark.parametrize("name", ["cpu", "dali"])
@pytest.mark.parametrize("device", ["gpu", 3, "cuda:-1", "mps"])
def test_devices_that_make_no_sense(tmp_path: Path, name: Any, device: Any) -> None:
    with pytest.raises(ValueError, match=f'device={device!r}.*("cuda:1"|on a CUDA device)'):
        gs.Loader(dataset(tmp_path), backend=name, device=device)


def test_a_gpu_that_is_not_there_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(RuntimeError, match=r"'cuda:9'.*the last is cuda:1"):
        resolve_device("cuda:9")


def test_an_old_dali_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nvidia.dali

    monkeypatch.setattr(nvidia.dali, "__version__", "1.44.0")
    with pytest.raises(ImportError, match=r"2\.0 or newer, not 1\.44\.0: pip install"):
        gs.Loader(dataset(tmp_path), backend="dali")
    wishes = re.findall(r'"nvidia-dali-[^"]*>=([^"]*)"', (ROOT / "pyproject.toml").read_text())
    assert set(wishes) == {f"{OLDEST}.0"}


def test_without_dali_the_sentence_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = dataset(tmp_path)
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    with pytest.raises(ImportError, match=r'pip install "\.\[dali-cuda12\]".*checkout'):
        gs.Loader(data, backend="dali")
    assert len(next(iter(gs.Loader(data, 4, crop=CROP))).keys) == 4


def test_a_dali_that_does_not_load_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def find_spec(self, name: str, *_: Any) -> None:
            if name == "nvidia.dali":
                raise ImportError("libcfitsio.so.10: cannot open shared object file")

    for name in [name for name in sys.modules if name.startswith("nvidia.dali")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("nvidia.dali")
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(ImportError, match=r"is installed and cannot be loaded: libcfitsio\.so\.10: cannot open"):
        load_dali()


@pytest.mark.parametrize("name", ["cpu", "dali"])
def test_channels_last_is_the_same_in_another_order_of_memory(tmp_path: Path, name: Any) -> None:
    data = dataset(tmp_path)
    ours = epochs(data, name, 1, channels_last=True)
    assert all(batch.images.is_contiguous(memory_format=torch.channels_last) for batch in ours)
    assert_same(ours, epochs(data, "cpu", 1))


def test_fidelity_in_cpu_mode_finds_no_difference(tmp_path: Path) -> None:
    streams = gs.fidelity(dataset(tmp_path), crop=CROP)
    assert [s.stream for s in streams] == ["real", "adm", "biggan", "sd14"]
    assert sum(s.images for s in streams) == 6 * 3 * 2 * 2 + 8
    assert all(s.identical == s.images and s.largest == 0 and s.differing == 0 for s in streams)


@pytest.mark.parametrize("samples", [1, 9])
def test_fidelity_compares_so_many(tmp_path: Path, samples: int) -> None:
    streams = gs.fidelity(dataset(tmp_path), crop=CROP, samples=samples, batch_size=4)
    assert sum(stream.images for stream in streams) == samples
    with pytest.raises(ValueError, match="samples"):
        gs.fidelity(dataset(tmp_path / "b"), crop=CROP, samples=1.5)  # type: ignore[arg-type]


def test_fidelity_counts_what_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DALI's windows come through DLPack."""
    from_dlpack = torch.utils.dlpack.from_dlpack

    def spoil(windows: Any) -> torch.Tensor:
        spoilt = from_dlpack(windows).clone()
        spoilt[:, 0, 0, 0] ^= 2
        return spoilt

    monkeypatch.setattr(torch.utils.dlpack, "from_dlpack", spoil)
    real, *fakes = gs.fidelity(dataset(tmp_path), crop=CROP)
    assert real.largest == 2
    assert real.identical == 5  # those that DALI does not get
    assert real.differing == pytest.approx((real.images - 5) / (real.images * 3 * CROP * CROP))
    assert all(s.identical == s.images for s in fakes)


def test_float_values_are_those_of_the_core() -> None:
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    table = Normaliser(PixelOptions("float32", mean=mean, std=std), torch.device("cpu"))
    ramp = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).repeat(1, 3, 1, 1)
    pixels = ramp[0].numpy().transpose(1, 2, 0)
    to = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(to, "PNG")
    out = np.empty((1, 3, 16, 16), np.float32)
    gs.decode_batch([to.getvalue()], out, crops=np.zeros((1, 2), np.int32), mean=mean, std=std)
    assert np.array_equal(table(ramp).numpy(), out)
