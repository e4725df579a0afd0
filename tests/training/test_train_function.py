"""viceversa.train: options, datasets of Python, on_step and on_validation, quiet."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support import (
    checkpoint_state,
    command_error,
    identical,
    log_lines,
    newest_checkpoint,
    noise_pairs,
    raises_user_error,
    values,
)
from torch import Tensor
from torch.utils.data import TensorDataset

import viceversa
from viceversa import StepInfo, Translator, ValidationInfo
from viceversa.checkpoint import load_state, read_header
from viceversa.config.command_line import run_options
from viceversa.config.recipes import read_recipe
from viceversa.config.run import resolve
from viceversa.config.train import TrainConfig
from viceversa.runtime.distributed import Ranks
from viceversa.training.functions import UserFunctions
from viceversa.training.progress import Progress, Step
from viceversa.training.requests import Requests

TINY: dict[str, Any] = {
    "generator": {"width": 4, "depth": 3},
    "discriminator": {"width": 4, "layers": 1},
    "device": "cpu",
    "quiet": True,
}


def images(count: int, channels: int = 3, seed: int = 0) -> Tensor:
    """Images of noise in [-1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, channels, 16, 16, generator=generator) * 2 - 1


def dataset(count: int = 5, channels: int = 3) -> TensorDataset:
    return TensorDataset(images(count, channels), images(count, seed=1))


class Noisy:
    """Pairs with random augmentation by torch's global generator."""

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        a, b = dataset()[index]
        return {"a": (a + 0.1 * torch.randn(a.shape)).clamp(-1, 1), "b": b}


def sections(run: Path) -> Any:
    return viceversa.read_recipe(str(run))


# -- options


def test_shortcuts_and_sections_are_options_of_the_recipe(tmp_path: Path) -> None:
    data = noise_pairs(tmp_path / "data", 3, 20)
    run = viceversa.train(
        "pix2pix",
        data,
        run=tmp_path / "run",
        epochs=1,
        batch_size=2,
        lr=0.001,
        load_size=18,
        crop_size=16,
        direction="ba",
        seed=7,
        precision="bf16",
        method={"lambda_l1": 10.0},
        train={"samples": 1, "log_every": 1},
        validate={"every": 0},
        speed={"fused": False},
        **TINY,
    )
    assert run == tmp_path / "run" and (run / "ba.safetensors").exists()
    settings = sections(run)
    assert settings["train"]["batch_size"] == 2 and settings["train"]["lr"] == 0.001
    assert settings["train"]["seed"] == 7 and settings["train"]["precision"] == "bf16"
    assert settings["data"]["crop_size"] == 16 and settings["data"]["load_size"] == 18
    assert settings["method"]["lambda_l1"] == 10.0 and settings["train"]["samples"] == 1
    assert settings["generator"]["width"] == 4 and settings["validate"]["every"] == 0
    assert settings["speed"]["fused"] is False and settings["data"]["path"] == str(data)


def test_a_recipe_may_be_a_file_or_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    noise_pairs(tmp_path / "data", 2, 20)
    recipe = tmp_path / "mine.toml"
    recipe.write_text('base = "pix2pix"\n[data]\nload_size = 18\ncrop_size = 16\n')
    folder = {"path": "data", "flip": False}
    assert viceversa.train(recipe, folder, epochs=1, **TINY) == Path("runs/mine")
    assert sections(Path("runs/mine"))["data"]["flip"] is False
    config = viceversa.resolve(viceversa.read_recipe("mine.toml"))
    assert viceversa.train(config, "data", epochs=1, **TINY) == Path("runs/pix2pix")


