"""The examples of docs/python.md and docs/extending.md run as they are printed."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
import torch
from PIL import Image
from support import noise_images, noise_pairs

from viceversa.metrics.registry import METRICS

pytestmark = pytest.mark.usefixtures("registries")
DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def examples(page: str) -> list[str]:
    """Return the Python examples of a page in their order."""
    return BLOCK.findall((DOCS / page).read_text())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with my-pairs/ and photo.png, which is the current directory."""
    noise_pairs(tmp_path / "my-pairs", 8, 40)
    noise_images(tmp_path / "photos", 1)
    (tmp_path / "photos" / "0.png").rename(tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(example: str) -> None:
    torch.manual_seed(0)
    exec(compile(example, "example", "exec"), {"__name__": "__main__"})


@pytest.mark.slow
def test_the_examples_of_python_do_what_the_page_says(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after another, since later ones use the runs of earlier ones."""
    monkeypatch.setattr(logging.root, "handlers", [])  # without those of pytest
    monkeypatch.setattr(logging.root, "level", logging.WARNING)
    for example in examples("python.md"):
        run(example)
    for handler in logging.root.handlers:
        handler.close()
    runs = {path.name for path in (folder / "runs").iterdir()}
    assert runs == {"first", "followed", "shapes", "warm2cold", "residual", "edges"}
    for name in ("translated.png", "residual.png"):
        with Image.open(folder / name) as image:
            assert image.size == (40, 40)
    assert "epoch 3" in (folder / "training.log").read_text()
    assert "edges" in (folder / "runs" / "edges" / "log.jsonl").read_text()
    assert (folder / "generator.pt").exists()


def test_the_example_of_extending_runs() -> None:
    (example,) = examples("extending.md")
    run(example)
    assert METRICS["rmse"].better == "lower"


def test_every_example_is_found_and_a_broken_one_fails() -> None:
    assert len(examples("python.md")) == (DOCS / "python.md").read_text().count("```python") >= 11
    with pytest.raises(AttributeError):
        run("import viceversa\nviceversa.no_such_name")
