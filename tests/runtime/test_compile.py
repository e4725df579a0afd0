"""Compiled networks: the same steps to rounding, and what stays as it is.

A compiler takes a while: all of it is slow.
"""

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
from support import checkpoint_state, noise_pairs
from tiny import OFF, Made, apart, batch, farthest, in_folder, made, only, steps
from torch import nn

from viceversa.config.speed import SpeedConfig
from viceversa.networks.norms import use_policy
from viceversa.training import loop as training

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),  # on a machine that does much else
    # What torch's own compiler says of torch's own code.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
]
SMALL: dict[str, dict[str, Any]] = {
    "pix2pix": {"generator": {"dropout": 0.0, "depth": 3}, "discriminator": {"layers": 1}},
    "cyclegan": {"generator": {"dropout": 0.0}, "discriminator": {"layers": 1}},
}


@pytest.fixture(autouse=True)
def anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """A compiler that remembers nothing, and what it counts."""
    from torch._dynamo import reset
    from torch._dynamo.utils import counters

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))
    reset()
    counters.clear()
    yield counters
    reset()
    torch.set_default_dtype(torch.float32)


def compiled(one: Made, differentiated_twice: list[nn.Module] | None = None) -> Made:
    one.runtime.compile(one.networks, differentiated_twice or [])
    return one


def is_compiled(network: nn.Module) -> bool:
    return network._compiled_call_impl is not None


# The last batch of an epoch may be smaller: test_a_run_is_compiled has one, too.
@pytest.mark.parametrize(("name", "sizes"), [
    ("pix2pix", (2,)),
    pytest.param("pix2pix", (2, 1), marks=pytest.mark.soak),
    pytest.param("cyclegan", (2,), marks=pytest.mark.soak),
])  # fmt: skip
def test_steps_change_by_rounding_at_most(
    name: str, sizes: tuple[int, ...], anew: dict[str, Any]
) -> None:
    torch.set_default_dtype(torch.float64)
    plain, quick = made(name, OFF, **SMALL[name]), made(name, only(compile=True), **SMALL[name])
    compiled(plain)
    expected = [losses for size in sizes for losses in steps(plain, 3, size)]
    assert not any(map(is_compiled, plain.networks)) and not anew["stats"]["unique_graphs"]
    compiled(quick)
    assert all(map(is_compiled, quick.networks))
    found = [losses for size in sizes for losses in steps(quick, 3, size)]
    # Every network is one graph at least, with no break in it.
    assert anew["stats"]["unique_graphs"] >= len(quick.networks) and not anew["graph_break"]
    assert apart(found, expected) < 1e-9
    assert farthest(quick.method.state_dict(), plain.method.state_dict()) < 1e-9
    # A copy, such as draws the samples, is not compiled, and computes the same.
    graphs = anew["stats"]["unique_graphs"]
    for way, network in quick.method.translators().items():
        copied, own = copy.deepcopy(network), plain.method.translators()[way]
        use_policy(copied), use_policy(own)
        assert not is_compiled(copied)
        assert farthest({"x": copied(batch(7)[0])}, {"x": own(batch(7)[0])}) < 1e-9
    assert anew["stats"]["unique_graphs"] == graphs
    assert list(quick.method.state_dict()) == list(plain.method.state_dict())


def test_a_judge_that_is_differentiated_twice_stays_as_it_is() -> None:
    more = {**SMALL["pix2pix"], "method": {"gan_loss": "wgan-gp"}}
    torch.set_default_dtype(torch.float64)
    plain, quick, naive = (made("pix2pix", s, **more) for s in (OFF, *[only(compile=True)] * 2))
    judges = [one.network for one in quick.method.discriminators().values()]
    compiled(quick, judges)
    assert [is_compiled(network) for network in quick.networks] == [True, False]
    assert apart(steps(quick, 3), steps(plain, 3)) < 1e-9
    with pytest.raises(RuntimeError, match="double backward"):  # the control
        steps(compiled(naive), 1)


@pytest.mark.soak
def test_it_goes_with_half_precision_and_all_else(anew: dict[str, Any]) -> None:
    """Layers of many weights for small maps among it."""
    more = {"generator": {"dropout": 0.0, "width": 16, "depth": 4}}
    speed = SpeedConfig(memory_format="channels_last")
    plain = made("pix2pix", speed, "bf16", **more)
    quick = compiled(made("pix2pix", replace(speed, compile=True), "bf16", **more))
    found, expected = steps(quick, 2), steps(plain, 2)
    assert anew["stats"]["unique_graphs"] >= 2 and not anew["graph_break"]
    assert apart(found, expected) < 0.01 * max(float(v) for step in expected for v in step.values())
    assert all(loss.dtype == torch.float32 for loss in found[0].values())


def test_a_run_is_compiled(tmp_path: Path, anew: dict[str, Any]) -> None:
    data = noise_pairs(tmp_path / "data", 3, 32)

    def config(run: str, **speed: Any) -> Any:
        return in_folder("pix2pix", data, tmp_path / run, speed=speed,
                         train={"epochs": 2, "batch_size": 2, "sample_every": 2},
                         **SMALL["pix2pix"])  # fmt: skip

    training.train(config("plain"))
    assert not anew["stats"]["unique_graphs"]
    training.train(config("quick", compile=True))
    assert anew["stats"]["unique_graphs"] >= 2
    plain, quick = (checkpoint_state(tmp_path / run)["method"] for run in ("plain", "quick"))
    assert list(plain) == list(quick)
    assert 0 < farthest(plain, quick) < 0.01  # weights move by the rate: 2e-4 at a step
    sheets = [
        {p.name for p in (tmp_path / run / "samples").iterdir()} for run in ("plain", "quick")
    ]
    assert sheets[0] == sheets[1]


def test_a_machine_without_a_compiler_is_told_so(tmp_path: Path) -> None:
    data = noise_pairs(tmp_path / "data", 2, 32)
    words = ["train", "pix2pix", data, "--speed.compile", "--train.run", tmp_path / "run",
             "--train.device", "cpu", "--data.preprocess", "none", "--generator.depth", "3",
             "--generator.width", "4", "--discriminator.width", "4"]  # fmt: skip
    environment = {
        "CXX": str(tmp_path / "no-compiler"), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "none"),
        "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "viceversa", *map(str, words)], env=os.environ | environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    said = done.stderr.splitlines()[-1]
    assert said.startswith("viceversa: speed.compile is not available here: ")
    assert "no-compiler" in said and "Traceback" not in done.stderr
