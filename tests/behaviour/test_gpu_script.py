"""`benchmarks/gpu.sh` runs on small networks and without a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.sh"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def run(out: Path, *options: str) -> tuple[int, dict[str, Any]]:
    """Run the script; return its exit code and the parts of its JSON file."""
    done = subprocess.run(
        ["bash", SCRIPT, "--device", "cpu", "--tiny", "--out", out, *options],
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        check=False,
    )
    (report,) = out.glob("*-gpu.json")
    parts: dict[str, Any] = json.loads(report.read_text())["parts"]
    return done.returncode, parts


def part(name: str, out: Path) -> dict[str, Any]:
    """Run one part, which must succeed, and return its results."""
    code, parts = run(out, "--parts", name)
    assert code == 0 and list(parts) == [name] and parts[name]["ok"], parts
    return parts[name]


def test_gpu_tests_are_run_and_counted(tmp_path: Path) -> None:
    result = part("tests", tmp_path)
    assert result["skipped"] > 30 and not result["failed_tests"]


@pytest.mark.parametrize("method", [pytest.param("pix2pix", marks=pytest.mark.soak), "cyclegan"])
def test_steps_are_timed(method: str, tmp_path: Path) -> None:
    assert part(method, tmp_path)["plain"]["median_s"] > 0


def test_training_is_stopped_resumed_and_evaluated(tmp_path: Path) -> None:
    result = part("training", tmp_path)
    stopped, ended = result["images"]
    assert 0 < stopped < ended and 0 < result["evaluation"]["ab"]["l1"] < 1
    assert (tmp_path / "samples.png").exists()


@pytest.mark.soak
def test_all_parts_work_in_one_call(tmp_path: Path) -> None:
    code, parts = run(tmp_path)
    assert sorted(parts) == ["cyclegan", "pix2pix", "tests", "training"]
    assert code == 0 and all(part["ok"] for part in parts.values()), parts


def test_a_part_that_fails_is_reported(tmp_path: Path) -> None:
    code, parts = run(tmp_path, "--parts", "training", "--data", str(tmp_path / "nothing"))
    assert code == 1 and not parts["training"]["ok"]
    assert "exit code 2" in parts["training"]["reason"]
