"""`translate --ray`: same results as with one process, even if a worker is killed.

Ray is not part of the packages for development, since it is large:

    pip install '.[ray]'
    pytest -m soak tests/inference/test_ray.py
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support import command_error, command_output, noise_images

from viceversa.cli.ray_workers import RayWork, RayWorker, _results, check_ray
from viceversa.cli.translate_options import TranslateOptions
from viceversa.environment import Launched, prepare_ray
from viceversa.errors import UserError
from viceversa.runtime.signals import collect_stop_signals, keep_handlers

MODEL = Path(__file__).parents[1] / "fixtures/format_1/runs/cyclegan/ab.safetensors"
IMAGES = 500
needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="needs the package ray (extra ray)"
)


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the environment variables of Ray for a test, and restore them afterwards."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_USAGE_STATS_ENABLED"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def workers_of(home: Path) -> list[int]:
    """Return the processes of Ray workers that translate, by the home folder of their user."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name, variables = ((folder / file).read_bytes() for file in ("cmdline", "environ"))
        except OSError:
            continue
        if name.startswith(b"ray::RayWorker") and f"HOME={home}\0".encode() in variables:
            found.append(int(folder.name))
    return found


@contextmanager
def translating(folder: Path, home: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a translation of `folder`/in with Ray, and wait for the first results."""
    out = folder / "out"
    words = ["translate", str(MODEL), str(folder / "in"), "-o", str(out), "--ray", "local"]
    command = [sys.executable, "-m", "viceversa", *words]
    environment = {**os.environ, "HOME": str(home), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None and len(list(out.glob("*.png"))) < 40:
            time.sleep(0.05)
        yield process


@pytest.mark.soak
@needs_ray
def test_a_killed_worker_changes_no_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, plain, out = (tmp_path / name for name in ("home", "plain", "out"))
    home.mkdir()
    noise_images(tmp_path / "in", IMAGES, size=(48, 32))
    command_output(capsys, "translate", MODEL, tmp_path / "in", "-o", plain)
    with translating(tmp_path, home) as process:
        before = workers_of(home)
        assert len(before) >= 2
        os.kill(before[0], signal.SIGKILL)
        text, _ = process.communicate(timeout=600)
    assert process.returncode == 0
    assert re.search(r"Ray: \d+ workers with 1 threads each; the first one started after", text)
    assert f"{IMAGES} of {IMAGES} images translated to {out}" in text
    expected = sorted(plain.glob("*.png"))
    assert [path.name for path in expected] == sorted(path.name for path in out.glob("*.png"))
    assert all(path.read_bytes() == (out / path.name).read_bytes() for path in expected)
    assert list(out.glob("*.tmp")) == []
    records = [file.read_text().splitlines() for file in out.glob(".viceversa*.jsonl")]
    names = [json.loads(line)["result"] for lines in records for line in lines]
    assert len(records) >= 2 and sorted(names) == [path.name for path in expected]
    assert not (home / ".ray").exists()  # Ray stores no token


@pytest.mark.soak
@needs_ray
def test_a_signal_ends_the_work_and_resume_continues_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, out = tmp_path / "home", tmp_path / "out"
    home.mkdir()
    noise_images(tmp_path / "in", IMAGES, size=(48, 32))
    with translating(tmp_path, home) as process:
        process.send_signal(signal.SIGTERM)
        text, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    done = len(list(out.glob("*.png")))
    assert 40 <= done < IMAGES and list(out.glob("*.tmp")) == [] and workers_of(home) == []
    text = command_output(capsys, "translate", MODEL, tmp_path / "in", "-o", out, "--resume")
    found = re.search(r"(\d+) of 500 images translated .*; (\d+) were translated before", text)
    assert found is not None and int(found[1]) + int(found[2]) == IMAGES
    assert int(found[2]) >= done - 2  # each worker may have written one result that is not recorded
    assert len(list(out.glob("*.png"))) == IMAGES


def test_a_restarted_worker_does_not_repeat_what_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results of the previous process count as results of this translation."""
    noise_images(tmp_path / "in", 2)
    (out := tmp_path / "out").mkdir()
    context = types.SimpleNamespace(was_current_actor_reconstructed=False)
    ray = types.SimpleNamespace(get_runtime_context=lambda: context)
    monkeypatch.setitem(sys.modules, "ray", ray)
    work = RayWork(MODEL, out, TranslateOptions(), 1, (), os.getcwd(), [])
    files = [(tmp_path / "in" / name, out / name) for name in ("0.png", "1.png")]
    results = [result for _, result in files]
    assert RayWorker(work, 0, 2).translate(files[:1]).written == results[:1]
    written = results[0].stat().st_ino
    context.was_current_actor_reconstructed = True
    found = RayWorker(work, 0, 2).translate(files)
    assert (sorted(found.written), found.skipped) == (results, [])
    assert results[0].stat().st_ino == written
    again = RayWorker(work._replace(options=TranslateOptions(resume=True)), 0, 2)
    assert again.translate(files).skipped == results
    context.was_current_actor_reconstructed = False
    RayWorker(work, 0, 2).translate(files)  # control: a worker without a restart
    assert results[0].stat().st_ino != written


def test_a_worker_returns_errors_of_the_user() -> None:
    options = TranslateOptions(device="nonsense")
    worker = RayWorker(RayWork(MODEL, Path("out"), options, 1, (), os.getcwd(), []), 0, 1)
    assert "nonsense" in worker.ready()


def test_what_ray_cannot_do_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    noise_images(tmp_path / "in", 1)
    words = ["translate", MODEL, tmp_path / "in", "--ray", "local", "-o"]
    text = command_error(capsys, *words, tmp_path / "one.png")
    assert "--ray writes a folder of results, not one file" in text
    text = command_error(capsys, "translate", MODEL, "-", "--ray", "local", "-o", tmp_path / "out")
    assert "--ray translates files, not standard input" in text
    monkeypatch.setitem(sys.modules, "ray", None)
    text = command_error(capsys, *words, tmp_path / "out")
    assert "needs the package ray; install it with pip install 'viceversa[ray]'" in text
    with pytest.raises(UserError, match="not for torchrun") as error:
        check_ray("local", ["in"], tmp_path / "out", False, Launched(1, 2))
    assert error.value.option == "--ray"
    assert not (tmp_path / "out").exists()


def test_a_local_cluster_has_a_token_that_is_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    prepare_ray(local=False)
    assert "RAY_AUTH_MODE" not in os.environ
    prepare_ray(local=True)
    assert os.environ["RAY_AUTH_MODE"] == "token" and len(os.environ["RAY_AUTH_TOKEN"]) == 64
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "own")
    prepare_ray(local=True)  # the user has set the variable
    assert (os.environ["RAY_AUTH_MODE"], os.environ["RAY_AUTH_TOKEN"]) == ("disabled", "own")


