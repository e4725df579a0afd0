"""Run a study: each run is trained and evaluated in a separate process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from ..config.extensions import OPTION, imported
from ..config.study import StudyConfig, StudyEvaluation
from ..errors import RunStopped, UserError
from ..fields import nested
from ..runtime.signals import collect_stop_signals
from .folder import StudyFolder, StudyRun

WORKER = "viceversa.cli.worker"
LOCK = ".lock"
TIME_LIMIT = 75  # exit code of a run that train.max_time ended
POLL, PATIENCE = 0.05, 60.0  # seconds between two checks; for a run that a killed study left


@dataclass
class _Progress:
    """Runs by their outcome."""

    total: int
    finished: int = 0
    failed: dict[StudyRun, str] = field(default_factory=dict)
    stopped: list[StudyRun] = field(default_factory=list)


def run_study(config: StudyConfig, study: StudyFolder, say: Callable[[str], None]) -> None:
    """Train and evaluate the runs that are not finished.

    Args:
        config: The settings of the study.
        study: Its folder, from `prepare`.
        say: Called with a line for each run.

    Raises:
        UserError: A run failed; the others were finished.
        RunStopped: A signal or `max_time` ended the study; all runs are saved.
    """
    options = config.options
    pending = [run for run in study.runs if study.state(run) != "finished"]
    progress = _Progress(len(study.runs), len(study.runs) - len(pending))
    if progress.finished:
        say(f"{progress.finished} of {progress.total} runs are finished")
    devices = _devices(config) if pending else [""]
    free = [devices[i % len(devices)] for i in range(options.jobs or len(devices))]
    active: dict[StudyRun, tuple[subprocess.Popen[bytes], str]] = {}
    ends = time.monotonic() + 60 * (options.max_time or float("inf"))
    why: RunStopped | None = None
    with _locked(study.root), collect_stop_signals() as signals:
        while active or (pending and why is None):
            if why is None and (signals or time.monotonic() >= ends):
                why = RunStopped("interrupted", 128 + signals[0]) if signals else _time_over(config)
                for process, _ in active.values():
                    process.send_signal(signal.SIGTERM)
            while pending and free and why is None:
                run, device = pending.pop(0), free.pop(0)
                active[run] = _start(config.options.evaluate, study, run, device), device
                say(f"{run.name}: started{device and f' on {device}'}")
            for run, (process, device) in list(active.items()):
                if process.poll() is not None:
                    del active[run]
                    free.append(device)
                    _end(study, run, process, progress, why is not None)
                    say(_line(study, run, progress))
            time.sleep(POLL)
    if why is not None:
        raise why
    if progress.failed:
        run, reason = next(iter(progress.failed.items()))
        raise UserError(
            f"{len(progress.failed)} of {progress.total} runs failed, the first is {run.name}: "
            f"{reason} (all messages: {study.log(run)}); the same command tries them again",
            path=study.folder(run),
        )
    if progress.stopped:
        text = f"train.max_time ended {len(progress.stopped)} of {progress.total} runs"
        raise RunStopped(text, TIME_LIMIT)


def _time_over(config: StudyConfig) -> RunStopped:
    return RunStopped(f"--max_time, {config.options.max_time:g} minutes, is over", TIME_LIMIT)


def _devices(config: StudyConfig) -> list[str]:
    """Return the GPUs if a variant uses any of them; "": the device of the settings."""
    if all(one.train.device not in ("auto", "cuda") for one in config.variants.values()):
        return [""]
    from ..runtime.device import gpus  # loads torch

    return gpus() or [""]


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Hold the lock of a study. Raises UserError if another process holds it."""
    try:
        with FileLock(root / LOCK, timeout=0):
            yield
    except Timeout:
        raise UserError(f"another process runs the study {root}", path=root) from None


def _start(
    evaluation: StudyEvaluation, study: StudyFolder, run: StudyRun, device: str
) -> subprocess.Popen[bytes]:
    """Start the process of a run. It stops by itself when the pipe to it is closed."""
    folder = study.folder(run)
    if folder.is_dir():  # a run whose study was killed saves itself first
        with suppress(Timeout), FileLock(folder / LOCK, timeout=PATIENCE):
            pass
    words = [word for module in imported for word in (OPTION, module)]
    settings = json.loads(study.config(run).read_text("utf-8"))
    where = device if device and settings["train"]["device"] in ("auto", "cuda") else ""
    task = {
        "train": ["train", str(study.config(run)), *_words({"train.device": where}), *words],
        "evaluate": _evaluate_words(evaluation, study, where or settings["train"]["device"]),
        "imports": words,
        "run": str(folder),
        "marker": str(study.marker(run)),
        "about": run._asdict(),
    }
    study.log(run).parent.mkdir(parents=True, exist_ok=True)
    with study.log(run).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", WORKER, json.dumps(task)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C reaches the study alone, which passes it on once
        )


def _evaluate_words(evaluation: StudyEvaluation, study: StudyFolder, device: str) -> list[str]:
    pairs = "yes" if evaluation.pairs == "auto" and study.paired else evaluation.pairs
    options = {
        "split": "test",
        "pairs": pairs,
        "size": evaluation.size,
        "policy": evaluation.policy,
        "classes": evaluation.classes,
        "features": evaluation.features,
        "device": device,
    }
    metrics = ["--metrics", *evaluation.metrics] if evaluation.metrics else []
    return [*_words(options), *(["--flips"] if evaluation.flips else []), *metrics]


def _words(options: Mapping[str, str]) -> list[str]:
    return [word for name, value in options.items() if value for word in (f"--{name}", value)]


def _end(
    study: StudyFolder,
    run: StudyRun,
    process: subprocess.Popen[bytes],
    progress: _Progress,
    stopping: bool,
) -> None:
    """Note how a run ended."""
    if process.stdin:
        process.stdin.close()
    code = process.returncode
    if code == 0 and study.marker(run).is_file():
        progress.finished += 1
    elif stopping or code == TIME_LIMIT:
        progress.stopped.append(run)
    elif code < 0:
        progress.failed[run] = f"its process was ended by the signal {-code}"
    else:
        progress.failed[run] = _last_line(study.log(run)) or f"its process ended with code {code}"


def _last_line(log: Path) -> str:
    lines = log.read_text("utf-8", errors="replace").split("\n") if log.is_file() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _line(study: StudyFolder, run: StudyRun, progress: _Progress) -> str:
    """Return a line on a run that ended."""
    if run in progress.failed:
        return f"{run.name}: failed: {progress.failed[run]}"
    if run in progress.stopped:
        return f"{run.name}: stopped, and saved"
    values = json.loads((study.folder(run) / "evaluation" / "metrics.json").read_text("utf-8"))
    parts = []
    for direction in nested(values, "directions"):
        means = nested(values, "directions", direction, "means")
        for name, value in list(means.items())[:2]:
            parts.append(f"{direction} {name} {value['mean']:.4g}")
    return f"{run.name}: finished, {progress.finished} of {progress.total}; {', '.join(parts)}"
