"""Validation: images, metrics, options, and errors before training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monitored_runs import METHODS, lines, noise_splits, settings, tiny_sections
from PIL import Image
from support import command_error, noise_pairs, raises_user_error, values

from viceversa.checkpoint import load_state, save_state
from viceversa.config.validate import ValidateConfig
from viceversa.data.config import DataConfig, uncropped
from viceversa.data.open import open_data
from viceversa.errors import UserError
from viceversa.metrics.limits import KID_IMAGES
from viceversa.training import loop as training
from viceversa.training import validation
from viceversa.training.samples import patch_map_figure
from viceversa.training.snapshot import eval_copies, snapshot


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise_splits(tmp_path_factory.mktemp("validation"))


# -- whole images


@pytest.mark.parametrize(
    ("preprocess", "expected"),
    [
        ("resize_and_crop", "resize"),
        ("resize", "resize"),
        ("crop", "none"),
        ("scale_width", "scale_width"),
        ("scale_width_and_crop", "scale_width"),
        ("scale_shortside", "scale_shortside"),
        ("none", "none"),
    ],
)
def test_whole_images_are_resized_and_not_cropped(preprocess: Any, expected: str) -> None:
    rotates = preprocess in ("resize_and_crop", "resize", "crop")
    before = DataConfig(
        preprocess=preprocess, load_size=30, crop_size=20, rotate90=rotates, workers=1
    )
    after = uncropped(before)
    assert after.preprocess == expected and not after.rotate90
    assert (after.load_size, after.crop_size, after.workers) == (30, 20, 1)


@pytest.mark.parametrize(
    ("preprocess", "size"),
    [
        ("resize_and_crop", (16, 16)),
        ("crop", (20, 28)),
        ("none", (20, 28)),
        ("scale_width", (20, 28)),
        ("scale_width_and_crop", (20, 28)),
    ],
)
def test_held_out_images_have_the_size_of_inputs_at_inference(
    preprocess: str, size: tuple[int, int], tmp_path: Path
) -> None:
    for split in ("train", "val"):
        for domain in "AB":
            (tmp_path / "data" / split / domain).mkdir(parents=True)
            for number in range(2):
                path = tmp_path / "data" / split / domain / f"{number}.png"
                Image.new("RGB", (28, 20), (9 * number, 7, ord(domain))).save(path)
    load = 28 if preprocess.startswith("scale") else 18
    run = training.Run(
        settings(
            "pix2pix",
            tmp_path / "data",
            tmp_path / "run",
            data={"preprocess": preprocess, "load_size": load},
        )
    )
    assert run.data.held_out is not None
    batch = run.data.held_out.batch([(1, 0)], torch.device("cpu"))
    assert batch is not None
    assert [tuple(side.shape[2:]) for side in batch.tensors] == [size, size]


# -- splits


def test_without_a_held_out_split_training_runs_without_validation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = training.train(
        settings(
            "pix2pix",
            noise_pairs(tmp_path / "data", 4, 20),
            tmp_path / "run",
            validate={"patience": 1},
        )
    )
    assert "no validation: the data have no val or test split" in capsys.readouterr().out
    assert not (run / "best").exists() and not lines(run, "validation")
    assert lines(run, "train")[-1]["images"] == 8


@pytest.mark.parametrize(
    ("splits", "chosen"),
    [({"val": 2, "test": 3}, "val"), ({"test": 3}, "test"), ({"val": 2}, "val")],
)
def test_val_is_preferred_to_test(
    splits: dict[str, int], chosen: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = noise_splits(tmp_path / "data", **splits)
    run = training.train(settings("pix2pix", data, tmp_path / "run", train={"epochs": 1}))
    expected = f"validation on {splits[chosen]} images of {chosen} (first image: "
    assert expected in capsys.readouterr().out
    for line in lines(run, "validation"):
        assert (line["split"], line["n"]) == (chosen, splits[chosen])


def test_validate_images_limits_the_number_of_images(data: Path, tmp_path: Path) -> None:
    runs = [
        training.Run(settings("pix2pix", data, tmp_path / "run", validate={"images": count}))
        for count in (1, 2, 100)
    ]
    held_out = [run.monitor.validation for run in runs]
    assert [one.count for one in held_out if one is not None] == [1, 2, 3]
    networks = eval_copies(runs[0].method.translators())
    values = [one(networks)["l1"] for one in held_out if one is not None]
    assert len(set(values)) == 3


# -- metrics


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("direction", ["ab", "ba"])
def test_each_method_has_its_metrics(name: str, direction: str, data: Path, tmp_path: Path) -> None:
    run = training.Run(settings(name, data, tmp_path / "run", data={"direction": direction}))
    assert run.monitor.validation is not None
    found = run.monitor.validation(eval_copies(run.method.translators()))
    if name == "pix2pix":
        assert list(found) == ["l1", "psnr", "ssim"]
        return
    assert set(found) == {
        f"{metric}{suffix}"
        for metric in ("cycle", "edge_correlation", "swd")
        for suffix in ("", "_ab", "_ba")
    }
    for metric in ("cycle", "edge_correlation", "swd"):
        mean = (found[f"{metric}_ab"] + found[f"{metric}_ba"]) / 2
        assert found[metric] == pytest.approx(mean, rel=1e-6)


def test_a_paired_method_of_both_directions_is_monitored_in_both(
    data: Path, tmp_path: Path
) -> None:
    run = training.Run(settings("cyclegan-reg", data, tmp_path / "run"))
    assert run.monitor.validation is not None
    with snapshot(run.method) as copies:
        found = run.monitor.validation(copies.generators)
        figure = patch_map_figure(copies, run.data.samples, run.config, run.runtime.device)
    metrics = [
        f"{name}{suffix}" for name in ("l1", "psnr", "ssim") for suffix in ("", "_ab", "_ba")
    ]
    assert set(found) == set(metrics)
    assert figure is not None
    titles = [panel["title"] for panel in figure.about["panels"]]
    assert len(titles) == len(set(titles)) and {"generated A", "generated B"} <= set(titles)


def test_a_direction_is_named_by_the_domains_on_disk(data: Path, tmp_path: Path) -> None:
    """With direction ba, the generator that the method calls ab translates B to A."""
    found = {}
    for direction in ("ab", "ba"):
        more = {"data": {"direction": direction}}
        run = training.Run(settings("cyclegan", data, tmp_path / "run", **more))
        assert run.monitor.validation is not None
        networks = run.method.translators()
        if direction == "ba":
            networks = {"ab": networks["ba"], "ba": networks["ab"]}
        for name, network in networks.items():
            torch.manual_seed(ord(name[0]))
            for weight in network.parameters():
                torch.nn.init.normal_(weight, std=0.1)
        if direction == "ba":
            networks = {"ab": networks["ba"], "ba": networks["ab"]}
        found[direction] = run.monitor.validation(eval_copies(networks))
    for metric in ("swd_ab", "swd_ba", "cycle_ab", "cycle_ba"):
        assert found["ab"][metric] == pytest.approx(found["ba"][metric], rel=1e-5)
    assert found["ab"]["cycle_ab"] != pytest.approx(found["ab"]["cycle_ba"], rel=1e-3)  # control


def test_a_metric_that_is_not_available_is_reported_once(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = training.train(
        settings(
            "pix2pix", data, tmp_path / "run", validate={"extra_metrics": ["ms_ssim"], "every": 2}
        )
    )
    expected = [line for line in capsys.readouterr().out.splitlines() if "ms_ssim" in line]
    assert expected == [
        "validation without ms_ssim: it needs images of at least 176 x 176 pixels, and "
        "one is 16 x 16"
    ]
    found = lines(run, "validation")
    assert len(found) == 6 and list(values(found[0], "val")) == ["l1", "psnr", "ssim"]


class MeanFeatures(torch.nn.Module):
    """Replacement of the network of FID and KID with three features per image."""

    def forward(self, rgb: torch.Tensor) -> torch.Tensor:
        return rgb.float().mean((2, 3)) / 255


def test_too_few_images_for_kid_are_reported(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    available = validation.Features({"inception": MeanFeatures()}, {"inception": "0"})
    monkeypatch.setattr(validation, "load_features", lambda *_: available)
    monkeypatch.setattr("viceversa.evaluation.accumulator.pool3", lambda network, rgb: network(rgb))
    more: dict[str, Any] = {"extra_metrics": ["fid", "kid"], "every": 3}
    run = training.train(settings("cyclegan", data, tmp_path / "run", validate=more))
    expected = [line for line in capsys.readouterr().out.splitlines() if "without kid" in line]
    assert expected == [
        f"validation without kid: it needs at least {KID_IMAGES} images in each set, "
        "and there are 3 and 3"
    ]
    assert {"fid", "fid_ab", "fid_ba"} < values(lines(run, "validation")[0], "val").keys()
    with pytest.raises(UserError, match=f"at least {KID_IMAGES} held-out images, and val has 3"):
        training.Run(
            settings(
                "cyclegan",
                data,
                tmp_path / "other",
                validate={"extra_metrics": ["kid"], "best_metric": "kid"},
            )
        )


# -- invalid options


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "option_words", "expected"),
    [
        ("pix2pix", ["every", "-1"], "validate.every must be at least 0, not -1"),
        ("pix2pix", ["patience", "-1"], "validate.patience must be at least 0, not -1"),
        ("pix2pix", ["health", "-3"], "validate.health must be at least 0, not -3"),
        ("pix2pix", ["images", "0"], "validate.images must be at least 1, not 0"),
        (
            "pix2pix",
            ["best_metric", "lpips"],
            "validate.best_metric lpips is not among the "
            "metrics; name it in validate.extra_metrics",
        ),
        ("cyclegan", ["best_metric", "fid"], "validate.best_metric fid is not among the metrics"),
        (
            "pix2pix",
            ["patience", "2", "every", "0"],
            "validate.patience counts validations; validate.every is 0",
        ),
        (
            "pix2pix",
            ["best_metric", "cycle"],
            "validate.best_metric cycle needs a method of both directions",
        ),
        (
            "cyclegan",
            ["best_metric", "psnr"],
            "validate.best_metric psnr needs pairs, and this method trains",
        ),
        (
            "cyclegan",
            ["extra_metrics", "ms_ssim"],
            "validate.extra_metrics ms_ssim needs pairs, and this "
            "method trains without; set validate.pairs",
        ),
        ("pix2pix", ["best_metric", "beauty"], "best_metric"),
        ("pix2pix", ["extra_metrics", "beauty"], "extra_metrics"),
        ("pix2pix", ["every", "often"], "every"),
        ("pix2pix", ["evry", "1"], "evry"),
    ],
)
def test_an_invalid_option_is_refused_with_one_line(
    name: str,
    option_words: list[str],
    expected: str,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = [f"--validate.{word}" if i % 2 == 0 else word for i, word in enumerate(option_words)]
    message = command_error(capsys, "train", name, data, "--train.run", tmp_path / "run", *options)
    assert expected in message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("metric", "network"), [("fid", "inception"), ("lpips", "alexnet")])
def test_a_missing_feature_network_is_reported_before_training(
    metric: str, network: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, empty = tmp_path / "recipe.json", tmp_path / "empty"
    more: dict[str, Any] = {"extra_metrics": [metric], "features": str(empty)}
    path.write_text(json.dumps(tiny_sections("pix2pix", data, tmp_path / "run", validate=more)))
    message = command_error(capsys, "train", path)
    assert f"{empty}/{network}.safetensors is not there" in message
    assert f"viceversa features --get {network} --to {empty}" in message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "monitor_state", [{}, {"best": 3}, {"best": {}, "diagnostics": {}, "ema": 1}]
)
def test_an_invalid_monitor_state_is_refused(
    monitor_state: dict[str, Any], data: Path, tmp_path: Path
) -> None:
    config = settings("pix2pix", data, tmp_path / "run", train={"epochs": 1, "ema": 0.9})
    path = max((training.train(config) / "checkpoints").iterdir())
    save_state(path, {**load_state(path), "monitor": monitor_state})
    with pytest.raises(UserError, match="does not match this run"):
        training.train(config)


def test_default_and_explicit_best_metric() -> None:
    assert [ValidateConfig().chosen(paired) for paired in (True, False)] == ["l1", "swd"]
    assert ValidateConfig(best_metric="kid", extra_metrics=("kid",)).chosen(False) == "kid"
    assert ValidateConfig(best_metric="ssim").chosen(True) == "ssim"
    assert ValidateConfig(best_metric="cycle").chosen(False) == "cycle"


# -- data.hold_out and validate.pairs


@pytest.mark.parametrize("name", METHODS)
def test_a_run_with_hold_out_resumes_with_the_same_held_out_images(
    name: str, tmp_path: Path
) -> None:
    data = noise_pairs(tmp_path / "data", 8, 20)
    run, part = tmp_path / "run", {"hold_out": 0.4, "max_images": 4}
    training.train(settings(name, data, run, data=part))
    run_again = training.Run(settings(name, data, run, data=part, train={"epochs": 3}))
    used = {source.name.stem for source in run_again.data.train.sources("a")}
    assert run_again.data.split == "val" and run_again.data.held_out is not None and len(used) == 4
    for domain in "ab":
        out = {source.name.stem for source in run_again.data.held_out.sources(domain)}
        assert out and not out & used
    training.train_run(run_again)
    assert run_again.progress.images == 4 * 3
    assert json.loads((run / "config.json").read_text())["data"]["hold_out"] == 0.4
    assert {line["split"] for line in lines(run, "validation")} == {"val"}


def test_cyclegan_validates_on_pairs_with_validate_pairs(data: Path, tmp_path: Path) -> None:
    measured = {}
    for pairs in (False, True):
        run = tmp_path / str(pairs)
        training.train(settings("cyclegan", data, run, validate={"pairs": pairs}))
        measured[pairs] = values(lines(run, "validation")[-1], "val")
    for metric in ("l1", "psnr", "ssim"):
        for name in (metric, f"{metric}_ab", f"{metric}_ba"):
            assert (name in measured[True]) and name not in measured[False]
    # The other metrics, and so the training, are unchanged.
    assert {name: measured[True][name] for name in measured[False]} == measured[False]


def test_errors_of_pairs_compare_partners(data: Path, tmp_path: Path) -> None:
    """Identity generators have the error between each image and its partner."""
    run = training.Run(settings("cyclegan", data, tmp_path / "run", validate={"pairs": True}))
    validation, dataset = run.monitor.validation, run.data.held_out
    assert validation is not None and dataset is not None and dataset.paired
    first, second = ([s.name.stem for s in dataset.sources(domain)] for domain in "ab")
    assert first == second == ["00", "01", "02"]
    unchanged = torch.nn.Identity()
    unchanged.smallest = unchanged.multiple = 1  # type: ignore[assignment]
    found = validation({"ab": unchanged, "ba": unchanged})
    errors = []
    for name in first:
        one, two = (
            np.asarray(Image.open(data / f"val/{side}/{name}.png").resize((16, 16), Image.BICUBIC))
            for side in "AB"
        )
        errors.append(np.abs(one.astype(float) - two).mean() / 127.5)
    for metric in ("l1", "l1_ab", "l1_ba"):
        assert found[metric] == pytest.approx(np.mean(errors), rel=1e-2)


def test_metrics_of_pairs_can_be_the_best_metric(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    training.train(settings("cyclegan", data, run, validate={"pairs": True, "best_metric": "l1"}))
    assert lines(run, "validation")[-1]["best.metric"] == "l1"
    invalid: list[dict[str, Any]] = [{"best_metric": "l1"}, {"extra_metrics": ["ms_ssim"]}]
    for validate in invalid:
        with raises_user_error(f"validate.{next(iter(validate))}") as caught:
            settings("cyclegan", data, run, validate=validate)
        assert "set validate.pairs if the images of val" in str(caught.value)
        settings("cyclegan", data, run, validate=validate | {"pairs": True})


def test_missing_pairs_are_refused_before_training(tmp_path: Path) -> None:
    data = noise_splits(tmp_path / "data", val=3)
    with_pairs: Any = {"validate": {"pairs": True}}
    flat = noise_pairs(tmp_path / "flat", 4, 20)
    with pytest.raises(UserError, match=r"no val or test split; add one, or set data\.hold_out"):
        training.Run(settings("cyclegan", flat, tmp_path / "1", **with_pairs))
    half: Any = {"data": {"hold_out": 0.5}}
    held = training.Run(settings("cyclegan", flat, tmp_path / "2", **half, **with_pairs))
    assert held.data.held_out is not None and held.data.held_out.paired
    for number in range(3):
        (data / f"val/A/0{number}.png").rename(data / f"val/A/x{number}y.png")
    with raises_user_error("validate.pairs") as caught:
        training.Run(settings("cyclegan", data, tmp_path / "3", **with_pairs))
    assert str(caught.value).startswith("validate.pairs needs pairs in val: ")
    training.Run(settings("cyclegan", data, tmp_path / "4"))  # without pairs, names do not matter
    (data / "val/A/x0y.png").rename(data / "val/A/00.png")
    notes: list[str] = []
    config = settings("cyclegan", data, tmp_path / "5", **with_pairs)
    opened = open_data(config.data, False, 0, tmp_path / "5", notes.append, None, True)
    assert opened.held_out is not None and opened.held_out.lengths == (1, 1)
    assert "validate.pairs: 1 pair of val; left out: 4 images without a partner" in notes
    Image.new("RGB", (20, 30)).save(data / "val/A/00.png")
    shape: Any = {"data": {"preprocess": "none"}}
    with pytest.raises(UserError, match=r"00\.png is 20x30 and .*00\.png 20x20; set data\.prep"):
        training.Run(settings("cyclegan", data, tmp_path / "6", **with_pairs, **shape))
    training.Run(
        settings("cyclegan", data, tmp_path / "7", **with_pairs)
    )  # the same size after resizing
    with pytest.raises(UserError, match=r"validate\.pairs has no effect with validate\.every 0"):
        ValidateConfig(every=0, pairs=True)
