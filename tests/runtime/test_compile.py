"""Compiled networks train like others, up to rounding; some networks stay uncompiled."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support import checkpoint_state, noise_pairs, train_arguments
from tiny_runs import (
    OFF,
    TinyRun,
    batch,
    max_difference,
    max_loss_difference,
    only,
    run_config,
    tiny_run,
    train_steps,
)
from torch import nn

from viceversa.config.speed import SpeedConfig
from viceversa.networks.norms import use_policy
from viceversa.training import loop as training
from viceversa.training.setup import choose_formats

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),  # for busy machines
    # Warnings of torch's compiler about torch's own code.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
]
SMALL: dict[str, dict[str, Any]] = {
    "pix2pix": {"generator": {"dropout": 0.0, "depth": 3}, "discriminator": {"layers": 1}},
    "cyclegan": {"generator": {"dropout": 0.0}, "discriminator": {"layers": 1}},
}


@pytest.fixture(autouse=True)
def compiler_counters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Reset the compiler and its caches; return its counters."""
    from torch._dynamo import reset
    from torch._dynamo.utils import counters

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))
    reset()
    counters.clear()
    yield counters
    reset()
    torch.set_default_dtype(torch.float32)


def compiled(run: TinyRun, differentiated_twice: list[nn.Module] | None = None) -> TinyRun:
    run.runtime.compile(run.networks, differentiated_twice or [])
    return run


def is_compiled(network: nn.Module) -> bool:
    return network._compiled_call_impl is not None


# The last batch of an epoch may be smaller: then torch compiles again, which `make soak` tests.
@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("pix2pix", (2,)),
        pytest.param("pix2pix", (2, 1), marks=pytest.mark.soak),
        pytest.param("cyclegan", (2,), marks=pytest.mark.soak),
    ],
)
def test_steps_differ_by_rounding_only(
    name: str, sizes: tuple[int, ...], compiler_counters: dict[str, Any]
) -> None:
    torch.set_default_dtype(torch.float64)
    plain, fast = (
        tiny_run(name, OFF, **SMALL[name]),
        tiny_run(name, only(compile=True), **SMALL[name]),
    )
    compiled(plain)
    expected = [losses for size in sizes for losses in train_steps(plain, 3, size)]
    assert (
        not any(map(is_compiled, plain.networks))
        and not compiler_counters["stats"]["unique_graphs"]
    )
    compiled(fast)
    assert all(map(is_compiled, fast.networks))
    found = [losses for size in sizes for losses in train_steps(fast, 3, size)]
    # Every network is at least one graph, without graph breaks.
    assert compiler_counters["stats"]["unique_graphs"] >= len(fast.networks)
    assert not compiler_counters["graph_break"]
    assert max_loss_difference(found, expected) < 1e-9
    assert max_difference(fast.method.state_dict(), plain.method.state_dict()) < 1e-9
    # A copy, as used for sample grids, is not compiled and computes the same.
    graphs = compiler_counters["stats"]["unique_graphs"]
    for direction, network in fast.method.translators().items():
        copied, own = copy.deepcopy(network), plain.method.translators()[direction]
        use_policy(copied), use_policy(own)
        assert not is_compiled(copied)
        assert max_difference({"x": copied(batch(7)[0])}, {"x": own(batch(7)[0])}) < 1e-9
    assert compiler_counters["stats"]["unique_graphs"] == graphs
    assert list(fast.method.state_dict()) == list(plain.method.state_dict())


def test_a_discriminator_that_is_differentiated_twice_is_not_compiled() -> None:
    more = {**SMALL["pix2pix"], "method": {"gan_loss": "wgan-gp"}}
    torch.set_default_dtype(torch.float64)
    plain, fast, naive = (tiny_run("pix2pix", s, **more) for s in (OFF, *[only(compile=True)] * 2))
    discriminators = [run.network for run in fast.method.discriminators().values()]
    compiled(fast, discriminators)
    assert [is_compiled(network) for network in fast.networks] == [True, False]
    assert max_loss_difference(train_steps(fast, 3), train_steps(plain, 3)) < 1e-9
    with pytest.raises(RuntimeError, match="double backward"):  # the control
        train_steps(compiled(naive), 1)


