"""A resumed run equals an uninterrupted one to the bit, from any step, with all random sources."""

from __future__ import annotations

import copy
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import log_lines, noise_pairs, sigterm_after
from torch import Tensor, nn

from viceversa.checkpoint import Checkpoints, load_state, save_state
from viceversa.config.recipes import Sections, merge, read_recipe
from viceversa.config.run import RunConfig, resolve
from viceversa.errors import RunStopped, UserError
from viceversa.networks import GENERATORS
from viceversa.networks.unet import UNet
from viceversa.training import loop as training

METHODS = ("pix2pix", "cyclegan")
IMAGES, STEPS = 12, 40  # 12 steps per epoch; stops are at steps 1 to 40 of 48
SAMPLES, LAST_GRID = 10, "00000048"  # images between two sample grids, and the last grid
ALL_STEPS = range(1, STEPS + 1)
SOME_STEPS = (1, 11, 12, 13, 31, 39)


class NoisyUNet(nn.Module):
    """U-Net with dropout and noise from the random generators of Python and NumPy."""

    Config = UNet.Config

    def __init__(self, config: UNet.Config, channels_in: int, channels_out: int):
        super().__init__()
        self.inner = UNet(config, channels_in, channels_out)
        self.multiple, self.smallest = self.inner.multiple, self.inner.smallest

    def forward(self, x: Tensor) -> Tensor:
        noise = 0.1 * random.random() + 0.1 * float(np.random.rand()) if self.training else 0.0
        out: Tensor = self.inner(x + noise)
        return out


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GENERATORS, "noisy", (NoisyUNet, NoisyUNet.Config))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("resume")
    noise_pairs(root / "train", IMAGES, 20)
    noise_pairs(root / "val", 3, 20)
    return root


def settings(name: str, data: Path, run: Path, /, **train: Any) -> RunConfig:
    tiny: Sections = {
        "generator": {
            "name": "noisy",
            "width": 2,
            "depth": 2,
            "norm": "batch",
            "dropout_layers": 1,
            "dropout_from": 1,
        },
        "discriminator": {"width": 2, "layers": 1, "norm": "batch"},
        "data": {
            "path": str(data),
            "load_size": 18,
            "crop_size": 16,
            "rotate90": True,
            "workers": train.pop("workers", 0),
        },
        "train": {
            "run": str(run),
            "epochs": 4,
            "device": "cpu",
            "precision": "fp32",
            "log_every": 5,
            "samples": 1,
            "sample_every": SAMPLES,
            "save_every": 8,
            "ema": 0.9,
            **train,
        },
        "validate": {"every": 6},
    }
    if name == "cyclegan":
        tiny["method"] = {"pool_size": 3}
        tiny["validate"]["best_metric"] = "cycle"  # which does not improve each time
    return resolve(merge(read_recipe(name), tiny))


@pytest.fixture
def stop_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    return sigterm_after(monkeypatch)


def run_until(config: RunConfig, stop: int, stop_at: Callable[[int], None]) -> None:
    stop_at(stop)
    with pytest.raises(RunStopped) as stopped:
        training.train(config)
    assert stopped.value.code == 143
    stop_at(0)


def run_results(run: Path) -> dict[str, bytes]:
    """Return the contents of all files of a run, without timings and its path.

    Contains only sample grids that are due by images: others depend on time and on stops.
    """
    results = {}
    for path in sorted(run.rglob("*")):
        name = str(path.relative_to(run))
        if (
            path.is_file()
            and name not in (".lock", "config.json", "machine.json", "report.html")
            and "checkpoints" not in name
            and not (path.suffix == ".png" and int(path.stem) % SAMPLES and path.stem != LAST_GRID)
        ):
            results[name] = path.read_bytes()
    results["log.jsonl"] = json.dumps(log_lines(run, clock=False)).encode()
    results["state"] = checkpoint_bytes(
        max((run / "checkpoints").glob("*.safetensors")), {"sections"}
    )
    for name in [name for name in results if name.endswith(".safetensors")]:
        del results[name]  # contains the path of the run; its weights are in the state
    return results


