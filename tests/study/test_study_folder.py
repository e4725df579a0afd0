"""The folder of a study: the settings of its runs, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support import noise_images, noise_pairs, raises_user_error

from viceversa.config.recipes import read_recipe
from viceversa.config.run import resolve
from viceversa.config.study import study_settings
from viceversa.study.folder import StudyFolder, StudyRun, open_study, prepare
from viceversa.study.members import generators


def prepared(data: Path, root: Path, *words: str, recipe: str = "pix2pix") -> StudyFolder:
    config = study_settings(recipe, [str(data), *words])
    assert config is not None
    return prepare(config, root, lambda text: None)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return noise_pairs(tmp_path / "data", 6, 8)


@pytest.mark.slow
def test_each_run_is_an_ordinary_recipe(data: Path, tmp_path: Path) -> None:
    over = ["--over", "recipe=pix2pix,cyclegan", "--folds", "3", "--seeds", "2", "--seed", "7"]
    study = prepared(data, tmp_path / "study", *over)
    assert len(study.runs) == 12 and study.runs[0] == StudyRun("pix2pix", 1, 7)
    assert study.runs[0].name == "pix2pix/fold-1/seed-7"
    assert study.paired  # the images of CycleGAN are evaluated as pairs, too
    assert open_study(tmp_path / "study") == study
    for run in study.runs:
        config = resolve(read_recipe(str(study.config(run))))
        assert config.name("method") == run.variant and config.train.seed == run.seed
        assert Path(config.data.path) == study.manifest(run) and config.data.layout == "auto"
        assert Path(config.train.run) == study.folder(run) and config.validate.every > 0
        assert study.state(run) == "not begun"


@pytest.mark.slow
def test_test_images_never_select_a_model(data: Path, tmp_path: Path) -> None:
    study = prepared(data, tmp_path / "study", "--folds", "2", "--val", "0")
    for run in study.runs:
        assert resolve(read_recipe(str(study.config(run)))).validate.every == 0
    with raises_user_error(option="validate.patience"):
        prepared(data, tmp_path / "2", "--folds", "2", "--val", "0", "--validate.patience", "3")


@pytest.mark.parametrize("layout", ["side-by-side", "photos", "unpaired"])
def test_other_layouts(tmp_path: Path, layout: str) -> None:
    data, recipe, words = tmp_path / "data", "pix2pix", ["--folds", "3", "--val", "0.4"]
    if layout == "unpaired":
        noise_images(data / "A", 6, "x")
        noise_images(data / "B", 6, "y")
        recipe = "cyclegan"
    else:
        noise_images(data, 6, size=(8, 16))
        words += ["--data.layout", layout]
        recipe = "colourise" if layout == "photos" else "pix2pix"
    study = prepared(data, tmp_path / "study", *words, recipe=recipe)
    config = resolve(read_recipe(str(study.config(study.runs[0]))))
    assert config.data.layout == ("auto" if layout == "unpaired" else layout)
    assert study.paired == (layout != "unpaired")


@pytest.mark.slow
def test_a_moved_study_and_moved_data_are_the_same(data: Path, tmp_path: Path) -> None:
    options = ["--folds", "2", "--val", "0"]
    prepared(data, tmp_path / "study", *options)
    before = (tmp_path / "study" / "folds" / "fold-1.csv").read_text()
    (tmp_path / "elsewhere" / "deeper").mkdir(parents=True)
    shutil.move(data, tmp_path / "elsewhere" / "deeper" / "data")
    moved = tmp_path / "elsewhere" / "deeper" / "data"
    prepared(moved, tmp_path / "study", *options)
    after = (tmp_path / "study" / "folds" / "fold-1.csv").read_text()
    assert before != after
    assert before.replace("../../data", "../../elsewhere/deeper/data") == after


@pytest.mark.slow
def test_what_cannot_be_a_study_is_refused(data: Path, tmp_path: Path) -> None:
    root, two = tmp_path / "study", ["--folds", "2", "--val", "0"]
    with raises_user_error(option="data.hold_out"):
        prepared(data, root, *two, "--data.hold_out", "0.1")
    with raises_user_error(option="data.layout"):
        prepared(data, root, *two, "--over", "data.layout=auto,folders")
    with raises_user_error(option="--run"):
        prepared(data, data / "study", *two)
    with raises_user_error(option="--folds"):
        prepared(data, root)  # no test split
    assert not root.exists()
    (root / "x").mkdir(parents=True)
    (root / "config.json").write_text("{}")
    with raises_user_error(option="--run"):
        prepared(data, root, *two)
    (root / "config.json").unlink()
    with raises_user_error(path=root):
        open_study(root)
    prepared(data, root, *two)
    table = json.loads((root / "study.json").read_text())
    (root / "study.json").write_text(json.dumps(table | {"format": 2}))
    with raises_user_error(path=root / "study.json"):
        prepared(data, root, *two)
    (root / "study.json").write_text("{")
    with raises_user_error(path=root / "study.json"):
        open_study(root)


def test_generators_of_several_variants_need_the_name_of_one(data: Path, tmp_path: Path) -> None:
    root = tmp_path / "study"
    prepared(data, root, "--folds", "2", "--val", "0", "--over", "method.gan_loss=lsgan,hinge")
    with raises_user_error(option="--variant") as caught:
        generators(root, "", 0, "auto")
    assert "several variants; choose one: --variant lsgan or --variant hinge" in str(caught.value)
    with raises_user_error(option="--variant") as caught:
        generators(root, "wgan", 0, "auto")
    assert str(caught.value) == "--variant selects one of lsgan, hinge, not 'wgan'"
    with raises_user_error(path=root):  # not finished
        generators(root, "hinge", 0, "auto")


@pytest.mark.slow
def test_an_interrupted_preparation_is_repeated(data: Path, tmp_path: Path) -> None:
    prepared(data, tmp_path / "study", "--folds", "2", "--val", "0")
    (tmp_path / "study" / "study.json").unlink()  # written last
    prepared(data, tmp_path / "study", "--folds", "2", "--val", "0", "--train.lr", "1")
    study = open_study(tmp_path / "study")
    assert resolve(read_recipe(str(study.config(study.runs[0])))).train.lr == 1


@pytest.mark.slow
def test_a_study_from_before_the_option_flips_is_resumed(data: Path, tmp_path: Path) -> None:
    root = tmp_path / "study"
    words = ["--folds", "2", "--evaluate.metrics", "l1"]
    prepared(data, root, *words)
    table = json.loads((root / "study.json").read_text())
    assert table["options"]["evaluate"].pop("flips") is False
    (root / "study.json").write_text(json.dumps(table))
    prepared(data, root, *words)
    with raises_user_error(path=root):
        prepared(data, root, *words, "--evaluate.flips")
