"""Settings of all tests."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from viceversa.losses import GAN_LOSSES
from viceversa.methods import METHODS
from viceversa.metrics.registry import METRICS
from viceversa.networks import DISCRIMINATORS, GENERATORS
from viceversa.runtime import precision

if TYPE_CHECKING:
    from playwright.sync_api import Browser

torch.set_num_threads(1)  # two pytest workers share two cores
# The cache of dataset scans must not be in the home folder of the user who runs the tests.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="viceversa-tests-")
atexit.register(shutil.rmtree, os.environ["XDG_CACHE_HOME"], ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def no_native_bf16() -> Iterator[None]:
    """Let `train.precision auto` be fp32, so that no result depends on the processor."""
    with pytest.MonkeyPatch.context() as patch:
        found = precision.NativeBF16(False, "the tests compute in fp32")
        patch.setattr(precision, "native_bf16", lambda device: found)
        yield


@pytest.fixture
def in_float64() -> Iterator[None]:
    """Make float64 torch's default dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def registries() -> Iterator[None]:
    """Remove what a test adds to the registries."""
    registries: list[dict[str, Any]] = [METHODS, GENERATORS, DISCRIMINATORS, GAN_LOSSES, METRICS]
    before = [dict(registry) for registry in registries]
    yield
    for registry, entries in zip(registries, before, strict=True):
        for name in registry.keys() - entries.keys():
            del registry[name]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start Chromium; the test is skipped without it."""
    from browser_pages import ARGUMENTS, CHROMIUM

    library = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with library.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--cpu-times", metavar="FILE", help="append the processor seconds of each test to FILE"
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Measure a test with its fixtures, and the child processes it waited for."""
    before = sum(os.times()[:4])
    result = yield
    if path := item.config.getoption("--cpu-times"):
        seconds = round(sum(os.times()[:4]) - before, 2)
        with Path(path).open("a") as file:
            file.write(json.dumps({"test": item.nodeid, "seconds": seconds}) + "\n")
    return result


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests marked `cuda` if there is no CUDA device."""
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("cuda"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
