"""Test a translator shared by threads, and its random numbers."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_translator import floats, model, noise

from viceversa.errors import UserError
from viceversa.inference import Translator
from viceversa.networks import GENERATORS
from viceversa.networks.noise import SeededDropout, seeded

SIZES = [(16, 16), (16, 24), (20, 9)]


def images(count: int) -> list[Any]:
    return [noise(number, *SIZES[number % len(SIZES)]) for number in range(count)]


def equal(one: Sequence[Any], two: Sequence[Any]) -> bool:
    return all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(one, two, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["image", "running", "paper"])
def test_threads_give_the_results_of_single_calls(tmp_path: Path, policy: Any) -> None:
    translate = Translator.load(model(tmp_path), "cpu", policy)
    inputs = images(36)
    alone = [translate(image) for image in inputs]
    with ThreadPoolExecutor(8) as pool:
        assert equal(list(pool.map(translate, inputs)), alone)
        assert equal(
            list(pool.map(lambda x: translate(floats(x)), inputs)),
            [translate(floats(x)) for x in inputs],
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", GENERATORS)
def test_translators_of_different_seeds_run_in_parallel(tmp_path: Path, name: str) -> None:
    path, image = model(tmp_path, name), noise(0)
    translators = [Translator.load(path, "cpu", "paper", seed) for seed in range(6)]
    alone = [translate(image) for translate in translators]
    with ThreadPoolExecutor(6) as pool:
        parallel = list(pool.map(lambda n: translators[n % 6](image), range(60)))
    assert equal(parallel, alone * 10)


@pytest.mark.slow
def test_global_random_state_is_neither_used_nor_changed(tmp_path: Path) -> None:
    path = model(tmp_path)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index,union-attr]
    translate = Translator.load(path, "cpu", "paper")
    alone = translate(noise(0))
    after = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index,union-attr]
    assert torch.equal(before[0], after[0]) and before[1:] == after[1:]
    finished = threading.Event()

    def draw() -> None:
        while not finished.is_set():
            torch.rand(10)

    other = threading.Thread(target=draw)
    other.start()
    results = [translate(noise(0)) for _ in range(20)]
    finished.set()
    other.join()
    assert equal(results, [alone] * 20)


def test_dropout_noise_of_an_image_is_the_same_in_every_batch(tmp_path: Path) -> None:
    translate = Translator.load(model(tmp_path), "cpu", "paper")
    x, y, z = (floats(noise(seed)) for seed in range(3))
    alone = translate(x)
    for batch in ([x], [x, y], [x, z, y], [x] * 5):
        assert torch.equal(translate(torch.stack(batch))[0], alone)


def test_seeded_dropout() -> None:
    layer, x = SeededDropout(0.25), torch.ones(1, 4, 50, 50)
    with seeded(3):
        first, second = layer(x), layer(x)
    with seeded(3):
        again = layer(x)
    with seeded(4):
        other = layer(x)
    assert torch.equal(first, again)
    assert not torch.equal(first, second) and not torch.equal(first, other)
    assert first.unique().tolist() == pytest.approx([0, 4 / 3])
    assert float((first == 0).float().mean()) == pytest.approx(0.25, abs=0.02)
    with seeded(3):
        assert torch.equal(SeededDropout(1.0)(x), torch.zeros_like(x))
        assert torch.equal(SeededDropout(0.0)(x), x)
        assert torch.equal(layer.eval()(x), x)


# -- invalid images and outputs


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.zeros(0, 3, 64, 64), "the tensor is empty"),
        (torch.zeros(3, 0, 64), "the tensor is empty"),
        (torch.zeros(1, 3, 64, 0), "the tensor is empty"),
        (torch.full((3, 8, 8), float("nan")), "the tensor has non-finite values"),
        (torch.full((2, 3, 8, 8), float("inf")), "the tensor has non-finite values"),
        (torch.zeros(1, 3, 1001, 1000), "--max_megapixels 2 "),
        (np.zeros((0, 5, 3), np.uint8), "the array has no pixels"),
        (b"", "is not an image in a supported format"),
    ],
    ids=str,
)
def test_empty_and_non_finite_images_are_refused(tmp_path: Path, image: Any, message: str) -> None:
    translate = Translator.load(model(tmp_path), "cpu", max_megapixels=1)
    with pytest.raises(UserError, match=message):
        translate(image)


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_non_finite_output_is_an_error(tmp_path: Path, value: str) -> None:
    translate = Translator.load(model(tmp_path), "cpu")
    translate(noise(0))
    with torch.no_grad():
        for parameter in translate.network.parameters():
            parameter.fill_(float(value))
    for image in (noise(0), floats(noise(0))):
        with pytest.raises(UserError, match="the output has non-finite values"):
            translate(image)
