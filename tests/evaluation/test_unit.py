"""A unit of the values is stored with the model, and L1 is reported in it too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from skimage.metrics import structural_similarity
from support import command_output, raises_user_error

from viceversa.checkpoint import container
from viceversa.cli import main
from viceversa.inference import Translator
from viceversa.reports.run_folder import RunFolder

SMALL = (
    "--data.load_size 32 --data.crop_size 32 --generator.depth 3 --generator.width 2 "
    "--discriminator.width 2 --discriminator.layers 1 --train.epochs 1 --data.workers 0 "
    "--data.a.channels 1 --data.b.channels 1 --data.b.range -1000,3000 --data.b.unit HU"
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs of grey images of 8 bits and of int16."""
    root = tmp_path_factory.mktemp("unit")
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for side, dtype, low, high in (("A", "uint8", 0, 255), ("B", "int16", -900, 2900)):
            (root / split / side).mkdir(parents=True)
            for number in range(2):
                pixels = rng.integers(low, high, (32, 32)).astype(dtype)
                tifffile.imwrite(root / split / side / f"{number}.tif", pixels)
    return root


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    main(["train", "pix2pix", str(data), *SMALL.split(), "--train.run", str(folder)])
    return folder


def test_validation_logs_l1_in_the_unit(run: Path) -> None:
    values = RunFolder(run).validations[-1].raw
    assert list(values) == ["l1", "l1_in_unit", "psnr", "ssim"]
    assert values["l1_in_unit"] == pytest.approx(values["l1"] * 2000)  # half of 4000 HU


def test_the_run_states_range_and_peak(run: Path) -> None:
    stored = json.loads((run / "machine.json").read_text())["value_ranges"]
    assert stored == {"b": {"low": -1000, "high": 3000, "peak": 4000, "unit": "HU"}}
    page = (run / "report.html").read_text()
    assert (
        "Range of B: -1000 to 3000 HU in the files, scaled to -1 to 1; PSNR with peak 2 (equal to "
        "peak 4000 HU before scaling)." in page
    )
    assert "PSNR is a mean over images." in page


def test_evaluation_reports_the_unit_of_the_model(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--metrics", "l1", "psnr", "ssim", "-o", tmp_path]
    text = command_output(capsys, "evaluate", run, data, *words)
    range_of = "-1000 to 3000 HU in the files, scaled to -1 to 1; PSNR with peak 2"
    assert f"range: {range_of} (equal to peak 4000 HU before scaling)" in text
    direction = json.loads((tmp_path / "metrics.json").read_text())["directions"]["ab"]
    assert direction["values"] == {"low": -1000, "high": 3000, "peak": 4000, "unit": "HU"}
    translator = Translator.load(run / "ab.safetensors")
    for row in direction["images"]:
        source, target = (tifffile.imread(row[key]) for key in ("source", "target"))
        difference = translator(source).astype(np.float64) - target
        assert row["l1_in_unit"] == pytest.approx(np.abs(difference).mean(), rel=1e-4)
        by_hand = 10 * np.log10(4000**2 / (difference**2).mean())
        assert row["psnr"] == pytest.approx(by_hand, rel=1e-4)
        theirs = structural_similarity(
            (translator(source) + 1000.0) / 4000,
            (target + 1000.0) / 4000,
            data_range=1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        assert row["ssim"] == pytest.approx(theirs, rel=1e-3)
    (line,) = (line for line in text.splitlines() if line.startswith("  l1 in HU "))
    assert float(line.split()[3].replace(",", "")) == pytest.approx(
        direction["means"]["l1_in_unit"]["mean"], rel=1e-3
    )
    header, *rows = (tmp_path / "images.csv").read_text().splitlines()
    assert header.endswith("peak,unit,l1,l1_in_unit,psnr,ssim") and len(rows) == 2
    page = (tmp_path / "index.html").read_text()
    value = f"{direction['means']['l1_in_unit']['mean']:.4g}"
    cells = f'<th scope="row">L1 in the unit of the files</th><td>{value}</td><td>HU</td>'
    assert cells in page and "<td>dB</td>" in page


def test_models_without_a_unit_have_none(run: Path, data: Path, tmp_path: Path) -> None:
    tensors, header = container.load(run / "ab.safetensors")
    for side in ("source", "target"):
        del header[side]["config"]["unit"]  # as written by earlier versions
    container.save(tmp_path / "ab.safetensors", tensors, header)
    assert Translator.load(tmp_path / "ab.safetensors").target.config.unit == ""
    words = ["--metrics", "l1", "psnr", "-o", str(tmp_path / "out")]
    main(["evaluate", str(tmp_path), str(data), *words])
    direction = json.loads((tmp_path / "out" / "metrics.json").read_text())["directions"]["ab"]
    assert set(direction["means"]) == {"l1", "psnr"}


@pytest.mark.parametrize("unit", ["\x1b[31mHU", "x" * 21])
def test_invalid_units_are_refused(unit: str, data: Path, tmp_path: Path) -> None:
    from viceversa.config.command_line import train_settings

    words = [str(data), "--train.run", str(tmp_path / "run"), "--data.b.unit", unit]
    with raises_user_error(option="data.b.unit"):
        train_settings("pix2pix", words)
