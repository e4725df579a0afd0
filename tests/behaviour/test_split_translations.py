"""Processes of torchrun or srun share the images; the results equal those of one process."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import Domain, digest, noise_images, raises_user_error, small_model
from train_processes import TIMEOUT, output_of, start_processes

from viceversa.cli.translate_options import TranslateOptions
from viceversa.cli.translation import run_on_images
from viceversa.environment import launched
from viceversa.inference import Record
from viceversa.inference.outputs import share
from viceversa.runtime.device import local_device

JOB = {"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_LOCALID": "0"}
STEP = {"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "4", "SLURM_LOCALID": "1"}
TORCHRUN = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "2"}
OPTIONS = TranslateOptions(device="cpu", batch_size=2)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return small_model(tmp_path, Domain(), Domain())


@pytest.fixture
def images(tmp_path: Path) -> Path:
    noise_images(tmp_path / "in", 5, size=(16, 16))
    return tmp_path / "in"


def be(monkeypatch: pytest.MonkeyPatch, rank: int, size: int) -> None:
    """Set the variables of srun; with those of torchrun, `main` would end the process."""
    for name, value in zip(STEP, (rank, size, rank), strict=True):
        monkeypatch.setenv(name, str(value))


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, (0, 1, 0)),
        (TORCHRUN, (5, 8, 2)),
        ({"RANK": "1", "WORLD_SIZE": "2"}, (1, 2, 0)),
        (STEP, (3, 4, 1)),
        (JOB, (0, 1, 0)),  # the script of a job, which runs once
        (STEP | TORCHRUN, (5, 8, 2)),
    ],
    ids=["alone", "torchrun", "no local rank", "srun", "script of a job", "torchrun by srun"],
)
def test_rank_and_number_of_processes(
    variables: dict[str, str], expected: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert launched() == expected


def test_shares_are_disjoint_and_complete() -> None:
    pairs = [(Path(f"{number}.png"), Path(f"out/{number}.png")) for number in range(7)]
    assert share(pairs, 0, 1) == pairs
    assert share(pairs, 1, 3) == [pairs[1], pairs[4]]
    parts = [share(pairs, rank, 9) for rank in range(9)]
    assert sorted(pair for part in parts for pair in part) == pairs and parts[8] == []


def test_each_process_has_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus: list[str] = []
    monkeypatch.setattr("viceversa.runtime.device.gpus", lambda: gpus)
    assert local_device("auto", 1, 2) == "auto"
    gpus += ["cuda:0", "cuda:1"]
    assert local_device("auto", 1, 4) == "cuda:1" and local_device("cuda", 2, 4) == "cuda:0"
    assert local_device("cpu", 1, 4) == "cpu" and local_device("auto", 0, 1) == "auto"


def test_processes_translate_their_shares_with_the_results_of_one(
    model: Path,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [str(images)]
    run_on_images(model, words, tmp_path / "one", OPTIONS)
    out = tmp_path / "two"
    for rank in (1, 0):
        be(monkeypatch, rank, 2)
        capsys.readouterr()
        run_on_images(model, words, out, OPTIONS)
        count = (3, 2)[rank]
        line = f"{count} of {count} images translated to {out} (process {rank} of 2)\n"
        assert capsys.readouterr().out == line
    files = [".viceversa-1.jsonl", ".viceversa.jsonl", *(f"{number}.png" for number in range(5))]
    assert sorted(path.name for path in out.iterdir()) == files
    for path in out.glob("*.png"):
        assert path.read_bytes() == (tmp_path / "one" / path.name).read_bytes()
    with raises_user_error(path=out / "0.png"):  # its own results are protected
        run_on_images(model, words, out, OPTIONS)
    before = digest(out)
    for size in (1, 3):  # the records are read together, by another number of processes too
        be(monkeypatch, 0, size)
        resumed = TranslateOptions(device="cpu", resume=True)
        run_on_images(model, words, out, resumed)
        assert "0 of" in capsys.readouterr().out and digest(out) == before


@pytest.mark.parametrize("out", ["result.png", "-"])
def test_one_output_file_cannot_be_shared(
    out: str, model: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    be(monkeypatch, 1, 2)
    with raises_user_error("--out") as caught:
        run_on_images(model, [str(images / "0.png")], Path(out), OPTIONS)
    assert "which 2 processes cannot share" in str(caught.value)


def test_a_record_is_valid_whichever_process_wrote_it(tmp_path: Path) -> None:
    results = [tmp_path / f"{name}.png" for name in "ab"]
    for rank, result in enumerate(results):
        result.write_bytes(bytes([rank]))
        Record(tmp_path, "model", {}, rank).add(result, "source")
    records = [Record(tmp_path, "model", {}, rank) for rank in range(3)]
    assert all(record.has(result, "source") for record in records for result in results)
    results[0].write_bytes(b"changed")
    assert not records[2].has(results[0], "source")
    assert not records[2].has(results[1], "another source")
    assert not Record(tmp_path, "another model", {}).has(results[1], "source")


@pytest.mark.slow
def test_an_error_of_one_process_does_not_end_the_others(model: Path, tmp_path: Path) -> None:
    """A process that failed ends after the others: torchrun ends all when one fails."""
    folders = [tmp_path / "in" / f"{number:02d}" for number in range(20)]
    for number, folder in enumerate(folders):  # the second process has more to do
        noise_images(folder, 1, size=(384, 384) if number % 2 else (16, 16))
    (folders[0] / "0.png").write_bytes(b"damaged")
    out, log = tmp_path / "out", tmp_path / "log"
    words = [str(model), str(tmp_path / "in"), "-o", str(out), "--device", "cpu"]
    with start_processes(2, ["-m", "viceversa", "translate", *words], log) as processes:
        assert processes[0].wait(TIMEOUT) == 2, output_of(log)
        found = {path.parent.name for path in out.rglob("*.png")}
        assert processes[1].wait(TIMEOUT) == 0, output_of(log)
    assert found == {folder.name for folder in folders[1:]}
