"""Killed translations leave complete results, and resuming them gives the same results."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pytest
from killed_translations import count_losses
from test_translator import model, put

from viceversa.cli import main, translation
from viceversa.files import MAX_NAME, _temporary, remove_temporary_of

LOSSES = ("failed", "different", "damaged", "left_over")
ENDED = 999_999_999  # the number of no process


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for number in range(20):
        put(tmp_path / "in" / f"{number}.png", number, 64, 64)
    return tmp_path / "in"


def counted(images: Path, kills: int) -> dict[str, int]:
    folder = images.parent
    return count_losses(model(folder / "model"), images, folder, kills, 1, "--batch_size", "2")


@pytest.mark.soak  # the timing depends on the disk
def test_killed_translations_lose_nothing(images: Path) -> None:
    counts = counted(images, 100)
    assert {name: counts[name] for name in LOSSES} == dict.fromkeys(LOSSES, 0), counts
    assert counts["kills"] >= 100 and counts["within_a_write"], counts


@pytest.mark.soak
def test_control_without_sweeping_temporary_files_stay(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keep(paths: Iterable[Path]) -> None:
        pass

    monkeypatch.setattr(translation, "remove_temporary_of", keep)
    counts = counted(images, 10)
    assert counts["left_over"], counts


def test_a_translation_removes_the_temporary_files_of_killed_ones(tmp_path: Path) -> None:
    out, put_here = tmp_path / "out", put(tmp_path / "in" / "a.png")
    (out / "sub").mkdir(parents=True)
    put(tmp_path / "in" / "sub" / "a.png")
    removed = [f"a.png.{ENDED}.tmp", f"sub/a.png.{ENDED}.tmp", f"a.png.{os.getpid()}.tmp"]
    kept = [f"other.png.{ENDED}.tmp", "a.png.tmp", "a.png.7x.tmp", f"a.png.{os.getppid()}.tmp"]
    for name in (*removed, *kept):
        (out / name).write_bytes(b"half")
    words = [str(model(tmp_path / "model")), str(put_here.parent), "-o", str(out)]
    main(["translate", *words, "--device", "cpu"])
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert files == {"a.png", "sub/a.png", ".viceversa.jsonl", *kept}


def test_temporary_files_of_long_names_are_removed(tmp_path: Path) -> None:
    path = tmp_path / ("x" * (MAX_NAME - 4) + ".png")
    temporary = _temporary(path)
    temporary.write_bytes(b"half")
    assert not temporary.name.startswith("x")
    remove_temporary_of([tmp_path / "missing" / "a.png", path])
    assert not temporary.exists()
