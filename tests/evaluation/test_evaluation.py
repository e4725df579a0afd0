"""A translator against a data set: the numbers, their protocol, the page, and what is refused."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio
from support import noise_pairs

import viceversa
from viceversa.checkpoint import container
from viceversa.cli import main
from viceversa.config.recipes import Sections, merge, read_recipe
from viceversa.config.run import resolve
from viceversa.errors import UserError
from viceversa.evaluation import EvaluationOptions, accumulator, as_json, as_table, run_evaluation
from viceversa.inference import Translator
from viceversa.metrics.paired import l1, psnr, ssim
from viceversa.metrics.registry import METRICS
from viceversa.training import loop as training

COLOURS = "#000000,#ffffff"


def trained(name: str, data: Path, run: Path, direction: str = "ab", hold_out: float = 0.0) -> Path:
    tiny: Sections = {
        "generator": {"width": 2},
        "discriminator": {"width": 2, "layers": 1},
        "data": {
            "path": str(data),
            "load_size": 36,
            "crop_size": 32,
            "workers": 0,
            "direction": direction,
            "hold_out": hold_out,
        },
        "train": {"run": str(run), "epochs": 1, "device": "cpu", "samples": 0},
        "validate": {"every": 0, "health": 0},
    }
    tiny["generator"] |= {"depth": 3} if name == "pix2pix" else {"blocks": 1}
    return training.train(resolve(merge(read_recipe(name), tiny)))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("evaluate")
    noise_pairs(root / "train", 3, 32)
    noise_pairs(root / "test", 5, 32)
    return root


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    return {
        "pix2pix": trained("pix2pix", data, folder / "p"),
        "cyclegan": trained("cyclegan", data, folder / "c"),
        "ba": trained("pix2pix", data, folder / "ba", "ba"),
    }


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    with pytest.raises(SystemExit) as end:
        main(["evaluate", *map(str, words)])
    said = capsys.readouterr().err
    assert end.value.code == 2 and said.count("\n") == 1, said
    return said


def written(path: Path) -> torch.Tensor:
    pixels = np.asarray(Image.open(path).convert("RGB"))
    return torch.from_numpy(pixels.astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None]


@pytest.mark.parametrize("name", ["pix2pix", "ba"])
def test_the_numbers_are_those_of_the_files_that_translation_writes(
    name: str, data: Path, runs: dict[str, Path]
) -> None:
    way = "ab" if name == "pix2pix" else "ba"
    here, there = ("A", "B") if way == "ab" else ("B", "A")
    (found,) = run_evaluation(EvaluationOptions(runs[name], str(data))).directions
    assert found.direction == way and found.translations == found.real == 5
    translator = Translator.load(runs[name] / f"{way}.safetensors")
    for place in range(5):
        source = data / "test" / here / f"{place:02d}.png"
        made = torch.from_numpy(np.asarray(translator(source)).astype(np.float32) / 127.5 - 1)
        made, target = made.permute(2, 0, 1)[None], written(data / "test" / there / source.name)
        assert found.sources[place] == str(source)
        for metric, formula in (("l1", l1), ("psnr", psnr), ("ssim", ssim)):
            alone = float(formula(made, target))  # a batch rounds a pixel otherwise now and then
            assert found.values[metric][place] == pytest.approx(alone, rel=1e-4, abs=1e-4)
    mean, low, high = found.intervals["l1"]
    assert mean == pytest.approx(np.mean(found.values["l1"])) and low < mean < high


def test_psnr_of_each_image_can_be_recomputed_from_the_files(
    data: Path, runs: dict[str, Path], tmp_path: Path
) -> None:
    """From the translated files: 10 log10(peak^2 / MSE), with the peak that metrics.json has."""
    files = data / "test" / "A"
    main(["translate", str(runs["pix2pix"] / "ab.safetensors"), str(files), "-o", str(tmp_path)])
    metrics = ["l1", "psnr", "ssim"]
    result = viceversa.evaluate(
        runs["pix2pix"], data, tmp_path / "out", metrics=metrics, batch_size=1
    )["directions"]["ab"]
    assert result["values"] == {"low": 0.0, "high": 255.0, "peak": 255.0}
    values = []
    for row in result["images"]:
        assert row["direction"] == "ab" and row["group"] == ""
        assert row["source"] == str(files / f"{row['name']}.png")
        assert row["target"] == str(data / "test" / "B" / f"{row['name']}.png")
        translated = np.asarray(Image.open(tmp_path / f"{row['name']}.png")).astype(np.float64)
        target = np.asarray(Image.open(row["target"])).astype(np.float64)
        error = ((translated - target) ** 2).mean()
        by_hand = 10 * np.log10(result["values"]["peak"] ** 2 / error)
        assert row["psnr"] == pytest.approx(by_hand, abs=1e-6)
        theirs = peak_signal_noise_ratio(target, translated, data_range=255)
        assert row["psnr"] == pytest.approx(theirs, abs=1e-6)
        distance = np.abs(translated - target).mean() * 2 / result["values"]["peak"]
        assert row["l1"] == pytest.approx(distance, abs=1e-9)
        values.append(by_hand)
    mean, total = (
        np.mean(values),
        10 * np.log10(255**2 / np.mean(255**2 / 10 ** (np.array(values) / 10))),
    )
    assert result["means"]["psnr"]["mean"] == pytest.approx(mean, abs=1e-6)
    assert abs(mean - total) > 1e-5  # PSNR of the mean squared difference is another number
    table = (tmp_path / "out" / "images.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(table)))
    assert len(rows) == 5
    for row, one in zip(rows, result["images"], strict=True):
        assert {key: row[key] for key in ("name", "direction", "group", "source", "target")} == {
            key: one[key] for key in ("name", "direction", "group", "source", "target")
        }
        assert [float(row[key]) for key in ("range_low", "range_high", "peak")] == [0, 255, 255]
        assert [float(row[name]) for name in metrics] == [one[name] for name in metrics]


def test_a_run_of_both_ways_is_measured_both_ways(data: Path, runs: dict[str, Path]) -> None:
    result = run_evaluation(EvaluationOptions(runs["cyclegan"], str(data)))
    assert [way.direction for way in result.directions] == ["ab", "ba"] and not result.paired
    for way in result.directions:
        assert {"cycle", "edge_correlation"} == set(way.values) and "swd" in way.sets
        assert "l1" not in way.values  # no pairs
    one = run_evaluation(
        EvaluationOptions(runs["cyclegan"] / "ba.safetensors", str(data))
    ).directions
    assert [way.direction for way in one] == ["ba"] and "cycle" not in one[0].values
    pairs = run_evaluation(
        EvaluationOptions(runs["cyclegan"], str(data), pairs="yes", metrics=("l1", "cycle"))
    )
    assert set(pairs.directions[0].values) == {"l1", "cycle"}


def test_batches_change_nothing(data: Path, runs: dict[str, Path]) -> None:
    one, many = (
        run_evaluation(EvaluationOptions(runs["pix2pix"], str(data), batch_size=n)) for n in (1, 4)
    )
    assert one.directions[0].values["l1"] == pytest.approx(
        many.directions[0].values["l1"], abs=1e-6
    )


def test_the_command_writes_numbers_and_a_page(
    data: Path, runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["evaluate", str(runs["pix2pix"]), str(data), "-o", str(tmp_path / "out")])
    said = capsys.readouterr().out
    assert (
        "  values from 0 to 255 (peak 255) as -1 to 1 (peak 2); PSNR is a mean over images" in said
    )
    assert "ab: 5 pairs of test" in said and "without ms_ssim: it needs images of at least" in said
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())
    protocol = found["protocol"]
    assert protocol["split"] == "test" and protocol["policy"] == "image" and protocol["pairs"]
    assert protocol["size"] == "resized to 32x32" and protocol["file_types"]["a"] == {".png": 5}
    assert len(protocol["models"]["ab"]["sha256"]) == 64
    assert len(found["directions"]["ab"]["images"]) == 5
    page = (tmp_path / "out" / "index.html").read_text()
    assert "values from 0 to 255 (peak 255) as -1 to 1 (peak 2); PSNR is a mean over images" in page
    assert page.count("<figure>") == 9 and "data:image/webp" in page and "://" not in page
    assert len(list((tmp_path / "out" / "cases").glob("ab-*.png"))) == 9


def test_python_and_the_command_give_the_same_numbers(
    data: Path, runs: dict[str, Path], tmp_path: Path
) -> None:
    words = ["--metrics", "l1", "ssim", "--size", "48", "--classes", COLOURS, "--split", "train"]
    main(["evaluate", str(runs["pix2pix"]), str(data), "-o", str(tmp_path / "one"), *words])
    options: dict[str, Any] = {
        "metrics": ["l1", "ssim"],
        "size": 48,
        "classes": COLOURS.split(","),
        "split": "train",
    }
    found = viceversa.evaluate(runs["pix2pix"], data, tmp_path / "two", **options)
    files = [tmp_path / name / "metrics.json" for name in ("one", "two")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert json.loads(files[1].read_text()) == json.loads(json.dumps(found))
    assert found["protocol"]["size"] == "resized to 48x48"
    assert set(found["directions"]["ab"]["means"]) == {"l1", "ssim"}
    pages = [(tmp_path / name / "index.html").read_text() for name in ("one", "two")]
    assert pages[0] == pages[1]
    there = sorted(runs["pix2pix"].rglob("*")), sorted(data.rglob("*"))
    assert viceversa.evaluate(str(runs["pix2pix"]), str(data), **options) == found
    assert (sorted(runs["pix2pix"].rglob("*")), sorted(data.rglob("*"))) == there
    other = viceversa.evaluate(runs["pix2pix"], data, **options | {"split": "test"})  # the control
    assert other["directions"]["ab"]["means"] != found["directions"]["ab"]["means"]


def test_the_public_name_stays_the_function() -> None:
    """A room of that name would take its place as soon as it is imported."""
    code = (
        "import viceversa, viceversa.evaluation, viceversa.cli.evaluate\n"
        "from viceversa import evaluate\nassert callable(evaluate) and callable(viceversa.train)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"split": "tset"}, "--split is one of auto, train, val, test, not 'tset'"),
        ({"pairs": "maybe"}, "--pairs is one of auto, yes, no, not 'maybe'"),
        ({"policy": "papr"}, "policy is one of image, running, paper, not 'papr'"),
        ({"metrics": ["l2"]}, "there are l1"),
        ({"size": 0}, "pixels a side"),
        ({"batch_size": 0}, "--batch_size"),
    ],
)
def test_a_mistake_in_python_is_a_sentence(
    options: dict[str, Any], sentence: str, data: Path, runs: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(UserError) as error:
        viceversa.evaluate(runs["pix2pix"], data, tmp_path / "out", **options)
    assert sentence in str(error.value) and not (tmp_path / "out").exists()


def test_worst_and_best_are_told_apart(data: Path, runs: dict[str, Path], tmp_path: Path) -> None:
    main(["evaluate", str(runs["pix2pix"]), str(data), "-o", str(tmp_path), "--metrics", "l1"])
    found = json.loads((tmp_path / "metrics.json").read_text())["directions"]["ab"]["images"]
    ranked = [one["source"] for one in sorted(found, key=lambda one: one["l1"])]
    page = (tmp_path / "index.html").read_text()
    assert f"best: {ranked[0]}, L1" in page and f"worst: {ranked[-1]}, L1" in page


def test_classes_by_the_nearest_colour(data: Path, runs: dict[str, Path]) -> None:
    (found,) = run_evaluation(
        EvaluationOptions(runs["pix2pix"], str(data), classes=COLOURS, metrics=("l1",))
    ).directions
    translator = Translator.load(runs["pix2pix"] / "ab.safetensors")
    right = total = 0
    for place in range(5):
        name = f"{place:02d}.png"
        made = np.asarray(translator(data / "test" / "A" / name)).astype(int)
        true = np.asarray(Image.open(data / "test" / "B" / name)).astype(int)
        white = [((x - 255) ** 2).sum(2) < (x**2).sum(2) for x in (made, true)]
        right, total = right + (white[0] == white[1]).sum(), total + white[0].size
    assert found.sets["pixel_accuracy"] == pytest.approx(right / total, abs=2e-3)
    assert 0 < found.sets["mean_iou"] < found.sets["pixel_accuracy"] and len(found.iou) == 2


def test_images_held_out_of_training_are_evaluated_and_no_others(tmp_path: Path) -> None:
    data = noise_pairs(tmp_path / "data", 20, 32)
    held = [f"{i:02d}" for i in range(20) if hashlib.sha256(b"%02d" % i).digest()[0] < 64]
    runs = {
        name: trained(name, data, tmp_path / name, hold_out=0.25)
        for name in ("pix2pix", "cyclegan")
    }
    moved = tmp_path / "moved"
    data.rename(moved)

    def names(run: Path, of: Path | str, **more: Any) -> list[str]:
        result = run_evaluation(EvaluationOptions(run, str(of), metrics=("swd",), **more))
        assert as_json(result)["protocol"]["hold_out"] == 0.25
        return [Path(name).stem for name in result.directions[0].sources]

    for run in runs.values():
        for split in ("val", "auto"):
            assert names(run, moved, split=split) == held
        rest = [f"{i:02d}" for i in range(20) if f"{i:02d}" not in held]
        assert names(run, moved, split="train") == rest
    assert len(names(runs["cyclegan"], moved, pairs="yes")) == len(held)
    result = run_evaluation(EvaluationOptions(runs["pix2pix"], str(moved), metrics=("l1",)))
    assert result.notes[0].startswith(f"val is {len(held)} of the 20 pairs of train, held out by")
    everything = run_evaluation(
        EvaluationOptions(runs["pix2pix"], str(moved), metrics=("l1",), hold_out=0.0)
    )
    assert (everything.images.split, everything.directions[0].translations) == ("train", 20)
    # Data with a split of their own need none.
    other = tmp_path / "other"
    noise_pairs(other / "train", 3, 32)
    noise_pairs(other / "test", 4, 32)
    assert (
        run_evaluation(EvaluationOptions(runs["pix2pix"], str(other), metrics=("l1",)))
        .directions[0]
        .translations
        == 4
    )
    with pytest.raises(UserError, match=r"data\.hold_out 0\.5 .* has a test split"):
        run_evaluation(EvaluationOptions(runs["pix2pix"], str(other), hold_out=0.5))


def test_own_size_and_a_given_one(data: Path, runs: dict[str, Path]) -> None:
    sizes: dict[str, Any] = {}
    for size in ("own", "48"):
        result = run_evaluation(
            EvaluationOptions(runs["pix2pix"], str(data), size=size, metrics=("l1",))
        )
        sizes[size] = as_json(result)["protocol"]["size"]
    assert sizes == {"own": "as the files are", "48": "resized to 48x48"}


def test_splits(data: Path, runs: dict[str, Path], tmp_path: Path) -> None:
    learnt = run_evaluation(
        EvaluationOptions(runs["pix2pix"], str(data), split="train", metrics=("l1",))
    )
    assert learnt.directions[0].translations == 3 and "was trained on" in learnt.notes[0]
    flat = noise_pairs(tmp_path / "flat", 2, 32)
    other = run_evaluation(EvaluationOptions(runs["pix2pix"], str(flat), metrics=("l1",)))
    assert other.directions[0].translations == 2 and "no test or val split" in other.notes[0]
    for name in ("A/7.dcm", "A/8.nii.gz", "notes.txt"):
        (flat / name).touch()
    other = run_evaluation(EvaluationOptions(runs["pix2pix"], str(flat), metrics=("l1",)))
    assert other.notes[1:] == (
        [
            "not read: 1 file ending in .dcm: A/7.dcm",
            "not read: 1 file ending in .nii.gz: A/8.nii.gz",
        ]
    )


def test_what_can_not_be_measured_is_a_sentence(
    data: Path, runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, empty, file = runs["pix2pix"], tmp_path / "empty", tmp_path / "file"
    file.write_text("mine")
    assert f"-o {file} is a file; name a folder" in refused(capsys, run, data, "-o", file)
    assert f"{file / 'out'} can't be made" in refused(capsys, run, data, "-o", file / "out")
    empty.mkdir()
    assert "has neither ab.safetensors" in refused(capsys, empty, data)
    assert "there are l1" in refused(capsys, run, data, "--metrics", "l2")
    assert "pixels a side" in refused(capsys, run, data, "--size", "big")
    assert "no split val" in refused(capsys, run, data, "--split", "val")
    assert "#rrggbb" in refused(capsys, run, data, "--classes", "red")
    assert "#FF0000 twice" in refused(capsys, run, data, "--classes", "#FF0000,#ff0000")
    missing = refused(capsys, run, data, "--metrics", "fid", "--features", empty)
    assert "viceversa features --get inception" in missing
    assert "is a discriminator" in refused(capsys, run / "d_b.safetensors", data)
    uneven = noise_pairs(tmp_path / "uneven", 3, 32)
    (uneven / "B" / "02.png").unlink()
    assert "--pairs no" in refused(capsys, run, uneven)
    Image.new("RGB", (16, 16)).save(uneven / "B" / "02.png")
    assert "--size 256" in refused(capsys, run, uneven, "--size", "own")


def test_too_few_images_for_kid_are_told(
    data: Path, runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    features = Path(__file__).parents[2] / ".venv" / "features"
    if not (features / "inception.safetensors").is_file():
        pytest.skip("the Inception network is not there: viceversa features --get inception")
    options = EvaluationOptions(
        runs["pix2pix"], str(data), metrics=("fid", "kid"), features=features
    )
    result = run_evaluation(options)
    assert "fid" in result.directions[0].sets and "kid" not in result.directions[0].sets
    assert any("without kid: it needs at least 50 images" in note for note in result.notes)
    assert any("FID of 5 translations and 5 real images: higher" in note for note in result.notes)
    assert set(as_json(result)["protocol"]["features"]) == {"inception"}


@pytest.mark.parametrize(
    ("name", "words", "told"),
    [
        ("cyclegan", ["--pairs", "no", "--metrics", "l1"], "--metrics l1 compares pairs"),
        ("pix2pix", ["--metrics", "cycle"], "--metrics cycle needs translators of both directions"),
        ("pix2pix", ["--pairs", "no", "--classes", COLOURS], "--classes compares pairs"),
    ],
)
def test_what_could_have_no_effect_is_refused(
    name: str,
    words: list[str],
    told: str,
    runs: dict[str, Path],
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert told in refused(capsys, runs[name], data, "-o", tmp_path / "out", *words)
    assert not (tmp_path / "out").exists()


def test_a_whole_set_is_looked_at_or_it_is_said_how_much_of_it(
    runs: dict[str, Path], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = EvaluationOptions(runs["cyclegan"], str(data), pairs="no", metrics=("swd",))
    whole = as_json(run_evaluation(options))
    assert not any("swd compares the first" in note for note in whole["notes"])
    monkeypatch.setattr(accumulator, "SET_BYTES", 2 * 4 * 3 * 32 * 32)  # two images per set
    cut = as_json(run_evaluation(options))
    assert "ab and ba: swd compares the first 2 translations and 2 real images" in " ".join(
        cut["notes"]
    )
    for way in ("ab", "ba"):
        assert whole["directions"][way]["sets"]["swd"] != cut["directions"][way]["sets"]["swd"] > 0


def test_images_too_small_for_the_discriminator_have_numbers_and_a_page(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    noise_pairs(tmp_path / "small" / "test", 3, 8)
    main(
        [
            "evaluate",
            str(runs["pix2pix"]),
            str(tmp_path / "small"),
            "--size",
            "own",
            "-o",
            str(tmp_path / "out"),
        ]
    )
    assert (tmp_path / "out" / "index.html").is_file()
    way = json.loads((tmp_path / "out" / "metrics.json").read_text())["directions"]["ab"]
    assert "l1" in way["means"]


@pytest.mark.parametrize("settings", [{"crop_size": "big"}, {"cropping": 3}])
def test_settings_that_cannot_be_read_are_refused(
    settings: dict[str, Any],
    data: Path,
    runs: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tensors, header = container.load(runs["pix2pix"] / "ab.safetensors")
    header["trained"]["data"] |= settings
    container.save(tmp_path / "ab.safetensors", tensors, header)
    said = refused(capsys, tmp_path, data)
    assert f"the settings in {tmp_path / 'ab.safetensors'} can't be read" in said
    assert next(iter(settings)) in said


class Colours(torch.nn.Module):
    """In place of the network of FID and KID: three numbers of an image."""

    def forward(self, rgb: torch.Tensor) -> torch.Tensor:
        return rgb.float().mean((2, 3)) / 255


def test_fid_and_kid_of_few_images_are_marked_in_the_table_the_page_and_the_numbers(
    runs: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    at_hand = accumulator.Features({"inception": Colours()}, {"inception": "0"})
    monkeypatch.setattr("viceversa.evaluation.run.load_features", lambda *_: at_hand)
    monkeypatch.setattr("viceversa.evaluation.accumulator.pool3", lambda network, rgb: network(rgb))
    data = noise_pairs(tmp_path / "data" / "test", 50, 16).parent
    noise_pairs(data / "train", 2, 16)
    words = [
        "--metrics",
        "fid",
        "kid",
        "edge_correlation",
        "--size",
        "own",
        "-o",
        str(tmp_path / "out"),
    ]
    main(["evaluate", str(runs["cyclegan"]), str(data), *words])
    said = capsys.readouterr().out
    for metric in ("fid", "kid"):
        lines = [line for line in said.splitlines() if line.split()[:1] == [metric]]
        assert len(lines) == 2 and all(line.endswith("few images: 50") for line in lines)
    assert [line for line in said.splitlines() if "FID of 50 translations" in line] == [
        "note: ab and ba: FID of 50 translations and 50 real images: higher than that of more "
        "images; compare it only at equal numbers"
    ]  # one line for both directions
    page = (tmp_path / "out" / "index.html").read_text()
    assert page.count("few images: 50") == 4
    ways = json.loads((tmp_path / "out" / "metrics.json").read_text())["directions"]
    assert [way["few_images"] for way in ways.values()] == [["fid", "kid"]] * 2
    monkeypatch.setitem(
        METRICS, "fid", replace(METRICS["fid"], reliable=(1, ""))
    )  # enough are not marked
    result = run_evaluation(
        EvaluationOptions(runs["pix2pix"], str(data), "train", metrics=("fid",), size="own")
    )
    assert "few images" not in as_table(result)
    assert as_json(result)["directions"]["ab"]["few_images"] == []


def test_notes_with_one_reason_are_one_line(
    data: Path, runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    main(
        [
            "evaluate",
            str(runs["pix2pix"]),
            str(data),
            "--size",
            "8",
            "-o",
            str(runs["ba"] / "e"),
            "--metrics",
            "l1",
            "ssim",
            "ms_ssim",
            "swd",
        ]
    )
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert len(notes) == len({note.partition(": it needs")[2] for note in notes})


def test_the_layout_is_reported_and_can_be_given(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for group in ("p1", "p2", "p3"):
        noise_pairs(tmp_path / "set" / group, 2, 32)
    words = ["evaluate", str(runs["pix2pix"]), str(tmp_path / "set"), "-o", str(tmp_path / "out")]
    main([*words, "--metrics", "l1"])
    said = capsys.readouterr().out
    assert said.startswith("train: pairs by name in set/*/A and set/*/B, 3 groups\nab: 6 pairs")
    main([*words, "--metrics", "l1", "--data.layout", "photos", "--json"])
    protocol = json.loads(capsys.readouterr().out)["protocol"]
    assert protocol["layout"] == "photos in set, each both A and B"
    made = run_evaluation(
        EvaluationOptions(runs["pix2pix"], str(tmp_path / "set"), layout="side-by-side")
    )
    assert made.directions[0].translations == 12
    with pytest.raises(UserError, match=r"--data\.layout is one of auto, .*, not 'halves'"):
        EvaluationOptions(runs["pix2pix"], layout="halves")  # type: ignore[arg-type]
