"""A process may die at any instant: no checkpoint that was saved is lost (promises C1 and C4)."""

from __future__ import annotations

from pathlib import Path

from kills import KEEP, kills, naive_kills

from viceversa.checkpoint import Checkpoints

LOSSES = ("unreadable", "went_back", "too_few", "too_many", "left_over")


def test_nothing_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    tally = kills(tmp_path / "1", 40, seed=1)
    for seed in (2, 3, 4):  # on a busy machine few of them hit a save
        if tally["within_a_save"] <= 3:
            more = kills(tmp_path / str(seed), 40, seed)
            tally = {name: count + more[name] for name, count in tally.items()}
    assert {name: tally[name] for name in LOSSES} == dict.fromkeys(LOSSES, 0), tally
    assert tally["saves"] > 40 and tally["within_a_save"] > 3, f"too few instants hit: {tally}"


def test_a_naive_save_is_lost(tmp_path: Path) -> None:
    assert naive_kills(tmp_path, 15, seed=2) > 3


def test_a_damaged_newer_file_does_not_push_out_what_is_saved_after_it(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, 1)
    (tmp_path / "0000000030.safetensors").write_bytes(b"rotten")
    checkpoints.save({"images": 10}, 10)
    assert checkpoints.latest(lambda text: None) is not None
    checkpoints.save({"images": 20}, 20)
    found = checkpoints.latest(lambda text: None)
    assert found is not None and found[0]["images"] == 20
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "0000000020.safetensors", "0000000030.safetensors.damaged",
    ]  # fmt: skip


def test_what_is_kept_counts_from_the_newest_back(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, KEEP)
    for images in range(1, 8):
        checkpoints.save({"images": images}, images)
    assert [int(path.stem) for path in checkpoints.files()] == [7, 6, 5]


def test_files_are_as_readable_as_any_other(tmp_path: Path) -> None:
    path = Checkpoints(tmp_path, 1).save({"images": 1}, 1)
    (tmp_path / "other").write_text("")
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode
