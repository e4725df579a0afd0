"""Exported files have the results of PyTorch, for any batch and size; others are not written."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from support import command_error, command_output, needs_runtime, noise_images, small_model
from torch import nn

from viceversa import Translator
from viceversa.checkpoint import read_digest, read_header
from viceversa.errors import UserError
from viceversa.export import exporting, onnx_file
from viceversa.export.exporting import compare, export, sample_images
from viceversa.export.graph import ImageGraph
from viceversa.images.domain import Domain, DomainConfig
from viceversa.inference.exported import open_exported
from viceversa.networks.config import ResNetConfig, UNetConfig
from viceversa.networks.resnet import ResNet
from viceversa.networks.unet import UNet

MODEL = Path(__file__).parents[1] / "fixtures/format_1/runs/cyclegan/ab.safetensors"
SUFFIXES = [".onnx", ".xml"]


@pytest.fixture(autouse=True)
def packages(request: pytest.FixtureRequest) -> None:
    """Skip a test of a format if its packages are missing."""
    suffix = request.getfixturevalue("suffix") if "suffix" in request.fixturenames else ".onnx"
    needs_runtime(suffix)


def translator(kind: str, policy: Any = "image", **domains: Domain) -> Translator:
    """Return a translator with large random weights."""
    torch.manual_seed(0)
    source, target = domains.get("source", Domain()), domains.get("target", Domain())
    channels = source.config.channels, target.config.channels
    network: nn.Module = ResNet(ResNetConfig(width=4, blocks=1), *channels)
    if kind == "unet":
        network = UNet(UNetConfig(width=4, depth=3, dropout=0.5), *channels)
    for name, tensor in network.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2.0)
        else:
            tensor.normal_(0.0, 0.3)
    return Translator(network, source, target, "cpu", policy)


def noise(domain: Domain, count: int, height: int, width: int) -> NDArray[Any]:
    low, high = np.array(domain.low), np.array(domain.high)
    shape = count, height, width, domain.config.channels
    return (low + np.random.default_rng(0).random(shape) * (high - low)).astype(domain.dtype)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_of_the_command_has_the_results_of_the_model(
    suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / f"model{suffix}"
    noise_images(tmp_path / "photos", 4, size=(40, 60))
    text = command_output(capsys, "export", MODEL, "-o", out, "--images", tmp_path / "photos")
    assert f"{out}: height and width of images must be multiples of 4" in text
    assert f"4 images of {tmp_path / 'photos'}, 16 results" in text
    model, run = Translator.load(MODEL, "cpu"), open_exported(out)
    for count, height, width in [(1, 8, 8), (3, 36, 20), (2, 64, 100)]:
        images = noise(model.source, count, height, width)
        found, expected = run(images), np.stack(model.pixels(list(images)))
        assert found.dtype == np.uint8 and found.shape == expected.shape
        difference = np.abs(found.astype(int) - expected)
        assert difference.max() <= 1 and (difference > 0).mean() < 0.002
    header = read_header(out)
    assert (header["direction"], header["multiple"], header["policy"]) == ("ab", 4, "image")
    assert header["model"] == read_digest(MODEL)
    assert f"{out} exists; add --overwrite" in command_error(capsys, "export", MODEL, "-o", out)
    assert "exported    policy image" in command_output(capsys, "show", out)
    if suffix == ".onnx":
        import onnx

        sizes = [one.dim_param for one in onnx.load(out).graph.input[0].type.tensor_type.shape.dim]
        assert sizes[:3] == ["batch", "4*rows", "4*columns"]


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_16_bits_other_channels_ranges_and_running_statistics(suffix: str, tmp_path: Path) -> None:
    """The source is clipped to its range; the innermost map of a U-Net is one pixel."""
    source = Domain(
        DomainConfig(channels=2, range="100,60000"), "uint16", (100, 100), (60000, 60000)
    )
    target = Domain(DomainConfig(channels=1, range="-1000,3000"), "int16", (-1000,), (3000,))
    if suffix == ".xml":
        target = Domain(DomainConfig(channels=1), "uint16", (0,), (65535,))
    model = translator("unet", "running", source=source, target=target)
    images = noise(source, 4, 24, 24)
    images[:, :4] = 65535  # above the range
    path = tmp_path / f"model{suffix}"
    difference = export(model, {}, path, list(images))
    assert difference.images == 16 and difference.largest < 1e-3
    found, expected = open_exported(path)(images), np.stack(model.pixels(list(images)))
    assert str(found.dtype) == target.dtype == str(expected.dtype)
    assert np.abs(found.astype(int) - expected).max() <= 1
    assert len(np.unique(expected)) > 100
    other = translator("unet", "image", source=source, target=target)  # the control
    assert compare(other, open_exported(path), list(images)).largest > 0.01


@pytest.mark.soak
def test_mirrored_images_are_averaged(tmp_path: Path) -> None:
    model = Translator.load(MODEL, "cpu", flips=True)
    path = tmp_path / "model.onnx"
    assert export(model, {}, path, list(noise(model.source, 4, 20, 20))).largest <= 1 / 255
    once = Translator.load(MODEL, "cpu")  # the control
    assert (
        compare(once, open_exported(path), list(noise(model.source, 4, 20, 20))).largest > 1 / 255
    )


# -- the comparison


def test_the_comparison_measures_differences_of_sizes_and_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exporting, "SIDE", 12)
    model = translator("resnet")
    images, shapes = list(noise(model.source, 5, 10, 30)), []

    def run(pixels: NDArray[Any], shift: int = 0) -> NDArray[Any]:
        shapes.append(pixels.shape[:3])
        result = np.stack(model.pixels(list(pixels))).astype(np.int16)
        result[0, 0, 0, 0] += shift if result[0, 0, 0, 0] < 128 else -shift
        return result

    same = compare(model, run, images)
    assert (same.largest, same.changed, same.images) == (0.0, 0.0, 20)
    assert set(shapes) == {(1, 12, 24), (4, 24, 12), (1, 24, 12), (1, 36, 48), (1, 8, 8)}
    shifted = compare(model, lambda pixels: run(pixels, 51), images)
    assert shifted.largest == 0.2 and 0 < shifted.changed < 0.01


def test_a_file_with_other_results_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network of the file is that of another model."""
    model, other = translator("resnet"), translator("resnet")
    with torch.no_grad():
        list(other.network.parameters())[-1].add_(0.5)  # the bias of the last layer
    monkeypatch.setattr(exporting, "_write", lambda *_: None)
    run = lambda pixels: np.stack(other.pixels(list(pixels)))  # noqa: E731
    monkeypatch.setattr(exporting, "open_exported", lambda path: run)
    with pytest.raises(UserError, match="differ from those of PyTorch by up to"):
        export(model, {}, tmp_path / "model.onnx", list(noise(model.source, 1, 16, 16)))
    assert list(tmp_path.iterdir()) == []


def labels(**config: Any) -> Domain:
    return Domain(DomainConfig(kind="labels", **config), "uint8", (0.0,), (255.0,))


COLOURS = labels(classes=("#102030,#ff0000", "#00ff80"), tolerance=2)
INDICES = labels(ids=5)


def label_translator(source: Domain, target: Domain) -> Translator:
    torch.manual_seed(0)
    network = ResNet(ResNetConfig(width=4, blocks=1), source.config.width, target.config.width)
    for tensor in network.state_dict().values():
        tensor.normal_(0.0, 0.3)
    return Translator(network, source, target, "cpu")


@pytest.mark.parametrize(
    ("source", "target"), [(COLOURS, Domain()), (INDICES, COLOURS), (COLOURS, INDICES)]
)
def test_the_graph_translates_label_maps(source: Domain, target: Domain) -> None:
    model = label_translator(source, target)
    images = np.stack(sample_images(model)[0])[:2, :48, :64]
    if source is COLOURS:
        images[:, :9] ^= 1  # within the tolerance
        assert {tuple(pixel) for pixel in images.reshape(-1, 3)} >= {(16, 32, 48), (17, 33, 49)}
    with torch.inference_mode():
        found = ImageGraph(model)(torch.from_numpy(images)).numpy()
    expected = np.stack(model.pixels(list(images)))
    assert found.shape == expected.shape and found.dtype == expected.dtype == np.uint8
    if target.config.kind == "image":
        assert np.abs(found.astype(int) - expected).max() <= 1 and expected.std() > 10
    else:
        assert (found == expected).all() and len(np.unique(expected)) > 2


