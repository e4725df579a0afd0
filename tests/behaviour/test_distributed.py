"""Several processes train like a single one: same images, same steps, one process writes."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from support import log_lines, max_difference, model_weights, noise_pairs, values
from torchrun_hosts import launch_on_one_machine, launch_on_two_hosts, linked_hosts, set_link
from train_processes import (
    TIMEOUT,
    output_of,
    start_processes,
    train_in_processes,
    train_in_this_process,
    wait_for_output,
)

from viceversa.checkpoint import load_state
from viceversa.cli import main
from viceversa.config.recipes import Sections, merge, read_recipe
from viceversa.config.run import resolve
from viceversa.data.loader import Loader
from viceversa.data.open import open_data
from viceversa.runtime.distributed import Ranks
from viceversa.runtime.peers import Peer, _state, current_process, kill_stopped

METHODS = ("pix2pix", "cyclegan")
IMAGES = 10
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise_pairs(tmp_path_factory.mktemp("ranks"), IMAGES, 16)


def settings(name: str, data: Path, run: Path, /, **more: dict[str, Any]) -> Sections:
    """Return settings without dropout, image pool and batch statistics."""
    tiny: Sections = {
        "generator": {"name": "unet", "width": 4, "depth": 2, "norm": "instance", "dropout": 0.0},
        "discriminator": {"width": 4, "layers": 1, "norm": "instance"},
        "data": {"path": str(data), "preprocess": "none", "workers": 0},
        "train": {
            "run": str(run),
            "epochs": 7,
            "device": "cpu",
            "precision": "fp32",
            "batch_size": 4,
            "samples": 2,
            "log_every": 4,
            "sample_every": 20,
            "save_every": 4,
            "rank_timeout": 20.0,
        },
    }
    if name == "cyclegan":
        tiny["method"] = {"pool_size": 0}
    return merge(merge(read_recipe(name), tiny), more)


def noisy_settings(name: str, data: Path, run: Path, /, **more: dict[str, Any]) -> Sections:
    """Return settings with dropout and, for CycleGAN, an image pool."""
    pool = {"method": {"pool_size": 3}} if name == "cyclegan" else {}
    drops: Sections = {"generator": {"dropout": 0.5}, **pool}
    return merge(settings(name, data, run, **drops), more)


# -- the same steps


@pytest.fixture(scope="module")
def single(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train each method in one process: 21 steps of batches of 4, 4 and 2, in float64."""
    folder = tmp_path_factory.mktemp("single")
    for name in METHODS:
        train_in_this_process(settings(name, data, folder / name))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pix2pix", pytest.param("cyclegan", marks=pytest.mark.slow)])
def test_two_processes_take_the_steps_of_one(
    name: str, data: Path, single: Path, tmp_path: Path
) -> None:
    train_in_processes(2, settings(name, data, tmp_path / "2"), tmp_path / "x", float64=True)
    assert max_difference(single / name, tmp_path / "2") < 1e-9
    logs = (log_lines(run) for run in (single / name, tmp_path / "2"))
    for one, two in zip(*logs, strict=True):
        assert (one["images"], one["step"]) == (two["images"], two["step"])
        assert values(one, "loss") == pytest.approx(values(two, "loss"), abs=1e-9)


@pytest.mark.slow
def test_control_processes_without_reduction_differ(
    data: Path, single: Path, tmp_path: Path
) -> None:
    train_in_processes(
        2, settings("pix2pix", data, tmp_path / "2"), tmp_path / "x2", float64=True, alone=True
    )
    assert max_difference(single / "pix2pix", tmp_path / "2") > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("size", [pytest.param(3, marks=pytest.mark.soak), 4])
