"""Translations of a folder that are killed at random instants and resumed."""

from __future__ import annotations

import random
import time
from pathlib import Path

from support import Child, fork

from viceversa.cli import main

PATIENCE = 60.0  # seconds, for busy machines


def translate(model: Path, images: Path, out: Path, *options: str) -> Child:
    """Start a translation in a child process."""
    words = [str(model), str(images), "-o", str(out), "--device", "cpu", *options]
    return fork(lambda pipe: main(["translate", *words]))


def results(folder: Path) -> dict[str, bytes]:
    """Return the results in a folder by name."""
    return {path.name: path.read_bytes() for path in folder.glob("*.png")}


def count_losses(
    model: Path, images: Path, folder: Path, kills: int, seed: int, *options: str
) -> dict[str, int]:
    """Kill translations of `images`, resume each until it is complete, and count what was lost.

    Every second kill is at a random instant, the others while a result is written. All counts but
    `runs`, `kills` and `within_a_write` must be 0.
    """
    rng = random.Random(seed)
    began = time.monotonic()
    assert translate(model, images, folder / "whole", *options).wait(PATIENCE) == 0
    seconds = time.monotonic() - began
    expected = results(folder / "whole")
    counts = dict.fromkeys(
        ("runs", "kills", "within_a_write", "failed", "different", "damaged", "left_over"), 0
    )
    while counts["kills"] < kills:
        out = folder / f"killed-{counts['runs']}"
        while code := _translate_until_killed(counts, model, images, out, rng, seconds, options):
            found = results(out)
            counts["damaged"] += sum(expected.get(name) != data for name, data in found.items())
            counts["failed"] += code != -9
        counts["runs"] += 1
        counts["left_over"] += len(_temporary_files(out))
        counts["different"] += results(out) != expected
    return counts


def _translate_until_killed(
    counts: dict[str, int],
    model: Path,
    images: Path,
    out: Path,
    rng: random.Random,
    seconds: float,
    options: tuple[str, ...],
) -> int:
    """Resume a translation and kill it; return its exit code, 0 if it was complete before."""
    child = translate(model, images, out, "--resume", *options)
    ends = time.monotonic() + (rng.uniform(0, seconds) if counts["kills"] % 2 else PATIENCE)
    known = set(_temporary_files(out))
    while time.monotonic() < ends and not child.poll():
        aimed = counts["kills"] % 2 == 0
        if aimed and set(_temporary_files(out)) - known and rng.random() < 0.2:
            break
    child.kill()
    assert child.status is not None
    counts["kills"] += child.status == -9
    counts["within_a_write"] += bool(child.status and _temporary_files(out))
    return child.status


def _temporary_files(folder: Path) -> list[Path]:
    return list(folder.glob("*.tmp")) if folder.exists() else []
