"""Output that cannot be written: an exit code, no traceback, and training continues."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from support import noise_pairs, option_arguments

from viceversa.cli import main
from viceversa.config.recipes import merge, read_recipe
from viceversa.config.run import resolve
from viceversa.terminal import Output, say
from viceversa.training import loop as training

TINY_OPTIONS = {
    "generator.width": 2,
    "generator.depth": 2,
    "discriminator.width": 2,
    "discriminator.layers": 1,
    "data.load_size": 18,
    "data.crop_size": 16,
    "data.workers": 0,
    "train.device": "cpu",
    "train.precision": "fp32",
    "train.samples": 1,
    "validate.every": 0,
}
TINY = option_arguments(TINY_OPTIONS)
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with data/ and a complete run/."""
    folder = tmp_path_factory.mktemp("output")
    noise_pairs(folder / "data", 4, 20)
    options = [*TINY, "--train.epochs", "1", "--train.run", str(folder / "run")]
    main(["train", "pix2pix", str(folder / "data"), *options])
    return folder


def run_command(
    folder: Path, stdout: Any, *arguments: str, **more: Any
) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "viceversa", *arguments],
        cwd=folder,
        stdout=stdout,
        text=True,
        stderr=subprocess.PIPE,
        env=environment,
        timeout=120,
        check=False,
        **more,
    )


def closed_pipe() -> int:
    """Return the writing end of a pipe whose reading end is closed."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


# name -> (stdout, function that runs before the command, part of the message)
STREAMS: dict[str, tuple[Callable[[], Any], Any, str]] = {
    "a broken pipe": (closed_pipe, None, ""),
    "a full disk": (lambda: os.open(FULL, os.O_WRONLY), None, "No space left on device"),
    "a closed stdout": (lambda: None, lambda: os.close(1), "Bad file descriptor"),
}
LIGHT = [
    ["show"],
    ["show", "pix2pix"],
    ["show", "run/ab.safetensors"],
    ["--help"],
    ["--version"],
    ["train", "pix2pix", "--help"],
    ["check", "data"],
    ["check", "data", "--json"],
    ["features"],
    ["report", "run"],
    ["compare", "run", "run"],
]


@needs_full
@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("arguments", [["show", "pix2pix"], ["check", "data"]], ids=" ".join)
def test_lost_output_is_an_error(stream: str, arguments: list[str], folder: Path) -> None:
    assert_lost_output_is_an_error(stream, arguments, folder)


COMMANDS = [
    *LIGHT,
    ["plan", "pix2pix", "data", *TINY, "--steps", "0"],
    ["evaluate", "run", "data", "-o", "evaluation", "--metrics", "l1"],
    ["translate", "run/ab.safetensors", "data/A", "-o", "translated", "--overwrite"],
    ["explain", "run", "data/A/00.png", "-o", "map.png", "--overwrite"],
]


def case_id(value: str | list[str]) -> str:
    return value if isinstance(value, str) else " ".join(value[:2])


@needs_full
@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "stream"), list(zip(COMMANDS, cycle(STREAMS), strict=False)), ids=case_id
)
def test_lost_output_is_an_error_in_every_command(
    arguments: list[str], stream: str, folder: Path
) -> None:
    assert_lost_output_is_an_error(stream, arguments, folder)


@needs_full
@pytest.mark.soak
@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("arguments", COMMANDS, ids=case_id)
def test_every_stream_with_every_command(stream: str, arguments: list[str], folder: Path) -> None:
    assert_lost_output_is_an_error(stream, arguments, folder)


def assert_lost_output_is_an_error(stream: str, arguments: list[str], folder: Path) -> None:
    stdout, before, message = STREAMS[stream]
    opened = stdout()
    done = run_command(folder, opened, *arguments, preexec_fn=before)
    if isinstance(opened, int):
        os.close(opened)
    assert done.returncode == (2 if message else 141), done.stderr
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
    assert message in done.stderr and bool(message) == bool(done.stderr)


@needs_full
@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(stream, marks=[] if stream == "a full disk" else pytest.mark.slow)
        for stream in STREAMS
    ],
)
def test_training_continues_without_output(stream: str, folder: Path, tmp_path: Path) -> None:
    stdout, before, message = STREAMS[stream]
    opened = stdout()
    more = ["--train.epochs", "2", "--train.log_every", "1", "--train.run", str(tmp_path)]
    done = run_command(folder, opened, "train", "pix2pix", "data", *TINY, *more, preexec_fn=before)
    if isinstance(opened, int):
        os.close(opened)
    assert done.returncode == 0 and message in done.stderr
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
    assert (tmp_path / "checkpoints" / "0000000008.safetensors").exists()
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 8


@needs_full
def test_control_writable_output_is_no_error(folder: Path) -> None:
    done = run_command(folder, subprocess.PIPE, "show", "pix2pix")
    assert done.returncode == 0 and "[train]" in done.stdout and done.stderr == ""


def test_a_closed_stderr_loses_only_the_message(folder: Path) -> None:
    done = run_command(folder, subprocess.PIPE, "show", "nothing", preexec_fn=lambda: os.close(2))
    assert done.returncode == 2


def test_files_do_not_get_the_descriptor_of_a_closed_stream(tmp_path: Path) -> None:
    """Otherwise messages of libraries to stderr could be written into a checkpoint."""
    code = (
        "import os; from viceversa.terminal import occupy_descriptors\n"
        "occupy_descriptors(); number = os.open('x', os.O_CREAT | os.O_WRONLY)\n"
        "print(number > 2, file=open('y', 'w'))"
    )
    subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        check=True,
        preexec_fn=lambda: (os.close(1), os.close(2)),
    )
    assert (tmp_path / "y").read_text() == "True\n"


# -- from Python


class FailingStream:
    """Stream that raises on every use."""

    encoding = "utf-8"

    def __init__(self, error: Exception):
        self.error = error

    def write(self, text: str) -> int:
        raise self.error

    def flush(self) -> None:
        raise self.error

    def isatty(self) -> bool:
        raise ValueError("I/O operation on closed file")


@pytest.mark.parametrize(
    "stream",
    [
        None,
        FailingStream(OSError(5, "Input/output error")),
        FailingStream(BrokenPipeError()),
        FailingStream(ValueError("I/O operation on closed file")),
    ],
    ids=["none", "terminal closed", "pipe", "closed"],
)
def test_train_from_python_needs_no_stdout(
    stream: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = {
        "generator": {"width": 2, "depth": 2},
        "discriminator": {"width": 2, "layers": 1},
        "data": {
            "path": str(folder / "data"),
            "load_size": 18,
            "crop_size": 16,
            "workers": 0,
        },
        "train": {
            "run": str(tmp_path),
            "epochs": 1,
            "device": "cpu",
            "precision": "fp32",
            "samples": 0,
            "log_every": 1,
        },
    }
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    training.train(resolve(merge(read_recipe("pix2pix"), tiny)))
    monkeypatch.undo()
    assert (tmp_path / "checkpoints" / "0000000004.safetensors").exists()


def test_the_first_error_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    first = OSError(28, "No space left on device")
    inner = FailingStream(first)
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
