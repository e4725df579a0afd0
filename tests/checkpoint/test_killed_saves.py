"""No saved checkpoint is lost if a process is killed at any instant (promises C1 and C4)."""

from __future__ import annotations

from pathlib import Path

import pytest
from killed_saves import KEEP, count_losses, count_naive_losses

from viceversa.checkpoint import Checkpoints

LOSSES = ("unreadable", "went_back", "too_few", "too_many", "left_over")


@pytest.mark.slow
def test_nothing_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    counts = count_losses(tmp_path / "1", 40, seed=1)
    for seed in (2, 3, 4):  # on a busy machine few kills hit a save
        if counts["within_a_save"] <= 3:
            more = count_losses(tmp_path / str(seed), 40, seed)
            counts = {name: count + more[name] for name, count in counts.items()}
    assert {name: counts[name] for name in LOSSES} == dict.fromkeys(LOSSES, 0), counts
    assert counts["saves"] > 40 and counts["within_a_save"] > 3, (
        f"too few kills during a save: {counts}"
    )


@pytest.mark.slow
def test_control_naive_saves_are_lost(tmp_path: Path) -> None:
    assert count_naive_losses(tmp_path, 15, seed=2) > 3


def test_a_damaged_newer_file_does_not_displace_later_checkpoints(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, 1)
    (tmp_path / "0000000030.safetensors").write_bytes(b"damaged")
    checkpoints.save({"images": 10}, 10)
    assert checkpoints.latest(lambda text: None) is not None
    checkpoints.save({"images": 20}, 20)
    found = checkpoints.latest(lambda text: None)
    assert found is not None and found[0]["images"] == 20
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "0000000020.safetensors",
        "0000000030.safetensors.damaged",
    ]


def test_the_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, KEEP)
    for images in range(1, 8):
        checkpoints.save({"images": images}, images)
    assert [int(path.stem) for path in checkpoints.files()] == [7, 6, 5]


def test_files_have_default_permissions(tmp_path: Path) -> None:
    path = Checkpoints(tmp_path, 1).save({"images": 1}, 1)
    (tmp_path / "other").write_text("")
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode
