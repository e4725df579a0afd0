"""Test the example inputs of the page: selection of files, and their contents."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import small_model

from viceversa import Translator
from viceversa.errors import UserError
from viceversa.images import write
from viceversa.images.domain import Domain, DomainConfig
from viceversa.images.preprocessing import Preprocessing
from viceversa.page.examples import LARGEST, Example, example_inputs, read_examples
from viceversa.page.models import NamedModel, named_models

INDICES = Domain(DomainConfig(kind="labels", ids=3))


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> NamedModel:
    (model,) = named_models([str(small_model(tmp_path_factory.mktemp("a"), Domain(), Domain()))])
    return model


@pytest.fixture(scope="module")
def translator(named: NamedModel) -> Translator:
    return Translator.load(named.path, "cpu")


def pixels_of(example: Example) -> np.ndarray:
    assert example.media_type == "image/png"
    return np.asarray(Image.open(io.BytesIO(example.content)))


def grey(value: int, height: int = 4, width: int = 4) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def of_demo(model: NamedModel, path: str, direction: str = "ab") -> NamedModel:
    header = {"trained": {"data": {"path": path}}, "direction": direction}
    return replace(model, header=header)


def test_inputs_belong_to_all_models_or_to_one(named: NamedModel) -> None:
    models = [replace(named, name=name) for name in ("one", "two")]
    assert example_inputs([], models) == {"one": [], "two": []}
    assert example_inputs(["x"], models) == {"one": ["x"], "two": ["x"]}
    found = example_inputs(["two=a", "x", "y", "two=b"], models)
    assert found == {"one": ["x", "y"], "two": ["a", "b"]}
    with pytest.raises(UserError, match="no model three; the models are one, two") as caught:
        example_inputs(["three=x"], models)
    assert caught.value.option == "--examples"


def test_demos_have_test_images_of_the_package(named: NamedModel) -> None:
    def demo(path: str, direction: str = "ab") -> list[str]:
        (found,) = example_inputs([], [of_demo(named, path, direction)]).values()
        return [Path(one).name for one in found]

    assert demo("/elsewhere/viceversa/demos/openmoji") == ["test"]
    assert demo("/x/viceversa/demos/earth") == ["testA"]
    assert demo("/x/viceversa/demos/earth", "ba") == ["testB"]
    for other in ("", "photos", "/x/demos/earth", "/viceversa/demos/..", "/viceversa/demos/none"):
        assert demo(other) == []
    model = of_demo(named, "/x/viceversa/demos/earth")
    assert example_inputs(["photos"], [model]) == {named.name: ["photos"]}
    assert example_inputs([], [model], demos=False) == {named.name: []}


def test_the_half_of_the_source_of_demo_images(named: NamedModel, translator: Translator) -> None:
    inputs = example_inputs([], [of_demo(named, "/viceversa/demos/openmoji")])[named.name]
    drawings = Translator(translator.network, Domain(), Domain(), "cpu")
    drawings.preprocessing = Preprocessing("resize", 64, 64, (2.0,), "left")
    images = [pixels_of(example) for example in read_examples(inputs, drawings)]
    assert len(images) == 16 and {image.shape for image in images} == {(64, 64, 3)}
    assert all(np.ptp(image.astype(int), axis=2).max() == 0 for image in images)  # grey lines


def test_images_are_evenly_spaced_and_not_larger_than_the_page(
    tmp_path: Path, translator: Translator
) -> None:
    for number in range(33):
        write(tmp_path / f"{number:02}.png", grey(number))
    values = [int(pixels_of(one)[0, 0, 0]) for one in read_examples([str(tmp_path)], translator)]
    assert values == [number * 33 // 16 for number in range(16)]
    write(tmp_path / "large.png", grey(7, 20, 2 * LARGEST))
    (large,) = read_examples([str(tmp_path / "large.png")], translator)
    assert pixels_of(large).shape == (10, LARGEST, 3)
    assert read_examples([], translator) == []


def test_examples_have_the_values_of_the_files_of_the_model(
    tmp_path: Path, translator: Translator
) -> None:
    def example(source: Domain, pixels: np.ndarray) -> Example:
        path = tmp_path / "image.tif"
        write(path, pixels)
        model = Translator(translator.network, source, Domain(), "cpu")
        return read_examples([str(path)], model)[0]

    classes = np.arange(12, dtype=np.uint8).reshape(3, 4, 1) % 3
    assert (pixels_of(example(INDICES, classes)) == classes[:, :, 0]).all()
    with pytest.raises(UserError, match=r"image\.tif contains the class 3"):
        example(INDICES, classes + 1)
    deep = np.array([[[7], [65535]]], np.uint16)
    wide = Domain(DomainConfig(channels=1), "uint16", (0.0,), (65535.0,))
    assert pixels_of(example(wide, deep)).tolist() == [[7, 65535]]
    masked = Domain(DomainConfig(channels=1, nodata=7), "uint16", (0.0,), (65535.0,), "7")
    assert pixels_of(example(masked, deep)).tolist() == [[7, 65535]]
    floats = Domain(DomainConfig(channels=1), "float32", (0.0,), (1.0,))
    assert example(floats, np.float32([[[0.5]]])).media_type == "image/tiff"


def test_an_invalid_input_is_refused(tmp_path: Path, translator: Translator) -> None:
    with pytest.raises(UserError, match="there is no image"):
        read_examples([str(tmp_path / "none")], translator)
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(UserError, match=r"text\.png"):
        read_examples([str(tmp_path)], translator)
