"""Exported files give the same results as the models from which they were exported."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support import command_error, command_output, needs_runtime, noise_images

from viceversa import Translator
from viceversa.checkpoint import read_digest, read_header
from viceversa.checkpoint.exported import ENTRY
from viceversa.environment import NO_REPORTS, disable_usage_reports
from viceversa.errors import UserError
from viceversa.export.exporting import export
from viceversa.extras import import_openvino
from viceversa.images.domain import Domain
from viceversa.inference.exported import ExportedNetwork, format_of

MODEL = Path(__file__).parents[1] / "fixtures/format_1/runs/cyclegan/ab.safetensors"
Exported = Callable[..., Path]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Return a function that exports MODEL once per format and options of `Translator.load`."""
    files: dict[str, Path] = {}

    def make(suffix: str = ".xml", **options: Any) -> Path:
        needs_runtime(suffix)
        key = f"{suffix} {options}"
        if key not in files:
            files[key] = tmp_path_factory.mktemp("exported") / f"ab{suffix}"
            translator = Translator.load(MODEL, "cpu", **options)
            images = [np.arange(192, dtype=np.uint8).reshape(8, 8, 3)]
            header = {**read_header(MODEL), "model": read_digest(MODEL)}
            export(translator, header, files[key], images)
        return files[key]

    return make


def photos(folder: Path) -> Path:
    """Write four images of two sizes."""
    noise_images(folder, 3, "large", (33, 50))
    Image.fromarray(np.arange(147, dtype=np.uint8).reshape(7, 7, 3)).save(folder / "small.png")
    return folder


def deviation(folder: Path, other: Path) -> int:
    """Return the largest difference of the results in two folders."""
    names = sorted(path.name for path in folder.glob("*.png"))
    assert names == sorted(path.name for path in other.glob("*.png")) and names
    images = [
        [np.asarray(Image.open(one / name)).astype(int) for one in (folder, other)]
        for name in names
    ]
    assert all(one.shape == two.shape and one.std() > 5 for one, two in images)
    return max(int(np.abs(one - two).max()) for one, two in images)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".xml", pytest.param(".onnx", marks=pytest.mark.soak)])
def test_a_file_translates_a_folder_as_its_model_does(
    suffix: str, exported: Exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, folder = exported(suffix), photos(tmp_path / "photos")
    command_output(capsys, "translate", MODEL, folder, "-o", tmp_path / "model")
    words = ["translate", file, folder, "-o", tmp_path / "file"]
    assert "4 of 4 images" in command_output(capsys, *words)
    assert deviation(tmp_path / "model", tmp_path / "file") <= 1
    assert "4 were translated before" in command_output(capsys, *words, "--resume")
    runtime = format_of(file).name
    words = ["translate", MODEL, folder, "-o", tmp_path / "moved", "--runtime", runtime]
    assert "4 of 4 images" in command_output(capsys, *words)
    assert deviation(tmp_path / "file", tmp_path / "moved") == 0
    assert "4 were translated before" in command_output(capsys, *words, "--resume")
    again = command_output(capsys, *words[:-2], "--resume")  # the control: by torch
    assert "4 of 4 images" in again


@pytest.mark.slow
def test_images_of_16_bits_are_rounded_to_the_8_bits_of_the_model(exported: Exported) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (20, 24, 3), dtype=np.uint16)
    model, file = Translator.load(MODEL, "cpu"), Translator.load(exported())
    rounded = np.rint(deep / 257).astype(np.uint8)
    assert np.abs(file(deep).astype(int) - model(rounded)).max() <= 1
    assert (file(deep) != model(rounded)).mean() < 0.002
    assert (file(deep) != model(deep)).mean() > 0.01  # the control


@pytest.mark.slow
def test_masked_pixels_are_filled_as_by_the_model(exported: Exported) -> None:
    image = np.ma.array(
        np.random.default_rng(0).integers(0, 256, (16, 20, 3), dtype=np.uint8), mask=False
    )
    image[:5] = np.ma.masked
    expected = Translator.load(MODEL, "cpu")(image).astype(int)
    found = Translator.load(exported())(image).astype(int)
    assert np.abs(found - expected).max() <= 1 and (found[:5] == 0).all()


@pytest.mark.slow
def test_mirrored_images_are_averaged_by_the_file_or_by_the_translator(
    exported: Exported,
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (16, 20, 3), dtype=np.uint8)
    expected = Translator.load(MODEL, "cpu", flips=True)(image).astype(int)
    inside, outside = exported(flips=True), exported()
    averaged = Translator.load(outside, flips=True)(image)
    assert np.abs(averaged - expected).max() <= 1
    assert np.abs(Translator.load(inside)(image) - expected).max() <= 1
    once = Translator.load(outside)(image)  # the control
    assert np.abs(once - expected).max() > 1
    with pytest.raises(UserError, match="was exported with --flips") as refused:
        Translator.load(inside, flips=True)
    assert refused.value.option == "--flips"