def checkpoint_bytes(checkpoint: Path, without: set[str]) -> bytes:
    """Return the contents of a checkpoint without some fields (`sections` contains the path)."""
    state = {key: value for key, value in load_state(checkpoint).items() if key not in without}
    return repr(_plain(state)).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return (str(value.dtype), tuple(value.shape), value.numpy().tobytes())
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


@pytest.fixture(scope="module")
def uninterrupted(
    data: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, bytes]]:
    """Return the results of uninterrupted runs, by method."""
    runs = {}
    with pytest.MonkeyPatch.context() as patch:  # no other module may see the generator
        patch.setitem(GENERATORS, "noisy", (NoisyUNet, NoisyUNet.Config))
        for name in METHODS:
            run = tmp_path_factory.mktemp("uninterrupted") / name
            training.train(settings(name, data, run))
            runs[name] = run_results(run)
    return runs


def check_resumed_runs(
    name: str,
    steps: Any,
    data: Path,
    tmp_path: Path,
    uninterrupted: dict[str, dict[str, bytes]],
    stop_at: Callable[[int], None],
    **more: Any,
) -> None:
    for stop in steps:
        run = tmp_path / f"{name}-{stop}"
        run_until(settings(name, data, run, **more), stop, stop_at)
        assert max((run / "checkpoints").iterdir()).name == f"{stop:010d}.safetensors"
        training.train(settings(name, data, run, **more))
        assert run_results(run) == uninterrupted[name], f"stopped at {stop}"


@pytest.mark.soak  # a test below stops one run at several steps
@pytest.mark.parametrize("name", METHODS)
def test_runs_stopped_at_some_steps(
    name: str,
    data: Path,
    tmp_path: Path,
    uninterrupted: dict[str, dict[str, bytes]],
    stop_at: Callable[[int], None],
) -> None:
    check_resumed_runs(name, SOME_STEPS, data, tmp_path, uninterrupted, stop_at)


@pytest.mark.soak
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("workers", [0, 2])
def test_runs_stopped_at_every_step(
    name: str,
    workers: int,
    data: Path,
    tmp_path: Path,
    uninterrupted: dict[str, dict[str, bytes]],
    stop_at: Callable[[int], None],
) -> None:
    check_resumed_runs(name, ALL_STEPS, data, tmp_path, uninterrupted, stop_at, workers=workers)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "workers"),
    [
        pytest.param("pix2pix", 0, marks=pytest.mark.soak),
        ("pix2pix", 2),
        pytest.param("cyclegan", 0, marks=pytest.mark.soak),
        pytest.param("cyclegan", 2, marks=pytest.mark.soak),
    ],
)
def test_one_run_stopped_after_every_step(
    name: str,
    workers: int,
    data: Path,
    tmp_path: Path,
    uninterrupted: dict[str, dict[str, bytes]],
    stop_at: Callable[[int], None],
) -> None:
    """Each checkpoint equals that of an uninterrupted run, and so do the final results.

    A run that is resumed at every step takes each step from a checkpoint. This covers all steps
    with few runs; `test_runs_stopped_at_every_step` trains each stopped run to the end.
    Monitoring that is due at a stop runs after resuming: until then `monitor` differs.
    """
    excluded = {"sections", "monitor"}
    straight_run, interrupted_run = tmp_path / "straight", tmp_path / "often"
    training.train(
        settings(name, data, straight_run, workers=workers, save_every=1, keep_last=2 * STEPS)
    )
    for stop in ALL_STEPS:
        run_until(settings(name, data, interrupted_run, workers=workers), stop, stop_at)
        checkpoint = f"checkpoints/{stop:010d}.safetensors"
        assert checkpoint_bytes(interrupted_run / checkpoint, excluded) == checkpoint_bytes(
            straight_run / checkpoint, excluded
        ), f"stopped at {stop}"
    training.train(settings(name, data, interrupted_run, workers=workers))
    assert run_results(interrupted_run) == uninterrupted[name]


def test_one_run_stopped_several_times(
    data: Path,
    tmp_path: Path,
    uninterrupted: dict[str, dict[str, bytes]],
    stop_at: Callable[[int], None],
) -> None:
    run = tmp_path / "often"
    for stop in (1, 8, 11, 12, 13, 31, 39):
        run_until(settings("cyclegan", data, run), stop, stop_at)
    training.train(settings("cyclegan", data, run))
    assert run_results(run) == uninterrupted["cyclegan"]


