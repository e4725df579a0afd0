"""Training of tiny networks: files, resuming, damaged images, and one optimizer step."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import (
    checkpoint_state,
    identical,
    log_lines,
    newest_checkpoint,
    noise_pairs,
    raises_user_error,
    train_until_crash,
    values,
)
from torch import Tensor

from viceversa.batch import Batch
from viceversa.checkpoint import read_header, read_weights
from viceversa.config.recipes import Sections, merge, read_recipe
from viceversa.config.run import RunConfig, make_method, resolve
from viceversa.methods.base import Method, Turn
from viceversa.runtime.training import Runtime
from viceversa.training import checkpoint as saving
from viceversa.training import loop as training
from viceversa.training.setup import make_optimizers
from viceversa.training.step import MicroBatch, update

METHODS = ("pix2pix", "cyclegan")
TINY: dict[str, Sections] = {
    "pix2pix": {"generator": {"width": 4, "depth": 3}},
    "cyclegan": {
        "generator": {"width": 4, "blocks": 1, "dropout": 0.5},
        "method": {"pool_size": 2},
    },
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return six pairs of 40x40 images."""
    return noise_pairs(tmp_path_factory.mktemp("data"), 6, 40)


def settings(name: str, data: Path, run: Path, /, **more: dict[str, Any]) -> RunConfig:
    tiny: Sections = {
        "discriminator": {"width": 4, "layers": 2},
        "data": {"path": str(data), "load_size": 36, "crop_size": 32, "workers": 0},
        "train": {
            "run": str(run),
            "epochs": 2,
            "device": "cpu",
            "precision": "fp32",
            "log_every": 2,
            "sample_every": 5,
            "save_every": 4,
            "samples": 2,
        },
    }
    return resolve(merge(merge(merge(read_recipe(name), TINY[name]), tiny), more))


def log(run: Path) -> list[dict[str, Any]]:
    """Return the log lines without timings."""
    return log_lines(run, clock=False)


@pytest.mark.parametrize("name", METHODS)
def test_a_run_writes_its_files(name: str, data: Path, tmp_path: Path) -> None:
    config = settings(name, data, tmp_path / "run")
    run = training.train(config)
    assert run == tmp_path / "run"
    translators = {"pix2pix": {"ab"}, "cyclegan": {"ab", "ba"}}[name]
    discriminators = {"pix2pix": {"d_b"}, "cyclegan": {"d_a", "d_b"}}[name]
    assert {path.stem for path in run.glob("*.safetensors")} == translators | discriminators
    files = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    assert {"config.json", "log.jsonl", "checkpoints/0000000012.safetensors"} <= files
    assert {int(path.stem) for path in (run / "samples").iterdir()} == {0, 5, 10, 12}
    assert not list(run.rglob("*.tmp"))
    assert json.loads((run / "config.json").read_text())["generator"]["width"] == 4
    header = read_header(run / "ab.safetensors")
    assert header["images_processed"] == 12 and header["direction"] == "ab"
    lines = log(run)
    assert [line["images"] for line in lines] == [2, 4, 6, 8, 10, 12]
    assert [line["epoch"] for line in lines] == [1, 1, 1, 2, 2, 2]
    assert [line["lr"] for line in lines] == pytest.approx([2e-4] * 3 + [1e-4] * 3)
    assert all(np.isfinite(list(values(line, "loss").values())).all() for line in lines)


