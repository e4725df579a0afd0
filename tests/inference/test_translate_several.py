"""Translator: lists, iterators and arrays of images, results in files, and its description."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support import raises_user_error, small_model
from test_translator import eight_bit, floats, noise, put

from viceversa import Translator
from viceversa.images import read
from viceversa.images.domain import Domain, DomainConfig

SIZES = [(16, 16), (16, 16), (16, 16), (20, 9), (16, 16)]


@pytest.fixture
def translate(tmp_path: Path) -> Translator:
    return Translator.load(small_model(tmp_path / "model", eight_bit(3), eight_bit(3)), "cpu")


def counted(translate: Translator, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the batches that are translated from now on."""
    sizes: list[int] = []
    pixels = Translator.pixels
    monkeypatch.setattr(
        Translator, "pixels", lambda self, images: sizes.append(len(images)) or pixels(self, images)
    )
    return sizes


def difference(one: Any, other: Any) -> int:
    return int(np.abs(np.asarray(one).astype(int) - np.asarray(other).astype(int)).max())


def test_a_list_is_translated_in_batches_of_one_size(
    translate: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [noise(seed, *size) for seed, size in enumerate(SIZES)]
    single = [translate(image) for image in images]
    sizes = counted(translate, monkeypatch)
    results = translate(images, batch_size=2)
    assert isinstance(results, list) and sizes == [2, 1, 1, 1]
    assert [one.shape for one in results] == [(*size, 3) for size in SIZES]
    assert max(map(difference, results, single)) <= 1
    assert len(translate(tuple(images))) == len(images) and translate([]) == []
    with raises_user_error("batch_size"):
        translate(images, batch_size=0)


def test_results_have_the_kinds_of_their_images(translate: Translator, tmp_path: Path) -> None:
    path = put(tmp_path / "x.png")
    pixels = noise(0)
    with Image.open(path) as image:
        given = [path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes()), image]
        results = translate([*given, pixels, floats(pixels)])
    assert all(isinstance(one, Image.Image) for one in results[:5])
    assert isinstance(results[5], np.ndarray) and isinstance(results[6], torch.Tensor)
    assert max(difference(one, translate(pixels)) for one in results[:6]) <= 1
    assert torch.equal(results[6], translate(floats(pixels)))


def test_an_iterator_is_read_as_results_are_requested(translate: Translator) -> None:
    taken: list[int] = []

    def images() -> Iterator[Any]:
        for seed in range(6):
            taken.append(seed)
            yield noise(seed)

    results = translate(images(), batch_size=2)
    assert isinstance(results, Iterator) and taken == []
    first = next(results)
    assert difference(first, translate(noise(0))) <= 1 and len(taken) <= 3
    assert len(list(results)) == 5 and taken == list(range(6))


def test_an_invalid_image_of_an_iterator_fails_in_its_place(translate: Translator) -> None:
    results = translate(iter([noise(0), noise(1), b"no image", noise(2)]))
    assert [next(results).shape for _ in range(2)] == [(16, 16, 3)] * 2
    with raises_user_error():
        next(results)
    with raises_user_error():
        translate([noise(0), b"no image"])


def test_an_open_file_is_one_image(translate: Translator, tmp_path: Path) -> None:
    """A file object is an iterator of lines, too."""
    with put(tmp_path / "x.png").open("rb") as file:
        assert translate(file).size == (16, 16)


def test_an_array_of_images_gives_an_array(translate: Translator) -> None:
    images = np.stack([noise(seed) for seed in range(3)])
    results = translate(images, batch_size=2)
    assert results.shape == (3, 16, 16, 3) and results.dtype == np.uint8
    assert max(difference(results[i], translate(images[i])) for i in range(3)) <= 1
    with raises_user_error():
        translate(images[:0])


def test_save_writes_the_dtype_of_the_target_domain(tmp_path: Path) -> None:
    deep = Domain(DomainConfig(channels=1), "uint16", (0.0,), (65535.0,))
    translate = Translator.load(small_model(tmp_path / "model", eight_bit(3), deep), "cpu")
    pixels, out = noise(0), tmp_path / "new" / "y.png"
    assert translate.save(pixels, out) == out
    written = read(out, 1)
    assert written.dtype == np.uint16 and np.array_equal(written, translate(pixels))
    translate.save(put(tmp_path / "x.png", 1), out)  # replaces it
    assert np.array_equal(read(out, 1), translate(noise(1)))
    with raises_user_error(path=tmp_path / "y.jpg") as caught:  # JPEG has 8 bits
        translate.save(pixels, tmp_path / "y.jpg")
    assert "y.png" in str(caught.value) and not (tmp_path / "y.jpg").exists()
    for several in ([pixels], floats(pixels), iter([pixels])):
        with raises_user_error():
            translate.save(several, tmp_path / "z.png")
    assert not (tmp_path / "z.png").exists()


def test_repr_describes_the_model(translate: Translator, tmp_path: Path) -> None:
    from viceversa.checkpoint import read_digest

    path = tmp_path / "model" / "ab.safetensors"
    text = repr(translate)
    for part in (
        str(path),
        "unknown method",
        "A to B",
        "unet",
        read_digest(path)[:12],
        "channels 3x uint8 -> 3x uint8",
        "multiples of 8",
        "policy image",
        "on cpu",
    ):
        assert part in text, (part, text)
    own = repr(Translator(torch.nn.Identity(), Domain(), Domain(), "cpu"))
    assert own.startswith("Translator(Identity; channels 3x uint8 -> 3x uint8, ")
