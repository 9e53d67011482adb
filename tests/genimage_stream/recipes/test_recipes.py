"""Recipes against the published pipelines, written anew in published.py."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from genimage_stream import recipes
from genimage_stream import transforms as T  # noqa: N812
from genimage_stream.cli import app
from genimage_stream.recipes import listing, randaugment
from genimage_stream.recipes.recipe import in_cpp
from tests.genimage_stream.recipes import published, published_with_python
from tests.genimage_stream.transforms.references import picture

ALL = {name: recipes.get(name) for name in recipes.names()}
IN_CPP = sorted(name for name, recipe in ALL.items() if recipe.train is not None and in_cpp(recipe.train))
#: AIDE's floats are compared with a tolerance, in a test of its own.
EVALUATED = sorted(name for name, recipe in ALL.items() if recipe.eval and name != "aide")
WITH_PYTHON = sorted(name for name, recipe in ALL.items() if recipe.train is not None and not in_cpp(recipe.train))
#: One of several recipes each for rows of the table in which there is more than one.
VARIANTS = {"cnnspot-0.1", "rine-ten-crops", "lare2-strong", "genimage-deit-s", "aigibench-bsf", "aigibench-effort"}
NOT_APPLIED = {"applied": False}
SIZES = [(300, 260), (256, 341), (230, 400), (512, 512), (100, 180), (257, 225)]


def test_all_published_rows_are_there() -> None:
    rows = {name: recipe for name, recipe in ALL.items() if name not in VARIANTS}
    assert len(rows) == 37
    trained = [name for name in IN_CPP if name not in VARIANTS]
    evaluated = [name for name, recipe in rows.items() if recipe.eval is not None and in_cpp(recipe.eval)]
    assert len(trained) >= 21
    assert len(evaluated) >= 34
    for recipe in ALL.values():
        assert recipe.source
        assert recipe.train is not None or recipe.note  # what is missing is said


@pytest.mark.parametrize("name", IN_CPP)
def test_training_equals_the_published_pipeline(name: str) -> None:
    check(name, ALL[name].train, published.TRAIN[name], 12)


@pytest.mark.parametrize("name", EVALUATED)
def test_evaluation_equals_the_published_pipeline(name: str) -> None:
    check(name, ALL[name].eval, published.EVAL[name], len(SIZES))


def check(name: str, steps: Any, pipeline: published.Pipeline, count: int) -> None:
    for seed in range(count):
        image = picture(seed, *SIZES[seed % len(SIZES)])
        if name in ("lare2-strong", "lasted") and min(image.shape[:2]) < 128:
            image = picture(seed, 300, 300)
        draws = T.draws_of(image, steps, seed=seed, label="fake")
        drawn = iter(json.loads(json.dumps(draws)))
        assert np.array_equal(T.apply(image, steps, seed=seed, label="fake"), pipeline(image, drawn)), (seed, draws)


def test_real_images_keep_their_pixels_in_the_remedy_of_fake_or_jpeg() -> None:
    image = picture(1, 300, 280)
    steps = ALL["grommelt"].eval or []
    expected = published.center(published.resize(image, 256, "bicubic"), 224)
    assert np.array_equal(T.apply(image, steps, label="real"), expected)


@pytest.mark.parametrize("name", WITH_PYTHON)
def test_recipes_with_python_functions_give_one_size_and_repeat_themselves(name: str) -> None:
    pytest.importorskip("albumentations")
    steps = [step for step in ALL[name].train or [] if not step.acts_on_floats]
    height, width = {"deepfakebench": (256, 256), "aide": (1280, 256), "dda": (336, 336)}.get(name, (224, 224))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of albumentations about its own ShiftScaleRotate
        for seed in range(8):
            image = picture(seed, 300, 341)
            found = [T.apply(image, steps, seed=seed, label="fake") for _ in range(2)]
            assert found[0].shape == (height, width, 3)
            assert np.array_equal(*found)


@pytest.mark.parametrize("part", ["train", "eval"])
def test_the_five_pictures_of_aide_are_the_published_ones_rounded(part: str) -> None:
    steps = getattr(ALL["aide"], part)
    for seed in range(6):
        image = picture(seed, *SIZES[seed])
        draws = T.draws_of(image, steps, seed=seed)
        found = T.apply(image, steps, seed=seed).reshape(5, 256, 256, 3)
        drawn = iter(draws if part == "train" else [NOT_APPLIED, NOT_APPLIED, *draws])
        assert np.abs(found - published_with_python.aide(image, drawn)).max() <= 0.501, seed


def test_aide_says_which_images_have_no_patch() -> None:
    with pytest.raises(ValueError, match="an image of 40x31 has no patch of 32x32"):
        T.apply(picture(0, 31, 40), ALL["aide"].eval or [])


def test_dda_equals_the_published_transform_of_one_image() -> None:
    steps = ALL["dda"].train or []
    seen: set[str] = set()
    for seed in range(40):
        image = picture(seed, *SIZES[seed % len(SIZES)])
        draws = T.draws_of(image, steps, seed=seed)
        seen |= {name for name, draw in zip(published_with_python.DDA, draws, strict=True) if draw["applied"]}
        expected = published_with_python.dda(image, iter(json.loads(json.dumps(draws))))
        assert np.array_equal(T.apply(image, steps, seed=seed), expected), (seed, draws)
    assert seen == set(published_with_python.DDA)


@pytest.mark.parametrize("which", range(len(randaugment.OPERATIONS)))
@pytest.mark.parametrize("level", [0.0, 9.0, 10.0])
def test_operations_of_randaugment_take_all_levels(which: int, level: float) -> None:
    from PIL import Image

    image = Image.fromarray(picture(which, 30, 40))
    for sign in (-1.0, 1.0):
        assert np.asarray(randaugment.OPERATIONS[which](image, level, sign, 3)).shape == (30, 40, 3)


def test_every_recipe_survives_json() -> None:
    for recipe in ALL.values():
        for steps in (recipe.train, recipe.eval):
            assert steps is None or T.from_json(T.to_json(steps)) == steps
        json.dumps(recipe.as_json())


def test_names_resolve_to_a_part() -> None:
    resolved = recipes.resolve("univfd")
    assert (resolved.part, resolved.steps, resolved.normalize) == ("train", recipes.get("univfd").train, "clip")
    assert recipes.resolve("univfd:eval").steps == [T.CenterCrop(224)]
    assert recipes.resolve("aeroblade:eval")[2:] == ([], "none", "whole")
    assert recipes.resolve("rine-ten-crops:eval").views == "ten"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("univdf", "did you mean 'univfd'"),
        ("xyz", "genimage-stream recipes"),
        ("univfd:test", "'train' or 'eval' is needed"),
        ("fatformer", 'not published.*"fatformer:eval" is there'),
        ("aeroblade", 'no training.*"aeroblade:eval" is there'),
    ],
)
def test_what_is_not_there_is_named(text: str, wanted: str) -> None:
    with pytest.raises(ValueError, match=wanted):
        recipes.resolve(text)


def test_a_missing_package_is_named_before_any_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install albumentations"):
        recipes.resolve("drct")
    recipes.resolve("drct:eval")


def test_a_recipe_is_the_callers_own() -> None:
    train = recipes.get("univfd").train
    assert train is not None
    train.clear()
    assert recipes.get("univfd").train


def test_importing_the_package_does_not_import_recipes() -> None:
    program = (
        "import sys, genimage_stream as gs; assert 'genimage_stream.recipes' not in sys.modules; gs.recipes.names()"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=250)


def test_the_page_has_every_recipe_as_it_is() -> None:
    page = (Path(__file__).parents[3] / "docs" / "recipes.md").read_text()
    assert page.endswith(listing.table(ALL.values()))


def test_the_command_lists_what_recipes_consist_of() -> None:
    shown = CliRunner().invoke(app, ["recipes"])
    assert shown.exit_code == 0
    assert all(f"{name}  " in shown.output for name in ALL)
    assert "RandomApply(GaussianBlur(sigma=(0, 3)), p=0.1)" in shown.output
    found = json.loads(CliRunner().invoke(app, ["recipes", "univfd", "drct", "--json"]).output)
    assert list(found) == ["univfd", "drct"]
    assert T.from_json(json.dumps(found["univfd"]["train"])) == ALL["univfd"].train
    assert found["univfd"]["train_in_cpp"]
    assert not found["drct"]["train_in_cpp"]
    wrong = CliRunner().invoke(app, ["recipes", "univdf"])
    assert wrong.exit_code == 2
    assert "did you mean 'univfd'" in wrong.output
