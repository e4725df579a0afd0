"""Test images that do not fit into the memory: the result of the whole image, by bands of rows."""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from support import command_error, small_model
from test_masked_translations import domain
from test_translator import eight_bit, model, noise

from viceversa.cli import main
from viceversa.errors import UserError
from viceversa.images import Pixels, read, read_header, write
from viceversa.images.domain import Domain, DomainConfig
from viceversa.images.header import Tags
from viceversa.images.masks import MaskFiles
from viceversa.images.preprocessing import Preprocessing
from viceversa.inference import FileOptions, Record, Translator, translate_files
from viceversa.inference.crops import grid
from viceversa.inference.large_images import LargeImages, shared_norms
from viceversa.inference.memory import MemoryLimit
from viceversa.networks import GENERATORS
from viceversa.streaming import BandedNetwork, whole_memory
from viceversa.streaming.graph import reach

HEIGHT, WIDTH = 151, 90


def bands(
    translator: Translator, height: int = HEIGHT, width: int = WIDTH, **more: Any
) -> LargeImages:
    """Return a limit that images of a size, and larger ones, exceed."""
    limit = MemoryLimit(translator)
    needed = limit.needed(height, width)
    assert needed is not None
    limit.limit = needed - 1
    return LargeImages(limit, report=lambda text: None)._replace(**more)


def both(
    file: Path, image: Path, ending: str = ".tif", policy: Any = "image", **options: Any
) -> tuple[Path, Path]:
    """Translate an image as a whole and by bands; return the files."""
    results = []
    for name in ("whole", "banded"):
        translator = Translator.load(file, "cpu", policy)
        used = bands(translator) if name == "banded" else None
        result = image.parent / f"{name}{ending}"
        outcome = translate_files(
            translator, [(image, result)], FileOptions(1, large_images=used, **options)
        )
        assert outcome.failures == [] and outcome.written == [result]
        results.append(result)
    return results[0], results[1]


def difference(one: Path, other: Path) -> int:
    first, second = (np.ma.getdata(read(path)).astype(np.int64) for path in (one, other))
    assert first.shape == second.shape
    assert first.std() > 5  # a constant result would prove nothing
    return int(np.abs(first - second).max())


def tiff(path: Path, pixels: Pixels, **options: Any) -> Path:
    tifffile.imwrite(path, pixels, tile=(32, 48), compression="deflate", **options)
    return path


@pytest.mark.parametrize("policy", ["image", "running"])
@pytest.mark.parametrize("name", GENERATORS)
def test_the_result_is_that_of_the_whole_image(tmp_path: Path, name: str, policy: str) -> None:
    pixels = noise(0, HEIGHT, WIDTH)
    pixels[30:] //= 4  # the statistics of bands differ
    whole, banded = both(
        model(tmp_path, name), tiff(tmp_path / "x.tif", pixels, photometric="rgb"), policy=policy
    )
    assert difference(whole, banded) <= 1


@pytest.mark.parametrize("ending", [".png", ".npy", ".webp"])
def test_results_and_images_of_other_formats(tmp_path: Path, ending: str) -> None:
    Image.fromarray(noise(1, HEIGHT, WIDTH)).save(tmp_path / "x.png")
    whole, banded = both(model(tmp_path), tmp_path / "x.png", ending)
    assert difference(whole, banded) <= (1 if ending != ".webp" else 40)


def test_sixteen_bits_and_other_channels(tmp_path: Path) -> None:
    file = small_model(tmp_path, domain(4, "uint16"), domain(1, "uint16"), "resnet")
    pixels = np.random.default_rng(0).integers(0, 2**16, (HEIGHT, WIDTH, 4), dtype=np.uint16)
    image = tiff(tmp_path / "x.tif", pixels, photometric="minisblack", planarconfig="contig")
    whole, banded = both(file, image)
    assert read(banded).dtype == np.uint16
    assert difference(whole, banded) <= 16  # of 65535: float32 has 24 bits, tanh amplifies


def test_classes(tmp_path: Path) -> None:
    classes = Domain(DomainConfig(kind="labels", ids=4), "uint8", (0.0,), (255.0,))
    file = small_model(tmp_path, eight_bit(3), classes)
    image = tiff(tmp_path / "x.tif", noise(2, HEIGHT, WIDTH), photometric="rgb")
    whole, banded = (read(path) for path in both(file, image))
    assert len(np.unique(whole)) > 1
    assert (whole != banded).mean() < 0.01  # where two classes are equally likely


def test_lightness_of_the_image_is_combined_with_colours(tmp_path: Path) -> None:
    file = small_model(
        tmp_path,
        Domain(DomainConfig(kind="lab-l"), "uint8", (0.0,), (255.0,)),
        Domain(DomainConfig(kind="lab-ab"), "uint8", (0.0,), (255.0,)),
    )
    image = tiff(tmp_path / "x.tif", noise(3, HEIGHT, WIDTH), photometric="rgb")
    assert difference(*both(file, image)) <= 1


def test_pixels_without_data(tmp_path: Path) -> None:
    file = small_model(tmp_path, domain(3, nodata="0"), domain(3, nodata="0"))
    pixels = noise(4, HEIGHT, WIDTH) | 1
    pixels[40:90, 20:60] = 0
    whole, banded = both(file, tiff(tmp_path / "x.tif", pixels, photometric="rgb"))
    assert difference(whole, banded) <= 1
    control = np.ma.getdata(read(whole))[40:90, 20:60]
    assert np.array_equal(control, np.ma.getdata(read(banded))[40:90, 20:60])
    assert len(np.unique(control)) == 1


def test_a_mask_becomes_alpha(tmp_path: Path) -> None:
    file = small_model(tmp_path, domain(3, alpha="mask"), domain(3, alpha="mask"))
    pixels = np.dstack([noise(5, HEIGHT, WIDTH), np.full((HEIGHT, WIDTH), 255, np.uint8)])
    pixels[100:, :, 3] = 0
    for ending in (".tif", ".png"):
        image = tmp_path / "x.png"
        Image.fromarray(pixels).save(image)
        whole, banded = both(file, image, ending)
        assert difference(whole, banded) <= 1
        assert read_header(banded).alpha and (np.ma.getdata(read(banded))[100:, :, 3] == 0).all()


def test_the_result_has_tiles_levels_and_geometry(tmp_path: Path) -> None:
    scale = (33550, "d", 3, (2.0, 2.0, 0.0), True)
    image = tmp_path / "x.tif"
    write(image, noise(6, HEIGHT, WIDTH), Tags(geometry=(scale,)))
    _, banded = both(model(tmp_path), image, ".ome.tif")
    with tifffile.TiffFile(banded) as file:
        assert file.pages.first.is_tiled and file.is_ome
        assert file.pages.first.tags[33550].value == (2.0, 2.0, 0.0)


def test_images_that_fit_are_translated_as_a_whole(tmp_path: Path) -> None:
    """Control of the tests above: an image of one row less is not reported."""
    translator = Translator.load(model(tmp_path, "resnet"), "cpu")
    reported: list[str] = []
    used = bands(translator, report=reported.append)
    pairs = []
    for height in (HEIGHT - 8, HEIGHT):
        image = tiff(tmp_path / f"{height}.tif", noise(7, height, WIDTH), photometric="rgb")
        pairs.append((image, tmp_path / f"out-{height}.tif"))
    outcome = translate_files(translator, pairs, FileOptions(8, large_images=used))
    assert outcome.failures == [] and len(outcome.written) == 2
    assert len(reported) == 1 and f"{HEIGHT}.tif (90x151) does not fit" in reported[0]
    assert "temporary files" in reported[0] and "times the arithmetic" in reported[0]


def test_batches_are_as_large_as_the_memory_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    translator = Translator.load(model(tmp_path), "cpu")
    limit = MemoryLimit(translator)
    needed = limit.needed(32, 32)
    assert needed is not None
    limit.limit = 2 * needed + 1
    assert [limit.at_once(32, 32, most) for most in (1, 2, 8)] == [1, 2, 2]
    sizes: list[int] = []
    pixels = Translator.pixels

    def counted(self: Translator, images: Any, spreads: Any = None) -> Any:
        sizes.append(len(images))
        return pixels(self, images, spreads)

    monkeypatch.setattr(Translator, "pixels", counted)
    pairs = []
    for number in range(5):
        Image.fromarray(noise(number, 32, 32)).save(tmp_path / f"{number}.png")
        pairs.append((tmp_path / f"{number}.png", tmp_path / "out" / f"{number}.png"))
    translate_files(translator, pairs, FileOptions(8, large_images=LargeImages(limit)))
    assert sizes == [2, 2, 1]


def test_the_command_has_a_limit_and_a_folder_for_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = model(tmp_path, "resnet")
    needed = bands(Translator.load(file, "cpu")).limit.limit
    assert needed is not None
    image = tiff(tmp_path / "x.tif", noise(8, HEIGHT, WIDTH), photometric="rgb")
    words = ["translate", str(file), str(image), "-o", str(tmp_path / "y.tif"), "--device", "cpu"]
    main([*words, "--memory", str(needed / 1e9), "--scratch", str(tmp_path / "files")])
    assert "(90x151) does not fit into the memory" in capsys.readouterr().out
    assert list((tmp_path / "files").iterdir()) == []
    assert read(tmp_path / "y.tif").shape == (HEIGHT, WIDTH, 3)
    main([*words, "--memory", str((needed + 1) / 1e9), "--overwrite"])
    assert "does not fit" not in capsys.readouterr().out


def test_statistics_of_crops_are_an_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = model(tmp_path, "resnet")
    needed = bands(Translator.load(file, "cpu")).limit.limit
    assert needed is not None
    image = tiff(tmp_path / "x.tif", noise(16, HEIGHT, WIDTH), photometric="rgb")
    for name in ("exact", "sampled"):
        words = ["translate", str(file), str(image), "-o", str(tmp_path / name), "--device", "cpu"]
        main([*words, "--memory", str(needed / 1e9), "--statistics", name])
        printed = capsys.readouterr().out
        assert ("norms have the statistics of 1 crop" in printed) == (name == "sampled")
        assert ("0.00 kB of temporary files" in printed) == (name == "sampled")
        main([*words, "--resume", "--statistics", "sampled", "--memory", str(needed / 1e9)])
        again = f"0 of 1 images translated to {tmp_path / name}; 1 were translated before"
        assert (again in capsys.readouterr().out) == (name == "sampled")
    assert difference(tmp_path / "exact" / "x.tif", tmp_path / "sampled" / "x.tif") <= 1


def shared_statistics(
    file: Path, images: Path, out: Path, others: Path | None, *options: str
) -> list[str]:
    words = ["translate", str(file), str(images), "-o", str(out), "--device", "cpu", *options]
    return words if others is None else [*words, "--statistics_from", str(others)]


