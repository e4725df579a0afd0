"""Two folders of images are evaluated by the protocol that is used for models."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from support import (
    command_error,
    command_output,
    noise_images,
    noise_pairs,
    option_arguments,
    raises_user_error,
    small_model,
)

import viceversa
from viceversa.cli import main
from viceversa.config.evaluation import EvaluationData, EvaluationOptions
from viceversa.evaluation import as_json, run_evaluation
from viceversa.fields import plain
from viceversa.images import write
from viceversa.images.domain import Domain, DomainConfig

LABELS = DomainConfig(kind="labels", ids=3)
GREY = DomainConfig(channels=1)
HU = DomainConfig(channels=1, range="-1000,3000", unit="HU")
DOMAINS = {
    "RGB of 8 bits": (Domain(), ".png"),
    "grey of 16 bits": (Domain(GREY, "uint16", (0.0,), (65535.0,)), ".png"),
    "int16 with a range": (Domain(HU, "int16", (-1000.0,), (3000.0,)), ".tif"),
    "floats with a range": (Domain(HU, "float32", (-1000.0,), (3000.0,)), ".tif"),
    "ten channels": (
        Domain(DomainConfig(channels=10), "uint16", (0.0,) * 10, (65535.0,) * 10),
        ".npy",
    ),
    "class indices": (
        Domain(DomainConfig(kind="labels", ids=3), "uint8", (0.0,), (255.0,)),
        ".png",
    ),
}


def random_files(folder: Path, domain: Domain, suffix: str, count: int = 4, seed: int = 0) -> Path:
    """Write images of a domain, named 0, 1, ..."""
    rng = np.random.default_rng(seed)
    low, high = (0, domain.config.ids) if domain.config.ids else (domain.low[0], domain.high[0])
    for number in range(count):
        shape = 32, 32, domain.config.file_channels
        pixels = (low + rng.random(shape) * (high - low)).astype(domain.dtype)
        write(folder / f"{number}{suffix}", pixels)
    return folder


def values_of(result: dict[str, Any]) -> dict[str, list[float]]:
    """The values of each metric in the rows of a result, by metric."""
    direction = result["directions"]["ab"]
    names = direction["means"]
    assert [row["name"] for row in direction["images"]] == ["0", "1", "2", "3"]
    return {name: [row[name] for row in direction["images"]] for name in names}


@pytest.mark.slow
@pytest.mark.parametrize("kind", DOMAINS)
def test_translated_files_have_the_values_of_their_model(kind: str, tmp_path: Path) -> None:
    domain, suffix = DOMAINS[kind]
    test = tmp_path / "data" / "test"
    source = replace(DOMAINS["int16 with a range"][0], config=replace(HU, unit=""))
    random_files(test / "A", source, ".tif")
    random_files(test / "B", domain, suffix, seed=1)
    for side in "AB":
        (tmp_path / "data" / "train" / side).mkdir(parents=True)
        for file in (test / side).iterdir():
            (tmp_path / "data" / "train" / side / file.name).write_bytes(file.read_bytes())
    model = small_model(tmp_path, source, domain)
    # The batches are equal: others may round a value differently.
    main(["translate", str(model), str(test / "A"), "-o", str(tmp_path / "fakes")])
    metrics = ["l1", "psnr", "ssim", "swd"]
    of_model = viceversa.evaluate(
        model, tmp_path / "data", pairs="yes", size="own", metrics=metrics
    )
    of_files = viceversa.evaluate(
        tmp_path / "fakes", test / "B", metrics=metrics, domain=plain(domain.config)
    )
    one, other = (result["directions"]["ab"] for result in (of_model, of_files))
    assert one["values"] == other["values"] and one["real"] == other["real"] == 4
    expected, found = values_of(of_model), values_of(of_files)
    units = {"l1_in_unit"} if domain.config.unit else set()
    assert set(found) == {"l1", "psnr", "ssim"} | units
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, abs=1e-9), name
    assert one["sets"] == pytest.approx(other["sets"], abs=1e-5)
    assert ("mean_iou" in other["sets"]) == (domain.config.kind == "labels")
    assert other["iou"] == pytest.approx(one["iou"])
    if units:
        assert found["l1_in_unit"] == pytest.approx([2000 * value for value in found["l1"]])
        assert other["values"] == {"low": -1000, "high": 3000, "peak": 4000, "unit": "HU"}


def folders(root: Path) -> tuple[Path, Path]:
    """Generated images 0 to 5, real images 2 to 8: four pairs."""
    fakes, reals = root / "fakes", root / "reals"
    noise_images(fakes, 6)
    noise_images(reals, 9)
    for name in ("0", "1"):
        (reals / f"{name}.png").unlink()
    Image.open(reals / "2.png").transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(reals / "2.png")
    return fakes, reals


@pytest.mark.slow
def test_images_without_a_partner_are_named_and_count_in_sets_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fakes, reals = folders(tmp_path)
    output = command_output(capsys, "evaluate", fakes, reals, "--metrics", "l1", "psnr", "swd")
    summary = f"{fakes} against {reals}\nab: 4 pairs by name, 6 generated and 7 real"
    assert output.startswith(summary)
    names = ", ".join(str(fakes / f"{i}.png") for i in (0, 1))
    assert f"note: 2 of 6 images of {fakes} have no partner of the same name: {names}\n" in output
    names = ", ".join(str(reals / f"{i}.png") for i in (6, 7, 8))
    assert f"note: 3 of 7 images of {reals} have no partner of the same name: {names}\n" in output
    values = (
        "range: 0 to 255 in the files, scaled to -1 to 1; PSNR with peak 2 (equal to peak 255 "
        "before scaling); PSNR is a mean over images"
    )
    assert values in output
    out = tmp_path / "fakes-evaluation"
    result = json.loads((out / "metrics.json").read_text())
    direction = result["directions"]["ab"]
    assert [row["name"] for row in direction["images"]] == ["2", "3", "4", "5"]
    assert [row["l1"] == 0 for row in direction["images"]] == [False, True, True, True]
    assert [row["psnr"] is None for row in direction["images"]] == [False, True, True, True]
    assert (direction["translations"], direction["real"]) == (6, 7)
    page = (out / "index.html").read_text()
    assert "fakes (generated) against reals (real): 4 pairs" in page and "A to B" not in page
    assert "generated" in page and page.count("<figure>") == 3
    alone = viceversa.evaluate(fakes, reals, metrics=["swd"], pairs="no")["directions"]["ab"]
    assert set(alone["sets"]) == {"swd"} and alone["means"] == {}
    with raises_user_error(option="--pairs") as caught:
        viceversa.evaluate(fakes, reals, pairs="yes")
    assert "2 of 6 images" in str(caught.value)
    for number in (0, 1):
        (fakes / f"{number}.png").unlink()
    complete = viceversa.evaluate(fakes, reals, metrics=["l1"], pairs="yes")
    assert len(complete["directions"]["ab"]["images"]) == 4


@pytest.mark.slow
def test_python_and_the_command_agree_also_on_archives(tmp_path: Path) -> None:
    fakes, reals = folders(tmp_path)
    words = ["--metrics", "l1", "--direction", "ba", "-o", str(tmp_path / "out")]
    main(["evaluate", str(fakes), str(reals), *words])
    found = viceversa.evaluate(fakes, reals, metrics=["l1"], direction="ba")
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == found
    assert list(found["directions"]) == ["ba"]
    archive = tmp_path / "fakes.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for image in fakes.iterdir():
            file.write(image, image.name)
    zipped = viceversa.evaluate(archive, reals, metrics=["l1"], direction="ba")
    assert zipped["directions"]["ba"]["means"] == found["directions"]["ba"]["means"]


@pytest.mark.slow
def test_without_common_names_only_sets_are_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise_images(tmp_path / "fakes", 3, "x")
    noise_images(tmp_path / "reals", 3, "y")
    words = ["evaluate", str(tmp_path / "fakes"), str(tmp_path / "reals")]
    output = command_output(capsys, *words)
    assert "note: no pairs: only metrics of sets" in output
    assert "swd" in output and "l1" not in output
    assert "--metrics l1 compares pairs" in command_error(capsys, *words, "--metrics", "l1")
    message = command_error(capsys, *words, "--metrics", "edge_correlation")
    assert "--metrics edge_correlation compares translations with their sources" in message
    assert "--metrics cycle needs" in command_error(capsys, *words, "--metrics", "cycle")
    assert "--pairs yes needs" in command_error(capsys, *words, "--pairs", "yes")


def test_a_pair_with_two_sizes_is_named(tmp_path: Path) -> None:
    noise_images(tmp_path / "fakes", 3)  # of 40x40 pixels
    noise_images(tmp_path / "reals", 3)
    smaller = tmp_path / "fakes" / "1.png"
    Image.open(smaller).resize((30, 40)).save(smaller)
    with raises_user_error(option="--size", path=smaller) as caught:
        viceversa.evaluate(tmp_path / "fakes", tmp_path / "reals")
    assert f"{smaller} has 30x40 pixels and its target" in str(caught.value)
    found = viceversa.evaluate(tmp_path / "fakes", tmp_path / "reals", size=24, metrics=["l1"])
    assert found["protocol"]["size"] == "resized to 24x24"
    zero = [row["l1"] == 0 for row in found["directions"]["ab"]["images"]]
    assert zero == [True, False, True]
    found = viceversa.evaluate(
        tmp_path / "fakes", tmp_path / "reals", size=(16, 24), metrics=["l1"]
    )
    assert found["protocol"]["size"] == "resized to height 16, width 24"


def side_by_side(fakes: Path, left: Path, folder: Path) -> Path:
    """Write files whose left half is an image of `left`, and whose right half is one of `fakes`."""
    folder.mkdir()
    for file in fakes.iterdir():
        halves = [np.asarray(Image.open(half / file.name)) for half in (left, fakes)]
        Image.fromarray(np.concatenate(halves, axis=1)).save(folder / file.name)
    return folder


@pytest.mark.slow
def test_side_by_side_files_need_a_half(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise_images(tmp_path / "fakes", 3)
    noise_images(tmp_path / "others", 3, size=(40, 40))
    for file in (tmp_path / "others").iterdir():
        ImageOps.invert(Image.open(file)).save(file)
    fakes, reals = tmp_path / "fakes", tmp_path / "reals"
    side_by_side(fakes, tmp_path / "others", reals)
    more: dict[str, Any]
    for more in ({}, {"size": 24}, {"pairs": "no"}, {"size": 24, "pairs": "no"}):
        with raises_user_error(option="--half") as caught:  # none of them squeezes or crops both
            viceversa.evaluate(fakes, reals, **more)
        assert "REALS look like side-by-side files" in str(caught.value)
    right = viceversa.evaluate(fakes, reals, metrics=["l1", "swd"], half="right")
    assert right["directions"]["ab"]["means"]["l1"]["mean"] == 0
    assert right["directions"]["ab"]["sets"]["swd"] == 0 and right["protocol"]["half"] == "right"
    left = viceversa.evaluate(fakes, reals, metrics=["l1", "swd"], half="left")
    single = viceversa.evaluate(fakes, tmp_path / "others", metrics=["l1", "swd"])
    assert left["directions"]["ab"]["means"] == single["directions"]["ab"]["means"]
    assert left["directions"]["ab"]["sets"] == single["directions"]["ab"]["sets"]
    assert single["protocol"]["half"] == "whole"
    whole = viceversa.evaluate(fakes, reals, metrics=["l1"], size=24, half="whole")
    assert whole["directions"]["ab"]["means"]["l1"]["mean"] > 0
    words = ["evaluate", fakes, reals, "--metrics", "l1"]
    assert "--half left or --half right" in command_error(capsys, *words)
    assert "3 pairs by name" in command_output(capsys, *words, "--half", "right")
    assert "--half" in command_error(capsys, *words, "--half", "top")


def test_the_range_is_that_of_the_chosen_half(tmp_path: Path) -> None:
    for name, value in (("fakes", 100.0), ("reals", 100.0)):
        ramp = np.linspace(0, value, 32 * 32, dtype=np.float32).reshape(32, 32, 1)
        left = 1000 + ramp
        pixels = ramp if name == "fakes" else np.concatenate([left, ramp], axis=1)
        write(tmp_path / name / "0.tif", pixels)
    domain = {"channels": 1, "range": "minmax"}
    for half, low in (("left", 1000), ("right", 0)):
        found = viceversa.evaluate(
            tmp_path / "fakes",
            tmp_path / "reals",
            metrics=["l1"],
            domain=domain,
            half=half,  # type: ignore[arg-type]
        )
        values = found["directions"]["ab"]["values"]
        assert (values["low"], values["high"]) == (low, low + 100)


@pytest.mark.slow
def test_swd_does_not_depend_on_pairs(tmp_path: Path) -> None:
    """It depends on the order of the images, which is the same with pairs and without."""
    fakes, reals = folders(tmp_path)
    swd = {
        pairs: viceversa.evaluate(fakes, reals, metrics=["swd"], pairs=pairs)["directions"]["ab"]
        for pairs in ("auto", "no")
    }
    assert swd["no"]["sets"]["swd"] == pytest.approx(swd["auto"]["sets"]["swd"], rel=1e-6)


def test_floats_need_a_range_that_the_result_states(tmp_path: Path) -> None:
    domain, _ = DOMAINS["floats with a range"]
    fakes, reals = (
        random_files(tmp_path / name, domain, ".tif", seed=i)
        for i, name in enumerate(("fakes", "reals"))
    )
    with raises_user_error(option="data.b.range") as caught:
        viceversa.evaluate(fakes, reals)
    assert "set data.b.range to minmax" in str(caught.value)
    results = {
        text: viceversa.evaluate(
            fakes, reals, metrics=["l1", "psnr"], domain={"channels": 1, "range": text}
        )
        for text in ("minmax", "-1000,3000")
    }
    ranges = {text: one["directions"]["ab"]["values"] for text, one in results.items()}
    assert -1000 <= ranges["minmax"]["low"] < -990 and 2990 < ranges["minmax"]["high"] < 3000
    assert results["minmax"]["protocol"]["range"] == "minmax of REALS"
    assert any(
        "the range of the values is the minmax of REALS" in n for n in results["minmax"]["notes"]
    )
    assert results["-1000,3000"]["protocol"]["range"] == "given"
    few = "ab: the 95 % intervals are of 4 images and too narrow; they need at least 10"
    assert results["-1000,3000"]["notes"] == [few]
    assert ranges["-1000,3000"] == {"low": -1000, "high": 3000, "peak": 4000, "unit": ""}
    # The same files with another peak have another PSNR: the reason to state it.
    means = [one["directions"]["ab"]["means"]["psnr"]["mean"] for one in results.values()]
    assert abs(means[0] - means[1]) > 1e-4


def test_a_range_of_negative_numbers_and_a_unit_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    domain, _ = DOMAINS["int16 with a range"]
    for i, name in enumerate(("fakes", "reals")):
        random_files(tmp_path / name, domain, ".tif", seed=i)
    options = {"data.b.channels": 1, "data.b.range": "-1000,3000", "data.b.unit": "HU"}
    arguments = ["evaluate", tmp_path / "fakes", tmp_path / "reals", "--metrics", "l1", "psnr"]
    output = command_output(capsys, *arguments, *option_arguments(options))
    range_of = "-1000 to 3000 HU in the files, scaled to -1 to 1; PSNR with peak 2"
    assert f"range: {range_of} (equal to peak 4000 HU before scaling)" in output
    rows = {line.split("  ")[1]: line.split()[1:] for line in output.splitlines()[3:6]}
    assert list(rows) == ["l1", "l1 in HU", "psnr"]
    page = (tmp_path / "fakes-evaluation" / "index.html").read_text()
    l1_in_unit = rows["l1 in HU"][2]
    assert f"L1 in the unit of the files</th><td>{l1_in_unit}</td><td>HU</td>" in page


def test_images_of_another_dtype_are_scaled_by_their_own_range_and_noted(tmp_path: Path) -> None:
    domain, _ = DOMAINS["grey of 16 bits"]
    eight = Domain(GREY, "uint8", (0.0,), (255.0,))
    random_files(tmp_path / "fakes", eight, ".png")
    random_files(tmp_path / "reals", domain, ".png")  # the same fractions of the range
    found = viceversa.evaluate(
        tmp_path / "fakes", tmp_path / "reals", metrics=["l1"], domain=plain(GREY)
    )
    assert found["notes"] == [
        "ab: the 95 % intervals are of 4 images and too narrow; they need at least 10",
        "FAKES: uint8 images, but those of REALS are uint16: 0 to 255 are scaled like 0 to 65535",
    ]
    assert 0 < found["directions"]["ab"]["means"]["l1"]["mean"] < 2 / 255


def test_classes_of_colours(tmp_path: Path) -> None:
    noise_images(tmp_path / "fakes", 2)
    noise_images(tmp_path / "reals", 2)
    classes = ["#000000", "#ffffff"]
    found = viceversa.evaluate(
        tmp_path / "fakes", tmp_path / "reals", classes=classes, metrics=["l1"]
    )
    assert found["directions"]["ab"]["sets"]["pixel_accuracy"] == 1
    assert found["directions"]["ab"]["iou"] == [1, 1]


@pytest.mark.slow
def test_a_folder_of_images_is_distinguished_from_a_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fakes, reals = folders(tmp_path)
    data = noise_pairs(tmp_path / "data" / "test", 2, 32).parent
    noise_pairs(data / "train", 2, 32)
    run = tmp_path / "run"
    small_model(run, Domain(), Domain())
    words = ["--pairs", "yes", "--size", "own", "--metrics", "l1"]

    def evaluated(*arguments: object) -> str:
        return command_output(capsys, "evaluate", *arguments)

    def refused(*arguments: object) -> str:
        return command_error(capsys, "evaluate", *arguments)

    assert evaluated(run, data, *words).startswith("test: ")
    noise_images(run / "samples", 1)
    Image.open(fakes / "0.png").save(run / "patches.png")  # images beside a model change nothing
    assert evaluated(run, data, *words).startswith("test: ")
    Image.open(fakes / "0.png").save(run / "2.png")  # ... unless they may be meant
    assert "has a model and images with names of" in refused(run, reals)
    assert "name the folder of real images too" in refused(fakes)
    assert f"viceversa evaluate {run} {fakes}" in refused(fakes, run)
    assert f"viceversa evaluate {run / 'ab.safetensors'} " in refused(fakes, run / "ab.safetensors")
    assert "contains runs or models (run/" in refused(tmp_path, reals)
    assert "folders of domains (A, B)" in refused(fakes, data)
    assert "folders of domains (A, B)" in refused(data, reals)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "has neither ab.safetensors" in refused(empty, reals)
    assert "has no images" in refused(fakes, empty)
    assert "is inside the data folder" in refused(fakes, reals, "-o", reals / "out")
    assert "is inside the data folder" in refused(fakes, reals, "-o", fakes / "out")
    (reals / "9.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert str(reals / "9.png") in refused(fakes, reals)


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["--split", "val"], "--split"),
        (["--policy", "paper"], "--policy"),
        (["--seed", "3"], "--seed"),
        (["--hold_out", "0.5"], "--hold_out"),
        (["--data.layout", "folders"], "--data.layout"),
        (["--data.b.kind", "lab-ab"], "--data.b.kind"),
    ],
)
def test_options_of_models_are_refused_for_folders(
    words: list[str], option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fakes, reals = folders(tmp_path)
    assert option in command_error(capsys, "evaluate", fakes, reals, *words)
    assert not (tmp_path / "fakes-evaluation").exists()


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"direction": "ba"}, "--direction"),
        ({"half": "left"}, "--half"),
        ({"domain": {"unit": "HU"}}, "--data.b.unit"),
        ({"domain": {"channels": 1}}, "--data.b.channels"),
    ],
)
def test_options_of_folders_are_refused_for_models(
    options: dict[str, Any], option: str, tmp_path: Path
) -> None:
    model = small_model(tmp_path, Domain(), Domain())
    with raises_user_error(option=option):
        viceversa.evaluate(model, tmp_path, **options)


@pytest.mark.parametrize(
    ("folder", "options"),
    [("reals/masks", {"masks": "masks"}), ("", {"alpha": "mask"}), ("masks", {})],
)
def test_masked_pixels_of_reals_do_not_count(
    folder: str, options: dict[str, Any], tmp_path: Path
) -> None:
    found = []
    for hidden in (0, 255):
        root = tmp_path / str(hidden)
        for number in range(2):
            rng = np.random.default_rng(number)
            real = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            mask = np.full((32, 32, 1), 255, np.uint8)
            mask[:9] = 0
            write(root / f"fakes/{number}.png", 255 - real)
            real[:9] = hidden
            if folder:
                write(root / f"{folder}/{number}.png", mask)
            else:
                real = np.concatenate([real, mask], axis=2)
            write(root / f"reals/{number}.png", real)
        data = EvaluationData(b=DomainConfig(**options))
        given = EvaluationOptions(metrics=("l1",), data=data)
        result = run_evaluation(root / "fakes", str(root / "reals"), given)
        found.append([one["means"] for one in as_json(result)["directions"].values()])
    assert (found[0] == found[1]) == bool(options)