def test_processes_without_an_image_take_the_steps_of_one(
    size: int, data: Path, tmp_path: Path
) -> None:
    more = {"train": {"batch_size": 4, "epochs": 2}, "data": {"flip": True}}
    if size == 3:  # 10 images: the last batch has one
        more["train"]["batch_size"] = 3
    train_in_this_process(settings("cyclegan", data, tmp_path / "1", **more))
    train_in_processes(
        size, settings("cyclegan", data, tmp_path / "2", **more), tmp_path / "x", float64=True
    )
    assert max_difference(tmp_path / "1", tmp_path / "2") < 1e-9


@pytest.mark.slow
def test_spectral_norm_in_two_processes(data: Path, tmp_path: Path) -> None:
    """Every third batch has one image: the other process iterates for its placeholder, too."""
    spectral = {"norm": "instance", "spectral_norm": True}
    more = {
        "generator": {"name": "resnet", "blocks": 1, "downsamplings": 1, **spectral},
        "discriminator": spectral,
        "train": {"batch_size": 3, "epochs": 2},
    }
    train_in_this_process(settings("cyclegan", data, tmp_path / "1", **more))
    train_in_processes(
        2, settings("cyclegan", data, tmp_path / "2", **more), tmp_path / "x", float64=True
    )
    assert max_difference(tmp_path / "1", tmp_path / "2") < 1e-9
    assert any("_u" in name for name in model_weights(tmp_path / "2"))


@pytest.mark.slow
def test_accumulation_in_several_processes(data: Path, tmp_path: Path) -> None:
    more = {"train": {"accumulation_steps": 2, "grad_clip": 1.0, "epochs": 3}}
    train_in_this_process(settings("pix2pix", data, tmp_path / "1", **more))
    train_in_processes(
        2, settings("pix2pix", data, tmp_path / "2", **more), tmp_path / "x", float64=True
    )
    assert max_difference(tmp_path / "1", tmp_path / "2") < 1e-9


@pytest.mark.slow
def test_the_gradient_of_one_step_in_float32(data: Path, tmp_path: Path) -> None:
    """After one step, exp_avg of Adam is half of the gradient (beta 1 is 0.5)."""
    gradients = []
    for count in (1, 2):
        run = tmp_path / str(count)
        more = {"train": {"epochs": 1, "batch_size": 10, "lr": 0.0, "save_every": 10}}
        train_in_processes(count, settings("pix2pix", data, run, **more), tmp_path / f"x{count}")
        state = load_state(max((run / "checkpoints").glob("*.safetensors")))
        gradients.append(
            {
                f"{player} {number}": moments["exp_avg"]
                for player, optimizer in state["optimizers"].items()
                for number, moments in optimizer.items()
            }
        )
    for player in ("generator", "discriminator"):
        one, two = (
            torch.cat(
                [state.flatten() for name, state in players.items() if name.startswith(player)]
            )
            for players in gradients
        )
        assert 0 < float((one - two).norm()) <= 1e-5 * float(one.norm())


# -- the same images


def batches_of(data: Path, ranks: list[Ranks], epoch: int, start: int = 0) -> list[torch.Tensor]:
    """Return the batches of an epoch, joined from the parts of the processes."""
    config = resolve(settings("pix2pix", data, Path("unused")))
    dataset = open_data(config.data, True, 0, Path("unused"), lambda text: None).train
    parts_of_ranks = [
        [
            None if batch is None else batch[0].clone()
            for batch in Loader(dataset, 4, CPU, one.own_part).epoch(epoch, start)
        ]
        for one in ranks
    ]
    return [
        torch.cat([one for one in parts if one is not None])
        for parts in zip(*parts_of_ranks, strict=True)
    ]


@pytest.mark.parametrize("start", [0, 1, 2])
def test_any_number_of_processes_has_the_same_images_in_the_same_order(
    data: Path, start: int
) -> None:
    alone = batches_of(data, [Ranks()], 3, start)
    assert sum(map(len, alone)) == IMAGES - 4 * start
    for count in (2, 3, 4):
        together = batches_of(data, [Ranks(index, count) for index in range(count)], 3, start)
        assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))
    assert not torch.equal(alone[0], batches_of(data, [Ranks()], 4, start)[0])  # another epoch


