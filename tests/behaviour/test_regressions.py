"""Unusual data and settings that once failed: each works now or is refused with its name."""

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
from support import command_error, identical
from torch import Tensor

from viceversa.checkpoint import load_state, read_header
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
        "train": {
            "run": str(run),
            "epochs": 2,
            "device": "cpu",
            "precision": "fp32",
            "log_every": 2,
            "samples": 1,
            "save_every": 1,
        },
    }
    return resolve(merge(merge(read_recipe(name), tiny), more))


def write_noise(path: Path, seed: int = 0, height: int = 16, width: int = 16) -> None:
    rng = np.random.default_rng(seed)
    write(path, rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def write_pairs(root: Path, count: int, height: int = 16, width: int = 16) -> Path:
    for number in range(count):
        for domain in "AB":
            write_noise(root / domain / f"{number:02d}.png", number, height, width)
    return root


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".gif", ".png", ".tif"])
def test_label_maps_are_written_without_loss(suffix: str) -> None:
    network = make_method(settings("pix2pix", Path("x"), Path("y"))).translators()["ab"]
    labels = Domain(DomainConfig(kind="labels", classes=("#000000", "#ff0000", "#00ff00")))
    translator = Translator(network, Domain(), labels, "cpu")
    assert translator.suffix(suffix) == (suffix if suffix in (".png", ".tif") else ".png")
    photos = Translator(network, Domain(), Domain(), "cpu")
    assert photos.suffix(".jpg") == ".jpg"


def test_resuming_with_fewer_images_restarts_the_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, run = write_pairs(tmp_path / "data", 6), tmp_path / "run"
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
    training.train(settings("pix2pix", data, run))  # was once an endless loop
    output = capsys.readouterr().out
    assert "3 images of A removed" in output and "restarting epoch 1" in output
    state = load_state(max((run / "checkpoints").glob("*.safetensors")))
    assert (state["epoch"], state["batch"], state["images"]) == (3, 0, 5 + 3 + 3)


# -- accumulation around an invalid image


def test_an_invalid_image_does_not_change_the_number_of_steps(tmp_path: Path) -> None:
    for missing in range(4):
        data = write_pairs(tmp_path / f"{missing}", 4)
        run = training.Run(
            settings(
                "pix2pix",
                data,
                tmp_path / f"run{missing}",
                train={"accumulation_steps": 2},
                data={"max_invalid": 0.5, "cache": "off"},
            )
        )
        index = run.data.train.indices(1, missing)[0]
        (data / "A" / f"{index:02d}.png").write_bytes(b"")
        training.train_run(run)
        path = max((tmp_path / f"run{missing}" / "checkpoints").glob("*.safetensors"))
        steps = {int(one["step"]) for one in load_state(path)["optimizers"]["generator"].values()}
        assert steps == {4}  # two steps in each of two epochs


@pytest.mark.slow
@pytest.mark.parametrize("valid", [0, 1])
def test_a_step_with_one_valid_batch_equals_a_step_on_that_batch(
    valid: int, tmp_path: Path
) -> None:
    data = write_pairs(tmp_path / "data", 4)

    def weights(skip: bool) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return weights and losses after a step on one batch; `skip`: beside an invalid one."""
        run = training.Run(settings("pix2pix", data, tmp_path / "run"))
        batch = run.data.train.batch([(1, valid)], torch.device("cpu"))
        batches = [batch, None] if valid == 0 else [None, batch]
        step = Step(1, 0, batches if skip else [batch], 2, 1e-3, Progress(1, 2, 2))
        with run.logging():
            losses, _ = run.update(step, step.counts)
        return dict(run.method.named_parameters()), losses

    alone, with_invalid = weights(skip=False), weights(skip=True)
    assert identical(alone[0], with_invalid[0]) and identical(alone[1], with_invalid[1])


# -- ranges


def test_minmax_is_the_range_of_composited_pixels(tmp_path: Path) -> None:
    pixels = np.zeros((16, 16, 4), dtype=np.uint8)
    pixels[..., :3] = np.arange(16, dtype=np.uint8)[:, None, None] * 6
    pixels[..., 3] = 80
    for domain in "AB":
        write(tmp_path / "data" / domain / "x.png", pixels)
    domain = DomainConfig(range="minmax")
    config = DataConfig(path=str(tmp_path / "data"), preprocess="none", a=domain, b=domain)
    opened_data = open_data(config, True, 0, tmp_path, lambda text: None)
    composited = read(tmp_path / "data" / "A" / "x.png", 3)
    assert opened_data.train.domains["a"].low == (float(composited.min()),) * 3
    source, _ = opened_data.train.first()
    assert float(source.min()) == pytest.approx(-1) and float(source.max()) == pytest.approx(1)
    assert float(source.std()) > 0.3


def test_a_replaced_archive_is_read_again(tmp_path: Path) -> None:
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


@pytest.mark.slow
def test_an_invalid_or_unusual_sample_image_does_not_stop_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_pairs(tmp_path / "data" / "train", 3).parent
    write_pairs(data / "val", 2, 10, 13)  # a size that is not divisible by 4
    run = training.Run(settings("pix2pix", data, tmp_path / "run", train={"samples": 2}))
    (data / "val" / "A" / "00.png").write_bytes(b"")
    training.train_run(run)
    assert "left out: " in capsys.readouterr().out
    with Image.open(tmp_path / "run" / "samples" / "00000006.png") as grid:
        assert grid.size == (3 * (13 + 2) + 2, 10 + 2 + 2)  # the remaining row


def test_samples_of_training_images_are_not_augmented(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", 2)
    strong = {"rotate": 45.0, "jitter": 0.9, "flip": True}
    run = training.Run(settings("pix2pix", data, tmp_path / "run", data=strong))
    batch = run.data.samples.batch([(1, 0)], torch.device("cpu"))
    assert batch is not None
    expected = torch.from_numpy(read(data / "A" / "00.png").copy()).movedim(-1, 0) / 127.5 - 1
    assert torch.allclose(batch[0][0], expected, atol=1e-5)


# -- images of several sizes


@pytest.mark.parametrize(("name", "new_size"), [("cyclegan", (20, 20)), ("pix2pix", (18, 18))])
def test_an_image_of_another_size_is_refused_with_its_name(
    name: str, new_size: tuple[int, int], tmp_path: Path
) -> None:
    data = write_pairs(tmp_path / "data", 3)
    config = settings(name, data, tmp_path / "run")
    run = training.Run(config)
    index = run.data.train.indices(1, 2)
    for domain, number in zip("AB", index, strict=True):
        write_noise(data / domain / f"{number:02d}.png", 9, *new_size)
    run = training.Run(config)
    with pytest.raises(UserError, match=rf"{new_size[1]}x{new_size[0]}.*{index[0]:02d}\.png"):
        training.train_run(run)


# -- settings


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "expected"),
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
def test_invalid_numbers_are_refused(
    options: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_pairs(tmp_path / "data", 1)
    run = tmp_path / "run"
    message = command_error(capsys, "train", "cyclegan", data, "--train.run", run, *options)
    assert expected in message


def test_recipes_based_on_each_other_are_refused(tmp_path: Path) -> None:
    (tmp_path / "one.toml").write_text('base = "two.toml"\n')
    (tmp_path / "two.toml").write_text('base = "one.toml"\n')
    with pytest.raises(UserError, match="based on itself"):
        read_recipe(str(tmp_path / "one.toml"))
    (tmp_path / "two.toml").write_text('base = "pix2pix"\n[train]\nepochs = 3\n')
    assert read_recipe(str(tmp_path / "one.toml"))["train"]["epochs"] == 3  # relative to one.toml
    (tmp_path / "bad.toml").write_text('[method]\nname = ["a"]\n')
    with pytest.raises(UserError, match=r"method\.name"):
        resolve(read_recipe(str(tmp_path / "bad.toml")))


def test_percentiles_respect_max_megapixels(tmp_path: Path) -> None:
    pixels: Pixels = np.linspace(0, 4000, 1100 * 1000).reshape(1100, 1000, 1).astype(np.uint16)
    for domain in "AB":
        write(tmp_path / "data" / domain / "x.tif", pixels)
    domain = DomainConfig(channels=1, range="percentiles")
    config = DataConfig(path=str(tmp_path / "data"), max_megapixels=1, a=domain, b=domain)
    with pytest.raises(UserError, match="max_megapixels"):
        open_data(config, True, 0, tmp_path, lambda text: None)
    wide = DataConfig(path=str(tmp_path / "data"), max_megapixels=2, a=domain, b=domain)
    assert open_data(wide, True, 0, tmp_path, lambda text: None).train.domains["a"].high[0] > 3900


def test_a_truncated_cache_is_rebuilt(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", 2)
    config = DataConfig(path=str(data), preprocess="none", cache="disk")
    messages: list[str] = []
    open_data(config, True, 0, tmp_path / "run", messages.append)
    cache = tmp_path / "run" / "cache" / "images.bin"
    cache.write_bytes(cache.read_bytes()[:100])
    opened_data = open_data(config, True, 0, tmp_path / "run", messages.append)
    assert any("images.bin is damaged" in text for text in messages)
    assert opened_data.train.image("b", 1).shape == (3, 16, 16)


@pytest.mark.slow
def test_fine_tuning_needs_the_same_architecture(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", 2)
    training.train(settings("pix2pix", data, tmp_path / "one"))
    init = {"init": str(tmp_path / "one")}
    other = {"norm": "none"}  # same shapes, another network
    with pytest.raises(UserError, match=r"generator\.norm 'instance' -> 'none'"):
        training.train(settings("pix2pix", data, tmp_path / "two", train=init, generator=other))
    training.train(settings("pix2pix", data, tmp_path / "two", train=init))
    for path in (tmp_path / "one").glob("*.safetensors"):
        path.unlink()  # a resumed run does not need its initial weights
    training.train(settings("pix2pix", data, tmp_path / "two", train={**init, "epochs": 3}))
    assert read_header(tmp_path / "two" / "ab.safetensors")["images_processed"] == 6


def test_new_betas_apply_when_a_run_is_resumed(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", 2)
    training.train(settings("pix2pix", data, tmp_path / "run"))
    again = settings("pix2pix", data, tmp_path / "run", train={"betas": [0.9, 0.99], "epochs": 3})
    run = training.Run(again)
    training.train_run(run)
    assert run.optimizers["generator"].param_groups[0]["betas"] == (0.9, 0.99)


@pytest.mark.slow
def test_loading_a_translator_does_not_change_the_random_state(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", 1)
    training.train(settings("pix2pix", data, tmp_path / "run"))
    before = torch.get_rng_state()
    Translator.load(tmp_path / "run" / "ab.safetensors", "cpu")
    assert torch.equal(torch.get_rng_state(), before)


def test_a_dataset_returns_the_file_names_of_a_sample(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", 3)
    opened_data = open_data(DataConfig(path=str(data)), True, 0, tmp_path, lambda text: None)
    dataset: ImageDataset = opened_data.train
    index = dataset.indices(1, 0)[0]
    expected = [str(data / domain / f"{index:02d}.png") for domain in "AB"]
    assert dataset.names(1, 0) == expected and math.isfinite(len(dataset))
