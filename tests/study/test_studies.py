"""Studies end with the runs that train alone would make, whatever stops them."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import noise_pairs, raises_user_error

from viceversa.checkpoint import load_state, read_weights
from viceversa.cli import main
from viceversa.config.study import study_settings
from viceversa.study.folder import StudyRun, open_study, prepare

TRAINING = {
    "--generator.width": "4",
    "--generator.depth": "3",
    "--discriminator.width": "4",
    "--discriminator.layers": "2",
    "--data.load_size": "36",
    "--data.crop_size": "32",
    "--train.device": "cpu",
    "--train.precision": "fp32",
    "--train.epochs": "6",
    "--train.samples": "0",
    "--train.save_every": "5",
    "--validate.every": "6",
    "--validate.health": "0",
}
FOLDS = {"--folds": "2", "--val": "0.4"}
METRICS = ["--evaluate.metrics", "l1", "psnr"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def words(data: Path, folder: Path, **changed: str) -> list[str]:
    """Return the words of a study; `changed`: values by option, with `__` for a dot; "": none."""
    given = {f"--{name.replace('__', '.')}": value for name, value in changed.items()}
    options = FOLDS | TRAINING | {"--run": str(folder)} | given
    flat = [word for option in options.items() if option[1] for word in option]
    return ["study", "pix2pix", str(data), *METRICS, *flat]


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "viceversa", *words],
        capture_output=True,
        text=True,
        check=False,
        env=ENVIRONMENT,
        timeout=600,
    )


def digests(run: Path) -> dict[str, str]:
    """SHA-256 of the tensors of the last checkpoint and of the models, and the metrics."""
    state = load_state(max((run / "checkpoints").glob("*.safetensors")))
    found = {"progress": str([state["epoch"], state["images"]]), "method": ""}
    total = hashlib.sha256()
    for name, tensor in sorted(state["method"].items()):
        total.update(name.encode() + tensor.contiguous().numpy().tobytes())
    found["method"] = total.hexdigest()
    metrics = json.loads((run / "evaluation" / "metrics.json").read_text())
    rows = metrics["directions"]["ab"]["images"]
    found["metrics"] = str([(Path(row["source"]).name, row["l1"], row["psnr"]) for row in rows])
    for model in sorted([*run.glob("*.safetensors"), *run.glob("best/*.safetensors")]):
        weights = read_weights(model)
        content = b"".join(weights[name].numpy().tobytes() for name in sorted(weights))
        found[str(model.relative_to(run))] = hashlib.sha256(content).hexdigest()
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise_pairs(tmp_path_factory.mktemp("study") / "data", 10, 36)


@pytest.fixture(scope="module")
def finished(data: Path) -> Path:
    """A study that nothing stopped."""
    folder = data.parent / "uninterrupted"
    done = command(*words(data, folder))
    assert done.returncode == 0, done.stderr
    assert "2 of 2" in done.stdout
    return folder


@pytest.mark.slow
def test_a_run_equals_one_that_was_trained_alone(data: Path, finished: Path) -> None:
    study = open_study(finished)
    assert study.runs == (StudyRun("pix2pix", 1, 0), StudyRun("pix2pix", 2, 0))
    run, alone = study.runs[0], finished.parent / "alone"
    options = [word for option in TRAINING.items() for word in option]
    done = command(
        "train", "pix2pix", str(study.manifest(run)), *options, "--train.run", str(alone)
    )
    assert done.returncode == 0, done.stderr
    done = command(
        *("evaluate", str(alone / "best"), "--split", "test", "-o", str(alone / "evaluation")),
        *("--metrics", "l1", "psnr"),
    )
    assert done.returncode == 0, done.stderr
    assert digests(alone) == digests(study.folder(run))
    assert digests(alone) != digests(study.folder(study.runs[1]))  # the negative control


@pytest.mark.slow
def test_every_image_is_tested_once_and_none_was_trained_on(data: Path, finished: Path) -> None:
    study, tested = open_study(finished), []
    for run in study.runs:
        metrics = json.loads((study.folder(run) / "evaluation" / "metrics.json").read_text())
        assert metrics["protocol"]["split"] == "test" and metrics["protocol"]["pairs"]
        tests = [Path(row["source"]).name for row in metrics["directions"]["ab"]["images"]]
        log = (study.folder(run) / "log.jsonl").read_text()
        assert len(tests) == 5 and '"split": "val"' in log
        rows = [line.split(",") for line in study.manifest(run).read_text().splitlines()[1:]]
        others = {Path(a).name for split, a, *_ in rows if split != "test"}
        assert not others & set(tests) and len(others) == 5
        tested += tests
    assert sorted(tested) == [f"{i:02d}.png" for i in range(10)]


@pytest.mark.slow
def test_finished_runs_are_not_repeated_and_changes_are_refused(
    data: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {path: path.stat().st_mtime_ns for path in (finished / "runs").rglob("*.*")}
    main(words(data, finished))
    assert "2 of 2 runs are finished" in capsys.readouterr().out
    assert files == {path: path.stat().st_mtime_ns for path in (finished / "runs").rglob("*.*")}
    for option, more in (
        ("train.lr", {"train__lr": "0.1"}),
        (None, {"folds": "3"}),
        (None, {"over": "method.gan_loss=bce"}),
    ):
        config = study_settings("pix2pix", words(data, finished, **more)[2:])
        assert config is not None
        with raises_user_error(option=option):
            prepare(config, finished, print)
    # More seeds, another device and more checkpoints change no result.
    more = {"seeds": "2", "train__keep_last": "5", "train__device": "cuda"}
    config = study_settings("pix2pix", words(data, finished, **more)[2:])
    assert config is not None
    study = prepare(config, finished, print, write=False)
    states = [study.state(run) for run in study.runs]
    assert states == ["finished", "finished", "not begun", "not begun"]
    # Another image
    (data / "A" / "10.png").write_bytes((data / "A" / "00.png").read_bytes())
    (data / "B" / "10.png").write_bytes((data / "B" / "00.png").read_bytes())
    try:
        with raises_user_error(option="data.path"):
            prepare(config, finished, print)
    finally:
        for domain in "AB":
            (data / domain / "10.png").unlink()


def stop_at_random(data: Path, folder: Path, number: int, after: float, **changed: str) -> int:
    """Start a study and send it a signal some time after a run has begun; return its exit code."""
    log = (folder.parent / "stopped.txt").open("wb")
    before = len(list(folder.rglob("log.jsonl")))
    process = subprocess.Popen(
        [sys.executable, "-m", "viceversa", *words(data, folder, **changed)],
        stdout=log,
        stderr=log,
        env=ENVIRONMENT,
    )
    ends = time.monotonic() + 240
    while process.poll() is None and time.monotonic() < ends:
        if before or list(folder.rglob("log.jsonl")):
            time.sleep(after)
            process.send_signal(number)
            break
        time.sleep(0.01)
    code = process.wait(timeout=240)
    log.close()
    return code


def finish(data: Path, folder: Path) -> None:
    done = command(*words(data, folder))
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_stopped_and_a_killed_study_end_with_the_same_runs(data: Path, finished: Path) -> None:
    folder = data.parent / "stopped"
    assert stop_at_random(data, folder, signal.SIGTERM, 0.05) == 128 + signal.SIGTERM
    text = (data.parent / "stopped.txt").read_text()
    assert "stopped, and saved" in text and "run the same command again to resume" in text
    assert list(folder.rglob("checkpoints/*.safetensors"))
    after = random.Random().uniform(0, 3)
    assert stop_at_random(data, folder, signal.SIGKILL, after) == -signal.SIGKILL
    finish(data, folder)
    for run in open_study(finished).runs:
        assert digests(folder / "runs" / run.name) == digests(finished / "runs" / run.name)


@pytest.mark.soak
def test_a_study_killed_ten_times_ends_with_the_same_runs(tmp_path: Path) -> None:
    """Three folds, two seeds, 64 px; SIGKILL or SIGTERM at a random time."""
    data = noise_pairs(tmp_path / "data", 12, 72)
    size = {"data__load_size": "72", "data__crop_size": "64", "train__epochs": "20"}
    size |= {"folds": "3", "seeds": "2", "val": "0.2"}
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    assert command(*words(data, whole, **size)).returncode == 0
    drawn, codes = random.Random(), []
    for _ in range(10):
        number = drawn.choice([signal.SIGKILL, signal.SIGTERM])
        codes.append(stop_at_random(data, folder, number, drawn.uniform(0, 20), **size))
    assert 2 not in codes and codes.count(0) < 5  # 0: it finished before the signal
    assert command(*words(data, folder, **size)).returncode == 0
    runs = open_study(whole).runs
    assert len(runs) == 6
    for run in runs:
        assert digests(folder / "runs" / run.name) == digests(whole / "runs" / run.name)


@pytest.mark.slow
def test_a_failed_run_is_reported_and_the_others_go_on(data: Path) -> None:
    folder = data.parent / "failing"
    over = "discriminator.layers=6,2"  # 6 are too many for 32 px
    for split in ("train", "test"):
        noise_pairs(folder.parent / "splits" / split, 3, 36)
    options = words(
        data.parent / "splits", folder, folds="0", val="0", over=over, discriminator__layers=""
    )
    done = command(*options)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "1 of 2 runs failed, the first is layers-6/seed-0: " in done.stderr
    assert str(folder / "logs") in done.stderr
    study = open_study(folder)
    assert [study.state(run) for run in study.runs] == ["not begun", "finished"]
    assert not (folder / "runs" / "layers-2" / "seed-0" / "best").exists()  # no val: the last epoch
    assert json.loads(study.marker(study.runs[1]).read_text())["model"] == "last"


@pytest.mark.slow
def test_time_limits_and_devices(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = data.parent / "limited"
    with pytest.raises(SystemExit) as stopped:
        main(words(data, folder, max_time="0.000001"))
    assert stopped.value.code == 75 and not (folder / "runs").exists()
    assert "--max_time" in capsys.readouterr().err
    # Each run stops by itself; the others are started, and nothing has failed.
    monkeypatch.setattr("viceversa.runtime.device.gpus", lambda: ["cpu", "cpu"])
    limits = {"train__max_time": "0.00001", "train__device": "auto"}
    with pytest.raises(SystemExit) as stopped:
        main(words(data, folder, **limits))
    out, err = capsys.readouterr()
    assert stopped.value.code == 75 and "train.max_time ended 2 of 2 runs" in err
    assert out.count("started on cpu") == 2 and out.count("stopped, and saved") == 2
    started = [line for line in out.splitlines() if "started" in line]
    assert out.splitlines()[:2] == started  # both at once, one for each device
    study = open_study(folder)
    assert [study.state(run) for run in study.runs] == ["begun", "begun"]
