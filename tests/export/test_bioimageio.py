"""`viceversa export --to bioimageio`: packages that other programs can use.

The format itself is checked by the library bioimageio.core, in a separate environment because it
needs an earlier version of pydantic:

    python -m venv bioimageio
    bioimageio/bin/pip install torch==2.13.0 onnxruntime==1.32.0 bioimageio.core==0.11.0 \
        bioimageio.spec==0.5.12.0 'pydantic<2.13'
    BIOIMAGEIO=bioimageio/bin/bioimageio pytest -m soak tests/export/test_bioimageio.py
"""

from __future__ import annotations

import json
import os
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import command_error, command_output, needs_runtime

from viceversa import Translator
from viceversa.checkpoint import read_header, read_weights, save_network
from viceversa.errors import UserError
from viceversa.export.bioimageio import PackageText, sizes_of, write_package
from viceversa.images.domain import Domain, DomainConfig
from viceversa.inference.exported import open_exported
from viceversa.networks.config import ResNetConfig, UNetConfig
from viceversa.networks.resnet import ResNet
from viceversa.networks.unet import UNet

MODEL = Path(__file__).parents[1] / "fixtures/format_1/runs/cyclegan/ab.safetensors"
TOOL = os.environ.get("BIOIMAGEIO", "")


@pytest.fixture(autouse=True)
def packages() -> None:
    needs_runtime(".onnx")


@pytest.mark.slow
def test_a_package_has_test_arrays_and_describes_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header, file, out = read_header(MODEL), tmp_path / "ab.safetensors", tmp_path / "model.zip"
    header["trained"]["data"]["path"] = "/home/ann/horses"
    save_network(file, read_weights(MODEL), header)
    words = ["--author", "Ada Example", "--author", "Bo Example", "--description", "Häuser: 1"]
    text = command_output(capsys, "export", file, "--to", "bioimageio", "-o", out, *words)
    assert "not stated, but needed to publish the package: --license\n" in text
    with zipfile.ZipFile(out) as archive:
        archive.extractall(tmp_path)
        assert {one.date_time for one in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    described = json.loads((tmp_path / "rdf.yaml").read_text())
    assert described["authors"] == [{"name": "Ada Example"}, {"name": "Bo Example"}]
    assert described["description"] == "Häuser: 1" and "license" not in described
    (source,), (target,) = described["inputs"], described["outputs"]
    files = [tmp_path / one["test_tensor"]["source"] for one in (source, target)]
    images, expected = map(np.load, files)
    assert images.dtype == np.uint8 and images.shape == expected.shape
    model = Translator.load(MODEL, "cpu")
    assert (np.stack(model.pixels(list(images))) == expected).all()
    found = open_exported(tmp_path / described["weights"]["onnx"]["source"])(images)
    assert np.abs(found.astype(int) - expected).max() <= 1
    size = source["axes"][1]["size"]
    assert images.shape == (1, size["min"], size["min"] + size["step"], 3)
    assert size["step"] == 4 and size["min"] == 2 * target["axes"][1]["halo"] + 4
    axes = [axis.get("id", axis["type"]) for axis in source["axes"]]
    assert axes == ["batch", "y", "x", "channel"]
    assert target["axes"][2]["size"] == {"tensor_id": source["id"], "axis_id": "x"}
    assert source["axes"][3]["channel_names"] == ["red", "green", "blue"]
    assert "# cyclegan, A to B" in (tmp_path / "README.md").read_text()
    assert read_header(tmp_path / "model.onnx")["trained"]["data"]["path"] == "horses"


def test_tiles_without_the_halo_are_parts_of_the_whole_result() -> None:
    """Values within the halo depend on pixels outside of the tile; inner values do not."""
    torch.manual_seed(0)
    for network in (
        ResNet(ResNetConfig(width=4, blocks=1, norm="none"), 3, 3),
        UNet(UNetConfig(width=4, depth=2, norm="none", dropout=0.0), 3, 3),
    ):
        for weights in network.parameters():
            weights.data.normal_(0, 0.3)
        smallest, multiple, halo = sizes_of(Translator(network, Domain(), Domain(), "cpu"), None)
        assert smallest == 2 * halo + multiple and halo % multiple == 0
        image = torch.rand(1, 3, 3 * smallest, 3 * smallest) * 2 - 1
        tile = slice(smallest, 2 * smallest)
        with torch.inference_mode():
            whole = network(image)[:, :, tile, tile]
            own = network(image[:, :, tile, tile])
        inner = slice(halo, -halo)
        assert torch.allclose(own[:, :, inner, inner], whole[:, :, inner, inner], atol=1e-5)
        assert not torch.allclose(own, whole, atol=1e-3)  # the control


def test_a_halo_may_be_given_and_is_0_for_an_unknown_network() -> None:
    model = Translator.load(MODEL, "cpu")
    assert sizes_of(model, 0)[:] == (8, 4, 0)
    assert sizes_of(model, 5)[:] == (20, 4, 8)
    assert sizes_of(Translator.load(MODEL, "cpu", flips=True), None).halo == 0


def test_invalid_options_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words: list[Any] = ["export", MODEL, "--to", "bioimageio", "-o"]
    out = tmp_path / "a.zip"
    assert "name the file .zip" in command_error(capsys, *words, tmp_path / "a.onnx")
    assert "--halo must be from 0" in command_error(capsys, *words, out, "--halo", "-1")
    text = command_error(capsys, *words, out, "--license", "my own")
    assert "--license must be an SPDX identifier such as CC-BY-4.0, not 'my own'" in text
    with pytest.raises(UserError) as error:
        PackageText("name", "x" * 1025, "").check()
    assert error.value.option == "--description"
    text = command_error(capsys, "export", MODEL, "-o", tmp_path / "a.onnx", "--license", "MIT")
    assert "--license is for --to bioimageio" in text
    labels = Domain(DomainConfig(kind="labels", ids=3))
    model = Translator(UNet(UNetConfig(width=4, depth=3), 3, 3), labels, Domain(), "cpu")
    with pytest.raises(UserError, match="bioimageio does not support models of label") as error:
        write_package(model, {}, out, [], PackageText("name", "text", ""))
    assert error.value.option == "--to"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.soak
@pytest.mark.skipif(not TOOL, reason="BIOIMAGEIO does not name the command of bioimageio.core")
@pytest.mark.parametrize("license", ["CC-BY-4.0", "NO-LICENCE"])
def test_the_library_of_the_format_accepts_a_package(
    license: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A package with a licence that does not exist is refused (control)."""
    out = tmp_path / "model.zip"
    words = ["--author", "Ada Example", "--license", license]
    command_output(capsys, "export", MODEL, "--to", "bioimageio", "-o", out, *words)
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "COLUMNS": "200"}
    done = subprocess.run(
        [TOOL, "test", str(out)], capture_output=True, text=True, env=environment, cwd=tmp_path
    )
    assert (done.returncode == 0) == (license == "CC-BY-4.0"), done.stdout + done.stderr
    if license == "CC-BY-4.0":
        assert "Reproduce test outputs from test inputs (onnx)" in done.stdout
        assert "❌" not in done.stdout
