"""Loggers run in other processes: no fault in them stops or slows a run."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from fake_loggers import command
from monitored_runs import lines, noise_splits, settings
from support import checkpoint_state, command_error, identical, train_until_crash

from viceversa.errors import UserError
from viceversa.training import loggers, loop
from viceversa.training.loggers import refuse_missing
from viceversa.training.loggers.background import BackgroundLogger
from viceversa.training.loggers.base import scalars

SHORT = 1.0  # seconds in which a hanging logger must finish in these tests


def fake(run: Path, fault: str, report: Any, **more: Any) -> BackgroundLogger:
    about = {"folder": str(run), "settings": {"train": {"lr": 0.1}}, "done": 0}
    return BackgroundLogger("Fake", command(fault), about, report, **more)


def calls(run: Path) -> list[Any]:
    path = run / "calls.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def end(logger: BackgroundLogger) -> None:
    logger.finish()
    logger.close()


def entry(images: int) -> dict[str, Any]:
    return {"kind": "train", "time": 1.75e9, "images": images, "loss.g": 1.0}


# -- one logger


def test_a_logger_gets_everything_in_order(tmp_path: Path) -> None:
    messages: list[str] = []
    logger = fake(tmp_path, "", messages.append)
    for images in range(50):
        logger.log(entry(images))
    logger.image("samples", 7, tmp_path / "x.png")
    end(logger)
    assert messages == ["Fake: an address"] and logger.dropped == 0
    assert calls(tmp_path) == [
        ["open", {"train": {"lr": 0.1}}],
        *(["log", entry(images)] for images in range(50)),
        ["image", ["samples", 7, str(tmp_path / "x.png")]],
        ["close", None],
    ]


@pytest.mark.slow
@pytest.mark.parametrize("when", ["open", "log", "image", "close"])
@pytest.mark.parametrize("fault", ["raise", "exit"])
def test_an_error_is_reported_once(fault: str, when: str, tmp_path: Path) -> None:
    messages: list[str] = []
    logger = fake(tmp_path, f"{fault} in {when}", messages.append)
    for images in range(20):
        logger.log(entry(images))
        logger.image("samples", images, tmp_path / "x.png")
    end(logger)
    reason = "RuntimeError: no connection" if fault == "raise" else "its process ended"
    error = f"Fake failed ({reason}); training continues without it"
    assert messages == ["Fake: an address"] * (when != "open") + [error]
    logger.log(entry(99))  # nothing happens


@pytest.mark.parametrize("when", ["open", "log", "close"])
def test_a_hanging_logger_is_ended(when: str, tmp_path: Path) -> None:
    messages: list[str] = []
    logger = fake(tmp_path, f"hang in {when}", messages.append, timeout=SHORT)
    began = time.monotonic()
    for images in range(100):
        logger.log(entry(images))
    assert time.monotonic() - began < SHORT  # no call waits for it
    end(logger)
    assert messages[-1] == (f"Fake did not finish within {SHORT:g} s; its log is incomplete")
    assert logger._process is None or logger._process.poll() == -signal.SIGKILL
    assert not logger._thread.is_alive()


def test_what_a_slow_logger_cannot_take_is_left_out_and_counted(tmp_path: Path) -> None:
    messages: list[str] = []
    logger = fake(tmp_path, "hang in open", messages.append, queued=10, timeout=SHORT)
    for images in range(30):
        logger.log(entry(images))
    assert logger.dropped == 20
    end(logger)
    assert messages[0] == "Fake is too slow: log entries are left out there"
    assert messages[-1] == "Fake was too slow: 21 log entries are missing there"
    assert len(messages) == 3


def test_a_logger_whose_program_is_missing_is_reported(tmp_path: Path) -> None:
    messages: list[str] = []
    about: dict[str, Any] = {"folder": str(tmp_path), "settings": {}, "done": 0}
    logger = BackgroundLogger("Fake", [str(tmp_path / "none")], about, messages.append)
    end(logger)
    assert messages == ["Fake failed (No such file or directory); training continues without it"]


def wait_for_calls(run: Path, name: str) -> None:
    deadline = time.monotonic() + 60
    while name not in [call for call, _ in calls(run)]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_a_logger_finishes_if_the_run_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time, os; from pathlib import Path; from test_loggers import *\n"
        "run = Path(sys.argv[1]); logger = fake(run, 'slow', print)\n"
        "for images in range(3): logger.log(entry(images))\n"
        "wait_for_calls(run, 'log'); os.kill(os.getpid(), 9)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    words = [sys.executable, "-c", code, str(tmp_path)]
    assert subprocess.run(words, env=environment, check=False).returncode == -signal.SIGKILL
    wait_for_calls(tmp_path, "close")
    assert [name for name, _ in calls(tmp_path)] == ["open", "log", "log", "log", "close"]


def test_a_logger_ignores_signals_that_the_run_also_gets(tmp_path: Path) -> None:
    """It ends with its input, whatever signals it gets before that."""
    logger = fake(tmp_path, "slow", lambda text: None)
    for images in range(3):
        logger.log(entry(images))
    wait_for_calls(tmp_path, "open")
    assert logger._process is not None and logger._process.stdin is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(logger._process.pid, number)
    end(logger)
    assert [name for name, _ in calls(tmp_path)] == ["open", "log", "log", "log", "close"]


# -- of a run


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise_splits(tmp_path_factory.mktemp("loggers"))


@pytest.mark.parametrize("fault", ["", "raise in log", "hang in log", "hang in open"])
def test_a_run_with_any_fault_is_the_run_without_loggers(
    fault: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same weights and log; every entry and grid is passed to the logger."""

    def opened(names: Any, run: Path, *_: Any) -> list[BackgroundLogger]:
        return [fake(run, fault, messages.append, timeout=60.0 if not fault else SHORT)]

    messages: list[str] = []
    without = loop.train(settings("pix2pix", data, tmp_path / "without"))
    monkeypatch.setattr("viceversa.training.run.open_loggers", opened)
    run = loop.train(settings("pix2pix", data, tmp_path / "run"))
    assert identical(checkpoint_state(run), checkpoint_state(without))
    assert [line["images"] for line in lines(run, "train")] == [4, 8, 12]
    if fault:
        assert messages[-1].endswith(
            "training continues without it" if "raise" in fault else "its log is incomplete"
        )
        return
    logged = [value for name, value in calls(run) if name == "log"]
    assert logged == [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    images = [value for name, value in calls(run) if name == "image"]
    assert {(kind, count) for kind, count, _ in images} == {
        (path.parent.name, int(path.stem)) for path in run.glob("*/*.png")
    }
    assert calls(run)[-1] == ["close", None]


def test_numbers_of_an_entry() -> None:
    line = {
        "kind": "train",
        "time": 1.5,
        "step": 3,
        "images": 6,
        "lr": 0.1,
        "loss.a.b": 2.0,
        "loss.c": None,
        "n": 4,
        "split": "val",
    }
    assert scalars(line) == {"step": 3, "lr": 0.1, "loss/a.b": 2.0}
    assert scalars({"kind": "diagnostic", "diagnostic.since": 5, "images": 6}) == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tensorboard", "wandb", "mlflow"])
def test_a_missing_package_is_refused_in_one_sentence(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    run = tmp_path / "run"
    message = command_error(
        capsys, "train", "pix2pix", "none", "--train.run", run, "--train.loggers", name
    )
    assert message.endswith(f"install it with pip install 'viceversa[{name}]'\n")
    assert not run.exists()
    with pytest.raises(UserError) as caught:
        refuse_missing([name])
    assert caught.value.option == "train.loggers"


# -- the packages, in their offline modes


def needs(package: str) -> pytest.MarkDecorator:
    missing = importlib.util.find_spec(package) is None
    return pytest.mark.skipif(missing, reason=f"{package} is not installed")


def with_logger(name: str, data: Path, run: Path, **train: Any) -> Any:
    train = {"loggers": (name,), "ema": 0.5, "sample_every": 4, "save_every": 1, **train}
    return settings("pix2pix", data, run, train=train)


@needs("wandb")
def test_wandb_offline_and_resumed(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    train_until_crash(monkeypatch, 6, with_logger("wandb", data, tmp_path / "run"))
    run_id = json.loads((tmp_path / "run" / "wandb.json").read_text())["id"]
    run = loop.train(with_logger("wandb", data, tmp_path / "run"))
    messages = [line for line in capsys.readouterr().out.splitlines() if "Weights" in line]
    assert len(messages) == 2 and all(run_id in line for line in messages)
    files = sorted(run.glob(f"wandb/offline-run-*-{run_id}/run-{run_id}.wandb"))
    assert len(files) == 2
    contents = b"".join(file.read_bytes() for file in files)
    for name in (b"loss/g_l1", b"val_ema/l1", b"grad_norm/generator", b"samples", b"lambda_l1"):
        assert name in contents
    assert b"loss/nothing" not in contents  # the control
    media = {path.name.split("_")[0] for path in run.glob("wandb/*/files/media/images/*.png")}
    assert media == {"samples", "patch"}


@needs("mlflow")
def test_mlflow_offline_and_resumed(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    train_until_crash(monkeypatch, 6, with_logger("mlflow", data, tmp_path / "run"))
    run = loop.train(with_logger("mlflow", data, tmp_path / "run"))
    code = (
        "import json, sys; from mlflow import MlflowClient; c = MlflowClient(); "
        "(e,) = [e for e in c.search_experiments() if e.name == 'viceversa']; "
        "(r,) = c.search_runs([e.experiment_id]); "
        "h = {k: [(m.step, m.value) for m in c.get_metric_history(r.info.run_id, k)] "
        "for k in r.data.metrics}; "
        "print(json.dumps([r.info.run_id, r.info.status, r.info.run_name, r.data.params, h, "
        "[a.path for k in ('samples', 'patch_maps') "
        "for a in c.list_artifacts(r.info.run_id, k)]]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    run_id, status, name, params, history, images = json.loads(done.stdout.splitlines()[-1])
    assert run_id == json.loads((run / "mlflow.json").read_text())["id"]
    assert (status, name) == ("FINISHED", "run")
    assert params["method.name"] == "pix2pix" and params["train.epochs"] == "2"
    for kind, prefix, key in (("train", "loss", "g_l1"), ("validation", "val", "l1")):
        points = dict(map(tuple, history[f"{prefix}/{key}"]))
        assert points == {line["images"]: line[f"{prefix}.{key}"] for line in lines(run, kind)}
    grids = {f"{path.parent.name}/{path.name}" for path in run.glob("*/*.png")}
    assert set(images) == {path for path in grids if not path.startswith("wandb")}


def test_a_run_that_starts_again_is_a_new_run(tmp_path: Path) -> None:
    about = loggers_about(tmp_path, done=0)
    from viceversa.training.loggers.base import save_id, saved_id

    save_id(about, "wandb", "x")
    assert saved_id(about, "wandb") is None
    assert saved_id(loggers_about(tmp_path, done=5), "wandb") == "x"
    (tmp_path / "wandb.json").write_text("[")
    assert saved_id(loggers_about(tmp_path, done=5), "wandb") is None


def loggers_about(run: Path, done: int) -> Any:
    from viceversa.training.loggers.base import About

    return About(str(run), {}, done)


def test_the_process_of_a_logger_imports_no_torch() -> None:
    code = "import sys, viceversa.training.loggers.child; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert loggers.TITLES.keys() == {"tensorboard", "wandb", "mlflow"}
