"""Commands on a CUDA device: training, resuming, inference, evaluation, planning.

CUDA graphs are tested in `runtime/test_cuda_graph.py`. Run with `pytest -m cuda`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support import checkpoint_state, identical, log_lines, noise_pairs, sigterm_after, values

from viceversa import Translator
from viceversa.cli import main
from viceversa.config.recipes import Sections, merge, read_recipe
from viceversa.config.run import RunConfig, resolve
from viceversa.errors import RunStopped, UserError
from viceversa.training import loop as training

pytestmark = pytest.mark.cuda
METHODS = ("pix2pix", "cyclegan")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    noise_pairs(root / "train", 12, 36)
    noise_pairs(root / "val", 3, 36)
    return root


def settings(name: str, data: Path, run: Path, /, **more: Any) -> RunConfig:
    """Return settings without reflection padding.

    Its gradient has no deterministic version on CUDA in some versions of torch.
    """
    tiny: Sections = {
        "generator": {"name": "unet", "width": 8, "depth": 4, "norm": "instance", "dropout": 0.5},
        "discriminator": {"width": 8, "layers": 2, "norm": "instance"},
        "data": {"path": str(data), "load_size": 36, "crop_size": 32, "workers": 0},
        "train": {
            "run": str(run),
            "epochs": 3,
            "device": "cuda",
            "precision": "fp32",
            "log_every": 5,
            "samples": 1,
            "sample_every": 10,
            "save_every": 8,
        },
        "validate": {"every": 6, "health": 4},
    }
    if name == "cyclegan":
        tiny["method"] = {"pool_size": 3}
    return resolve(merge(merge(read_recipe(name), tiny), more))


@pytest.fixture
def stop_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    return sigterm_after(monkeypatch)


def losses(run: Path) -> list[dict[str, float]]:
    return [values(line, "loss") for line in log_lines(run, "train")]


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16", "fp16"])
@pytest.mark.parametrize("name", METHODS)
def test_a_run_stopped_and_resumed_equals_an_uninterrupted_one(
    data: Path, tmp_path: Path, stop_at: Callable[[int], None], name: str, precision: str
) -> None:
    """Identical with `train.deterministic`; the CUDA graph is captured again after resuming."""
    more = {"train": {"deterministic": True, "precision": precision, "ema": 0.9}}
    training.train(settings(name, data, tmp_path / "uninterrupted", **more))
    stop_at(17)
    with pytest.raises(RunStopped):
        training.train(settings(name, data, tmp_path / "parts", **more))
    stop_at(0)
    training.train(settings(name, data, tmp_path / "parts", **more))
    uninterrupted, parts = (
        checkpoint_state(tmp_path / "uninterrupted"),
        checkpoint_state(tmp_path / "parts"),
    )
    for field in ("method", "optimizers", "epoch", "batch", "images", "runtime"):
        assert identical(uninterrupted[field], parts[field]), field
    assert losses(tmp_path / "uninterrupted") == losses(tmp_path / "parts")


def test_an_operation_without_deterministic_version_is_refused(data: Path, tmp_path: Path) -> None:
    """The gradient of `grid_sample`, which registration uses, has none."""
    own: Sections = {
        "generator": {"name": "resnet", "width": 8, "blocks": 1, "norm": "instance"},
        "train": {"deterministic": True, "epochs": 1},
    }
    with pytest.raises(UserError, match=r"train\.deterministic"):
        training.train(settings("reggan", data, tmp_path / "run", **own))


@pytest.mark.parametrize("name", METHODS)
def test_monitoring_changes_no_weight(data: Path, tmp_path: Path, name: str) -> None:
    """Validation, samples and diagnostics do not use the GPU's random numbers of training."""
    rare_options = {
        "train": {"deterministic": True, "sample_every": 10**6},
        "validate": {"every": 0, "health": 0},
    }
    training.train(settings(name, data, tmp_path / "often", train={"deterministic": True}))
    training.train(settings(name, data, tmp_path / "rarely", **rare_options))
    often_state, rarely_state = (
        checkpoint_state(tmp_path / "often"),
        checkpoint_state(tmp_path / "rarely"),
    )
    assert identical(often_state["method"], rarely_state["method"])
    assert identical(often_state["optimizers"], rarely_state["optimizers"])


@pytest.mark.parametrize("name", METHODS)
def test_training_on_cuda_follows_training_on_the_cpu(
    data: Path, tmp_path: Path, name: str
) -> None:
    """In fp32, the first losses agree up to rounding, later ones approximately.

    Without dropout and image pool, whose random numbers differ between devices.
    """
    found = {}
    for device in ("cpu", "cuda"):
        more: dict[str, Any] = {
            "generator": {"dropout": 0.0},
            "train": {"device": device, "log_every": 1, "epochs": 1},
        }
        if name == "cyclegan":
            more["method"] = {"pool_size": 0}
        training.train(settings(name, data, tmp_path / device, **more))
        found[device] = losses(tmp_path / device)
    first = {
        name: pytest.approx(value, rel=1e-4, abs=1e-5) for name, value in found["cpu"][0].items()
    }
    assert found["cuda"][0] == first
    for cpu, cuda in zip(found["cpu"], found["cuda"], strict=True):
        assert cuda == {n: pytest.approx(value, rel=0.05, abs=0.02) for n, value in cpu.items()}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's compiler