def test_parts_are_even_and_complete() -> None:
    for length in range(9):
        parts = [Ranks(index, 4).own_part(range(length)) for index in range(4)]
        assert [i for part in parts for i in part] == list(range(length))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


# -- resuming


def stop_run(count: int, sections: Sections, folder: Path, processes: list[int]) -> None:
    """Train until some processes get SIGTERM in the third epoch; several end one step later."""
    train_in_processes(
        count,
        sections,
        folder,
        code=128 + signal.SIGTERM,
        float64=True,
        stop={"images": 24, "processes": processes},
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param("pix2pix", marks=pytest.mark.soak), "cyclegan"])
def test_a_resumed_run_equals_an_uninterrupted_one_in_two_processes(
    name: str, data: Path, tmp_path: Path
) -> None:
    """Identical, with dropout and an image pool per process."""
    train_in_processes(
        2, noisy_settings(name, data, tmp_path / "uninterrupted"), tmp_path / "x", float64=True
    )
    sections = noisy_settings(name, data, tmp_path / "interrupted")
    stop_run(2, sections, tmp_path / "y", [0, 1])
    state = load_state(max((tmp_path / "interrupted" / "checkpoints").glob("*.safetensors")))
    assert state["images"] == 28 and len(state["others"]) == 1
    train_in_processes(2, sections, tmp_path / "z", float64=True)
    assert max_difference(tmp_path / "uninterrupted", tmp_path / "interrupted") == 0.0
    # The control: the saved state of the second process differs from that of the first.
    if name == "cyclegan":
        pools = [k for k in state["method"] if k.endswith("images")]
        other = state["others"][0]["buffers"]
        assert any(not torch.equal(state["method"][k], other[k]) for k in pools)
    assert not torch.equal(state["random"]["torch"], state["others"][0]["random"]["torch"])


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [pytest.param(2, 1, marks=pytest.mark.soak), (1, 2)])
def test_another_number_of_processes_can_resume(
    before: int, after: int, data: Path, tmp_path: Path
) -> None:
    train_in_this_process(settings("cyclegan", data, tmp_path / "uninterrupted"))
    sections = settings("cyclegan", data, tmp_path / "interrupted")
    stop_run(before, sections, tmp_path / "y", [before - 1])
    if after == 1:
        train_in_this_process(sections)
    else:
        train_in_processes(after, sections, tmp_path / "z", float64=True)
    assert max_difference(tmp_path / "uninterrupted", tmp_path / "interrupted") < 1e-9


# -- errors


def refused_by_all(count: int, sections: Sections, folder: Path) -> str:
    folder.mkdir()
    path = folder / "recipe.json"
    path.write_text(json.dumps(sections))
    with start_processes(
        count, ["-m", "viceversa", "train", str(path)], folder / "output"
    ) as processes:
        text = wait_for_output(processes, folder / "output")
        assert all(process.returncode == 2 for process in processes), text
    assert "Traceback" not in text
    return text


@pytest.mark.slow
def test_batch_norm_is_refused_on_cpus(data: Path, tmp_path: Path) -> None:
    sections = settings("pix2pix", data, tmp_path / "run", discriminator={"norm": "batch"})
    text = refused_by_all(2, sections, tmp_path / "x")
    assert "batch norm does not work with 2 processes on cpu" in text
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.slow
def test_more_processes_than_images_in_a_batch_are_refused(data: Path, tmp_path: Path) -> None:
    sections = settings("pix2pix", data, tmp_path / "run", train={"batch_size": 1})
    assert "the total batch size of all processes" in refused_by_all(2, sections, tmp_path / "x")


@pytest.mark.slow
def test_an_error_of_the_first_process_ends_the_others_with_one_line(tmp_path: Path) -> None:
    sections = settings("pix2pix", tmp_path / "nowhere", tmp_path / "run")
    text = refused_by_all(2, sections, tmp_path / "x")
    assert "there is no data folder" in text
    assert "viceversa, process 1: process 1 of 2 lost another process" in text


