"""Several processes train as one does: the same images, the same steps, one that writes."""

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
from hosts import joined, one_machine, switch, two_machines
from several import PATIENCE, ended, said, started, trained, trained_here
from support import noise_pairs

from viceversa.checkpoint import load_state, read_weights
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
    """Nothing random in the networks, and no statistics of a batch."""
    tiny: Sections = {
        "generator": {"name": "unet", "width": 4, "depth": 2, "norm": "instance", "dropout": 0.0},
        "discriminator": {"width": 4, "layers": 1, "norm": "instance"},
        "data": {"path": str(data), "preprocess": "none", "workers": 0},
        "train": {"run": str(run), "epochs": 7, "device": "cpu", "batch_size": 4, "samples": 2,
                  "log_every": 4, "sample_every": 20, "save_every": 4, "rank_timeout": 20.0},
    }  # fmt: skip
    if name == "cyclegan":
        tiny["method"] = {"pool_size": 0}
    return merge(merge(read_recipe(name), tiny), more)


def noisy(name: str, data: Path, run: Path, /, **more: dict[str, Any]) -> Sections:
    """Dropout, and pools where there are some."""
    pool = {"method": {"pool_size": 3}} if name == "cyclegan" else {}
    drops: Sections = {"generator": {"dropout": 0.5}, **pool}
    return merge(settings(name, data, run, **drops), more)


def weights(run: Path) -> dict[str, torch.Tensor]:
    """Every weight of every model of a run."""
    return {
        f"{path.stem} {name}": weight
        for path in sorted(run.glob("*.safetensors"))
        for name, weight in read_weights(path).items()
    }


def farthest(one: Path, two: Path) -> float:
    """The largest difference between weights of two runs."""
    ours, others = weights(one), weights(two)
    assert ours.keys() == others.keys() and ours
    return max(float((ours[name] - others[name]).abs().max()) for name in ours)


# -- the same steps


