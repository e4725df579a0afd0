"""Odd data and odd settings that once went wrong: each is right now, or refused by name."""

from __future__ import annotations

import math
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support import identical
from torch import Tensor

from viceversa.checkpoint import load_state, read_header
from viceversa.cli import main
from viceversa.config.recipes import merge, read_recipe
from viceversa.config.run import RunConfig, make_method, resolve
from viceversa.data import DataConfig
from viceversa.data.dataset import ImageDataset
from viceversa.data.open import open_data
from viceversa.errors import RunStopped, UserError
from viceversa.images import Pixels, read, write
from viceversa.images.domain import Domain, DomainConfig
from viceversa.images.sources import Source
from viceversa.inference import Translator
from viceversa.training import loop as training
from viceversa.training.progress import Progress, Step


def settings(name: str, data: Path, run: Path, /, **more: dict[str, Any]) -> RunConfig:
    tiny: dict[str, Any] = {
        "generator": {"name": "unet", "width": 4, "depth": 2, "norm": "instance"},
        "discriminator": {"width": 4, "layers": 1, "norm": "instance"},
        "data": {"path": str(data), "preprocess": "none", "flip": False, "workers": 0},
        "train": {"run": str(run), "epochs": 2, "device": "cpu", "log_every": 2, "samples": 1,
                  "save_every": 1},
    }  # fmt: skip
    return resolve(merge(merge(read_recipe(name), tiny), more))


def put(path: Path, seed: int = 0, height: int = 16, width: int = 16) -> None:
    rng = np.random.default_rng(seed)
    write(path, rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def pairs(root: Path, count: int, height: int = 16, width: int = 16) -> Path:
    for number in range(count):
        for domain in "AB":
            put(root / domain / f"{number:02d}.png", number, height, width)
    return root


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".gif", ".png", ".tif"])
def test_label_maps_are_written_without_loss(suffix: str) -> None:
    network = make_method(settings("pix2pix", Path("x"), Path("y"))).translators()["ab"]
    labels = Domain(DomainConfig(kind="labels", classes=("#000000", "#ff0000", "#00ff00")))
    translator = Translator(network, Domain(), labels, "cpu")
    assert translator.suffix(suffix) == (suffix if suffix in (".png", ".tif") else ".png")
    photos = Translator(network, Domain(), Domain(), "cpu")
    assert photos.suffix(".jpg") == ".jpg"


def test_going_on_with_fewer_images_begins_the_epoch_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, run = pairs(tmp_path / "data", 6), tmp_path / "run"
    monkeypatch.setattr(
        "viceversa.training.requests.crossed", lambda before, after, every: after == 5
    )
    with pytest.raises(RunStopped):
        stopped = training.Run(settings("pix2pix", data, run))
        real = stopped.save

        def stop(*arguments: Any, **more: Any) -> None:
            stopped.requests.signals.append(15)
            real(*arguments, **more)

        monkeypatch.setattr(stopped, "save", stop)
        training.train_run(stopped)
    monkeypatch.undo()
    for domain in "AB":
        for number in (3, 4, 5):
            (data / domain / f"{number:02d}.png").unlink()
    capsys.readouterr()
    training.train(settings("pix2pix", data, run))  # it once went round for ever
    said = capsys.readouterr().out
    assert "3 images of A removed" in said and "restarting epoch 1" in said
    state = load_state(max((run / "checkpoints").glob("*.safetensors")))
    assert (state["epoch"], state["batch"], state["images"]) == (3, 0, 5 + 3 + 3)


# -- accumulation around an invalid image


def test_a_run_steps_once_a_group_whichever_of_its_images_is_bad(tmp_path: Path) -> None:
    for missing in range(4):
        data = pairs(tmp_path / f"{missing}", 4)
        run = training.Run(settings(
            "pix2pix", data, tmp_path / f"run{missing}", train={"accumulation_steps": 2},
            data={"max_invalid": 0.5, "cache": "off"},
        ))  # fmt: skip
        index = run.data.train.indices(1, missing)[0]
        (data / "A" / f"{index:02d}.png").write_bytes(b"")
        training.train_run(run)
        path = max((tmp_path / f"run{missing}" / "checkpoints").glob("*.safetensors"))
        steps = {int(one["step"]) for one in load_state(path)["optimizers"]["generator"].values()}
        assert steps == {4}  # two groups in each of two epochs