@pytest.mark.parametrize(
    "speed",
    [
        {"compile": True},
        {"memory_format": "channels_last"},
        {"activation_checkpointing": "blocks"},
        {"cuda_graph": "off"},
        {"fused": False},
    ],
)
def test_each_speed_option_trains_on_cuda(
    data: Path, tmp_path: Path, speed: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    train = {"precision": "bf16", "epochs": 1}
    training.train(settings("cyclegan", data, tmp_path / "run", speed=speed, train=train))
    assert all(np.isfinite(value) for line in losses(tmp_path / "run") for value in line.values())
    assert ("the capture failed" in capsys.readouterr().out) == ("fused" in speed)


PATCHES = {"layers": [0, 4], "head_width": 4, "patches": 8}
OPTIONS: dict[str, tuple[str, Sections]] = {
    "cut": ("cut", {"method": PATCHES}),
    "fastcut": ("fastcut", {"method": PATCHES}),
    "cut-paired": ("cut-paired", {"method": PATCHES}),
    "hard negatives": ("cut", {"method": {**PATCHES, "negatives": "hard"}}),
    "pix2pix-hd": ("pix2pix-hd", {"method": {"lambda_perceptual": 0.0}}),
    "R1": ("pix2pix", {"method": {"lambda_r1": 1.0}}),
    "spectral norm": ("pix2pix", {"discriminator": {"spectral_norm": True, "norm": "none"}}),
    "no-data": ("pix2pix", {"data": {"a": {"nodata": 0}, "b": {"nodata": 0}}}),
    "reggan": ("reggan", {}),
    "cyclegan-reg": ("cyclegan-reg", {}),
}


@pytest.mark.parametrize("option", OPTIONS)
def test_a_graph_of_each_method_and_loss_is_captured(
    data: Path, tmp_path: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, own = OPTIONS[option]
    small: Sections = {"generator": {"name": "resnet", "width": 8, "blocks": 1, "norm": "instance"}}
    if recipe == "pix2pix":
        small = {}
    train = {"precision": "bf16", "epochs": 1}
    training.train(settings(recipe, data, tmp_path / "run", **merge(small, own), train=train))
    found = losses(tmp_path / "run")
    assert found and all(np.isfinite(value) for line in found for value in line.values())
    assert "no CUDA graph" not in capsys.readouterr().out


@pytest.mark.parametrize("name", METHODS)
def test_results_are_the_same_on_both_devices(data: Path, tmp_path: Path, name: str) -> None:
    run = tmp_path / "run"
    training.train(settings(name, data, run, train={"epochs": 1}))
    images = sorted((data / "val" / "A").iterdir())
    for policy in ("image", "running", "paper"):
        # With `paper`, each device draws its own noise.
        models = {d: Translator.load(run / "ab.safetensors", d, policy) for d in ("cpu", "cuda")}
        if policy == "paper":
            twice = [np.asarray(models["cuda"](image)) for image in (images[0], images[0])]
            assert np.array_equal(*twice)
            continue
        for image in images:
            one, two = (np.asarray(models[d](image), dtype=int) for d in ("cpu", "cuda"))
            assert np.abs(one - two).max() <= 1
    values = {}
    for device in ("cpu", "cuda"):
        out = tmp_path / device
        main(["evaluate", str(run), str(data), "-o", str(out), "--device", device])
        values[device] = json.loads((out / "metrics.json").read_text())["directions"]["ab"]["means"]
    assert values["cpu"].keys() == values["cuda"].keys() and values["cpu"]
    for metric, value in values["cpu"].items():
        assert values["cuda"][metric]["mean"] == pytest.approx(value["mean"], rel=0.01, abs=0.003)


def test_commands_on_cuda(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    training.train(settings("pix2pix", data, tmp_path / "run", train={"epochs": 1}))
    image = str(next((data / "val" / "A").iterdir()))
    main(["translate", "run/ab.safetensors", image, "-o", "out", "--device", "cuda"])
    with Image.open(next(Path("out").iterdir())) as result:
        assert result.size == (36, 36)
    main(["explain", "run", image, "-o", "patches.png", "--device", "cuda"])
    with Image.open("patches.png") as result:
        assert result.size[0] > 36


def test_plan_predicts_the_memory_of_the_gpu(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["plan", "pix2pix", str(data), "--json", "--train.device", "cuda"])
    memory = json.loads(capsys.readouterr().out)["memory"]
    assert 0 < memory["free"] <= torch.cuda.mem_get_info()[1]
    assert 0.6 < memory["steps"] / memory["measured"] < 1.6


def test_too_little_gpu_memory_is_an_error_without_traceback(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.cuda.set_per_process_memory_fraction(0.01)
    try:
        with pytest.raises(UserError, match="out of memory"):
            training.train(
                settings(
                    "pix2pix",
                    data,
                    tmp_path / "run",
                    generator={"width": 64, "depth": 5},
                    data={"load_size": 1200, "crop_size": 1024},
                    train={"batch_size": 4},
                )
            )
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "Traceback" not in capsys.readouterr().err