# -- every saved field is needed


def fields(state: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return the paths of all saved fields: networks, pools and optimizer moments separately."""
    paths: list[tuple[str, ...]] = [(key,) for key in ("epoch", "batch", "images", "log")]
    nets = dict.fromkeys(key.split(".")[0] for key in state["method"])
    paths += [("method", net) for net in nets]
    paths += [
        ("optimizers", player, moment)
        for player in state["optimizers"]
        for moment in ("step", "exp_avg", "exp_avg_sq")
    ]
    # Diagnostics report nothing in such a short run (tests/training/diagnostics test their state).
    # Only the first diagnostics need the norms (tests/training/test_resume_monitor.py).
    left_out = {"diagnostics", "norms"}
    paths += [("monitor", part) for part in state["monitor"] if part not in left_out]
    return paths + [("random", kind) for kind in ("python", "numpy", "torch")]


def with_fresh_field(
    state: dict[str, Any], fresh: dict[str, Any], path: tuple[str, ...]
) -> dict[str, Any]:
    """Return the state with one field replaced by its value after a single step."""
    state = copy.deepcopy(state)
    if path[0] == "method":
        for key in state["method"]:
            if key.split(".")[0] == path[1]:
                state["method"][key] = fresh["method"][key]
    elif path[0] == "optimizers":
        for weight in state["optimizers"][path[1]]:
            for_weight = fresh["optimizers"][path[1]][weight]
            state["optimizers"][path[1]][weight][path[2]] = for_weight[path[2]]
    elif path[0] in ("random", "monitor"):
        state[path[0]][path[1]] = fresh[path[0]][path[1]]
    else:
        state[path[0]] = fresh[path[0]]
    return state


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "all_fields"),
    [
        ("pix2pix", True),
        ("cyclegan", False),
        pytest.param("cyclegan", True, marks=pytest.mark.soak),
    ],
    ids=["pix2pix", "cyclegan, networks and pools", "cyclegan"],
)
def test_every_saved_field_is_needed(
    name: str,
    all_fields: bool,
    data: Path,
    tmp_path: Path,
    uninterrupted: dict[str, dict[str, bytes]],
    stop_at: Callable[[int], None],
) -> None:
    run_until(settings(name, data, tmp_path / "fresh"), 1, stop_at)
    fresh = load_state(tmp_path / "fresh" / "checkpoints" / "0000000001.safetensors")
    run_until(settings(name, data, tmp_path / "interrupted"), 31, stop_at)
    log = (tmp_path / "interrupted" / "log.jsonl").read_text()
    state = load_state(tmp_path / "interrupted" / "checkpoints" / "0000000031.safetensors")
    checked_fields = {"sections", "domains", "data", "contents"}  # compared, not restored
    other_tests = {"runtime", "others"}  # fp16 scale and memory format; other processes
    assert {path[0] for path in fields(state)} | checked_fields | other_tests == set(state)
    tested = [path for path in fields(state) if all_fields or path[0] == "method"]
    for path in [None, *tested]:
        run = tmp_path / "-".join(path or ("control",))
        run.mkdir()
        (run / "log.jsonl").write_text(log)
        for kind in ("samples", "patch_maps"):
            shutil.copytree(tmp_path / "interrupted" / kind, run / kind)
        changed = state if path is None else with_fresh_field(state, fresh, path)
        save_state(run / "checkpoints" / "0000000031.safetensors", changed)
        training.train(settings(name, data, run))
        assert (run_results(run) == uninterrupted[name]) == (path is None), path


@pytest.mark.slow
@pytest.mark.parametrize("guard", ["sections", "domains", "data"])
def test_a_missing_field_for_comparison_is_refused(
    guard: str, data: Path, tmp_path: Path, stop_at: Callable[[int], None]
) -> None:
    run = tmp_path / "run"
    run_until(settings("pix2pix", data, run), 3, stop_at)
    path = run / "checkpoints" / "0000000003.safetensors"
    state = load_state(path)
    del state[guard]
    save_state(path, state)
    with pytest.raises(UserError, match=r"0000000003\.safetensors"):
        training.train(settings("pix2pix", data, run))


# -- messages


@pytest.mark.slow
def test_resuming_reports_checkpoint_and_changed_settings(
    data: Path, tmp_path: Path, stop_at: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    run_until(settings("pix2pix", data, run), 15, stop_at)
    capsys.readouterr()
    training.train(settings("pix2pix", data, run, epochs=6, lr=1e-4))
    output = capsys.readouterr().out
    assert (
        f"resuming from {run}/checkpoints/0000000015.safetensors, written 0 minutes ago" in output
    )
    assert "epoch 2, batch 4, 15 images processed" in output
    assert "changed since the checkpoint: train.epochs 4 -> 6" in output
    assert "changed since the checkpoint: train.lr 0.0002 -> 0.0001" in output
    assert output.count("changed since the checkpoint") == 2
    assert "schedule changed: lr 0.0001 in epoch 2 of 6" in output


@pytest.mark.slow
def test_a_finished_run_can_be_extended_with_a_new_schedule(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    training.train(settings("pix2pix", data, run, epochs=2))
    capsys.readouterr()
    training.train(settings("pix2pix", data, run, epochs=4))
    assert "schedule changed: lr 0.0001333 in epoch 3 of 4" in capsys.readouterr().out
    assert load_state(max((run / "checkpoints").iterdir()))["images"] == 48


@pytest.mark.slow
def test_keep_last_keeps_the_newest_checkpoints(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    training.train(settings("pix2pix", data, run, keep_last=2))
    names = sorted(path.name for path in (run / "checkpoints").iterdir())
    assert names == ["0000000040.safetensors", "0000000048.safetensors"]
    assert [path.name for path in Checkpoints(run / "checkpoints", 2).files()] == names[::-1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "names"),
    [
        ({"save_every": 0, "save_epochs": 2}, [24, 48]),
        ({"save_every": 0, "save_epochs": 0}, [48]),
        ({"save_every": 0, "save_minutes": 1e-9}, [46, 47, 48]),
        ({"save_every": 20}, [20, 40, 48]),
    ],
)
def test_each_save_interval(
    data: Path, tmp_path: Path, more: dict[str, Any], names: list[int]
) -> None:
    run = tmp_path / "run"
    training.train(settings("pix2pix", data, run, **more))
    assert sorted(int(path.stem) for path in (run / "checkpoints").iterdir()) == names


@pytest.mark.slow
def test_max_time_saves_and_stops_a_run(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(RunStopped, match="max_time") as stopped:
        training.train(settings("pix2pix", data, run, max_time=1e-9))
    assert stopped.value.code == 75
    assert [path.stem for path in (run / "checkpoints").iterdir()] == ["0000000001"]
    training.train(settings("pix2pix", data, run))
    assert load_state(max((run / "checkpoints").iterdir()))["images"] == 48


@pytest.mark.slow
def test_deterministic_runs_are_identical(data: Path, tmp_path: Path) -> None:
    states = []
    for name in ("one", "two"):
        run = tmp_path / name
        training.train(settings("cyclegan", data, run, epochs=1, deterministic=True))
        assert torch.are_deterministic_algorithms_enabled()
        states.append(run_results(run)["state"])
    assert states[0] == states[1]
    training.train(settings("pix2pix", data, tmp_path / "three", epochs=1))
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sections", "text"),
        ("sections", {}),
        ("epoch", "2"),
        ("batch", -1),
        ("images", 1.5),
        ("method", {}),
        ("optimizers", {"generator": 3}),
        ("random", {}),
        ("log", []),
        ("domains", None),
    ],
)
def test_an_invalid_state_is_refused(
    field: str, value: Any, data: Path, tmp_path: Path, stop_at: Callable[[int], None]
) -> None:
    run = tmp_path / "run"
    run_until(settings("pix2pix", data, run), 3, stop_at)
    path = run / "checkpoints" / "0000000003.safetensors"
    save_state(path, {**load_state(path), field: value})
    with pytest.raises(UserError):
        training.train(settings("pix2pix", data, run))
