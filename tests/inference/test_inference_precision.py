"""Translation in bf16 and fp16, and the choice of `--precision auto`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support import command_error, command_output, small_model

from viceversa import Translator
from viceversa.checkpoint import read_header
from viceversa.cli.loading import load_translator
from viceversa.cli.translate_options import TranslateOptions
from viceversa.export import exporting
from viceversa.images import read
from viceversa.images.domain import Domain, DomainConfig
from viceversa.inference.exported import checked_device
from viceversa.inference.record import NAME
from viceversa.runtime import precision
from viceversa.runtime.precision import NativeBF16
from viceversa.serve.settings import ServeSettings
from viceversa.streaming import whole_memory


def domain(dtype: str = "uint8") -> Domain:
    return Domain(DomainConfig(), dtype, (0.0,) * 3, (float(np.iinfo(dtype).max),) * 3)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return small_model(tmp_path, domain(), domain(), "resnet")


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch) -> None:
    found = NativeBF16(True, "the device is one of a test")
    monkeypatch.setattr(precision, "native_bf16", lambda device: found)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    return tmp_path / "image.png"


def dtypes_of_convolutions(translator: Translator, image: Path) -> set[torch.dtype]:
    """Return the dtypes of the outputs of convolutions during a translation."""
    found = set()
    for one in translator.network.modules():
        if isinstance(one, torch.nn.Conv2d):
            one.register_forward_hook(lambda module, given, out: found.add(out.dtype))
    translator(image)
    return found


@pytest.mark.parametrize(
    ("name", "dtype", "tolerance"),
    [("bf16", torch.bfloat16, 2e-2), ("fp16", torch.float16, 2e-3)],
)
def test_networks_compute_in_half_precision(
    name: str, dtype: torch.dtype, tolerance: float, model: Path, image: Path
) -> None:
    exact, half = Translator.load(model), Translator.load(model, precision=name)
    x = torch.rand(2, 3, 17, 12) * 2 - 1
    difference = (exact(x) - half(x)).abs()
    assert half(x).dtype == torch.float32 and 0 < float(difference.mean()) < tolerance
    assert dtypes_of_convolutions(half, image) == {dtype}
    assert dtypes_of_convolutions(exact, image) == {torch.float32}
    assert f"{name} on cpu" in repr(half)


def test_auto_is_bf16_if_results_have_8_bits_and_the_device_is_fast(
    model: Path, native: None, tmp_path: Path
) -> None:
    assert Translator.load(model, precision="auto").precision.name == "bf16"
    assert Translator.load(model).precision.name == "fp32"
    deep = small_model(tmp_path / "deep", domain(), domain("uint16"), "resnet")
    assert Translator.load(deep, precision="auto").precision.name == "fp32"


def test_auto_is_fp32_on_other_devices(model: Path) -> None:
    assert Translator.load(model, precision="auto").precision.name == "fp32"


def test_the_command_reports_its_choice_and_records_it(
    model: Path, native: None, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ("translate", model, image, "-o", out, "--resume")
    output = command_output(capsys, *words, "--precision", "auto")
    assert "--precision auto: bf16, since the device is one of a test" in output
    half = read(out / "image.png")
    # --resume translates the image again, since the existing result has another precision.
    assert "1 of 1 images translated" in command_output(capsys, *words)
    exact = read(out / "image.png")
    assert 0 < np.abs(half.astype(int) - exact.astype(int)).mean() < 3
    assert "1 were translated before" in command_output(capsys, *words)
    settings = [json.loads(line)["settings"] for line in (out / NAME).read_text().splitlines()]
    assert [one.get("precision") for one in settings] == ["bf16", None]


def test_bands_have_the_same_precision(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, results = tmp_path / "tall.png", {}
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 24, 3), np.uint8)).save(image)
    needed = whole_memory(Translator.load(model).network, (3, 200, 24))
    for name in ("bf16", "fp32"):
        for memory in (needed, needed - 1):
            out = tmp_path / f"{name}-{memory}.png"
            words = ("translate", model, image, "-o", out, "--precision", name)
            output = command_output(capsys, *words, "--memory", memory / 1e9)
            assert ("does not fit into the memory" in output) == (memory < needed)
            results[name, memory] = read(out).astype(int)
    half, half_bands, exact, bands = results.values()
    assert np.abs(exact - bands).max() <= 1
    for one in (half, half_bands):
        assert 0.1 < np.abs(one - exact).mean() < 3


def test_other_runtimes_have_no_precision(
    model: Path, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("translate", model, image, "-o", tmp_path / "out", "--precision", "bf16")
    assert "leave out --precision" in command_error(capsys, *words, "--runtime", "onnx")


def test_exported_files_and_other_runtimes_are_fp32(
    model: Path, native: None, tmp_path: Path
) -> None:
    header = read_header(model) | {"policy": "image"}
    found = checked_device("auto", header, tmp_path / "model.onnx", "image", "auto")
    assert found == ("cpu", "fp32")
    options = TranslateOptions(runtime="onnx", precision="auto")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "with_runtime", lambda translator, header, runtime: translator)
        assert load_translator(model, options).precision.name == "fp32"
    assert load_translator(model, replace(options, runtime=None)).precision.name == "bf16"


def test_served_models_have_the_precision_of_the_option(model: Path) -> None:
    pytest.importorskip("starlette")
    from viceversa.serve.models import load_models

    served = load_models([f"m={model}"], ServeSettings(precision="bf16"))
    assert served["m"].translator.precision.name == "bf16"