def test_images_are_translated_with_the_statistics_of_other_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A part of an image has the same result as in the whole image, away from its edges."""
    file, others = model(tmp_path, "resnet"), tmp_path / "others"
    edge = reach(Translator.load(file).network, 3, 4)
    others.mkdir()
    for number in range(3):
        Image.fromarray(noise(20 + number, 40, 48)).save(others / f"{number}.png")
    whole = noise(30, 160, 120)
    whole[:80] //= 4
    for shared in (others, None):
        results = {}
        for name, pixels in (("whole", whole), ("part", whole[60:])):
            folder = tmp_path / f"{name}-{shared is None}"
            folder.mkdir()
            Image.fromarray(pixels).save(folder / "x.png")
            main(shared_statistics(file, folder / "x.png", folder / "out", shared))
            results[name] = read(folder / "out" / "x.png").astype(int)
        same = np.abs(results["whole"][60 + edge :] - results["part"][edge:])
        assert len(same) > 40 and (same.max() <= 1) == (shared is others)
    assert "norms use the statistics of 3 crops of other images" in capsys.readouterr().out
    # --resume translates the image again if the shared statistics have changed.
    for resumed in (True, False):
        if not resumed:
            Image.fromarray(noise(40, 40, 48)).save(others / "1.png")
        folder = tmp_path / "part-False"
        main(shared_statistics(file, folder / "x.png", folder / "out", others, "--resume"))
        assert ("1 were translated before" in capsys.readouterr().out) == resumed


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--size", "64"), "--size resizes the whole image"),
        (("--statistics", "tile"), "--statistics tile"),
    ],
)
def test_options_that_exclude_shared_statistics(
    options: tuple[str, str], error: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, image = model(tmp_path), tmp_path / "x.png"
    Image.fromarray(noise(1, 64, 64)).save(image)
    words = shared_statistics(file, image, tmp_path / "out", image, *options)
    assert error in command_error(capsys, *words)


def test_shared_statistics_do_not_depend_on_the_memory(tmp_path: Path) -> None:
    translator = Translator.load(model(tmp_path, "resnet"), "cpu")
    Image.fromarray(noise(1, 300, 300)).save(tmp_path / "x.png")
    needed = whole_memory(translator.network, (3, 256, 256), images=4)
    found = [
        shared_norms(translator, MemoryLimit(translator, memory), tmp_path / "x.png")
        for memory in (needed, 100 * needed)
    ]
    assert found[0].digest == found[1].digest and found[0].source == "4 crops"
    with pytest.raises(UserError, match="raise --memory"):
        shared_norms(translator, MemoryLimit(translator, needed - 1), tmp_path / "x.png")


def test_masked_pixels_and_targets_are_not_in_shared_statistics(tmp_path: Path) -> None:
    translator = Translator.load(model(tmp_path, "resnet"), "cpu")
    images, inside = tmp_path / "images", tmp_path / "images" / "masks"
    inside.mkdir(parents=True)
    mask = np.full((40, 48), 255, np.uint8)
    mask[:, 24:] = 0
    Image.fromarray(mask).save(inside / "x.png")
    digests = []
    for value in (0, 255):
        pixels = noise(1, 40, 48)
        pixels[:, 24:] = value
        Image.fromarray(pixels).save(images / "x.png")
        masks = MaskFiles.in_folder(inside, "--masks")
        for translated in ([images / "x.png"], []):
            limit = MemoryLimit(translator)
            norms = shared_norms(translator, limit, images, masks, translated)
            digests.append(norms.digest)
            assert norms.source == "1 crop"
    # Masks belong to the images that are translated, not to other images of the same name.
    assert digests[0] == digests[2] and digests[1] != digests[3]
    with pytest.raises(UserError, match="no images besides masks"):
        shared_norms(translator, MemoryLimit(translator), inside, masks)
    translator.preprocessing = Preprocessing(side_by_side=(2.0,))
    Image.fromarray(noise(1, 20, 40)).save(images / "x.png")
    with pytest.raises(UserError) as caught:
        shared_norms(translator, MemoryLimit(translator), images / "x.png")
    assert caught.value.option == "--statistics_from"


def test_images_of_shared_statistics_are_not_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, image = model(tmp_path), tmp_path / "in" / "x.png"
    image.parent.mkdir()
    Image.fromarray(noise(1, 64, 64)).save(image)
    (tmp_path / "others").mkdir()
    other = tmp_path / "others" / "x.png"
    Image.fromarray(noise(2, 64, 64)).save(other)
    before = other.read_bytes()
    for given in (other, other.parent):
        words = shared_statistics(file, image, other.parent, given, "--overwrite")
        assert "would overwrite an image of --statistics_from" in command_error(capsys, *words)
    archive = tmp_path / "others.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.write(other, "x.png")
    words = shared_statistics(file, image, archive, archive, "--overwrite")
    assert "would overwrite an image of --statistics_from" in command_error(capsys, *words)
    assert zipfile.ZipFile(archive).read("x.png") == before
    assert other.read_bytes() == before


def test_models_without_statistics_of_images_refuse_shared_ones(tmp_path: Path) -> None:
    translator = Translator.load(model(tmp_path), "cpu", "running")
    assert not MemoryLimit(translator).image_statistics
    with pytest.raises(UserError, match="no statistics of images"):
        shared_norms(translator, MemoryLimit(translator), tmp_path)


def test_shared_statistics_need_bands(tmp_path: Path) -> None:
    unknown = Translator(torch.nn.LocalResponseNorm(3), eight_bit(3), eight_bit(3), "cpu")
    with pytest.raises(UserError, match="in bands of rows") as caught:
        shared_norms(unknown, MemoryLimit(unknown), tmp_path)
    assert caught.value.option == "--statistics_from"


def test_a_crop_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    translator = Translator.load(model(tmp_path), "cpu")
    image = tiff(tmp_path / "x.tif", noise(17, HEIGHT, WIDTH), photometric="rgb")
    used = LargeImages(MemoryLimit(translator, 1000), report=str, statistics="sampled")
    outcome = translate_files(
        translator, [(image, tmp_path / "y.tif")], FileOptions(1, large_images=used)
    )
    assert "for the statistics of a crop, and 1.00 kB may be used" in outcome.failures[0][1]


def test_crops_cover_an_image_evenly() -> None:
    assert grid(64, 1, 1) == (1, 1)
    assert grid(64, 100, 100) == (8, 8)
    assert grid(64, 2.5, 2.5) == (3, 3)
    assert grid(64, 200, 1) == (64, 1)
    assert grid(64, 40, 10) == (16, 4)
    assert grid(1, 40, 10) == (1, 1)


@pytest.mark.parametrize("memory", ["0", "-1", "nan"])
def test_a_limit_is_above_zero(
    tmp_path: Path, memory: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["translate", str(model(tmp_path)), "x.png", "-o", "y.png", "--memory", memory])
    assert "--memory must be a number of GB above 0" in capsys.readouterr().err


def test_the_folder_of_temporary_files_is_no_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = model(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        main(["translate", str(file), "x.png", "-o", "y.png", "--scratch", str(file)])
    assert f"--scratch {file} is a file; name a folder" in capsys.readouterr().err


def test_too_little_memory_for_a_band_is_a_failure_of_that_image(tmp_path: Path) -> None:
    translator = Translator.load(model(tmp_path), "cpu")
    image = tiff(tmp_path / "x.tif", noise(9, HEIGHT, WIDTH), photometric="rgb")
    small = LargeImages(MemoryLimit(translator, 1000), report=print)
    outcome = translate_files(
        translator, [(image, tmp_path / "y.tif")], FileOptions(1, large_images=small)
    )
    assert "and 1.00 kB may be used" in outcome.failures[0][1] and not outcome.written


def test_an_interrupted_image_leaves_nothing_and_is_resumed(tmp_path: Path) -> None:
    translator = Translator.load(model(tmp_path, "resnet"), "cpu")
    image = tiff(tmp_path / "x.tif", noise(10, HEIGHT, WIDTH), photometric="rgb")
    out = tmp_path / "out"
    out.mkdir()
    record = Record(out, "0" * 64, {})
    used, calls = bands(translator), iter(range(1000))
    pairs = [(image, out / "x.tif")]
    outcome = translate_files(
        translator,
        pairs,
        FileOptions(1, large_images=used),
        record=record,
        stop=lambda: next(calls) > 5,
    )
    assert not outcome.written and not outcome.failures
    assert not list(out.glob("*.tif"))
    for _ in range(2):
        outcome = translate_files(
            translator, pairs, FileOptions(1, large_images=used), record=record, resume=True
        )
    assert outcome.skipped == [out / "x.tif"]


def test_a_result_on_standard_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    translator = Translator.load(model(tmp_path), "cpu")
    image = tiff(tmp_path / "x.tif", noise(11, HEIGHT, WIDTH), photometric="rgb")
    buffer = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=buffer))
    used = bands(translator, scratch=tmp_path)
    translate_files(translator, [(image, Path("-"))], FileOptions(1, large_images=used))
    (tmp_path / "y.tif").write_bytes(buffer.getvalue())
    assert read(tmp_path / "y.tif").shape == (HEIGHT, WIDTH, 3)


def test_notes_on_values_outside_of_the_training(tmp_path: Path) -> None:
    narrow = Domain(DomainConfig(channels=3, range="0,100"), "uint8", (0.0,) * 3, (100.0,) * 3)
    translator = Translator.load(small_model(tmp_path, narrow, eight_bit(3)), "cpu")
    dark = noise(12, HEIGHT, WIDTH) // 3
    for pixels, clipped in ((dark, False), (noise(12, HEIGHT, WIDTH), True)):
        image = tiff(tmp_path / "x.tif", pixels, photometric="rgb")
        pairs = [(image, tmp_path / "y.tif")]
        outcome = translate_files(translator, pairs, FileOptions(1, large_images=bands(translator)))
        assert any("were clipped" in text for _, text in outcome.notes) == clipped


def test_a_network_whose_rows_cannot_be_computed_alone_is_used_as_a_whole(tmp_path: Path) -> None:
    translator = Translator.load(model(tmp_path), "cpu", policy="paper")  # dropout
    limit = MemoryLimit(translator, 1)
    assert limit.at_once(HEIGHT, WIDTH, 3) == 3
    image = tiff(tmp_path / "x.tif", noise(13, HEIGHT, WIDTH), photometric="rgb")
    outcome = translate_files(
        translator, [(image, tmp_path / "y.tif")], FileOptions(1, large_images=LargeImages(limit))
    )
    assert len(outcome.written) == 1


def test_an_image_that_may_be_side_by_side_is_refused_as_a_smaller_one_is(tmp_path: Path) -> None:
    translator = Translator.load(model(tmp_path), "cpu")
    translator.preprocessing = Preprocessing(side_by_side=(WIDTH / HEIGHT,))
    image = tiff(tmp_path / "x.tif", noise(13, HEIGHT, WIDTH), photometric="rgb")
    pairs, failures = [(image, tmp_path / "y.tif")], []
    for used in (None, bands(translator)):
        failures.append(
            translate_files(translator, pairs, FileOptions(1, large_images=used)).failures
        )
    assert "choose --half left" in failures[0][0][1] and failures[0] == failures[1]
    outcome = translate_files(
        translator, pairs, FileOptions(1, half="whole", large_images=bands(translator))
    )
    assert len(outcome.written) == 1


def test_a_lack_of_memory_is_a_failure_of_that_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def call(*_: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(BandedNetwork, "__call__", call)
    translator = Translator.load(model(tmp_path), "cpu")
    image = tiff(tmp_path / "x.tif", noise(13, HEIGHT, WIDTH), photometric="rgb")
    outcome = translate_files(
        translator, [(image, tmp_path / "y.tif")], FileOptions(1, large_images=bands(translator))
    )
    assert "the memory is not enough" in outcome.failures[0][1] and not outcome.written


def test_a_damaged_image_is_a_failure(tmp_path: Path) -> None:
    translator = Translator.load(model(tmp_path), "cpu")
    image = tiff(tmp_path / "x.tif", noise(14, HEIGHT, WIDTH), photometric="rgb")
    data = bytearray(image.read_bytes())
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    image.write_bytes(data)
    outcome = translate_files(
        translator, [(image, tmp_path / "y.tif")], FileOptions(1, large_images=bands(translator))
    )
    assert len(outcome.failures) == 1 and not (tmp_path / "y.tif").exists()


def test_an_output_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    translator = Translator.load(model(tmp_path, "resnet"), "cpu")
    last = translator.network.layers[-2]
    assert last.bias is not None
    last.bias.data.fill_(float("nan"))
    image = tiff(tmp_path / "x.tif", noise(15, HEIGHT, WIDTH), photometric="rgb")
    outcome = translate_files(
        translator, [(image, tmp_path / "y.tif")], FileOptions(1, large_images=bands(translator))
    )
    assert "non-finite values" in outcome.failures[0][1]