def test_the_folder_of_a_run_resumes_it(tmp_path: Path) -> None:
    data = noise_pairs(tmp_path / "data", 2, 20)
    run = tmp_path / "run"
    sizes = {"load_size": 18, "crop_size": 16}
    viceversa.train("pix2pix", data, run=run, epochs=1, **sizes, **TINY)
    assert viceversa.train(run, epochs=2, quiet=True) == run
    assert load_state(newest_checkpoint(run))["images"] == 4
    with raises_user_error("resume", run):
        viceversa.train("pix2pix", data, run=run, epochs=3, resume=False, **sizes, **TINY)
    assert load_state(newest_checkpoint(run))["images"] == 4
    other = viceversa.train(
        "pix2pix", data, run=tmp_path / "new", epochs=1, resume=False, **sizes, **TINY
    )
    assert (other / "ab.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        ({"epochs": 2, "train": {"epochs": 2}}, "train.epochs"),
        ({"epochs": 0}, "train.epochs"),
        ({"lr": "fast"}, "train.lr"),
        ({"generator": {"widht": 4}}, "generator.widht"),
        ({"val_data": [1]}, "val_data"),
    ],
    ids=str,
)
def test_invalid_options_are_refused(arguments: dict[str, Any], option: str) -> None:
    with raises_user_error(option):
        viceversa.train("pix2pix", "data", **arguments)


# -- datasets of Python


def test_a_dataset_of_pairs_trains_and_its_model_translates(tmp_path: Path) -> None:
    run = viceversa.train(
        "pix2pix",
        dataset(channels=1),
        val_data=dataset(3, channels=1),
        run=tmp_path / "run",
        epochs=2,
        batch_size=2,
        validate={"every": 5},
        **TINY,
    )
    header = read_header(run / "ab.safetensors")
    assert header["source"]["config"]["channels"] == 1
    log = [line for line in (run / "log.jsonl").read_text().splitlines() if "psnr" in line]
    assert len(log) == 2 and list((run / "samples").glob("*.png"))
    assert (run / "best" / "ab.safetensors").exists() and (run / "report.html").exists()
    assert Translator.load(run / "ab.safetensors", "cpu")(images(1, 1)).shape == (1, 3, 16, 16)


def test_two_datasets_train_an_unpaired_method(tmp_path: Path) -> None:
    run = viceversa.train(
        "cyclegan",
        (images(4), TensorDataset(images(3, seed=1))),
        val_data=(images(2), images(3)),
        run=tmp_path / "run",
        epochs=1,
        **TINY | {"generator": {"name": "unet", "width": 4, "depth": 3}},
    )
    assert (run / "ab.safetensors").exists() and (run / "ba.safetensors").exists()


def test_without_held_out_data_the_log_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "viceversa"):
        viceversa.train("pix2pix", dataset(2), run=tmp_path / "run", epochs=1, **TINY)
    assert "no validation: pass val_data to validate" in caplog.messages


@pytest.mark.parametrize(
    ("name", "option", "text"),
    [
        ("hold_out", "data.hold_out", "data={'path': ..., 'hold_out': 0.1}"),
        ("ema", "train.ema", "ema is an option of train: train={'ema': 0.1}"),
        ("lambda_l1", "method.lambda_l1", "method={'lambda_l1': 0.1}"),
        ("blocks", "generator.blocks", "generator={'blocks': 0.1}"),
        ("width", "generator.width", "an option of generator or discriminator: generator="),
        ("bach_size", "bach_size", "no argument 'bach_size' (did you mean batch_size?)"),
    ],
)
def test_an_unknown_argument_is_refused_with_the_section_of_the_option(
    name: str, option: str, text: str, tmp_path: Path
) -> None:
    with raises_user_error(option) as caught:
        viceversa.train("pix2pix", "photos", run=tmp_path / "run", **{name: 0.1})
    assert text in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_every_option_of_a_run_that_is_no_argument_is_refused_with_its_section() -> None:
    known = inspect.signature(viceversa.train).parameters
    assert "epochs" in known
    for option in run_options(resolve(read_recipe("pix2pix"))):
        section, name = option.key.split(".")[:2]
        if name not in known and name != "name":
            with raises_user_error() as caught:
                viceversa.train("pix2pix", "photos", **{name: 1})
            assert section in str(caught.value).split(":")[0]


