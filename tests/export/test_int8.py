"""`viceversa export --int8`: quantized files, and their PSNR on other images.

The package nncf is not part of the packages for development, since it needs scikit-learn:

    pip install '.[int8]'
    pytest -m soak tests/export/test_int8.py
"""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support import command_error, command_output, needs_runtime, noise_images, small_model

from viceversa import Translator
from viceversa.checkpoint import read_header
from viceversa.errors import UserError
from viceversa.export import int8
from viceversa.images.domain import Domain, DomainConfig

MODEL = Path(__file__).parents[1] / "fixtures/format_1/runs/cyclegan/ab.safetensors"
needs_nncf = pytest.mark.skipif(
    importlib.util.find_spec("nncf") is None, reason="needs the package nncf (extra int8)"
)


@pytest.fixture(autouse=True)
def packages() -> None:
    needs_runtime(".xml")


@pytest.mark.soak
@needs_nncf
def test_a_file_in_int8_has_the_psnr_in_its_header(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, out, plain = tmp_path / "photos", tmp_path / "int8.xml", tmp_path / "fp32.xml"
    noise_images(photos, 9, size=(64, 48))
    command_output(capsys, "export", MODEL, "-o", plain)
    words = ["export", MODEL, "-o", out, "--int8", "--calibrate", photos]
    text = command_output(capsys, *words)
    header = read_header(out)
    psnr = header["int8"]["psnr"]
    assert header["int8"] == {"psnr": psnr, "compared": 2, "calibrated": 7}
    assert f"INT8: a PSNR of {psnr:.1f} dB relative to fp32, for 2 images" in text
    assert f"INT8 with a PSNR of {psnr} dB" in command_output(capsys, "show", out)
    held = [np.asarray(Image.open(path)) for path in sorted(photos.iterdir())[3::4]]
    found, own = (
        np.stack(Translator.load(path, "cpu")(held)).astype(float) for path in (out, MODEL)
    )
    assert -10 * np.log10(np.mean((found - own) ** 2) / 255**2) == pytest.approx(psnr, abs=0.01)
    assert 30 < psnr < 60
    assert out.with_suffix(".bin").stat().st_size < 0.6 * plain.with_suffix(".bin").stat().st_size
    monkeypatch.setattr(int8, "LEAST", 60.0)
    before = out.read_bytes()
    text = command_error(capsys, *words, "--overwrite")
    assert f"a PSNR of {psnr:.1f} dB relative to fp32, less than 60 dB" in text
    assert out.read_bytes() == before
    command_output(capsys, *words, "--overwrite", "--anyway")
    assert read_header(out)["int8"]["psnr"] == psnr


@pytest.mark.slow
def test_images_of_the_comparison_are_not_used_for_calibration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without quantization the results are equal, and the PSNR has its largest value."""
    calibrated: list[Any] = []

    def unchanged(nncf: Any, model: Any, images: list[Any]) -> Any:
        calibrated.extend(images)
        return model

    monkeypatch.setitem(sys.modules, "nncf", types.ModuleType("nncf"))
    monkeypatch.setattr(int8, "_quantized", unchanged)
    compared: list[Any] = []
    model = Translator.load(MODEL, "cpu")
    psnr = int8._psnr
    monkeypatch.setattr(int8, "_psnr", lambda *args: compared.extend(args[2]) or psnr(*args))
    images = list(np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8))
    for i, image in enumerate(images):
        image[0, 0] = i
    _, found = int8.export_int8(model, {}, tmp_path / "a.xml", images[:1], images)
    assert (found.compared, found.calibrated) == (1, 5) and found.psnr > 70
    assert [one[0, 0, 0] for one in compared] == [3]
    assert [one[0, 0, 0] for one in calibrated] == [0, 1, 2, 4, 5]


def test_crops_have_sizes_that_the_network_supports() -> None:
    model = Translator.load(MODEL, "cpu")
    image = np.arange(1000 * 30 * 3, dtype=np.int64).reshape(1000, 30, 3)
    cut = int8.crop(image, model)
    assert cut.shape == (512, 28, 3) and (cut == image[244:756, 1:29]).all()
    assert int8.crop(image[:3, :9], model).shape == (8, 8, 3)


def test_invalid_options_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "a.xml"
    noise_images(photos, 1)
    words = ["export", MODEL, "-o", out]
    assert "--int8 needs images" in command_error(capsys, *words, "--int8")
    assert "--calibrate is for --int8" in command_error(capsys, *words, "--calibrate", photos)
    assert "--anyway is for --int8" in command_error(capsys, *words, "--anyway")
    given = ["--int8", "--calibrate", photos]
    text = command_error(capsys, "export", MODEL, "-o", tmp_path / "a.onnx", *given)
    assert "--int8 is for OpenVINO; name the file .xml" in text
    assert "has one image; at least two are needed" in command_error(capsys, *words, *given)
    noise_images(photos / "more", 2)
    monkeypatch.setitem(sys.modules, "nncf", None)
    text = command_error(capsys, *words, *given)
    assert "needs the package nncf; install it with pip install 'viceversa[int8]'" in text
    assert sorted(tmp_path.iterdir()) == [photos]
    labels = small_model(tmp_path, Domain(), Domain(DomainConfig(kind="labels", ids=3)))
    with pytest.raises(UserError, match="--int8 does not support models of label maps") as error:
        int8.export_int8(Translator.load(labels, "cpu"), {}, out, [], [])
    assert error.value.option == "--int8" and not out.exists()
