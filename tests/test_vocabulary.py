"""The vocabulary against what is known of GenImage and ImageNet."""

from __future__ import annotations

import numpy as np
import pytest

from genimage_stream import vocabulary as v


def test_published_counts_add_up() -> None:
    total = sum(sum(counts) for counts in v.PUBLISHED.values())
    reals = sum(c.train_real + c.val_real for c in v.PUBLISHED.values())
    assert total == 2_681_167
    assert reals == 1_281_167 + 50_000
    assert tuple(v.PUBLISHED) == v.GENERATORS
    assert v.PUBLISHED["sd15"].of("val", "real") == 8_000


@pytest.mark.parametrize(
    ("name", "generator"),
    [
        ("ADM", "adm"),
        ("stable_diffusion_v_1_4", "sd14"),
        ("Stable-Diffusion v1.5", "sd15"),
        ("sdv4", "sd14"),
        ("SDV5", "sd15"),
        ("wukong", "wukong"),
        ("flux", None),
    ],
)
def test_generator_alias(name: str, generator: str | None) -> None:
    assert v.generator_alias(name) == generator


def test_synsets() -> None:
    synsets = v.synsets()
    assert len(synsets) == 1000
    assert list(synsets) == sorted(set(synsets))
    # Classes that anybody can check: tench, tabby cat, toilet tissue.
    assert (synsets[0], synsets[281], synsets[999]) == ("n01440764", "n02123045", "n15075141")
    assert v.class_indices()["n02123045"] == 281


def test_val_classes() -> None:
    classes = v.val_classes()
    assert classes.shape == (50_000,)
    assert classes.dtype == np.int16
    assert np.bincount(classes).tolist() == [50] * 1000
    # The first images of the validation set: n01751748 (sea snake), n09193705 (alp), n02105855 (Shetland sheepdog).
    assert [v.synsets()[c] for c in classes[:3]] == ["n01751748", "n09193705", "n02105855"]
