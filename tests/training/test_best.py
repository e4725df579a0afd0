"""The best validation is selected by one metric, and its weights are saved in best/."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from monitored_runs import METHODS, lines, noise_splits, settings
from PIL import Image
from support import checkpoint_state, identical, values
from torch import Tensor

from viceversa.checkpoint import read_header, read_weights
from viceversa.config.run import RunConfig
from viceversa.data.open import open_data
from viceversa.images.values import quantized
from viceversa.inference import Translator
from viceversa.metrics.paired import l1
from viceversa.training import loop as training
from viceversa.training.best import Best
from viceversa.training.monitor import Monitor

NAN, INF = math.nan, math.inf


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise_splits(tmp_path_factory.mktemp("best"))


def improvements(metric: str, *values: float) -> list[bool]:
    """Return for each value whether it is a new best."""
    best = Best(metric)
    return [best.update({"raw": value}, images) is not None for images, value in enumerate(values)]


@pytest.mark.parametrize("metric", ["l1", "lpips", "swd", "fid", "kid", "cycle"])
def test_lower_is_better_for_most_metrics(metric: str) -> None:
    assert improvements(metric, 3.0, 2.0, 2.0, 4.0, 1.0, -1.0) == [
        True,
        True,
        False,
        False,
        True,
        True,
    ]


@pytest.mark.parametrize("metric", ["psnr", "ssim", "ms_ssim"])
def test_higher_is_better_for_psnr_and_ssim(metric: str) -> None:
    assert improvements(metric, 3.0, 2.0, 3.0, 4.0, 1.0) == [True, False, False, True, False]


@pytest.mark.parametrize("metric", ["l1", "psnr"])
def test_a_non_finite_value_is_never_the_best(metric: str) -> None:
    assert improvements(metric, NAN, INF, -INF, 3.0, NAN) == [False, False, False, True, False]
    best = Best(metric)
    assert best.update({"raw": NAN, "ema": 3.0}, 7) == "ema"
    assert best.update({"raw": 3.0, "ema": NAN}, 8) is None


def test_validations_since_the_best_are_counted() -> None:
    best = Best("l1")
    counts = []
    for images, value in enumerate((NAN, 2.0, 2.0, 3.0, 1.0, NAN)):
        best.update({"raw": value}, images)
        counts.append((best.since, best.images, best.last))
    assert counts == [(1, 0, 0), (0, 1, 1), (1, 1, 2), (2, 1, 3), (0, 4, 4), (1, 4, 5)]


def test_the_better_of_raw_and_ema_weights_is_chosen() -> None:
    best = Best("ssim")
    assert best.update({"raw": 0.5, "ema": 0.6}, 1) == "ema"
    assert best.update({"raw": 0.7, "ema": 0.65}, 2) == "raw"
    assert (best.value, best.images, best.weights) == (0.7, 2, "raw")


def test_the_best_is_restored_only_for_the_same_metric() -> None:
    before = Best("psnr")
    before.update({"raw": 20.0}, 5)
    before.update({"raw": 19.0}, 6)
    state = json.loads(json.dumps(before.state()))
    again, other = Best("psnr"), Best("l1")
    again.restore(state)
    other.restore(state)
    assert again == before and other == Best("l1")


def test_the_best_restarts_with_a_message_for_other_held_out_images() -> None:
    before = Best("l1", of="these")
    before.update({"raw": 0.5}, 5)
    alike, other, none = Best("l1", of="these"), Best("l1", of="others"), Best("l1")
    assert alike.restore(before.state()) == "" and alike == before
    assert "the held-out images are not the same" in other.restore(before.state())
    assert other == Best("l1", of="others")
    assert none.restore(before.state()) == "" and none == before  # kept without validation
    psnr = Best("psnr", of="these")
    assert "validate.best_metric is now psnr" in psnr.restore(before.state()) and psnr.value is None


# -- complete runs

Weights = tuple[dict[str, dict[str, Tensor]], dict[str, dict[str, Tensor]]]


@pytest.fixture
def weights_at_validations(monkeypatch: pytest.MonkeyPatch) -> dict[int, Weights]:
    """Collect raw and EMA generator weights at each validation, by images processed."""
    weights_at: dict[int, Weights] = {}
    validate = Monitor.validate

    def record(self: Monitor, *rest: Any) -> None:
        ema = self.ema.networks() if self.ema is not None else {}
        weights_at[rest[2].images] = tuple(  # type: ignore[assignment]
            {
                direction: {name: tensor.clone() for name, tensor in network.state_dict().items()}
                for direction, network in networks.items()
            }
            for networks in (self.method.translators(), ema)
        )
        validate(self, *rest)

    monkeypatch.setattr(Monitor, "validate", record)
    return weights_at


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_best_contains_the_weights_of_the_best_validation(
    name: str, ema: float, data: Path, tmp_path: Path, weights_at_validations: dict[int, Weights]
) -> None:
    more: dict[str, dict[str, Any]] = {"train": {"ema": ema, "lr": 2e-2}, "validate": {"every": 3}}
    run = training.train(settings(name, data, tmp_path / "run", **more))
    metric = {"pix2pix": "l1", "cyclegan": "swd"}[name]
    found = lines(run, "validation")
    names = {"raw": f"val.{metric}", "ema": f"val_ema.{metric}"}
    measured = {
        (line["images"], weights): line[name]
        for line in found
        for weights, name in names.items()
        if name in line
    }
    (images, weights) = min(measured, key=lambda key: measured[key])
    best = {"value": measured[images, weights], "images": images, "weights": weights}
    assert values(found[-1], "best") == best | {"metric": metric}
    directions = ("ab",) if name == "pix2pix" else ("ab", "ba")
    for direction in directions:
        header = read_header(run / "best" / f"{direction}.safetensors")
        assert (header["images_processed"], header["weights"]) == (images, weights)
        assert header["validation"]["best"] == best
        saved = read_weights(run / "best" / f"{direction}.safetensors")
        expected = weights_at_validations[images][("raw", "ema").index(weights)]
        assert identical(saved, expected[direction])
        others = [raw for at, (raw, _) in weights_at_validations.items() if at != images]
        assert others and not any(identical(saved, raw[direction]) for raw in others)  # control
    files = {path.name for path in (run / "best").iterdir()}
    assert files == {path.name for path in run.glob("*.safetensors")}


def test_the_best_value_equals_the_error_of_the_saved_translator(
    data: Path, tmp_path: Path
) -> None:
    config = settings("pix2pix", data, tmp_path / "run", train={"lr": 1e-2})
    run = training.train(config)
    translator = Translator.load(run / "best" / "ab.safetensors", "cpu")
    dataset = held_out(config)
    errors = []
    for position in range(3):
        batch = dataset.batch([(1, position)], torch.device("cpu"))
        assert batch is not None
        source, target = batch.a, batch.b
        output = quantized(translator.tensor(source), dataset.domains["b"])
        errors += l1(output, target).tolist()
    best = values(lines(run, "validation")[-1], "best")
    assert sum(errors) / 3 == pytest.approx(best["value"], abs=1e-6)


def held_out(config: RunConfig) -> Any:
    return open_data(config.data, True, 0, Path("unused"), lambda text: None).held_out


@pytest.mark.parametrize("metric", ["psnr", "ssim"])
def test_best_metric_selects_the_best(metric: str, data: Path, tmp_path: Path) -> None:
    more: dict[str, dict[str, Any]] = {
        "train": {"lr": 2e-2, "epochs": 3},
        "validate": {"every": 2, "best_metric": metric},
    }
    run = training.train(settings("pix2pix", data, tmp_path / "run", **more))
    found = lines(run, "validation")
    measured = [line[f"val.{metric}"] for line in found]
    assert len(set(measured)) > 1
    best = values(found[-1], "best")
    assert best["value"] == max(measured) == measured[best["images"] // 2 - 1]


def test_resuming_with_another_metric_restarts_the_best(data: Path, tmp_path: Path) -> None:
    def trained(epochs: int, metric: str) -> Any:
        more: dict[str, dict[str, Any]] = {
            "train": {"epochs": epochs},
            "validate": {"best_metric": metric, "every": 2},
        }
        run = training.train(settings("pix2pix", data, tmp_path / "run", **more))
        return run, lines(run, "validation")

    trained(1, "l1")
    run, found = trained(2, "psnr")
    after = next(line for line in found if line["images"] > 6)
    expected = {"metric": "psnr", "value": after["val.psnr"], "images": 8, "weights": "raw"}
    assert values(after, "best") == expected
    assert checkpoint_state(run)["monitor"]["best"]["metric"] == "psnr"


@pytest.mark.parametrize("change", ["nothing", "names", "count", "contents", "size"])
def test_resuming_with_other_held_out_images_restarts_the_best(
    change: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With lr 0, values change only if the images change."""
    data = noise_splits(tmp_path / "data")

    def trained(epochs: int, side: int = 16, **validate: Any) -> dict[str, Any]:
        more: dict[str, dict[str, Any]] = {
            "train": {"epochs": epochs, "lr": 0.0},
            "validate": {"every": 6, **validate},
            "data": {"load_size": side, "crop_size": side},
        }
        run = training.train(settings("pix2pix", data, tmp_path / "run", **more))
        return values(lines(run, "validation")[-1], "best")

    assert trained(1)["images"] == 6
    for path in sorted(data.glob("val/*/02.png")):
        if change == "names":  # names do not affect metrics
            path.rename(path.with_name("03.png"))
        elif change == "contents":
            with Image.open(path) as image:
                rotated = image.rotate(180)
            rotated.save(path)
    validate = {"images": 2} if change == "count" else {}
    best = trained(2, 12 if change == "size" else 16, **validate)
    restarted = change not in ("nothing", "names")
    assert best["images"] == (12 if restarted else 6)
    assert ("the held-out images are not the same" in capsys.readouterr().out) == restarted
