"""Runs of earlier versions are read and resumed (`tests/fixtures/*/README.md` describes them)."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from support import log_lines

from viceversa import Translator
from viceversa.checkpoint import read_header, read_weights
from viceversa.cli import main
from viceversa.reports.run_folder import RunFolder
from viceversa.run_log import group, read

pytestmark = pytest.mark.slow

FORMATS = sorted((Path(__file__).parents[1] / "fixtures").iterdir())
RUNS = [(folder, method) for folder in FORMATS for method in ("pix2pix", "cyclegan")]
DATA = {"pix2pix": "paired", "cyclegan": "unpaired"}
every_run = pytest.mark.parametrize(
    ("folder", "method"), RUNS, ids=lambda value: getattr(value, "name", value)
)


@pytest.fixture
def fixture_copy(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy the fixture and make it the current directory."""
    shutil.copytree(folder, tmp_path / folder.name)
    monkeypatch.chdir(tmp_path / folder.name)
    return tmp_path / folder.name


def training_lines(log: Path) -> list[dict[str, Any]]:
    """Return the log entries of training, without timings."""
    return [
        {"images": entry["images"], "lr": entry["lr"], **group(entry, "loss")}
        for entry in read(log)
        if entry["kind"] == "train"
    ]


@every_run
def test_an_old_run_is_resumed_with_the_results_of_an_uninterrupted_one(
    fixture_copy: Path, method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Compared with tolerances: the fixtures were created on another processor."""
    run = fixture_copy / "runs" / method
    stopped = training_lines(run / "log.jsonl")
    main(["train", f"runs/{method}/config.json"])
    assert "checkpoints/0000000020.safetensors" in capsys.readouterr().out
    folders = {path.name for path in run.iterdir() if path.is_dir()}
    assert {"ema", "patch_maps"} <= folders and not {"averaged", "verdicts"} & folders
    found, expected = (
        training_lines(p / method / "log.jsonl")
        for p in (fixture_copy / "runs", fixture_copy / "ended")
    )
    assert found[: len(stopped)] == stopped
    assert all("kind" in line for line in log_lines(run))
    if method == "pix2pix" and fixture_copy.name == "format_1":  # wrote lines within steps
        assert [line["images"] for line in found] == [5, 10, 15, 20, 26, 30, 36]
    else:
        assert [line["images"] for line in found] == [line["images"] for line in expected]
        assert found == [pytest.approx(line, rel=1e-3, abs=1e-4) for line in expected]
    for model in (fixture_copy / "ended" / method).glob("*.safetensors"):
        ended, resumed = read_weights(model), read_weights(run / model.name)
        assert ended.keys() == resumed.keys()
        for name, weight in ended.items():
            # Adam amplifies rounding in biases in front of a norm: their gradient is 0.
            if weight.ndim > 1 or method == "pix2pix":
                torch.testing.assert_close(resumed[name], weight, rtol=1e-3, atol=1e-4)


@every_run
def test_old_models_and_logs_are_read(fixture_copy: Path, method: str) -> None:
    run, data = f"runs/{method}", DATA[method]
    models = [path for path in Path(run).rglob("*.safetensors") if path.stem in ("ab", "ba")]
    image_path = next(Path(data).rglob("*.png"))
    ema = "averaged" if fixture_copy.name == "format_1" else "ema"
    assert {model.parent.name for model in models} == {method, "best", ema}
    for model in models:
        with Image.open(image_path) as image:
            assert Translator.load(model)(image, half="whole").size == image.size
    log = (Path(run) / "log.jsonl").read_bytes()
    metrics = "l1" if method == "pix2pix" else "cycle"
    main(["evaluate", run, data, "-o", "new", "--metrics", metrics])
    translator = next(Path(run).glob("ba.safetensors"))
    main(["explain", str(translator), str(image_path), "--half", "whole", "-o", "patches.png"])
    main(["report", run])
    main(["compare", run, f"ended/{method}", "-o", "compare.html"])
    assert "<svg" in Path(run, "report.html").read_text()  # curves of the old log
    assert "g_gan" in Path("compare.html").read_text()
    assert (Path(run) / "log.jsonl").read_bytes() == log  # only resuming rewrites it
    found = RunFolder(Path(run))
    assert found.patch_maps.keys() == found.samples.keys() != set()
    assert found.settings["train"]["keep_last"] == 2 and "keep" not in found.settings["train"]
    assert found.best is not None and found.best.ema.keys() == found.best.raw.keys() != set()
    assert read_header(Path(run, ema, "ba.safetensors"))["weights"] == "ema"
