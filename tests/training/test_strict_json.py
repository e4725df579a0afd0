"""JSON has no word for infinity or for what is no number: files have null in its place."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monitored_runs import data_set, settings
from PIL import Image

from viceversa.checkpoint import read_header
from viceversa.cli import main
from viceversa.files import finite
from viceversa.reports.run_folder import RunFolder
from viceversa.training import loop as training
from viceversa.training.log import Log


def strict(text: str) -> Any:
    """What a reader understands that knows no more than JSON."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_what_is_not_finite_becomes_null_wherever_it_stands() -> None:
    value = {"a": math.inf, "b": [1.5, math.nan, (2, -math.inf)], "c": {"d": "inf", "e": None}}
    expected = {"a": None, "b": [1.5, None, [2, None]], "c": {"d": "inf", "e": None}}
    assert finite(value) == expected
    with pytest.raises(AssertionError, match="is no JSON"):  # the control
        strict(json.dumps(value))


def test_a_line_of_the_log_is_strict_json(tmp_path: Path) -> None:
    report = Log(tmp_path, 4, 0, 2)
    report.append({"images": 2, "validation": {"raw": {"psnr": math.inf, "l1": 0.0}}})
    report.append({"images": 3, "losses": {"g_l1": math.nan, "d": 1.0}, "gradients": {}})
    report.close()
    lines = [strict(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines[0]["validation"]["raw"] == {"psnr": None, "l1": 0.0}
    assert lines[1]["losses"] == {"g_l1": None, "d": 1.0}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose target is a map of one class: whatever is made is right, and PSNR infinite."""
    root = data_set(tmp_path_factory.mktemp("one-class"))
    for path in root.glob("*/B/*.png"):
        Image.fromarray(np.zeros((20, 20), dtype=np.uint8)).save(path)
    labels = {"b": {"kind": "labels", "ids": 1}}
    return training.train(settings("pix2pix", root, root.parent / "run", data=labels))


def test_an_infinite_psnr_of_a_validation(run: Path) -> None:
    lines = [strict(line) for line in (run / "log.jsonl").read_text().splitlines()]
    measured = [line["validation"]["raw"] for line in lines if "validation" in line]
    assert [(one["l1"], one["psnr"]) for one in measured] == [(0.0, None)] * 3
    header = read_header(run / "best" / "ab.safetensors")
    assert header["validation"]["raw"]["psnr"] is None


def test_the_page_has_a_gap_there(run: Path) -> None:
    folder = RunFolder(run)
    assert [one.raw["psnr"] for one in folder.validations] == [None, None, None]
    assert [one.raw["l1"] for one in folder.validations] == [0.0, 0.0, 0.0]
    main(["report", str(run)])
    page = (run / "report.html").read_text()
    assert "Infinity" not in page and "NaN" not in page
    main(["compare", str(run), str(run), "-o", str(run / "compare.html")])
    assert (run / "compare.html").is_file()


def test_an_infinite_psnr_of_an_evaluation(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    main(["evaluate", str(run), "--metrics", "l1", "psnr", "-o", str(tmp_path), "--json"])
    printed = strict(capsys.readouterr().out)
    found = strict((tmp_path / "metrics.json").read_text())
    assert found == printed
    (way,) = found["directions"].values()
    assert way["means"]["psnr"] == {"mean": None, "low": None, "high": None}
    assert all(image["psnr"] is None and image["l1"] == 0.0 for image in way["images"])