@pytest.mark.parametrize("name", METHODS)
def test_a_resumed_run_equals_an_uninterrupted_one(
    name: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def config(folder: str) -> RunConfig:
        return settings(name, data, tmp_path / folder)

    uninterrupted, interrupted, naive = (
        tmp_path / folder for folder in ("uninterrupted", "interrupted", "naive")
    )
    training.train(config("uninterrupted"))
    training.train(config("again"))
    assert identical(checkpoint_state(uninterrupted), checkpoint_state(tmp_path / "again"))

    train_until_crash(monkeypatch, 5, config("interrupted"))
    stopped = checkpoint_state(interrupted)
    assert (stopped["epoch"], stopped["batch"], stopped["images"]) == (1, 4, 4)  # mid-epoch
    if name == "cyclegan":
        assert stopped["method"]["past_a.filled"] == 2  # the pool is full
    training.train(config("interrupted"))
    assert identical(checkpoint_state(interrupted), checkpoint_state(uninterrupted))
    assert log(interrupted) == log(uninterrupted)
    for path in uninterrupted.glob("*.safetensors"):
        assert identical(read_weights(path), read_weights(interrupted / path.name))

    train_until_crash(monkeypatch, 5, config("naive"))
    monkeypatch.setattr(saving, "restore_random_state", lambda state: None)
    training.train(config("naive"))
    # The control: without restored random states, dropout differs.
    assert not identical(
        checkpoint_state(naive)["method"], checkpoint_state(uninterrupted)["method"]
    )


def test_a_finished_run_is_not_changed(data: Path, tmp_path: Path) -> None:
    run = training.train(settings("pix2pix", data, tmp_path / "run"))
    before = checkpoint_state(run), log(run)
    training.train(settings("pix2pix", data, tmp_path / "run"))
    assert identical((checkpoint_state(run), log(run)), before)


def test_sample_grids_change_no_state(data: Path, tmp_path: Path) -> None:
    runs = [
        training.train(
            settings("pix2pix", data, tmp_path / str(every), train={"sample_every": every})
        )
        for every in (1, 1000)
    ]
    assert [len(list((run / "samples").iterdir())) for run in runs] == [13, 2]
    assert identical(checkpoint_state(runs[0]), checkpoint_state(runs[1]))


@pytest.mark.parametrize("name", METHODS)
def test_direction_ba_names_files_by_the_domains_on_disk(
    name: str, data: Path, tmp_path: Path
) -> None:
    config = settings(
        name,
        data,
        tmp_path / "run",
        data={"direction": "ba", "b": {"channels": 1}},
        method={"lambda_identity": 0.0} if name == "cyclegan" else {},
    )
    run = training.train(config)
    files = {path.stem for path in run.glob("*.safetensors")}
    assert files == ({"ba", "d_a"} if name == "pix2pix" else {"ab", "ba", "d_a", "d_b"})
    header = read_header(run / "ba.safetensors")
    channels = [header[end]["config"]["channels"] for end in ("source", "target")]
    assert (header["direction"], channels) == ("ba", [1, 3])
    weights = read_weights(run / "ba.safetensors")
    first = weights["downs.0.0.weight" if name == "pix2pix" else "layers.1.weight"]
    assert first.shape[1] == 1  # its input is B, which has one channel
    assert read_header(run / "d_a.safetensors")["domain"] == "a"


@pytest.mark.parametrize(
    ("section", "other"),
    [
        ("generator", {"width": 5}),
        ("generator", {"name": "resnet", "width": 4, "blocks": 1}),
        ("method", {"lambda_l1": 50.0}),
        ("discriminator", {"layers": 1}),
    ],
)
def test_a_folder_with_another_run_is_refused(
    data: Path, tmp_path: Path, section: str, other: dict[str, Any]
) -> None:
    run = training.train(settings("pix2pix", data, tmp_path / "run", train={"epochs": 1}))
    before = newest_checkpoint(run).read_bytes(), (run / "config.json").read_bytes()
    with raises_user_error("train.run") as caught:
        training.train(settings("pix2pix", data, run, **{section: other}))
    assert f"{run} contains a run with another {section}" in str(caught.value)
    with raises_user_error("train.run") as caught:
        training.train(settings("cyclegan", data, run))
    assert f"{run} contains a run with another method" in str(caught.value)
    after = newest_checkpoint(run).read_bytes(), (run / "config.json").read_bytes()
    assert after == before


def test_fine_tuning_starts_from_the_weights(data: Path, tmp_path: Path) -> None:
    run = training.train(settings("cyclegan", data, tmp_path / "run", train={"epochs": 1}))

    def method_from(init: Path, name: str = "cyclegan", **more: dict[str, Any]) -> Method:
        train = {"init": str(init), "seed": 1}
        return training.Run(settings(name, data, tmp_path / "new", train=train, **more)).method

    for init, initialized in ((run, {"ab", "ba"}), (run / "ba.safetensors", {"ba"})):
        for direction, network in method_from(init).translators().items():
            weights = read_weights(run / f"{direction}.safetensors")
            assert identical(dict(network.state_dict()), weights) == (direction in initialized)
    swapped = method_from(run / "ab.safetensors", data={"direction": "ba"}).translators()
    assert identical(dict(swapped["ba"].state_dict()), read_weights(run / "ab.safetensors"))
    with raises_user_error("train.init") as caught:
        method_from(run, generator={"width": 5})
    assert "another architecture" in str(caught.value)
    with raises_user_error("train.init") as caught:
        method_from(run, "pix2pix")
    assert "another architecture" in str(caught.value)
    with raises_user_error("train.init") as caught:
        method_from(run / "d_a.safetensors")
    assert "is a discriminator" in str(caught.value)
    with raises_user_error(path=data) as caught:
        method_from(data)
    assert "has neither ab" in str(caught.value)


def run_with_damaged_image(
    data: Path, folder: Path, config: Callable[[Path], RunConfig]
) -> tuple[Path, Any]:
    """Copy the data, open it for training, then damage an image. Returns its path and the run."""
    for domain in "AB":
        (folder / domain).mkdir(parents=True)
        for path in (data / domain).iterdir():
            (folder / domain / path.name).write_bytes(path.read_bytes())
    run = training.Run(config(folder))
    damaged = run.data.train.sources("a")[run.data.train.indices(1, 3)[0]].path
    damaged.write_bytes(damaged.read_bytes()[:2000])
    return damaged, run


def test_too_many_damaged_images_stop_the_run_after_a_checkpoint(
    data: Path, tmp_path: Path
) -> None:
    more: dict[str, Any] = {"data": {"cache": "off"}, "train": {"save_every": 100}}
    damaged, run = run_with_damaged_image(
        data,
        tmp_path / "data",
        lambda folder: settings("pix2pix", folder, tmp_path / "run", **more),
    )
    with raises_user_error(path=damaged):
        training.train_run(run)
    assert checkpoint_state(tmp_path / "run")["images"] == 3


def test_a_damaged_image_is_skipped_and_reported(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged, run = run_with_damaged_image(
        data,
        tmp_path / "data",
        lambda folder: settings(
            "pix2pix", folder, tmp_path / "run", data={"max_invalid": 0.5, "cache": "off"}
        ),
    )
    training.train_run(run)
    messages = [line for line in capsys.readouterr().out.splitlines() if "left out" in line]
    assert len(messages) == 1 and damaged.name in messages[0]
    steps = checkpoint_state(tmp_path / "run")["optimizers"]["generator"].values()
    assert {int(entry["step"]) for entry in steps} == {10}  # of 12: one per epoch is skipped
    assert log(tmp_path / "run")[-1]["images"] == 12


# -- update


def new_method(name: str, **more: dict[str, Any]) -> tuple[RunConfig, Method, Runtime, Any]:
    config = settings(name, Path("unused"), Path("unused"), **more)
    torch.manual_seed(0)
    method = make_method(config).train()
    runtime = Runtime("cpu")
    return config, method, runtime, make_optimizers(method, config.train, runtime)


def pair(n: int = 2) -> Batch:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(2, n, 3, 32, 32, generator=generator) * 2 - 1
    return Batch(a, b)


def recording_step(
    method: Method, changes: list[tuple[str | None, set[str]]]
) -> Callable[..., Any]:
    """Wrap the method's step; after each turn, record the player and the changed players."""
    step = method.step

    def copies() -> dict[str, list[Tensor]]:
        return {
            player: [w.detach().clone() for network in networks for w in network.parameters()]
            for player, networks in method.players().items()
        }

    def step_and_record(batch: Batch) -> Iterator[Turn]:
        for player, losses in step(batch):
            before = copies()
            yield player, losses
            after = copies()
            changes.append((player, {p for p in before if not identical(before[p], after[p])}))

    return step_and_record


@pytest.mark.parametrize("name", METHODS)
def test_losses_change_only_their_player(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, method, runtime, optimizers = new_method(name)
    changes: list[tuple[str | None, set[str]]] = []
    monkeypatch.setattr(method, "step", recording_step(method, changes))
    for _ in range(2):
        update(method, [MicroBatch(pair())], optimizers, runtime)
    order = ["discriminator", "generator"] if name == "pix2pix" else ["generator", "discriminator"]
    assert changes == [(player, {player}) for player in order * 2]


@pytest.mark.parametrize("name", METHODS)
def test_a_player_with_lr_0_does_not_change(name: str) -> None:
    _, method, runtime, optimizers = new_method(name, train={"lr_per_network": {"generator": 0.0}})
    before = {n: w.detach().clone() for n, w in method.named_parameters()}
    update(method, [MicroBatch(pair())], optimizers, runtime)
    changed = {
        n.split(".")[0] for n, w in method.named_parameters() if not torch.equal(w, before[n])
    }
    assert changed == ({"d_b"} if name == "pix2pix" else {"d_a", "d_b"})


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize(
    ("name", "first"), [("pix2pix", "discriminator"), ("cyclegan", "generator")]
)
def test_two_micro_batches_equal_one_batch(name: str, first: str) -> None:
    def one_step(*splits: slice) -> tuple[list[Tensor], list[Tensor]]:
        """Return gradients and weights of the first player after one step."""
        _, method, runtime, optimizers = new_method(
            name,
            generator={"norm": "instance", "dropout": 0.0},
            discriminator={"norm": "instance"},
            method={"pool_size": 0} if name == "cyclegan" else {},
        )
        a, b = pair()[:2]
        group = [
            MicroBatch(Batch(a[split].double(), b[split].double()), 1 / len(splits))
            for split in splits
        ]
        update(method, group, optimizers, runtime)
        weights = [w for network in method.players()[first] for w in network.parameters()]
        return [w.grad for w in weights if w.grad is not None], [w.detach() for w in weights]

    gradients, weights = one_step(slice(0, 2))
    for got, expected in zip(one_step(slice(0, 1), slice(1, 2)), (gradients, weights), strict=True):
        for one, other in zip(got, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    halves, _ = one_step(slice(0, 1))  # the control
    assert not all(torch.allclose(x, y) for x, y in zip(halves, gradients, strict=True))


@pytest.mark.parametrize("name", METHODS)
def test_grad_clip_limits_the_gradient_norm_of_each_player(name: str) -> None:
    def gradient_norms(clip: float) -> dict[str, float]:
        _, method, runtime, optimizers = new_method(name)
        found: dict[str, float] = {}
        for player, optimizer in optimizers.items():

            def record(o: torch.optim.Optimizer, *_: Any, player: str = player) -> None:
                weights = o.param_groups[0]["params"]
                found[player] = float(torch.nn.utils.get_total_norm([w.grad for w in weights]))

            optimizer.register_step_pre_hook(record)
        update(method, [MicroBatch(pair())], optimizers, runtime, clip)
        return found

    unclipped, clipped = gradient_norms(0.0), gradient_norms(1e-2)
    assert unclipped.keys() == clipped.keys() == {"generator", "discriminator"}
    assert all(norm > 2e-2 for norm in unclipped.values())
    assert all(norm == pytest.approx(1e-2, rel=1e-3) for norm in clipped.values())
    assert gradient_norms(1e6) == unclipped


def test_accumulation_in_a_run(data: Path, tmp_path: Path) -> None:
    """Six images in steps of four: a step of four, then one of two; four steps in two epochs."""
    run = training.train(
        settings("pix2pix", data, tmp_path / "run", train={"accumulation_steps": 4})
    )
    optimizer = checkpoint_state(run)["optimizers"]["generator"]
    assert {int(entry["step"]) for entry in optimizer.values()} == {4}
    assert log(run)[-1]["images"] == 12


def test_an_unknown_player_is_refused(data: Path, tmp_path: Path) -> None:
    with raises_user_error("train.lr_per_network") as caught:
        training.train(
            settings("pix2pix", data, tmp_path / "run", train={"lr_per_network": {"critic": 1e-4}})
        )
    assert "'critic', which is none of generator, discriminator" in str(caught.value)


@pytest.mark.parametrize(
    ("more", "option", "message"),
    [
        (
            {"data": {"crop_size": 36}},
            "data.preprocess",
            "36x36: height and width must be multiples of 8",
        ),
        ({"discriminator": {"layers": 5}}, "data.preprocess", "PatchGAN cannot train on 32x32"),
        ({"data": {"path": ""}}, "data.path", "no data folder"),
        ({"train": {"device": "abacus"}}, "device", "'abacus' is not available"),
    ],
)
def test_invalid_settings_are_refused_before_training(
    data: Path, tmp_path: Path, more: dict[str, Any], option: str, message: str
) -> None:
    with raises_user_error(option) as caught:
        training.train(settings("pix2pix", data, tmp_path / "run", **more))
    assert message in str(caught.value)
    assert not (tmp_path / "run").exists()
