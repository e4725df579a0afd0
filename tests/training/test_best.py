"""Which validation was the best, and that its weights are what is kept."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from monitored_runs import METHODS, data_set, lines, settings
from PIL import Image
from support import checkpoint_state, identical
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
    return data_set(tmp_path_factory.mktemp("best"))


def taken(metric: str, *values: float) -> list[bool]:
    """Whether each value was better than all before."""
    best = Best(metric)
    return [best.update({"raw": value}, place) is not None for place, value in enumerate(values)]


@pytest.mark.parametrize("metric", ["l1", "lpips", "swd", "fid", "kid", "cycle"])
def test_of_most_metrics_less_is_better(metric: str) -> None:
    assert taken(metric, 3.0, 2.0, 2.0, 4.0, 1.0, -1.0) == [True, True, False, False, True, True]


@pytest.mark.parametrize("metric", ["psnr", "ssim", "ms_ssim"])
def test_of_these_more_is_better(metric: str) -> None:
    assert taken(metric, 3.0, 2.0, 3.0, 4.0, 1.0) == [True, False, False, True, False]


@pytest.mark.parametrize("metric", ["l1", "psnr"])
def test_what_is_no_number_is_never_the_best(metric: str) -> None:
    assert taken(metric, NAN, INF, -INF, 3.0, NAN) == [False, False, False, True, False]
    best = Best(metric)
    assert best.update({"raw": NAN, "ema": 3.0}, 7) == "ema"
    assert best.update({"raw": 3.0, "ema": NAN}, 8) is None


def test_validations_since_the_best_are_counted() -> None:
    best = Best("l1")
    counts = []
    for place, value in enumerate((NAN, 2.0, 2.0, 3.0, 1.0, NAN)):
        best.update({"raw": value}, place)
        counts.append((best.since, best.images, best.last))
    assert counts == [(1, 0, 0), (0, 1, 1), (1, 1, 2), (2, 1, 3), (0, 4, 4), (1, 4, 5)]


def test_raw_or_averaged_whichever_is_better() -> None:
    best = Best("ssim")
    assert best.update({"raw": 0.5, "ema": 0.6}, 1) == "ema"
    assert best.update({"raw": 0.7, "ema": 0.65}, 2) == "raw"
    assert (best.value, best.images, best.weights) == (0.7, 2, "raw")


def test_going_on_remembers_but_for_another_metric() -> None:
    before = Best("psnr")
    before.update({"raw": 20.0}, 5)
    before.update({"raw": 19.0}, 6)
    state = json.loads(json.dumps(before.state()))
    again, other = Best("psnr"), Best("l1")
    again.restore(state)
    other.restore(state)
    assert again == before and other == Best("l1")


def test_going_on_with_other_images_forgets_and_says_so() -> None:
    before = Best("l1", of="these")
    before.update({"raw": 0.5}, 5)
    alike, other, none = Best("l1", of="these"), Best("l1", of="others"), Best("l1")
    assert alike.restore(before.state()) == "" and alike == before
    assert "the held-out images are not the same" in other.restore(before.state())
    assert other == Best("l1", of="others")
    assert none.restore(before.state()) == "" and none == before  # without validation, it is kept
    psnr = Best("psnr", of="these")
    assert "validate.best_metric is now psnr" in psnr.restore(before.state()) and psnr.value is None


# -- whole runs

Moment = tuple[dict[str, dict[str, Tensor]], dict[str, dict[str, Tensor]]]


@pytest.fixture
def moments(monkeypatch: pytest.MonkeyPatch) -> dict[int, Moment]:
    """The weights as they were at each validation: images -> raw and averaged generators."""
    seen: dict[int, Moment] = {}
    validate = Monitor.validate

    def noting(self: Monitor, *rest: Any) -> None:
        raw, kept = self.method.translators(), self.ema
        both = raw, kept.networks() if kept is not None else {}
        seen[rest[2].images] = tuple(  # type: ignore[assignment]
            {way: {k: w.clone() for k, w in net.state_dict().items()} for way, net in nets.items()}
            for nets in both
        )
        validate(self, *rest)

    monkeypatch.setattr(Monitor, "validate", noting)
    return seen


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_the_kept_weights_are_those_of_the_best_validation(
    name: str, ema: float, data: Path, tmp_path: Path, moments: dict[int, Moment]
) -> None:
    more: dict[str, dict[str, Any]] = {"train": {"ema": ema, "lr": 2e-2},
                                       "validate": {"every": 3}}  # fmt: skip
    run = training.train(settings(name, data, tmp_path / "run", **more))
    metric = {"pix2pix": "l1", "cyclegan": "swd"}[name]
    found = [line["validation"] for line in lines(run, "validation")]
    values = {
        (line["images"], weights): line["validation"][weights][metric]
        for line in lines(run, "validation") for weights in ("raw", "ema")
        if weights in line["validation"]
    }  # fmt: skip
    (images, weights) = min(values, key=lambda place: values[place])
    best = {"value": values[images, weights], "images": images, "weights": weights}
    assert found[-1]["best"] == best and found[-1]["chosen_by"] == metric
    ways = ("ab",) if name == "pix2pix" else ("ab", "ba")
    for way in ways:
        header = read_header(run / "best" / f"{way}.safetensors")
        assert (header["images_seen"], header["weights"]) == (images, weights)
        assert header["validation"]["best"] == best
        kept = read_weights(run / "best" / f"{way}.safetensors")
        moment = moments[images][("raw", "ema").index(weights)]
        assert identical(kept, moment[way])
        others = [at for at in moments if at != images]  # the control
        assert others and not any(identical(kept, moments[at][0][way]) for at in others)
    files = {path.name for path in (run / "best").iterdir()}
    assert files == {path.name for path in run.glob("*.safetensors")}


def test_the_number_of_the_best_is_that_of_its_translator(data: Path, tmp_path: Path) -> None:
    config = settings("pix2pix", data, tmp_path / "run", train={"lr": 1e-2})
    run = training.train(config)
    translator = Translator.load(run / "best" / "ab.safetensors", "cpu")
    pictures = held_out(config)
    errors = []
    for position in range(3):
        source, target = pictures.batch([(1, position)], torch.device("cpu"))  # type: ignore[misc]
        made = quantized(translator.tensor(source), pictures.domains["b"])
        errors += l1(made, target).tolist()
    best = lines(run, "validation")[-1]["validation"]["best"]
    assert sum(errors) / 3 == pytest.approx(best["value"], abs=1e-6)


def held_out(config: RunConfig) -> Any:
    return open_data(config.data, True, 0, Path("unused"), lambda text: None).held_out


@pytest.mark.parametrize("metric", ["psnr", "ssim"])
def test_the_best_is_chosen_by_the_metric_that_is_named(
    metric: str, data: Path, tmp_path: Path
) -> None:
    more: dict[str, dict[str, Any]] = {"train": {"lr": 2e-2, "epochs": 3},
                                       "validate": {"every": 2, "best_metric": metric}}  # fmt: skip
    run = training.train(settings("pix2pix", data, tmp_path / "run", **more))
    found = lines(run, "validation")
    values = [line["validation"]["raw"][metric] for line in found]
    assert len(set(values)) > 1
    best = found[-1]["validation"]["best"]
    assert best["value"] == max(values) == values[best["images"] // 2 - 1]


def test_going_on_with_another_metric_begins_anew(data: Path, tmp_path: Path) -> None:
    def trained(epochs: int, metric: str) -> Any:
        more: dict[str, dict[str, Any]] = {
            "train": {"epochs": epochs},
            "validate": {"best_metric": metric, "every": 2},
        }
        run = training.train(settings("pix2pix", data, tmp_path / "run", **more))
        return run, lines(run, "validation")

    trained(1, "l1")
    run, found = trained(2, "psnr")
    after = [line["validation"] for line in found if line["images"] > 6]
    assert after[0]["chosen_by"] == "psnr"
    assert after[0]["best"] == {"value": after[0]["raw"]["psnr"], "images": 8, "weights": "raw"}
    assert checkpoint_state(run)["monitor"]["best"]["metric"] == "psnr"


@pytest.mark.parametrize("change", ["nothing", "names", "count", "contents", "size"])
def test_going_on_with_other_held_out_images_begins_anew(
    change: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A rate of 0: the numbers could only become better by other images."""
    data = data_set(tmp_path / "data")

    def trained(epochs: int, side: int = 16, **validate: Any) -> dict[str, Any]:
        more: dict[str, dict[str, Any]] = {
            "train": {"epochs": epochs, "lr": 0.0},
            "validate": {"every": 6, **validate},
            "data": {"load_size": side, "crop_size": side},
        }
        run = training.train(settings("pix2pix", data, tmp_path / "run", **more))
        best: dict[str, Any] = lines(run, "validation")[-1]["validation"]["best"]
        return best

    assert trained(1)["images"] == 6
    for path in sorted(data.glob("val/*/02.png")):
        if change == "names":  # which are not what a measure is of
            path.rename(path.with_name("03.png"))
        elif change == "contents":
            with Image.open(path) as image:
                turned = image.rotate(180)
            turned.save(path)
    validate = {"images": 2} if change == "count" else {}
    best = trained(2, 12 if change == "size" else 16, **validate)
    anew = change not in ("nothing", "names")
    assert best["images"] == (12 if anew else 6)
    assert ("the held-out images are not the same" in capsys.readouterr().out) == anew
