"""`--alpha` copies the alpha channel of images to results that can store it."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from support import raises_user_error, small_model
from test_large_images import HEIGHT, WIDTH, bands, both, difference, tiff
from test_translate_files import run
from test_translator import model, noise

from viceversa.cli.translate_options import TranslateOptions
from viceversa.cli.translation import run_on_images
from viceversa.images import Pixels, read, read_tags, write
from viceversa.images.domain import Domain, DomainConfig
from viceversa.inference import FileOptions, Translator, translate_files
from viceversa.inference.alpha import check_alpha, read_alpha

EIGHT, SIXTEEN = Domain(), Domain(dtype="uint16", low=(0.0,) * 3, high=(65535.0,) * 3)


@pytest.fixture
def unet(tmp_path: Path) -> Path:
    return model(tmp_path / "model")


def put(path: Path, alpha: Pixels, channels: int = 3) -> Path:
    """Write an image whose colours are noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colours = noise(0, *alpha.shape[:2], channels).astype(alpha.dtype)
    write(path, np.concatenate([colours, alpha], axis=2), alpha=True)
    return path


def ramp(height: int = 16, width: int = 24) -> Pixels:
    return (np.arange(height * width) % 256).astype(np.uint8).reshape(height, width, 1)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_results_have_the_alpha_of_their_images(
    suffix: str, unet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = put(tmp_path / "in" / f"a{suffix}", ramp())
    run(capsys, unet, image, "-o", tmp_path / "plain")
    run(capsys, unet, image, "-o", tmp_path / "out", "--alpha")
    with Image.open(tmp_path / "plain" / image.name) as plain, Image.open(image) as before:
        assert plain.mode == "RGB"
        with Image.open(tmp_path / "out" / image.name) as result:
            assert result.mode == "RGBA"
            assert np.array_equal(np.asarray(result)[:, :, 3], np.asarray(before)[:, :, 3])
            if suffix != ".webp":  # which is lossy, and does not store what is invisible
                assert np.array_equal(np.asarray(result)[:, :, :3], np.asarray(plain))
    printed = run(capsys, unet, image, "-o", tmp_path / "plain", "--resume", "--alpha")
    assert "1 of 1 images translated" in printed  # the record knows the option


def test_opaque_images_and_masks(
    unet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path / "in" / "a.png", ramp())
    Image.fromarray(noise(0)).save(tmp_path / "in" / "opaque.png")
    mask = np.full((16, 24), 255, np.uint8)
    mask[:4] = 0  # without data
    (tmp_path / "masks").mkdir()
    Image.fromarray(mask).save(tmp_path / "masks" / "a.png")
    Image.fromarray(np.full((16, 16), 255, np.uint8)).save(tmp_path / "masks" / "opaque.png")
    words = (unet, tmp_path / "in", "-o", tmp_path / "out", "--masks", tmp_path / "masks")
    run(capsys, *words, "--alpha")
    with Image.open(tmp_path / "out" / "opaque.png") as result:
        assert result.mode == "RGB"
    with Image.open(tmp_path / "out" / "a.png") as result:
        alpha = np.asarray(result)[:, :, 3]
    assert not alpha[:4].any() and np.array_equal(alpha[4:], ramp()[4:, :, 0])


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--size", "32"], "not of the whole image at its own size"),
        (["--half", "left"], "not of the whole image at its own size"),
    ],
    ids=["resized", "half"],
)
def test_a_note_says_why_alpha_is_not_taken_over(
    options: list[str],
    reason: str,
    unet: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("a.png", "b.png"):
        put(tmp_path / "in" / name, ramp())
    words = (unet, tmp_path / "in", "-o", tmp_path / "out")
    printed = run(capsys, *words, "--alpha", *options)
    assert f"b.png have transparency that the result lacks: the result is {reason}" in printed
    assert "lacks" not in run(capsys, *words, "--overwrite", *options)


def test_a_format_without_alpha_of_one_image(unet: Path, tmp_path: Path) -> None:
    grey = Domain(DomainConfig(channels=1), "uint8", (0.0,), (255.0,))
    image = put(tmp_path / "a.png", ramp(), 1)
    alpha, notes = read_alpha(image, grey, grey, ".webp", True, 10**6)
    assert alpha is None and notes == [
        "has transparency that the result lacks: a .webp file cannot store it; "
        "choose another --format"
    ]
    alpha, notes = read_alpha(image, grey, grey, ".png", True, 10**6)
    assert np.array_equal(alpha, ramp()) and not notes  # type: ignore[arg-type]


def test_alpha_in_the_dtype_of_the_result(tmp_path: Path) -> None:
    alpha, _ = read_alpha(put(tmp_path / "8.png", ramp()), EIGHT, SIXTEEN, ".png", True, 10**6)
    assert alpha is not None and alpha.dtype == np.uint16
    assert np.array_equal(alpha, ramp().astype(np.uint16) * 257)
    wide = put(tmp_path / "16.tif", ramp().astype(np.uint16) * 257)
    alpha, _ = read_alpha(wide, SIXTEEN, EIGHT, ".png", True, 10**6)
    assert alpha is not None and alpha.dtype == np.uint8 and np.array_equal(alpha, ramp())
    floats = np.zeros((8, 8, 4), np.float32)
    tifffile.imwrite(tmp_path / "f.tif", floats, photometric="rgb", extrasamples=["unassalpha"])
    alpha, notes = read_alpha(tmp_path / "f.tif", EIGHT, EIGHT, ".tif", True, 10**6)
    assert alpha is None and notes == ["has transparency that the result lacks: it is float32"]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_images_that_are_translated_by_bands(suffix: str, unet: Path, tmp_path: Path) -> None:
    alpha = ramp(HEIGHT, WIDTH)
    pixels = np.concatenate([noise(1, HEIGHT, WIDTH), alpha], axis=2)
    inch = {"resolution": (300, 150), "resolutionunit": "INCH"}
    image = tiff(tmp_path / "x.tif", pixels, photometric="rgb", extrasamples=["unassalpha"], **inch)
    whole, banded = both(unet, image, suffix, alpha=True)
    assert difference(whole, banded) <= 1
    for path in (whole, banded):
        assert read(path).shape == (HEIGHT, WIDTH, 4) and np.array_equal(
            read(path)[:, :, 3:], alpha
        )
        assert read_tags(path).resolution == pytest.approx((300, 150), abs=0.02)
    translator = Translator.load(unet, "cpu")
    pairs = [(image, tmp_path / "x.jpg")]
    outcome = translate_files(
        translator, pairs, FileOptions(1, alpha=True, large_images=bands(translator))
    )
    assert [note for _, note in outcome.notes] == [
        "has transparency that the result lacks: a .jpg file cannot store it; "
        "choose another --format"
    ]


@pytest.mark.parametrize("suffix", [".jpg", ".bmp", ".npy"])
def test_a_format_that_stores_no_alpha_is_refused(suffix: str) -> None:
    with raises_user_error("--alpha"):
        check_alpha(EIGHT, suffix)
    for fits in (None, ".png", ".TIF", ".webp"):
        check_alpha(EIGHT, fits)


def test_models_whose_results_have_no_alpha_are_refused(tmp_path: Path) -> None:
    floats = Domain(DomainConfig(channels=3), "float32", (0.0,) * 3, (1.0,) * 3)
    path = small_model(tmp_path, EIGHT, floats)
    image = put(tmp_path / "a.png", ramp())
    options = TranslateOptions(device="cpu", alpha=True)
    with raises_user_error("--alpha"):
        run_on_images(path, [str(image)], tmp_path / "out", options)
    with raises_user_error("--alpha"):
        check_alpha(Domain(DomainConfig(channels=4), "uint8", (0.0,) * 4, (255.0,) * 4), None)


def test_alpha_of_standard_input(
    unet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = put(tmp_path / "a.png", ramp()).read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    options = TranslateOptions(device="cpu", alpha=True)
    run_on_images(unet, ["-"], tmp_path / "result.png", options)
    with Image.open(tmp_path / "result.png") as result:
        assert np.array_equal(np.asarray(result)[:, :, 3:], ramp())