def test_handlers_of_signals_are_kept_if_a_library_replaces_them() -> None:
    with collect_stop_signals() as received:
        with keep_handlers():
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.raise_signal(signal.SIGUSR1)  # the handler runs at once in this thread
        assert received == [signal.SIGUSR1]


class Worker:
    """Worker whose tasks are tuples of an outcome, as `Cluster` gets them."""

    def __init__(self, problem: str) -> None:
        self.ready = SimpleNamespace(remote=lambda: (self, problem))
        self.translate = SimpleNamespace(remote=lambda chunk: (self, len(chunk)))


class Cluster:
    """The part of Ray's interface that the loop over chunks uses; all tasks are complete."""

    exceptions = SimpleNamespace(RayError=OSError)

    def wait(self, tasks: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
        return tasks[:1], tasks[1:]

    def get(self, task: tuple[Worker, Any]) -> Any:
        return task[1]


def test_workers_that_cannot_start_get_no_files() -> None:
    chunks, said = [[(Path("a"), Path("b"))] * 2 for _ in range(5)], list[str]()
    workers = [Worker("no memory"), Worker("")]
    found = list(
        _results(
            Cluster(), workers, chunks, bool, lambda problem: said.append(problem or "started")
        )
    )
    assert found == [2] * 5 and said == ["no memory", "started"]
    with pytest.raises(UserError, match="a worker of Ray cannot start: no memory"):
        list(_results(Cluster(), workers[:1], chunks, bool, bool))
