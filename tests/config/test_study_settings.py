"""Settings of a study: options, variants, and recipe files with a section `study`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cyclopts import CycloptsError
from support import raises_user_error

from viceversa.config.command_line import train_settings
from viceversa.config.study import StudyConfig, study_settings


def settings(recipe: Path | str, *words: str) -> StudyConfig:
    config = study_settings(str(recipe), words)
    assert config is not None
    return config


def values_by_variant(config: StudyConfig, section: str, key: str) -> dict[str, Any]:
    return {name: one.sections[section][key] for name, one in config.variants.items()}


def write_recipe(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


def test_without_the_option_over_the_recipe_is_the_only_variant() -> None:
    config = settings("pix2pix", "photos", "--folds", "3", "--train.lr", "0.01")
    assert values_by_variant(config, "train", "lr") == {"pix2pix": 0.01}
    assert config.options.folds == 3 and config.options.seeds == 1


@pytest.mark.slow
def test_values_of_an_option_are_variants() -> None:
    config = settings("pix2pix", "photos", "--over", "method.gan_loss=lsgan, hinge")
    assert values_by_variant(config, "method", "gan_loss") == {"lsgan": "lsgan", "hinge": "hinge"}
    config = settings("pix2pix", "photos", "--over", "train.lr=1e-3,1e-4", "data.flip=true,false")
    assert values_by_variant(config, "train", "lr") == {
        "lr-1e-3_flip-true": 1e-3,
        "lr-1e-3_flip-false": 1e-3,
        "lr-1e-4_flip-true": 1e-4,
        "lr-1e-4_flip-false": 1e-4,
    }
    assert list(values_by_variant(config, "data", "flip").values()) == [True, False, True, False]
    config = settings("pix2pix", "photos", "--over", "generator=unet,resnet")
    assert values_by_variant(config, "generator", "name") == {"unet": "unet", "resnet": "resnet"}


@pytest.mark.slow
def test_recipes_are_variants_and_options_apply_to_all() -> None:
    config = settings("pix2pix", "photos", "--over", "recipe=pix2pix,cyclegan", "--train.lr", "1")
    assert values_by_variant(config, "method", "name") == {
        "pix2pix": "pix2pix",
        "cyclegan": "cyclegan",
    }
    assert set(values_by_variant(config, "train", "lr").values()) == {1.0}
    assert config.variants["cyclegan"].sections["generator"]["name"] == "resnet"


@pytest.mark.slow
def test_a_study_file_is_also_a_recipe(tmp_path: Path) -> None:
    path = write_recipe(
        tmp_path,
        """
        base = "pix2pix"
        [data]
        path = "photos"
        [train]
        lr = 0.01
        [study]
        folds = 4
        seeds = 2
        [study.evaluate]
        metrics = ["l1"]
        [study.over]
        recipe = ["pix2pix", "cyclegan"]
        "train.ema" = [0.0, 0.9]
        """,
    )
    config = settings(path, "--seeds", "5")
    assert (config.options.folds, config.options.seeds) == (4, 5)
    assert config.options.evaluate.metrics == ("l1",)
    assert list(config.variants) == [
        f"{recipe}_ema-{ema}" for recipe in ("pix2pix", "cyclegan") for ema in ("0.0", "0.9")
    ]
    assert set(values_by_variant(config, "train", "lr").values()) == {0.01}
    assert set(values_by_variant(config, "data", "path").values()) == {"photos"}
    assert settings(path, "other").variants["pix2pix_ema-0.0"].data.path == "other"
    assert train_settings(str(path), ["--data.path", str(tmp_path)]).train.lr == 0.01


@pytest.mark.slow
def test_named_variants_change_several_options(tmp_path: Path) -> None:
    path = write_recipe(
        tmp_path,
        """
        base = "pix2pix"
        [study.variants.small]
        generator.width = 8
        data.a.range = [0, 4095]
        [study.variants.large]
        recipe = "cyclegan"
        "train.lr" = 1e-5
        """,
    )
    config = settings(path, "photos")
    assert values_by_variant(config, "method", "name") == {"small": "pix2pix", "large": "cyclegan"}
    assert config.variants["small"].sections["generator"]["width"] == 8
    same = train_settings("pix2pix", ["--data.path", str(tmp_path), "--data.a.range", "0,4095"])
    assert config.variants["small"].data.a == same.data.a != config.variants["large"].data.a
    assert config.variants["large"].train.lr == 1e-5
    with raises_user_error(option="--over"):
        settings(path, "photos", "--over", "train.lr=1,2")
    with raises_user_error(option="study.variants"):
        settings(write_recipe(tmp_path, 'base = "pix2pix"\n[study.variants."a/b"]\ntrain.lr = 1'))
    with raises_user_error(option="study.variants"):
        settings(write_recipe(tmp_path, 'base = "pix2pix"\n[study]\nvariants = 3'))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["--over", "train.lr"], "--over"),
        (["--over", "=1"], "--over"),
        (["--over", "train.lr=1,,2"], "--over"),
        (["--over", "train.lr=1,1"], "--over"),
        (["--over", "train.lr=1,2", "--train.lr", "3"], "--train.lr"),
        (["--over", "method.gan_loss=lsgan,wrong"], "method.gan_loss"),
        (["--over", "recipe=pix2pix,wrong"], None),
        (["--train.run", "x"], "--train.run"),
        (["--val", "1"], "study.val"),
        (["--seeds", "0"], "study.seeds"),
    ],
)
def test_invalid_options_are_refused(words: list[str], option: str | None) -> None:
    with raises_user_error(option=option):
        settings("pix2pix", "photos", *words)


def test_unknown_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CycloptsError):
        settings("pix2pix", "photos", "--over", "train.unknown=1,2")
    with raises_user_error(option="study.fold"):
        settings(write_recipe(tmp_path, 'base = "pix2pix"\n[study]\nfold = 3'))


def test_values_of_over_that_are_lists_are_refused(tmp_path: Path) -> None:
    """They would be joined to one list of values; named variants take them."""
    path = write_recipe(
        tmp_path,
        """
        base = "pix2pix"
        [study.over]
        "data.crop_size" = [[128, 256], 128]
        """,
    )
    with raises_user_error(option="study.over"):
        settings(path, "photos")
    path = write_recipe(
        tmp_path,
        """
        base = "pix2pix"
        [study.variants.wide]
        "data.load_size" = [143, 286]
        "data.crop_size" = [128, 256]
        """,
    )
    assert settings(path, "photos").variants["wide"].data.crop_size == (128, 256)
