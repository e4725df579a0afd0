"""Test tiles: images that do not fit into memory, and networks that have no bands."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support import command_error, command_output, needs_runtime
from test_large_images import difference, tiff
from test_translator import eight_bit, model, noise
from torch import Tensor, nn

from viceversa.checkpoint import read_header
from viceversa.export.exporting import export
from viceversa.images import Pixels
from viceversa.inference import FileOptions, Outcome, Record, Translator, translate_files
from viceversa.inference.exported import ExportedNetwork
from viceversa.inference.large_images import LargeImages
from viceversa.inference.memory import MemoryLimit
from viceversa.networks.ensemble import Ensemble

HEIGHT, WIDTH = 371, 262


class Threshold(nn.Module):
    """Network that cannot be traced, since a condition depends on its input."""

    multiple, smallest = 4, 8

    def __init__(self, average: bool = False) -> None:
        super().__init__()
        self.layer, self.average = nn.Conv2d(3, 3, 9, 4, 3), average
        self.up = nn.Upsample(scale_factor=4)

    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > x.numel():  # never true: the values of images are at most 1
            raise ValueError
        y = torch.tanh(4 * self.layer(x))
        output: Tensor = self.up(y - y.mean(dim=(2, 3), keepdim=True) if self.average else y)
        return output


def limited(translator: Translator, **more: Any) -> LargeImages:
    """Return a limit that images of HEIGHT x WIDTH exceed, with 1 kB per pixel if measured."""
    limit = MemoryLimit(translator)
    limit._of_pixel = lambda network: 1000.0
    needed = limit.needed(HEIGHT, WIDTH)
    limit.limit = 10**9 if needed is None else needed - 1
    return LargeImages(limit, report=lambda text: None)._replace(**more)


def image_of(folder: Path) -> Path:
    """Write a smooth image whose statistics differ from tile to tile."""
    small = Image.fromarray(noise(0, 12, 9))
    pixels = np.asarray(small.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)).copy()
    pixels[150:] //= 3
    return tiff(folder / "x.tif", pixels, photometric="rgb")


def both(
    translator: Translator, folder: Path, large: LargeImages, **options: Any
) -> tuple[Path, Path, Outcome]:
    """Translate an image as a whole and with a memory limit; return the files and the outcome."""
    image, results = image_of(folder), []
    for name, used in (("whole", None), ("tiles", large)):
        result = folder / f"{name}.tif"
        outcome = translate_files(
            translator, [(image, result)], FileOptions(1, large_images=used, **options)
        )
        assert outcome.failures == [] and outcome.written == [result]
        results.append(result)
    return results[0], results[1], outcome


def averaged(translator: Translator, mirrored: tuple[int, ...] = ()) -> None:
    """Replace the network of a translator by an ensemble with a second, different network."""
    torch.manual_seed(1)
    other = Translator.load(translator.description, "cpu", translator.policy).network
    for weight in other.parameters():
        weight.data += 0.1 * torch.randn_like(weight)
    translator.network = Ensemble([translator.network, other], mirrored).eval()


def loaded(folder: Path, name: str = "unet", policy: Any = "running") -> Translator:
    file = model(folder, name)
    translator = Translator.load(file, "cpu", policy)
    translator.description = str(file)
    return translator


def flips(folder: Path) -> Translator:
    translator = loaded(folder)
    averaged(translator, (3, 2))
    return translator


def members(folder: Path) -> Translator:
    translator = loaded(folder)
    averaged(translator)
    return translator


def unknown(_: Path) -> Translator:
    torch.manual_seed(0)
    return Translator(Threshold(), eight_bit(3), eight_bit(3), "cpu")


@pytest.mark.slow
@pytest.mark.parametrize("make", [flips, members, unknown])
def test_without_statistics_of_tiles_the_result_is_that_of_the_whole_image(
    make: Callable[[Path], Translator], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("viceversa.inference.memory.MEASURED", 32)
    translator = make(tmp_path)
    reported: list[str] = []
    large = limited(translator, report=reported.append)
    whole, tiles, outcome = both(translator, tmp_path, large)
    assert difference(whole, tiles) <= 1
    assert f"({WIDTH}x{HEIGHT}) does not fit" in reported[0] and "tiles of" in reported[0]
    (note,) = [text for _, text in outcome.notes]
    assert note.startswith("translated in ") and "whole image within rounding" in note


@pytest.mark.slow
def test_statistics_of_tiles_are_reported_and_recorded(tmp_path: Path) -> None:
    translator = loaded(tmp_path, "resnet", "image")  # with instance norm
    averaged(translator)
    large = limited(translator)
    whole, tiles, outcome = both(translator, tmp_path, large)
    assert difference(whole, tiles) > 1
    (note,) = [text for _, text in outcome.notes]
    assert "norms used the statistics of each tile, so the result differs" in note
    out = tmp_path / "out"
    out.mkdir()
    record = Record(out, "0" * 64, {})
    pairs = [(tmp_path / "x.tif", out / "x.tif")]
    options = FileOptions(1, large_images=large)
    translate_files(translator, pairs, options, record)
    (line,) = map(json.loads, (out / ".viceversa.jsonl").read_text().splitlines())
    used = line["tiles"]
    assert used["statistics"] == "tile" and used["overlap"] == 2 * (19 + 20)
    assert used["count"] > 1 and abs(used["seam_score"]) < 0.2
    assert f"{used['count']} tiles of {used['width']}x{used['height']} pixels" in note
    assert f"seam score {used['seam_score']}" in note
    again = translate_files(translator, pairs, options, Record(out, "0" * 64, {}), resume=True)
    assert again.skipped == [out / "x.tif"]


@pytest.mark.slow
def test_tiles_are_an_option_for_networks_with_bands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, image = model(tmp_path, "resnet"), image_of(tmp_path)
    needed = limited(Translator.load(file, "cpu")).limit.limit
    assert needed is not None
    words: list[object] = ["translate", file, image, "-o", tmp_path / "out", "--device", "cpu"]
    words += ["--memory", needed / 1e9, "--statistics"]
    printed = command_output(capsys, *words, "tile")
    assert "tiles of" in printed and "norms used the statistics of each tile" in printed
    assert "0 of 1 images" in command_output(capsys, *words, "tile", "--resume")
    printed = command_output(capsys, *words, "exact", "--resume")
    assert "in bands of" in printed and "1 of 1 images" in printed


@pytest.mark.parametrize("problem", ["global", "paper", "spread", "size", "half"])
def test_an_image_that_has_no_parts_is_translated_as_a_whole_with_a_note(
    problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("viceversa.inference.memory.MEASURED", 32)
    if problem == "global":
        translator = Translator(Threshold(True), eight_bit(3), eight_bit(3), "cpu")
    else:
        translator = loaded(tmp_path, policy="paper" if problem == "paper" else "image")
    if problem == "spread":
        averaged(translator)
    large = limited(translator)
    assert large.limit.limit is not None
    options: dict[str, Any] = {"spread": True} if problem == "spread" else {}
    if problem == "size":
        translator.size, large.limit.limit = "120", 1000
    if problem == "half":
        options, large.limit.limit = {"half": "left"}, 1000
    image, result = image_of(tmp_path), tmp_path / "y.tif"
    outcome = translate_files(
        translator, [(image, result)], FileOptions(1, large_images=large, **options)
    )
    assert outcome.written == [result]
    (note,) = [text for _, text in outcome.notes]
    reason = {
        "global": "its receptive field is the whole image",
        "paper": "it draws noise for the whole image (policy paper)",
        "spread": "--spread needs the whole image",
        "size": "--size resizes the whole image",
        "half": "--half reads the whole image",
    }[problem]
    assert note.startswith("translated as a whole, which needs about") and reason in note


def test_too_little_memory_for_a_tile_is_a_failure_of_that_image(tmp_path: Path) -> None:
    translator = members(tmp_path)
    large = limited(translator)
    large.limit.limit = 1000
    image = image_of(tmp_path)
    outcome = translate_files(
        translator, [(image, tmp_path / "y.tif")], FileOptions(1, large_images=large)
    )
    assert "the smallest ones, and 1.00 kB may be used" in outcome.failures[0][1]


def test_the_memory_of_unknown_networks_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wasteful(Threshold):
        def forward(self, x: Tensor) -> Tensor:
            wasted = torch.ones(50, *x.shape)  # 600 bytes per pixel
            return super().forward(x) + wasted[0]

    limit = MemoryLimit(Translator(Wasteful(), eight_bit(3), eight_bit(3), "cpu"))
    assert limit.needed(256, 512) is None  # small images are not measured
    needed = limit.needed(1024, 1024)
    if needed is None:
        pytest.skip("this system cannot measure memory")
    assert 600 < needed / 1024**2 < 3000
    assert limit.of_tile((3, 64, 64)) == pytest.approx(needed / 4, rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".xml", pytest.param(".onnx", marks=pytest.mark.soak)])
def test_an_exported_file_is_used_in_tiles(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_runtime(suffix)
    monkeypatch.setattr("viceversa.inference.memory.MEASURED", 32)
    file, path = model(tmp_path), tmp_path / f"exported{suffix}"
    translator = Translator.load(file, "cpu", policy="running")
    images: list[Pixels] = [noise(1, 64, 64)]
    export(translator, read_header(file), path, images)
    header = read_header(path)
    assert (header["receptive_field"], header["image_statistics"]) == (15, False)
    used = Translator.load(path, "cpu", policy="running")
    whole, tiles, outcome = both(used, tmp_path, limited(used))
    assert difference(whole, tiles) <= 1
    assert "within rounding" in outcome.notes[0][1]
    network = used.network
    assert isinstance(network, ExportedNetwork)
    network.receptive_field = None
    _, _, outcome = both(used, tmp_path, limited(used))
    assert "the exported file does not contain the receptive field" in outcome.notes[0][1]


def test_videos_have_no_statistics(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [model(tmp_path), "x.mp4", "-o", "y.mp4", "--statistics", "tile"]
    assert "--statistics is for images" in command_error(capsys, "translate", *words)