@pytest.fixture(scope="module")
def single(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one process for each method, 21 steps of batches of 4, 4 and 2, in float64."""
    folder = tmp_path_factory.mktemp("single")
    for name in METHODS:
        trained_here(settings(name, data, folder / name))
    return folder


@pytest.mark.parametrize("name", ["pix2pix", pytest.param("cyclegan", marks=pytest.mark.slow)])
def test_two_processes_make_the_steps_of_one(
    name: str, data: Path, single: Path, tmp_path: Path
) -> None:
    trained(2, settings(name, data, tmp_path / "2"), tmp_path / "x", float64=True)
    assert farthest(single / name, tmp_path / "2") < 1e-9
    logs = [(run / "log.jsonl").read_text().splitlines() for run in (single / name, tmp_path / "2")]
    for one, two in zip(*(map(json.loads, log) for log in logs), strict=True):
        assert one["images"] == two["images"]
        assert one["losses"] == pytest.approx(two["losses"], abs=1e-9)


def test_processes_that_share_nothing_go_their_own_ways(
    data: Path, single: Path, tmp_path: Path
) -> None:
    """The control: without the sum, weights differ."""
    trained(2, settings("pix2pix", data, tmp_path / "2"), tmp_path / "x2", float64=True, alone=True)
    assert farthest(single / "pix2pix", tmp_path / "2") > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("size", [pytest.param(3, marks=pytest.mark.soak), 4])
def test_four_processes_of_which_some_have_no_image_make_the_steps_of_one(
    size: int, data: Path, tmp_path: Path
) -> None:
    more = {"train": {"batch_size": 4, "epochs": 2}, "data": {"flip": True}}
    if size == 3:  # 10 images: the last batch has one
        more["train"]["batch_size"] = 3
    trained_here(settings("cyclegan", data, tmp_path / "1", **more))
    trained(size, settings("cyclegan", data, tmp_path / "2", **more), tmp_path / "x", float64=True)
    assert farthest(tmp_path / "1", tmp_path / "2") < 1e-9


@pytest.mark.slow
def test_a_group_of_batches_is_shared_too(data: Path, tmp_path: Path) -> None:
    more = {"train": {"accumulation_steps": 2, "grad_clip": 1.0, "epochs": 3}}
    trained_here(settings("pix2pix", data, tmp_path / "1", **more))
    trained(2, settings("pix2pix", data, tmp_path / "2", **more), tmp_path / "x", float64=True)
    assert farthest(tmp_path / "1", tmp_path / "2") < 1e-9


@pytest.mark.slow
def test_one_step_s_gradient_in_float32(data: Path, tmp_path: Path) -> None:
    """Adam's first average is half of the gradient: 1 - 0.5 of it."""
    gradients = []
    for count in (1, 2):
        run = tmp_path / str(count)
        more = {"train": {"epochs": 1, "batch_size": 10, "lr": 0.0, "save_every": 10}}
        trained(count, settings("pix2pix", data, run, **more), tmp_path / f"x{count}")
        state = load_state(max((run / "checkpoints").glob("*.safetensors")))
        gradients.append(
            {
                f"{player} {number}": kept["exp_avg"]
                for player, every in state["optimizers"].items()
                for number, kept in every.items()
            }
        )
    for player in ("generator", "discriminator"):
        one, two = (torch.cat([kept.flatten() for name, kept in every.items()
                               if name.startswith(player)]) for every in gradients)  # fmt: skip
        assert 0 < float((one - two).norm()) <= 1e-5 * float(one.norm())


# -- the same images


def seen(data: Path, ranks: list[Ranks], epoch: int, start: int = 0) -> list[torch.Tensor]:
    """The batches of an epoch: what the processes have of each, in order."""
    config = resolve(settings("pix2pix", data, Path("unused")))
    pictures = open_data(config.data, True, 0, Path("unused"), lambda text: None).train
    shares = [
        [None if batch is None else batch[0].clone() for batch in
         Loader(pictures, 4, CPU, one.own_part).epoch(epoch, start)]
        for one in ranks
    ]  # fmt: skip
    return [torch.cat([one for one in parts if one is not None])
            for parts in zip(*shares, strict=True)]  # fmt: skip


@pytest.mark.parametrize("start", [0, 1, 2])
def test_any_number_of_processes_sees_the_same_images_in_the_same_order(
    data: Path, start: int
) -> None:
    alone = seen(data, [Ranks()], 3, start)
    assert sum(map(len, alone)) == IMAGES - 4 * start
    for count in (2, 3, 4):
        shared = seen(data, [Ranks(index, count) for index in range(count)], 3, start)
        assert all(torch.equal(a, b) for a, b in zip(alone, shared, strict=True))
    assert not torch.equal(alone[0], seen(data, [Ranks()], 4, start)[0])  # another epoch: another


def test_shares_are_even_and_complete() -> None:
    for length in range(9):
        parts = [Ranks(index, 4).own_part(range(length)) for index in range(4)]
        assert [i for part in parts for i in part] == list(range(length))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


# -- going on


def stopped_at(count: int, at: int, made: Sections, folder: Path, told: int = 0) -> None:
    """A run whose processes are told to end once so many images are logged: all, or the last."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "settings.json"
    path.write_text(json.dumps(made | {"test": {"float64": True}}))
    script = str(Path(__file__).with_name("several.py"))
    with started(count, [script, str(path)], folder / "said") as processes:
        ends = time.monotonic() + PATIENCE
        while f"{at}/" not in said(folder / "said"):
            assert time.monotonic() < ends, said(folder / "said")
            time.sleep(0.01)
        for process in processes[-told:]:
            process.send_signal(signal.SIGTERM)
        ended(processes, folder / "said")
        assert [process.returncode for process in processes] == [128 + signal.SIGTERM] * count


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param("pix2pix", marks=pytest.mark.soak), "cyclegan"])
def test_going_on_equals_never_having_stopped(name: str, data: Path, tmp_path: Path) -> None:
    """To the bit, with dropout and with a pool for each process."""
    long = {"train": {"epochs": 40, "sample_every": 10**9}}
    trained(2, noisy(name, data, tmp_path / "whole", **long), tmp_path / "x", float64=True)
    made = noisy(name, data, tmp_path / "cut", **long)
    stopped_at(2, 40, made, tmp_path / "y")
    state = load_state(max((tmp_path / "cut" / "checkpoints").glob("*.safetensors")))
    assert 0 < state["images"] < 400 and len(state["others"]) == 1
    trained(2, made, tmp_path / "z", float64=True)
    assert farthest(tmp_path / "whole", tmp_path / "cut") == 0.0
    # The control: what was saved of the second process is needed, and differs from the first's.
    if name == "cyclegan":
        pools = [k for k in state["method"] if k.endswith("images")]
        other = state["others"][0]["buffers"]
        assert any(not torch.equal(state["method"][k], other[k]) for k in pools)
    assert not torch.equal(state["random"]["torch"], state["others"][0]["random"]["torch"])


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_another_number_of_processes_goes_on(
    before: int, after: int, data: Path, tmp_path: Path
) -> None:
    long = {"train": {"epochs": 40, "sample_every": 10**9}}
    trained_here(settings("cyclegan", data, tmp_path / "whole", **long))
    made = settings("cyclegan", data, tmp_path / "cut", **long)
    stopped_at(before, 40, made, tmp_path / "y", told=1)
    if after == 1:
        trained_here(made)
    else:
        trained(after, made, tmp_path / "z", float64=True)
    assert farthest(tmp_path / "whole", tmp_path / "cut") < 1e-9


# -- what cannot be


def refused(count: int, made: Sections, folder: Path) -> str:
    folder.mkdir()
    path = folder / "recipe.json"
    path.write_text(json.dumps(made))
    with started(count, ["-m", "viceversa", "train", str(path)], folder / "said") as processes:
        text = ended(processes, folder / "said")
        assert all(process.returncode == 2 for process in processes), text
    assert "Traceback" not in text
    return text


@pytest.mark.slow
def test_batch_norm_is_refused_on_a_processor(data: Path, tmp_path: Path) -> None:
    made = settings("pix2pix", data, tmp_path / "run", discriminator={"norm": "batch"})
    text = refused(2, made, tmp_path / "x")
    assert "batch norm does not work with 2 processes on cpu" in text
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.slow
def test_more_processes_than_images_in_a_batch_are_refused(data: Path, tmp_path: Path) -> None:
    made = settings("pix2pix", data, tmp_path / "run", train={"batch_size": 1})
    assert "the total batch size of all processes" in refused(2, made, tmp_path / "x")


@pytest.mark.slow
def test_what_the_first_process_refuses_ends_the_others_in_a_sentence(tmp_path: Path) -> None:
    made = settings("pix2pix", tmp_path / "nowhere", tmp_path / "run")
    text = refused(2, made, tmp_path / "x")
    assert "there is no data folder" in text
    assert "viceversa, process 1: process 1 of 2 lost another process" in text


# -- one that dies, and one that hangs


def long_run(data: Path, run: Path, **train: Any) -> Sections:
    return settings("pix2pix", data, run, train={"epochs": 100_000, "sample_every": 10**9, **train})


def under_way(folder: Path, run: Path) -> None:
    ends = time.monotonic() + PATIENCE
    while not list((run / "checkpoints").glob("*.safetensors")):
        assert time.monotonic() < ends, said(folder)
        time.sleep(0.02)


@pytest.mark.parametrize("fault", [
    signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.slow)
])  # fmt: skip
def test_the_others_end_when_one_dies_or_hangs(
    fault: signal.Signals, data: Path, tmp_path: Path
) -> None:
    run, path = tmp_path / "run", tmp_path / "recipe.json"
    path.write_text(json.dumps(long_run(data, run, rank_timeout=3.0)))
    words = ["-m", "viceversa", "train", str(path)]
    with started(2, words, tmp_path / "said") as (first, second):
        under_way(tmp_path / "said", run)
        second.send_signal(fault)
        assert first.wait(PATIENCE) == 2
        assert second.wait(PATIENCE) == -signal.SIGKILL  # one that was stopped is not left behind
    text = (tmp_path / "said" / "0.txt").read_text()
    assert "process 0 of 2 lost another process, which ended or hangs" in text
    assert "Traceback" not in text
    assert load_state(max((run / "checkpoints").glob("*.safetensors")))["images"] > 0


@pytest.mark.slow
def test_processes_whose_launcher_is_gone_save_and_end(data: Path, tmp_path: Path) -> None:
    run, path = tmp_path / "run", tmp_path / "recipe.json"
    path.write_text(json.dumps(long_run(data, run)))
    (tmp_path / "said").mkdir()
    (launcher,) = one_machine(path, tmp_path / "said" / "0.txt")
    try:
        under_way(tmp_path / "said", run)
        children = children_of(launcher.pid)
        assert len(children) == 2
        launcher.kill()
        launcher.wait()
        ends = time.monotonic() + PATIENCE
        while any(alive(child) for child in children):
            assert time.monotonic() < ends, "left behind"
            time.sleep(0.05)
    finally:
        subprocess.run(["pkill", "-9", "-f", str(path)], check=False)
    assert "interrupted; run the same command again to resume" in said(tmp_path / "said")


@pytest.mark.slow
def test_torchrun_begins_anew_and_the_run_ends_as_if_nothing_had_been(
    data: Path, tmp_path: Path
) -> None:
    def recipe(run: Path) -> Path:
        made = noisy("cyclegan", data, run, train={"epochs": 60, "save_every": 8})
        path = run.with_suffix(".json")
        path.write_text(json.dumps(made))
        return path

    words = ["-m", "viceversa", "train", str(recipe(tmp_path / "whole"))]
    with started(2, words, tmp_path / "said") as processes:
        ended(processes, tmp_path / "said")
    (launcher,) = one_machine(recipe(tmp_path / "cut"), tmp_path / "cut.txt", restarts=3)
    try:
        under_way(tmp_path, tmp_path / "cut")
        os.kill(children_of(launcher.pid)[1], signal.SIGKILL)
        assert launcher.wait(PATIENCE) == 0, (tmp_path / "cut.txt").read_text()
    finally:
        subprocess.run(["pkill", "-9", "-f", str(tmp_path / "cut.json")], check=False)
    assert "resuming from" in (tmp_path / "cut.txt").read_text()
    assert farthest(tmp_path / "whole", tmp_path / "cut") == 0.0


@pytest.fixture
def two_hosts() -> Iterator[None]:
    """Where the machine allows them."""
    with ExitStack() as stack:
        try:
            stack.enter_context(joined())
        except OSError as error:
            pytest.skip(f"no network namespaces here: {error}")
        yield


@pytest.mark.slow
def test_two_hosts_train_as_two_processes_of_one_and_end_when_their_link_is_cut(
    two_hosts: None, data: Path, tmp_path: Path
) -> None:
    path = tmp_path / "one.json"
    path.write_text(json.dumps(settings("pix2pix", data, tmp_path / "one")))
    with started(2, ["-m", "viceversa", "train", str(path)], tmp_path / "said") as processes:
        ended(processes, tmp_path / "said")
    path = tmp_path / "two.json"
    path.write_text(json.dumps(settings("pix2pix", data, tmp_path / "two")))
    for launcher in two_machines(path, tmp_path / "log.txt"):
        assert launcher.wait(PATIENCE) == 0, (tmp_path / "log.txt").read_text()
    assert farthest(tmp_path / "one", tmp_path / "two") == 0.0

    path = tmp_path / "cut.json"
    path.write_text(json.dumps(long_run(data, tmp_path / "cut", rank_timeout=3.0)))
    launchers = two_machines(path, tmp_path / "log.txt")
    try:
        under_way(tmp_path, tmp_path / "cut")
        switch("down")
        ends = time.monotonic() + PATIENCE
        while "lost another process" not in (text := (tmp_path / "log.txt").read_text()):
            assert time.monotonic() < ends, text
            time.sleep(0.05)
    finally:
        for launcher in launchers:  # which may wait for each other long after their workers
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


def test_an_error_of_others_is_told_from_our_own() -> None:
    ranks = Ranks(1, 2)
    ours = RuntimeError("shape '[3]' is invalid for input of size 4")
    assert ranks.explain(ours) is ours
    theirs = ranks.explain(RuntimeError("[gloo] Connection closed by peer [127.0.0.1]:1"))
    assert "process 1 of 2 lost another process" in str(theirs)
    alone = RuntimeError("Connection closed by peer")
    assert Ranks().explain(alone) is alone


def test_a_stopped_process_is_ended_and_no_other() -> None:
    with started_sleepers(3) as (stopped, running, other):
        peers = [Peer(platform.node(), one.pid, _state(one.pid)[1])
                    for one in (stopped, running, other)]  # fmt: skip
        for one in (stopped, other):
            one.send_signal(signal.SIGSTOP)
        while _state(other.pid)[0] != "T" or _state(stopped.pid)[0] != "T":
            time.sleep(0.01)
        later = peers[2]._replace(started="0")  # another process that has its number now
        far = peers[2]._replace(machine="elsewhere")
        assert kill_stopped([current_process(), peers[0], peers[1], later, far]) == [stopped.pid]
        assert stopped.wait(PATIENCE) == -signal.SIGKILL
        assert running.poll() is None and other.poll() is None


@contextmanager
def started_sleepers(count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    sleepers = [subprocess.Popen(["sleep", "60"]) for _ in range(count)]
    try:
        yield sleepers
    finally:
        for one in sleepers:
            one.kill()
            one.wait()


def test_one_process_is_told_nothing_of_others(monkeypatch: pytest.MonkeyPatch, data: Path,
                                               tmp_path: Path) -> None:  # fmt: skip
    """A cluster may set WORLD_SIZE where one process runs."""
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("RANK", "0")
    path = tmp_path / "recipe.json"
    made = settings("pix2pix", data, tmp_path / "run", train={"epochs": 1})
    path.write_text(json.dumps(made))
    main(["train", str(path)])
    assert (tmp_path / "run" / "ab.safetensors").is_file()
