"""A full disk damages no checkpoint; the error names the space that is needed (promise C9)."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from short_runs import arguments, write_pairs

from viceversa import files
from viceversa.checkpoint import Checkpoints
from viceversa.cli import main
from viceversa.config.command_line import train_settings
from viceversa.config.run import make_method
from viceversa.errors import UserError
from viceversa.files import free_inodes, free_space, write_json
from viceversa.training.log import Log
from viceversa.training.preflight import Disk, DiskSpace, disk_needed, disk_space

MB = 2**20
FULL = r"the disk is full: 1\d\.\d MB are needed, [\d.]+ [kM]B are free"


@pytest.fixture
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """Mount a disk of 8 MB, or one with the given tmpfs option."""
    option = getattr(request, "param", "size=8m")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", option, "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, timeout=20, check=False)
    except FileNotFoundError:
        pytest.skip("mount is not available")
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], timeout=20, check=True)


def state(megabytes: int, images: int) -> dict[str, Any]:
    return {"images": images, "numbers": torch.rand(megabytes * MB // 4)}


def assert_refused_for_space(folder: Path) -> None:
    checkpoints = Checkpoints(folder / "checkpoints", 3)
    checkpoints.save(state(2, 1), 1)
    path = checkpoints.folder / "0000000002.safetensors"
    with pytest.raises(UserError, match=f"^{re.escape(str(path))} could not be written: {FULL}"):
        checkpoints.save(state(16, 2), 2)
    assert [one.stem for one in checkpoints.folder.iterdir()] == ["0000000001"]
    found = checkpoints.latest(lambda text: None)
    assert found is not None and found[0]["images"] == 1
    checkpoints.save(state(3, 3), 3)  # a smaller state is saved again


def test_a_file_that_does_not_fit_is_refused_before_it_is_written(disk: Path) -> None:
    assert_refused_for_space(disk)


def test_a_disk_that_fills_up_while_a_file_is_written(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = iter([10**12] + [10**12, 6 * 10**6] + [10**12] * 9)  # enough at the first check
    monkeypatch.setattr(files, "free_space", lambda folder: next(free))
    assert_refused_for_space(disk)


def test_control_a_naive_save_leaves_an_incomplete_file(disk: Path) -> None:
    path = disk / "latest.pt"
    torch.save(state(2, 1), path)
    with pytest.raises((RuntimeError, OSError)):
        torch.save(state(16, 2), path)
    with pytest.raises((RuntimeError, EOFError)):
        torch.load(path, weights_only=True)


def fill_except(disk: Path, free: int) -> Path:
    """Fill a disk except for `free` bytes."""
    path = disk / "filler"
    path.write_bytes(bytes(max(0, files.free_space(disk) - free)))
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "data")


def fill_and_free(
    disk: Path, monkeypatch: pytest.MonkeyPatch, free: int, full_at: int, freed_at: int
) -> None:
    """Fill the disk after `full_at` images and free it after `freed_at` images."""
    step = Log.add

    def add_and_fill(self: Log, *arguments: Any) -> None:
        step(self, *arguments)
        if self.done == full_at:
            fill_except(disk, free)
        elif self.done == freed_at:
            (disk / "filler").unlink()

    monkeypatch.setattr(Log, "add", add_and_fill)


@pytest.mark.slow
@pytest.mark.parametrize("free", [40_000, 0])
def test_training_continues_on_a_full_disk_and_saves_when_there_is_space(
    disk: Path,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    free: int,
) -> None:
    run = disk / "run"
    fill_and_free(disk, monkeypatch, free, full_at=6, freed_at=14)
    more = ["--train.on_disk_full", "continue", "--train.save_every", "4", "--train.log_every", "3"]
    main(arguments(data, run, epochs=3) + more)
    output = capsys.readouterr().out
    missed = re.findall(
        r"(\d+)\.safetensors could not be written: the disk is full: "
        r"[\d.]+ kB are needed, [\d.]+ kB are free; the previous checkpoint is kept, and training",
        output,
    )
    assert [int(number) for number in missed] == [8, 12], output
    assert [path.stem for path in Checkpoints(run / "checkpoints", 3).files()] == [
        f"{images:010d}" for images in (24, 20, 16)
    ]
    assert not list(run.rglob("*.tmp"))


@pytest.mark.slow
def test_training_stops_on_a_full_disk_and_keeps_the_last_checkpoint(
    disk: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = disk / "run"
    fill_and_free(disk, monkeypatch, 40_000, full_at=6, freed_at=-1)
    with pytest.raises(SystemExit) as ended:
        main([*arguments(data, run, epochs=3), "--train.save_every", "4"])
    assert ended.value.code == 2
    assert "0000000008.safetensors could not be written: the disk" in capsys.readouterr().err
    found = Checkpoints(run / "checkpoints", 3).latest(lambda text: None)
    assert found is not None and found[0]["images"] == 4
    assert not list(run.rglob("*.tmp"))


def test_a_run_that_does_not_fit_is_refused_before_training(
    disk: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments(data, disk / "run", epochs=3, width=128))
    assert ended.value.code == 2
    assert re.search(
        r"has [78]\.\d\d MB free, and this run needs [\d.]+ MB; free some space",
        capsys.readouterr().err,
    )
    assert not list((disk / "run").rglob("*.safetensors"))


@pytest.mark.slow
def test_a_full_disk_for_the_log_is_reported(
    disk: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fill_and_free(disk, monkeypatch, 0, full_at=6, freed_at=-1)
    more = ["--train.on_disk_full", "continue", "--train.log_every", "1"]
    with pytest.raises(SystemExit) as ended:  # the last checkpoint does not fit either
        main([*arguments(data, disk / "run", epochs=20), *more])
    assert ended.value.code == 2 and "the disk is full" in capsys.readouterr().err


def required_space(arguments_: list[str], folder: Path) -> tuple[Disk, DiskSpace]:
    """Return what a run writes in total, and what it adds to the files of its folder."""
    config = train_settings(arguments_[1], arguments_[2:])
    disk = disk_needed(make_method(config), config)
    return disk, disk_space(disk, folder)


@pytest.mark.slow
def test_a_resumed_run_needs_space_only_for_new_files(
    disk: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, more = disk / "run", ["--train.save_every", "4"]
    arguments_ = [*arguments(data, run, epochs=2, width=36), *more]
    needed, space = required_space(arguments_, run)
    assert space.needed == needed.needed  # a new run adds everything
    spare = 1_000_000  # for log, report and sample grids
    fill_except(disk, needed.needed + spare)
    main(arguments_)
    assert len(Checkpoints(run / "checkpoints", 3).files()) == 3
    assert free_space(disk) < needed.needed  # so existing files are not counted again
    for epochs in (2, 3):  # a finished run, and a longer one
        main([*arguments(data, run, epochs=epochs, width=36), *more])
    (disk / "more").write_bytes(bytes(free_space(disk) - needed.state * 9 // 10))
    before = sorted(path.name for path in (run / "checkpoints").iterdir())
    with pytest.raises(SystemExit) as ended:  # not even one checkpoint would fit
        main([*arguments(data, run, epochs=4, width=36), *more])
    assert ended.value.code == 2 and "free some space" in capsys.readouterr().err
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == before


@pytest.mark.parametrize(
    ("existing", "keep", "added"),
    [
        ({}, 3, 4 * 100 + 2 * 30),
        ({"checkpoints/0000000001": 100}, 3, 3 * 100 + 2 * 30),
        ({f"checkpoints/000000000{n}": 100 for n in (1, 2, 3)} | {"ab": 20, "d_b": 10}, 3, 130),
        ({f"checkpoints/000000000{n}": 100 for n in range(9)} | {"ab": 20, "best/ab": 20}, 3, 100),
        ({f"checkpoints/000000000{n}": 100 for n in (1, 2)} | {"ab": 20, "d_b": 10}, 1, 100),
        ({"checkpoints/0000000001.safetensors.damaged": 100, "samples/1": 100}, 3, 460),
    ],
)
def test_space_that_a_run_adds_by_hand(
    existing: dict[str, int], keep: int, added: int, tmp_path: Path
) -> None:
    for name, size in existing.items():
        path = tmp_path / (name if name.endswith(".damaged") else f"{name}.safetensors")
        if name.startswith("samples"):
            path = tmp_path / "samples" / "1.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(size))
    state, models = 100, 30
    needed = Disk(state, models, state * (keep + 1) + 2 * models, 20)
    assert disk_space(needed, tmp_path).needed == added


@pytest.mark.slow
@pytest.mark.parametrize("disk", ["nr_inodes=40"], indirect=True)
def test_a_disk_without_free_inodes_is_reported(
    disk: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = disk / "run"
    main(arguments(data, run, epochs=1))
    others = disk / "others"
    others.mkdir()
    while (free := free_inodes(disk) or 0) > 5:
        (others / str(free)).touch()
    for arguments_ in (arguments(data, run, epochs=2), arguments(data, disk / "new", epochs=1)):
        with pytest.raises(SystemExit) as ended:
            main(arguments_)
        output = capsys.readouterr().err
        assert ended.value.code == 2 and re.search(r"inodes for \d more files", output), output
    while free_inodes(disk):
        (others / f"more {free_inodes(disk)}").touch()
    with pytest.raises(SystemExit) as ended:
        main(arguments(data, disk / "new", epochs=1))
    output = capsys.readouterr().err
    assert ended.value.code == 2 and output.count("\n") == 1
    assert "new cannot be written to: the disk has no inodes left for new files" in output
    with pytest.raises(UserError, match=r"x\.json could not be written: the disk has no inodes"):
        write_json(disk / "x.json", {})
    shutil.rmtree(others)
    main(arguments(data, run, epochs=2))