def test_a_size_that_does_not_fit_is_refused_with_one_that_does(tmp_path: Path) -> None:
    data = TensorDataset(images(2)[..., :15], images(2)[..., :15])
    with raises_user_error("data") as caught:
        viceversa.train("pix2pix", data, run=tmp_path / "run", **TINY)
    assert "16x16 would fit (the dataset decides the size" in str(caught.value)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_stopped_run_resumes_with_the_dataset_to_the_bit(tmp_path: Path) -> None:
    """Also within an epoch, with random augmentation in the dataset, and in other processes."""

    def train(name: str, workers: int = 0, **more: Any) -> Path:
        run, data = tmp_path / name, {"path": Noisy(), "workers": workers}
        viceversa.train("pix2pix", data, run=run, epochs=3, seed=3, **more, **TINY)
        return run

    whole = train("whole")
    with pytest.raises(ZeroDivisionError):
        train("part", on_step=lambda info: 1 // (7 - info.images))
    assert load_state(newest_checkpoint(tmp_path / "part"))["images"] == 7
    assert identical(checkpoint_state(whole), checkpoint_state(train("part", workers=1)))


def test_a_run_on_a_dataset_cannot_be_resumed_from_its_config_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = viceversa.train("pix2pix", dataset(), run="run", epochs=1, **TINY)
    before = newest_checkpoint(run).read_bytes()
    with raises_user_error("data", run) as caught:
        viceversa.train(run, epochs=2, quiet=True)
    assert 'viceversa.train("run", data=DATASET)' in str(caught.value)
    for arguments in (["train", run], ["train", run / "config.json", "--train.run", "other"]):
        assert "data=DATASET" in command_error(capsys, *arguments)
    for arguments in (["evaluate", run], ["plan", run]):
        assert "name a folder" in command_error(capsys, *arguments)
    data = noise_pairs(tmp_path / "data", 2, 20)
    with raises_user_error("data.path"):
        viceversa.train(run, data, epochs=2, quiet=True)
    files = viceversa.train(
        "pix2pix", data, run="files", epochs=1, load_size=18, crop_size=16, **TINY
    )
    with raises_user_error("data.path"):
        viceversa.train(files, dataset(), epochs=2, quiet=True)
    assert newest_checkpoint(run).read_bytes() == before
    viceversa.train(run, dataset(), epochs=2, quiet=True)  # the control
    assert load_state(newest_checkpoint(run))["images"] == 10


def test_a_dataset_of_another_length_restarts_the_epoch(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "run"
    with pytest.raises(ZeroDivisionError):
        viceversa.train(
            "pix2pix",
            dataset(5),
            run=run,
            epochs=2,
            on_step=lambda info: 1 // (3 - info.images),
            **TINY,
        )
    with caplog.at_level(logging.INFO, "viceversa"):
        viceversa.train(run, dataset(4), quiet=True)
    assert "[5, 5] to [4, 4]; restarting epoch 1" in caplog.text
    assert load_state(newest_checkpoint(run))["images"] == 3 + 2 * 4


# -- functions of the user


def test_on_step_gets_every_step(tmp_path: Path) -> None:
    steps: list[StepInfo] = []
    losses: list[dict[str, float]] = []

    def on_step(info: StepInfo) -> None:
        steps.append(info)
        losses.append(info.losses)

    run = viceversa.train(
        "pix2pix",
        dataset(5),
        run=tmp_path / "run",
        epochs=2,
        batch_size=2,
        lr=0.01,
        train={"log_every": 1},
        on_step=on_step,
        **TINY,
    )
    assert [info.step for info in steps] == [1, 2, 3, 4, 5, 6]
    assert [info.epoch for info in steps] == [1, 1, 1, 2, 2, 2]
    assert [info.images for info in steps] == [2, 4, 5, 7, 9, 10]
    assert [info.lr for info in steps] == pytest.approx([0.01] * 3 + [0.005] * 3)
    assert [values(line, "loss") for line in log_lines(run, "train")] == losses
    assert [line["step"] for line in log_lines(run, "train")] == [info.step for info in steps]
    assert "tensor" not in repr(steps[0])
    # The step is counted over the whole run.
    viceversa.train(run, dataset(5), epochs=3, on_step=on_step, quiet=True)
    assert [info.step for info in steps[6:]] == [7, 8, 9]


def test_on_step_is_not_called_if_no_step_was_taken() -> None:
    """Such as for a batch whose files are all invalid."""
    calls: list[StepInfo] = []
    requests = Requests(TrainConfig(), Ranks(), lambda: False)
    functions = UserFunctions(requests, calls.append)
    step = Step(1, 0, [None], 1, 0.1, Progress(1, 1, 1))
    functions.on_step(step, 1, {})
    assert calls == []
    functions.on_step(step, 1, {"g_l1": torch.tensor(2.0)})
    assert [info.losses for info in calls] == [{"g_l1": 2.0}]


def test_on_validation_gets_every_validation_with_the_better_values(tmp_path: Path) -> None:
    found: list[ValidationInfo] = []
    viceversa.train(
        "pix2pix",
        dataset(4),
        val_data=dataset(2),
        run=tmp_path / "run",
        epochs=3,
        validate={"every": 4},
        train={"ema": 0.5},
        on_validation=found.append,
        **TINY,
    )
    assert [(one.images, one.epoch, one.split, one.count) for one in found] == [
        (4, 1, "val", 2),
        (8, 2, "val", 2),
        (12, 3, "val", 2),
    ]
    assert found[0].is_best and found[0].best_metric == "l1"
    assert found[0].better == {"l1": "lower", "psnr": "higher", "ssim": "higher"}
    assert set(found[0].values) == set(found[0].ema) == set(found[0].better)
    best = [min(one.values["l1"], one.ema["l1"]) for one in found]
    assert [one.is_best for one in found] == [
        value < min([*best[:i], float("inf")]) for i, value in enumerate(best)
    ]


def failing(calls: list[Any], at: int) -> Callable[[Any], None]:
    """Return a function that raises at its call number `at`."""

    def fail(info: Any) -> None:
        calls.append(info)
        if len(calls) == at:
            raise LookupError("of the user")

    return fail


@pytest.mark.parametrize(("at", "done"), [(1, 4), (3, 12)])
def test_an_exception_in_on_validation_ends_the_run_once_it_is_saved(
    tmp_path: Path, at: int, done: int
) -> None:
    """Also in the validation at the end; none is repeated in the resumed run."""
    run, calls = tmp_path / "run", list[Any]()

    def train(on_validation: Callable[[ValidationInfo], object]) -> None:
        viceversa.train(
            "pix2pix",
            dataset(4),
            val_data=dataset(2),
            run=run,
            epochs=3,
            validate={"every": 4},
            on_validation=on_validation,
            **TINY,
        )

    with pytest.raises(LookupError, match="of the user"):
        train(failing(calls, at))
    assert load_state(newest_checkpoint(run))["images"] == done and len(calls) == at
    train(calls.append)
    assert [info.images for info in calls] == [4, 8, 12]


def test_an_exception_in_on_step_ends_the_run_once_it_is_saved(tmp_path: Path) -> None:
    run, calls = tmp_path / "run", list[Any]()
    with pytest.raises(LookupError, match="of the user"):
        viceversa.train("pix2pix", dataset(5), run=run, epochs=2, on_step=failing(calls, 3), **TINY)
    assert load_state(newest_checkpoint(run))["images"] == 3 and len(calls) == 3
    assert (run / "ab.safetensors").exists()


# -- output


def test_quiet_writes_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    arguments = TINY | {"epochs": 1, "quiet": False}
    with caplog.at_level(logging.INFO, "viceversa"):
        viceversa.train("pix2pix", dataset(), run=tmp_path / "1", **arguments)
        captured, logged = capfd.readouterr(), caplog.messages.copy()
        caplog.clear()
        viceversa.train("pix2pix", dataset(), run=tmp_path / "2", **arguments | {"quiet": True})
    assert captured.out.splitlines() == logged and captured.err == ""
    assert capfd.readouterr() == ("", "") and len(caplog.messages) == len(logged)