# -- processes that end or hang


def long_run(data: Path, run: Path, **train: Any) -> Sections:
    return settings("pix2pix", data, run, train={"epochs": 100_000, "sample_every": 10**9, **train})


def wait_for_checkpoint(folder: Path, run: Path) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not list((run / "checkpoints").glob("*.safetensors")):
        assert time.monotonic() < deadline, output_of(folder)
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.slow)]
)
def test_the_others_end_when_one_process_ends_or_hangs(
    fault: signal.Signals, data: Path, tmp_path: Path
) -> None:
    run, path = tmp_path / "run", tmp_path / "recipe.json"
    path.write_text(json.dumps(long_run(data, run, rank_timeout=3.0)))
    arguments = ["-m", "viceversa", "train", str(path)]
    with start_processes(2, arguments, tmp_path / "output") as (first, second):
        wait_for_checkpoint(tmp_path / "output", run)
        second.send_signal(fault)
        assert first.wait(TIMEOUT) == 2
        assert second.wait(TIMEOUT) == -signal.SIGKILL  # a stopped process is killed
    text = (tmp_path / "output" / "0.txt").read_text()
    assert "process 0 of 2 lost another process, which ended or hangs" in text
    assert "Traceback" not in text
    assert load_state(max((run / "checkpoints").glob("*.safetensors")))["images"] > 0


@pytest.mark.slow
def test_processes_save_and_end_when_their_launcher_is_killed(data: Path, tmp_path: Path) -> None:
    run, path = tmp_path / "run", tmp_path / "recipe.json"
    path.write_text(json.dumps(long_run(data, run)))
    (tmp_path / "output").mkdir()
    (launcher,) = launch_on_one_machine(path, tmp_path / "output" / "0.txt")
    try:
        wait_for_checkpoint(tmp_path / "output", run)
        children = children_of(launcher.pid)
        assert len(children) == 2
        launcher.kill()
        launcher.wait()
        deadline = time.monotonic() + TIMEOUT
        while any(alive(child) for child in children):
            assert time.monotonic() < deadline, "processes still run"
            time.sleep(0.05)
    finally:
        subprocess.run(["pkill", "-9", "-f", str(path)], check=False)
    assert "interrupted; run the same command again to resume" in output_of(tmp_path / "output")


@pytest.mark.slow
def test_a_run_restarted_by_torchrun_equals_an_uninterrupted_one(
    data: Path, tmp_path: Path
) -> None:
    def recipe(run: Path) -> Path:
        sections = noisy_settings("cyclegan", data, run, train={"epochs": 16, "save_every": 8})
        path = run.with_suffix(".json")
        path.write_text(json.dumps(sections))
        return path

    arguments = ["-m", "viceversa", "train", str(recipe(tmp_path / "uninterrupted"))]
    with start_processes(2, arguments, tmp_path / "output") as processes:
        wait_for_output(processes, tmp_path / "output")
    (launcher,) = launch_on_one_machine(
        recipe(tmp_path / "interrupted"), tmp_path / "interrupted.txt", restarts=3
    )
    try:
        wait_for_checkpoint(tmp_path, tmp_path / "interrupted")
        os.kill(children_of(launcher.pid)[1], signal.SIGKILL)
        assert launcher.wait(TIMEOUT) == 0, (tmp_path / "interrupted.txt").read_text()
    finally:
        subprocess.run(["pkill", "-9", "-f", str(tmp_path / "interrupted.json")], check=False)
    assert "resuming from" in (tmp_path / "interrupted.txt").read_text()
    assert max_difference(tmp_path / "uninterrupted", tmp_path / "interrupted") == 0.0


@pytest.fixture
def two_hosts() -> Iterator[None]:
    """Create two linked hosts, or skip the test if the machine does not allow it."""
    with ExitStack() as stack:
        try:
            stack.enter_context(linked_hosts())
        except OSError as error:
            pytest.skip(f"no network namespaces here: {error}")
        yield


