"""JSON has no infinity or NaN: files contain null instead."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monitored_runs import noise_splits, settings
from PIL import Image

from viceversa.checkpoint import read_header
from viceversa.cli import main
from viceversa.files import finite
from viceversa.reports.run_folder import RunFolder
from viceversa.training import loop as training
from viceversa.training.log import Log


def parse_strictly(text: str) -> Any:
    """Parse JSON; raise an error for NaN and Infinity, which Python accepts."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_non_finite_values_become_null() -> None:
    value = {"a": math.inf, "b": [1.5, math.nan, (2, -math.inf)], "c": {"d": "inf", "e": None}}
    expected = {"a": None, "b": [1.5, None, [2, None]], "c": {"d": "inf", "e": None}}
    assert finite(value) == expected
    with pytest.raises(AssertionError, match="is no JSON"):  # the control
        parse_strictly(json.dumps(value))


def test_a_log_line_is_strict_json(tmp_path: Path) -> None:
    log = Log(tmp_path, 4, 0, 2)
    log.append("validation", {"val.psnr": math.inf, "val.l1": 0.0})
    log.append("train", {"loss.g_l1": math.nan, "loss.d": 1.0})
    log.close()
    lines = [parse_strictly(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert (lines[0]["val.psnr"], lines[0]["val.l1"]) == (None, 0.0)
    assert (lines[1]["loss.g_l1"], lines[1]["loss.d"]) == (None, 1.0)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train on label maps with a single class: every output is correct, and PSNR infinite."""
    root = noise_splits(tmp_path_factory.mktemp("one-class"))
    for path in root.glob("*/B/*.png"):
        Image.fromarray(np.zeros((20, 20), dtype=np.uint8)).save(path)
    labels = {"b": {"kind": "labels", "ids": 1}}
    return training.train(settings("pix2pix", root, root.parent / "run", data=labels))


def test_an_infinite_psnr_in_a_validation(run: Path) -> None:
    lines = [parse_strictly(line) for line in (run / "log.jsonl").read_text().splitlines()]
    measured = [line for line in lines if line["kind"] == "validation"]
    assert [(one["val.l1"], one["val.psnr"]) for one in measured] == [(0.0, None)] * 3
    header = read_header(run / "best" / "ab.safetensors")
    assert header["validation"]["raw"]["psnr"] is None


def test_the_pages_have_a_gap_for_an_infinite_psnr(run: Path) -> None:
    folder = RunFolder(run)
    assert [one.raw["psnr"] for one in folder.validations] == [None, None, None]
    assert [one.raw["l1"] for one in folder.validations] == [0.0, 0.0, 0.0]
    main(["report", str(run)])
    page, script = (run / "report.html").read_text().split("<script>")
    assert "Infinity" not in page and "NaN" not in page
    assert "Infinity" in script  # the page ends where the script begins
    main(["compare", str(run), str(run), "-o", str(run / "compare.html")])
    assert (run / "compare.html").is_file()


def test_an_infinite_psnr_in_an_evaluation(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    main(["evaluate", str(run), "--metrics", "l1", "psnr", "-o", str(tmp_path), "--json"])
    printed = parse_strictly(capsys.readouterr().out)
    found = parse_strictly((tmp_path / "metrics.json").read_text())
    assert found == printed
    (direction,) = found["directions"].values()
    assert direction["means"]["psnr"] == {"mean": None, "low": None, "high": None}
    assert all(image["psnr"] is None and image["l1"] == 0.0 for image in direction["images"])