@pytest.mark.parametrize("valid", [0, 1])
def test_a_group_with_one_valid_batch_is_the_step_on_that_batch(valid: int, tmp_path: Path) -> None:
    data = pairs(tmp_path / "data", 4)

    def weights(skip: bool) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Weights and losses after a step on one batch, beside a batch without images or alone."""
        run = training.Run(settings("pix2pix", data, tmp_path / "run"))
        batch = run.data.train.batch([(1, valid)], torch.device("cpu"))
        batches = [batch, None] if valid == 0 else [None, batch]
        step = Step(1, 0, batches if skip else [batch], 2, 1e-3, Progress(1, 2, 2))
        with run.logging():
            losses, _ = run.update(step, step.counts)
        return dict(run.method.named_parameters()), losses

    alone, beside = weights(skip=False), weights(skip=True)
    assert identical(alone[0], beside[0]) and identical(alone[1], beside[1])


# -- ranges


def test_minmax_is_of_what_the_network_sees_through_transparency(tmp_path: Path) -> None:
    pixels = np.zeros((16, 16, 4), dtype=np.uint8)
    pixels[..., :3] = np.arange(16, dtype=np.uint8)[:, None, None] * 6
    pixels[..., 3] = 80
    for domain in "AB":
        write(tmp_path / "data" / domain / "x.png", pixels)
    domain = DomainConfig(range="minmax")
    config = DataConfig(path=str(tmp_path / "data"), preprocess="none", a=domain, b=domain)
    opened = open_data(config, True, 0, tmp_path, lambda text: None)
    seen = read(tmp_path / "data" / "A" / "x.png", 3)
    assert opened.train.domains["a"].low == (float(seen.min()),) * 3
    source, _ = opened.train.first()
    assert float(source.min()) == pytest.approx(-1) and float(source.max()) == pytest.approx(1)
    assert float(source.std()) > 0.3


def test_a_replaced_archive_is_read_anew(tmp_path: Path) -> None:
    def archive(value: int) -> None:
        Image.new("L", (4, 4), value).save(tmp_path / "x.png")
        with zipfile.ZipFile(tmp_path / "new.zip", "w") as file:
            file.write(tmp_path / "x.png", "x.png")
        os.replace(tmp_path / "new.zip", tmp_path / "set.zip")

    source = Source(tmp_path / "set.zip", "x.png")
    for value in (7, 200):
        archive(value)
        assert read(source).max() == value


# -- samples


def test_a_bad_or_odd_image_to_show_does_not_end_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = pairs(tmp_path / "data" / "train", 3).parent
    pairs(data / "val", 2, 10, 13)  # a size that the network can't halve twice
    run = training.Run(settings("pix2pix", data, tmp_path / "run", train={"samples": 2}))
    (data / "val" / "A" / "00.png").write_bytes(b"")
    training.train_run(run)
    assert "left out: " in capsys.readouterr().out
    with Image.open(tmp_path / "run" / "samples" / "00000006.png") as sheet:
        assert sheet.size == (3 * (13 + 2) + 2, 10 + 2 + 2)  # the row that is left


def test_samples_of_training_images_are_not_augmented(tmp_path: Path) -> None:
    data = pairs(tmp_path / "data", 2)
    strong = {"rotate": 45.0, "jitter": 0.9, "flip": True}
    run = training.Run(settings("pix2pix", data, tmp_path / "run", data=strong))
    batch = run.data.samples.batch([(1, 0)], torch.device("cpu"))
    assert batch is not None
    expected = torch.from_numpy(read(data / "A" / "00.png").copy()).movedim(-1, 0) / 127.5 - 1
    assert torch.allclose(batch[0][0], expected, atol=1e-5)


# -- images of several sizes


@pytest.mark.parametrize(("name", "later"), [("cyclegan", (20, 20)), ("pix2pix", (18, 18))])
def test_a_later_image_that_does_not_fit_is_refused_by_name(
    name: str, later: tuple[int, int], tmp_path: Path
) -> None:
    data = pairs(tmp_path / "data", 3)
    config = settings(name, data, tmp_path / "run")
    run = training.Run(config)
    index = run.data.train.indices(1, 2)
    for domain, number in zip("AB", index, strict=True):
        put(data / domain / f"{number:02d}.png", 9, *later)
    run = training.Run(config)
    with pytest.raises(UserError, match=rf"{later[1]}x{later[0]}.*{index[0]:02d}\.png"):
        training.train_run(run)


# -- settings


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--train.betas", "2", "3"], "train.betas"),
        (["--train.lr_per_network.discriminator", "-1"], "train.lr_per_network"),
        (["--train.lr", "nan"], "train.lr"),
        (["--train.decay", "nan"], "train.decay"),
        (["--data.rotate", "inf"], "data.rotate"),
        (["--train.seed", "1" + "0" * 22], "train.seed"),
        (["--method.pool_size", "-1"], "method.pool_size"),
        (["--method.lambda_cycle", "-5"], "method.lambda_cycle"),
        (["--method.lambda_cycle", "nan"], "method.lambda_cycle"),
        (["--generator.width", "0"], "width"),
        (["--discriminator.width", "0"], "width"),
        (["--generator.groups", "0"], "groups"),
        (["--generator.blocks", "-3"], "blocks"),
        (["--generator.dropout", "2"], "dropout"),
        (["--train.device", "meta"], "device 'meta'"),
        (["--data.a.range", "0,inf"], "range"),
        (["--data.jitter", "0.5", "--data.a.channels", "4", "--data.b.channels", "4"], "jitter"),
    ],
    ids=" ".join,
)
def test_meaningless_numbers_are_refused(
    words: list[str], named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = pairs(tmp_path / "data", 1)
    with pytest.raises(SystemExit) as caught:
        main(["train", "cyclegan", str(data), "--train.run", str(tmp_path / "run"), *words])
    said = capsys.readouterr().err
    assert caught.value.code == 2 and named in said and said.count("\n") == 1, said


def test_recipes_based_on_each_other_are_refused(tmp_path: Path) -> None:
    (tmp_path / "one.toml").write_text('base = "two.toml"\n')
    (tmp_path / "two.toml").write_text('base = "one.toml"\n')
    with pytest.raises(UserError, match="based on itself"):
        read_recipe(str(tmp_path / "one.toml"))
    (tmp_path / "two.toml").write_text('base = "pix2pix"\n[train]\nepochs = 3\n')
    assert read_recipe(str(tmp_path / "one.toml"))["train"]["epochs"] == 3  # found beside it
    (tmp_path / "bad.toml").write_text('[method]\nname = ["a"]\n')
    with pytest.raises(UserError, match=r"method\.name"):
        resolve(read_recipe(str(tmp_path / "bad.toml")))


def test_percentiles_heed_the_largest_image(tmp_path: Path) -> None:
    deep: Pixels = np.linspace(0, 4000, 1100 * 1000).reshape(1100, 1000, 1).astype(np.uint16)
    for domain in "AB":
        write(tmp_path / "data" / domain / "x.tif", deep)
    domain = DomainConfig(channels=1, range="percentiles")
    config = DataConfig(path=str(tmp_path / "data"), max_megapixels=1, a=domain, b=domain)
    with pytest.raises(UserError, match="max_megapixels"):
        open_data(config, True, 0, tmp_path, lambda text: None)
    wide = DataConfig(path=str(tmp_path / "data"), max_megapixels=2, a=domain, b=domain)
    assert open_data(wide, True, 0, tmp_path, lambda text: None).train.domains["a"].high[0] > 3900


def test_a_cache_that_is_cut_off_is_made_anew(tmp_path: Path) -> None:
    data = pairs(tmp_path / "data", 2)
    config = DataConfig(path=str(data), preprocess="none", cache="disk")
    told: list[str] = []
    open_data(config, True, 0, tmp_path / "run", told.append)
    kept = tmp_path / "run" / "cache" / "images.bin"
    kept.write_bytes(kept.read_bytes()[:100])
    opened = open_data(config, True, 0, tmp_path / "run", told.append)
    assert any("images.bin is damaged" in text for text in told)
    assert opened.train.image("b", 1).shape == (3, 16, 16)


def test_fine_tuning_needs_the_same_architecture(tmp_path: Path) -> None:
    data = pairs(tmp_path / "data", 2)
    training.train(settings("pix2pix", data, tmp_path / "one"))
    init = {"init": str(tmp_path / "one")}
    other = {"norm": "none"}  # of the same shapes, and another network
    with pytest.raises(UserError, match=r"generator\.norm 'instance' -> 'none'"):
        training.train(settings("pix2pix", data, tmp_path / "two", train=init, generator=other))
    training.train(settings("pix2pix", data, tmp_path / "two", train=init))
    for path in (tmp_path / "one").glob("*.safetensors"):
        path.unlink()  # the run goes on without what it began with
    training.train(settings("pix2pix", data, tmp_path / "two", train={**init, "epochs": 3}))
    assert read_header(tmp_path / "two" / "ab.safetensors")["images_seen"] == 6


def test_new_betas_count_when_a_run_goes_on(tmp_path: Path) -> None:
    data = pairs(tmp_path / "data", 2)
    training.train(settings("pix2pix", data, tmp_path / "run"))
    again = settings("pix2pix", data, tmp_path / "run", train={"betas": [0.9, 0.99], "epochs": 3})
    run = training.Run(again)
    training.train_run(run)
    assert run.optimizers["generator"].param_groups[0]["betas"] == (0.9, 0.99)


def test_loading_a_translator_draws_no_random_number(tmp_path: Path) -> None:
    data = pairs(tmp_path / "data", 1)
    training.train(settings("pix2pix", data, tmp_path / "run"))
    before = torch.get_rng_state()
    Translator.load(tmp_path / "run" / "ab.safetensors", "cpu")
    assert torch.equal(torch.get_rng_state(), before)


def test_pictures_know_their_files(tmp_path: Path) -> None:
    data = pairs(tmp_path / "data", 3)
    opened = open_data(DataConfig(path=str(data)), True, 0, tmp_path, lambda text: None)
    pictures: ImageDataset = opened.train
    index = pictures.indices(1, 0)[0]
    expected = [str(data / domain / f"{index:02d}.png") for domain in "AB"]
    assert pictures.names(1, 0) == expected and math.isfinite(len(pictures))