@pytest.mark.parametrize(
    ("method", "expected"),
    [({}, True), ({"gan_loss": "wgan-gp"}, False), ({"lambda_r1": 1.0}, False)],
    ids=["plain", "gp", "r1"],
)
def test_a_run_compiles_discriminators_that_are_differentiated_once(
    method: dict[str, Any], expected: bool
) -> None:
    run = tiny_run("pix2pix", only(compile=True), **SMALL["pix2pix"], method=method)
    choose_formats(run.method, run.runtime, lambda: batch(0).a, lambda message: None)
    assert [is_compiled(network) for network in run.networks] == [True, expected]


@pytest.mark.soak
def test_works_with_half_precision_and_other_options(compiler_counters: dict[str, Any]) -> None:
    """The layers include some that `speed.conv_as_matmul` replaces."""
    more = {"generator": {"dropout": 0.0, "width": 16, "depth": 4}}
    speed = SpeedConfig(memory_format="channels_last")
    plain = tiny_run("pix2pix", speed, "bf16", **more)
    fast = compiled(tiny_run("pix2pix", replace(speed, compile=True), "bf16", **more))
    found, expected = train_steps(fast, 2), train_steps(plain, 2)
    assert compiler_counters["stats"]["unique_graphs"] >= 2
    assert not compiler_counters["graph_break"]
    assert max_loss_difference(found, expected) < 0.01 * max(
        float(v) for step in expected for v in step.values()
    )
    assert all(loss.dtype == torch.float32 for loss in found[0].values())


@pytest.mark.soak
def test_spectral_norm_is_compiled(compiler_counters: dict[str, Any]) -> None:
    """A forward pass updates the singular vectors, also in a graph."""
    torch.set_default_dtype(torch.float64)
    generator = {**SMALL["cyclegan"]["generator"], "spectral_norm": True}
    more = {"generator": generator, "discriminator": {"layers": 1, "spectral_norm": True}}
    plain, fast = (tiny_run("cyclegan", speed, **more) for speed in (OFF, only(compile=True)))
    found, expected = train_steps(compiled(fast), 3), train_steps(plain, 3)
    assert compiler_counters["stats"]["unique_graphs"] >= len(fast.networks)
    assert not compiler_counters["graph_break"]
    assert max_loss_difference(found, expected) < 1e-9
    assert max_difference(fast.method.state_dict(), plain.method.state_dict()) < 1e-9


@pytest.mark.parametrize("images", [2, pytest.param(3, marks=pytest.mark.soak)])
def test_a_run_is_compiled(images: int, tmp_path: Path, compiler_counters: dict[str, Any]) -> None:
    data = noise_pairs(tmp_path / "data", images, 32)

    def config(run: str, **speed: Any) -> Any:
        return run_config(
            "pix2pix",
            data,
            tmp_path / run,
            speed=speed,
            train={"epochs": 2, "batch_size": 2, "sample_every": 2},
            **SMALL["pix2pix"],
        )

    training.train(config("plain"))
    assert not compiler_counters["stats"]["unique_graphs"]
    training.train(config("quick", compile=True))
    assert compiler_counters["stats"]["unique_graphs"] >= 2
    plain, fast = (checkpoint_state(tmp_path / run)["method"] for run in ("plain", "quick"))
    assert list(plain) == list(fast)
    assert 0 < max_difference(plain, fast) < 0.01  # a step changes weights by about lr, 2e-4
    grids = [{p.name for p in (tmp_path / run / "samples").iterdir()} for run in ("plain", "quick")]
    assert grids[0] == grids[1]


def test_a_missing_compiler_is_reported(tmp_path: Path) -> None:
    data = noise_pairs(tmp_path / "data", 2, 32)
    arguments = train_arguments(
        data, tmp_path / "run", "--speed.compile", "--data.preprocess", "none"
    )
    environment = {
        "CXX": str(tmp_path / "no-compiler"),
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "none"),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "viceversa", *map(str, arguments)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    message = done.stderr.splitlines()[-1]
    assert message.startswith("viceversa: speed.compile is not available here: ")
    assert "no-compiler" in message and "Traceback" not in done.stderr