@pytest.mark.slow
def test_two_hosts_train_like_one_and_end_when_their_link_is_cut(
    two_hosts: None, data: Path, tmp_path: Path
) -> None:
    path = tmp_path / "one.json"
    path.write_text(json.dumps(settings("pix2pix", data, tmp_path / "one")))
    with start_processes(
        2, ["-m", "viceversa", "train", str(path)], tmp_path / "output"
    ) as processes:
        wait_for_output(processes, tmp_path / "output")
    path = tmp_path / "two.json"
    path.write_text(json.dumps(settings("pix2pix", data, tmp_path / "two")))
    for launcher in launch_on_two_hosts(path, tmp_path / "log.txt"):
        assert launcher.wait(TIMEOUT) == 0, (tmp_path / "log.txt").read_text()
    assert max_difference(tmp_path / "one", tmp_path / "two") == 0.0

    path = tmp_path / "interrupted.json"
    path.write_text(json.dumps(long_run(data, tmp_path / "interrupted", rank_timeout=3.0)))
    launchers = launch_on_two_hosts(path, tmp_path / "log.txt")
    try:
        wait_for_checkpoint(tmp_path, tmp_path / "interrupted")
        set_link("down")
        deadline = time.monotonic() + TIMEOUT
        while "lost another process" not in (text := (tmp_path / "log.txt").read_text()):
            assert time.monotonic() < deadline, text
            time.sleep(0.05)
    finally:
        for launcher in launchers:  # they may wait for each other long after their workers ended
            launcher.kill()
            launcher.wait()
        subprocess.run(["pkill", "-9", "-f", str(path)], check=False)


def children_of(process: int) -> list[int]:
    found = subprocess.run(
        ["pgrep", "-P", str(process)], capture_output=True, text=True, check=False
    )
    return [int(word) for word in found.stdout.split()]


def alive(process: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().split()[2]
    except OSError:
        return False


def test_errors_of_other_processes_are_recognized() -> None:
    ranks = Ranks(1, 2)
    own_error = RuntimeError("shape '[3]' is invalid for input of size 4")
    assert ranks.explain(own_error) is own_error
    other_error = ranks.explain(RuntimeError("[gloo] Connection closed by peer [127.0.0.1]:1"))
    assert "process 1 of 2 lost another process" in str(other_error)
    alone = RuntimeError("Connection closed by peer")
    assert Ranks().explain(alone) is alone


def test_only_the_stopped_process_is_killed() -> None:
    with sleeping_processes(3) as (stopped, running, other):
        peers = [
            Peer(platform.node(), one.pid, _state(one.pid)[1]) for one in (stopped, running, other)
        ]
        for one in (stopped, other):
            one.send_signal(signal.SIGSTOP)
        while _state(other.pid)[0] != "T" or _state(stopped.pid)[0] != "T":
            time.sleep(0.01)
        later = peers[2]._replace(started="0")  # another process with the same ID
        far = peers[2]._replace(machine="elsewhere")
        assert kill_stopped([current_process(), peers[0], peers[1], later, far]) == [stopped.pid]
        assert stopped.wait(TIMEOUT) == -signal.SIGKILL
        assert running.poll() is None and other.poll() is None


@contextmanager
def sleeping_processes(count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    sleepers = [subprocess.Popen(["sleep", "60"]) for _ in range(count)]
    try:
        yield sleepers
    finally:
        for one in sleepers:
            one.kill()
            one.wait()


@pytest.mark.slow
def test_a_single_process_ignores_world_size_1(
    monkeypatch: pytest.MonkeyPatch, data: Path, tmp_path: Path
) -> None:
    """A cluster may set WORLD_SIZE for a single process."""
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("RANK", "0")
    path = tmp_path / "recipe.json"
    sections = settings("pix2pix", data, tmp_path / "run", train={"epochs": 1})
    path.write_text(json.dumps(sections))
    main(["train", str(path)])
    assert (tmp_path / "run" / "ab.safetensors").is_file()