def test_the_comparison_counts_pixels_of_other_classes(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(exporting, "SIDE", 12)
    model = label_translator(INDICES, COLOURS)

    def run(pixels: NDArray[Any], wrong: int = 0) -> NDArray[Any]:
        result = np.stack(model.pixels(list(pixels)))
        result[0, 0, :wrong] = 255 - result[0, 0, :wrong]
        return result

    image = sample_images(model)[0][:1]
    assert compare(model, run, image).changed == 0
    one = compare(model, lambda pixels: run(pixels, 1), image)
    assert one.largest == 1 and 0 < one.changed < 0.01
    monkeypatch.setattr(exporting, "_write", lambda *_: None)
    monkeypatch.setattr(exporting, "open_exported", lambda path: lambda pixels: run(pixels, 4))
    with pytest.raises(UserError, match=r"the classes of .* of the pixels differ from those"):
        export(model, {}, tmp_path / "model.onnx", image)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.soak
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_label_maps_of_an_exported_file(suffix: str, tmp_path: Path) -> None:
    for number, (source, target) in enumerate(((COLOURS, INDICES), (INDICES, COLOURS))):
        folder = tmp_path / str(number)
        path = small_model(folder, source, target, "resnet")
        model, file = Translator.load(path, "cpu"), folder / f"model{suffix}"
        images = sample_images(model)[0]
        export(model, read_header(path), file, images)
        image = images[0][:50, :70]  # the translator pads this image
        found, expected = Translator.load(file, "cpu").pixels([image])[0], model.pixels([image])[0]
        assert found.shape == expected.shape and (found != expected).mean() < 1e-3


def test_the_graph_computes_what_the_translator_does() -> None:
    source = Domain(DomainConfig(channels=3), "uint8", (0, 10, 20), (255, 200, 255))
    model = translator("resnet", source=source)
    images = noise(source, 2, 16, 20)
    with torch.inference_mode():
        found = ImageGraph(model)(torch.from_numpy(images)).numpy()
    difference = np.abs(found.astype(int) - np.stack(model.pixels(list(images))))
    assert difference.max() <= 1 and difference.mean() < 0.01


# -- what is refused


class Unsupported(nn.Module):
    """A network with an operation that ONNX lacks."""

    multiple = smallest = 4

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.special.bessel_j0(x)


@pytest.mark.slow
def test_a_network_without_equivalent_is_refused(tmp_path: Path) -> None:
    model = Translator(Unsupported(), Domain(), Domain(), "cpu")
    with pytest.raises(UserError, match="cannot be written as an ONNX graph"):
        export(model, {}, tmp_path / "model.onnx", list(noise(model.source, 1, 8, 8)))
    assert list(tmp_path.iterdir()) == []


def test_models_and_options_that_have_no_graph_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lightness = Domain(DomainConfig(kind="lab-l"), low=(0.0,), high=(255.0,))
    network = ResNet(ResNetConfig(width=4, blocks=0), 3, 1)
    with pytest.raises(UserError, match="the target domain of this model is lab-l"):
        ImageGraph(Translator(network, Domain(), lightness, "cpu"))
    with pytest.raises(UserError, match="draws noise"):
        ImageGraph(translator("unet", "paper"))
    assert "name the file .onnx" in command_error(capsys, "export", MODEL, "-o", tmp_path / "a.pt")
    words = ["export", MODEL, "--to", "openvino", "-o", tmp_path / "a.onnx"]
    assert "a.onnx: name the file .xml" in command_error(capsys, *words)
    missing = command_error(
        capsys, "export", tmp_path / "no.safetensors", "-o", tmp_path / "a.onnx"
    )
    assert "no.safetensors" in missing
    Image.fromarray(np.zeros((40, 40), dtype=np.uint16)).save(tmp_path / "deep.png")
    words = ["-o", tmp_path / "a.onnx", "--images", tmp_path / "deep.png"]
    text = command_error(capsys, "export", MODEL, *words)
    assert f"{tmp_path / 'deep.png'} is uint16, but the model was trained on uint8" in text
    (tmp_path / "deep.png").unlink()
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    text = command_error(capsys, "export", MODEL, "-o", tmp_path / "a.onnx")
    assert "needs the package onnxscript; install it with pip install 'viceversa[export]'" in text
    monkeypatch.setattr(onnx_file, "LARGEST", 10)
    text = command_error(capsys, "export", MODEL, "-o", tmp_path / "a.onnx")
    assert "more than 2 GB of weights" in text
    monkeypatch.setitem(sys.modules, "openvino", None)
    text = command_error(capsys, "export", MODEL, "-o", tmp_path / "a.xml")
    assert "needs the package openvino; install it with pip install 'viceversa[openvino]'" in text
    assert list(tmp_path.iterdir()) == []