@pytest.mark.slow
def test_options_that_an_exported_file_cannot_have_are_refused(
    exported: Exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = exported()
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.png")
    words = ["translate", file, tmp_path / "photo.png", "-o", tmp_path / "out.png"]
    for more, text in {
        ("--policy", "running"): "was exported with policy image; add --policy image",
        ("--device", "cuda"): "is used on the CPU; leave out --device",
        ("--runtime", "onnx"): "is a file for --runtime openvino",
        ("--spread",): "a spread needs several outputs",
    }.items():
        assert text in command_error(capsys, *words, *more)
    model = ["translate", MODEL, *words[2:], "--runtime", "openvino"]
    assert "leave out --spread" in command_error(capsys, *model, "--flips", "--spread")
    assert "leave out --device" in command_error(capsys, *model, "--device", "cuda")
    assert "policy paper draws noise" in command_error(capsys, *model, "--policy", "paper")
    assert not (tmp_path / "out.png").exists()
    assert "OpenVINO, sha256" in repr(Translator.load(file))
    ensemble = ["ensemble", file, file, "-o", tmp_path / "e.safetensors"]
    assert "only translate and evaluate use" in command_error(capsys, *ensemble)


# -- untrusted files


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
@pytest.mark.parametrize("content", [b"", b"junk", b"<net><rt_info/></net>", b"<net>"])
def test_other_files_are_refused(suffix: str, content: bytes, tmp_path: Path) -> None:
    needs_runtime(suffix)
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"not a model of viceversa \(a file that `export`") as one:
        Translator.load(path)
    assert one.value.path == path


def described(path: Path, changes: Mapping[str, Any]) -> Path:
    """Write a file of OpenVINO with a header, and without a graph."""
    header = {**read_header(MODEL), "policy": "image", "multiple": 4, "smallest": 8, **changes}
    text = json.dumps(header).replace("&", "&amp;").replace('"', "&quot;")
    path.write_text(f'<net><rt_info><{ENTRY} value="{text}"/></rt_info></net>')
    return path


def test_files_with_invalid_headers_or_graphs_are_refused(tmp_path: Path) -> None:
    needs_runtime(".xml")
    for changes, message in [
        ({"multiple": 0}, "invalid `multiple` or `smallest`: 0"),
        ({"smallest": "8"}, "invalid `multiple` or `smallest`: '8'"),
        ({"receptive_field": -1}, "invalid `receptive_field`: -1"),
        ({"receptive_field": True}, "invalid `receptive_field`: True"),
        ({"format": 2}, "has format 2"),
        ({"source": None}, "no valid field `source`"),
        ({}, "OpenVINO cannot load"),
    ]:
        path = described(tmp_path / "model.xml", changes)
        with pytest.raises(UserError, match=message):
            Translator.load(path)


def test_results_of_another_shape_are_refused() -> None:
    images = torch.zeros(2, 3, 8, 8)
    same = ExportedNetwork(lambda pixels: 255 - pixels, Domain(), Domain(), 4, 8)
    assert torch.allclose(same(images + 0.2), images - 0.2, atol=1 / 127)
    for change in (lambda pixels: pixels[:1], lambda pixels: pixels.astype(np.int16)):
        other = ExportedNetwork(change, Domain(), Domain(), 4, 8)
        with pytest.raises(UserError, match="the exported file returned"):
            other(images)


def test_openvino_does_not_report_its_use() -> None:
    """Without a stub it sends an event to its vendor when it is imported."""
    needs_runtime(".xml")
    import_openvino()
    telemetry = sys.modules["openvino.tools.ovc.telemetry_utils"].tm
    assert telemetry.__name__ == "openvino.tools.ovc.telemetry_stub"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="OpenVINO sets signal stacks on Linux only")
@pytest.mark.parametrize("cores", ["one", "several"])
def test_signals_are_handled_after_openvino_models_are_deleted(
    cores: str, exported: Exported
) -> None:
    """With a core for each model, the signal stack is freed before it is used."""
    path = str(exported(".xml"))
    code = (
        "import signal, sys; from pathlib import Path;"
        "from viceversa import extras; from viceversa.inference.exported import open_exported;"
        "signal.signal(signal.SIGTERM, lambda *_: print('handled')); path = Path(sys.argv[1]);"
        "first = open_exported(path); several = sys.argv[2] == 'several';"
        "several and extras._core.cache_clear(); second = open_exported(path);"
        "several and extras._core.cache_clear();"
        "del first; del second; signal.raise_signal(signal.SIGTERM)"
    )
    words = [sys.executable, "-X", "faulthandler", "-c", code, path, cores]
    done = subprocess.run(words, capture_output=True, text=True, timeout=100)
    handled = (done.returncode, done.stdout) == (0, "handled\n")
    if cores == "several" and handled:
        pytest.skip("this version of OpenVINO restores the signal stack")
    assert handled or (cores == "several" and done.returncode == -signal.SIGSEGV), done


@pytest.mark.slow
def test_onnx_runtime_does_not_report_its_use(tmp_path: Path) -> None:
    """Without the variable, ONNX Runtime stores an identifier and events in the home directory."""
    needs_runtime(".onnx")
    code = "from viceversa.extras import import_extra; import_extra('onnxruntime', 'export', 'a')"
    # ONNX Runtime also sends nothing if one of these variables indicates a test.
    ignored = {"CI", "ORT_RUNNING_UNIT_TESTS", "ORT_DISABLE_TELEMETRY"}
    environment = {k: v for k, v in os.environ.items() if k not in ignored}
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert list(tmp_path.iterdir()) == []


def test_users_may_allow_reports_of_use(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NO_REPORTS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "false")
    disable_usage_reports()
    found = {name: os.environ[name] for name in NO_REPORTS}
    assert found == NO_REPORTS | {"MLFLOW_DISABLE_TELEMETRY": "false"}
