"""Output that cannot be written: no traceback, no false success, and no lost run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from support import noise_pairs

from viceversa.cli import main
from viceversa.config.recipes import merge, read_recipe
from viceversa.config.run import resolve
from viceversa.terminal import Output, say
from viceversa.training import loop as training

TINY = [
    "--generator.width", "2", "--generator.depth", "2", "--discriminator.width", "2",
    "--discriminator.layers", "1", "--data.load_size", "18", "--data.crop_size", "16",
    "--data.workers", "0", "--train.device", "cpu", "--train.samples", "1", "--validate.every", "0",
]  # fmt: skip
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data/ and a complete run/."""
    folder = tmp_path_factory.mktemp("output")
    noise_pairs(folder / "data", 4, 20)
    main(["train", "pix2pix", str(folder / "data"), *TINY, "--train.epochs", "1", "--train.run",
          str(folder / "run")])  # fmt: skip
    return folder


def command(here: Path, stdout: Any, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "viceversa", *words], cwd=here, stdout=stdout, text=True,
        stderr=subprocess.PIPE, env=environment, timeout=120, check=False, **more,
    )  # fmt: skip


def closed_pipe() -> int:
    """The end of a pipe that nobody reads any more."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


# Each fails in another way: (stdout, before the command starts, part of the message)
WAYS: dict[str, tuple[Callable[[], Any], Any, str]] = {
    "a broken pipe": (closed_pipe, None, ""),
    "a full disk": (lambda: os.open(FULL, os.O_WRONLY), None, "No space left on device"),
    "a closed stdout": (lambda: None, lambda: os.close(1), "Bad file descriptor"),
}
LIGHT = [
    ["show"], ["show", "pix2pix"], ["show", "run/ab.safetensors"], ["--help"], ["--version"],
    ["train", "pix2pix", "--help"], ["check", "data"], ["check", "data", "--json"], ["features"],
    ["report", "run"], ["compare", "run", "run"],
]  # fmt: skip


@needs_full
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("words", [["show", "pix2pix"], ["check", "data"]], ids=" ".join)
def test_lost_output_is_an_error(way: str, words: list[str], here: Path) -> None:
    check_lost(way, words, here)


COMMANDS = [
    *LIGHT, ["plan", "pix2pix", "data", *TINY, "--steps", "0"],
    ["evaluate", "run", "data", "-o", "evaluation", "--metrics", "l1"],
    ["translate", "run/ab.safetensors", "data/A", "-o", "translated", "--overwrite"],
    ["explain", "run", "data/A/00.png", "-o", "map.png", "--overwrite"],
]  # fmt: skip


def named(value: str | list[str]) -> str:
    return value if isinstance(value, str) else " ".join(value[:2])


@needs_full
@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "way"), list(zip(COMMANDS, cycle(WAYS), strict=False)), ids=named
)
def test_lost_output_is_an_error_in_every_command(words: list[str], way: str, here: Path) -> None:
    check_lost(way, words, here)


@needs_full
@pytest.mark.soak
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("words", COMMANDS, ids=named)
def test_each_way_of_lost_output_is_an_error_in_every_command(
    way: str, words: list[str], here: Path
) -> None:
    check_lost(way, words, here)


def check_lost(way: str, words: list[str], here: Path) -> None:
    stdout, before, message = WAYS[way]
    opened = stdout()
    done = command(here, opened, *words, preexec_fn=before)
    if isinstance(opened, int):
        os.close(opened)
    assert done.returncode == (2 if message else 141), done.stderr
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
    assert message in done.stderr and bool(message) == bool(done.stderr)


@needs_full
@pytest.mark.parametrize("way", [
    pytest.param(way, marks=[] if way == "a full disk" else pytest.mark.slow) for way in WAYS
])  # fmt: skip
def test_training_continues_without_output(way: str, here: Path, tmp_path: Path) -> None:
    stdout, before, message = WAYS[way]
    opened = stdout()
    more = ["--train.epochs", "2", "--train.log_every", "1", "--train.run", str(tmp_path)]
    done = command(here, opened, "train", "pix2pix", "data", *TINY, *more, preexec_fn=before)
    if isinstance(opened, int):
        os.close(opened)
    assert done.returncode == 0 and message in done.stderr
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
    assert (tmp_path / "checkpoints" / "0000000008.safetensors").exists()
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 8


@needs_full
def test_output_that_can_be_written_is_no_error(here: Path) -> None:
    done = command(here, subprocess.PIPE, "show", "pix2pix")
    assert done.returncode == 0 and "[train]" in done.stdout and done.stderr == ""


def test_a_closed_stderr_costs_the_message_alone(here: Path) -> None:
    done = command(here, subprocess.PIPE, "show", "nothing", preexec_fn=lambda: os.close(2))
    assert done.returncode == 2


def test_no_file_of_a_run_gets_the_number_of_a_closed_stream(here: Path, tmp_path: Path) -> None:
    """Else what a library writes to stderr would be written into a checkpoint."""
    code = (
        "import os; from viceversa.terminal import occupy_descriptors\n"
        "occupy_descriptors(); number = os.open('x', os.O_CREAT | os.O_WRONLY)\n"
        "print(number > 2, file=open('y', 'w'))"
    )
    subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=True,
        preexec_fn=lambda: (os.close(1), os.close(2)),
    )  # fmt: skip
    assert (tmp_path / "y").read_text() == "True\n"


# -- from Python


class Broken:
    """A stream of which every use fails."""

    encoding = "utf-8"

    def __init__(self, error: Exception):
        self.error = error

    def write(self, text: str) -> int:
        raise self.error

    def flush(self) -> None:
        raise self.error

    def isatty(self) -> bool:
        raise ValueError("I/O operation on closed file")


@pytest.mark.parametrize("stream", [
    None, Broken(OSError(5, "Input/output error")), Broken(BrokenPipeError()),
    Broken(ValueError("I/O operation on closed file")),
], ids=["none", "terminal gone", "pipe", "closed"])  # fmt: skip
def test_train_from_python_needs_no_stdout(
    stream: Any, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = {
        "generator": {"width": 2, "depth": 2}, "discriminator": {"width": 2, "layers": 1},
        "data": {"path": str(here / "data"), "load_size": 18, "crop_size": 16, "workers": 0},
        "train": {"run": str(tmp_path), "epochs": 1, "device": "cpu", "samples": 0, "log_every": 1},
    }  # fmt: skip
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    training.train(resolve(merge(read_recipe("pix2pix"), tiny)))
    monkeypatch.undo()
    assert (tmp_path / "checkpoints" / "0000000004.safetensors").exists()


def test_the_first_error_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    first = OSError(28, "No space left on device")
    inner = Broken(first)
    out = Output(inner)
    assert out.error is None and not out.isatty()
    assert out.write("text") == 4
    inner.error = BrokenPipeError()
    out.flush()
    assert out.error is first
    none = Output(None)
    assert none.write("x") == 1 and isinstance(none.error, OSError)
    assert none.buffer.write(b"xy") == 2 and not none.isatty()
    monkeypatch.setattr(sys, "stdout", inner)
    say("nothing happens")
