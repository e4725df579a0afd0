"""Models become .pth files with the names, and the weights, of the reference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support import command_error, command_output

from viceversa.checkpoint import read_header, read_weights, save_network
from viceversa.conversion.importing import ImportOptions, import_models
from viceversa.fields import plain
from viceversa.images.domain import Domain, DomainConfig
from viceversa.networks import DISCRIMINATORS, GENERATORS

FILES = Path(__file__).parent / "reference"
FACTS = json.loads((FILES / "networks.json").read_text())


def model(folder: Path, settings: dict[str, Any], **header: Any) -> Path:
    """Write a model file with random weights."""
    own = {"direction": "ab", "source": plain(Domain()), "target": plain(Domain()), **header}
    name, options = settings["name"], {k: v for k, v in settings.items() if k != "name"}
    if name in GENERATORS:
        make, config = GENERATORS[name]
        kind, network = "generator", make(config(**options), 3, 3)
        path = folder / f"{own['direction']}.safetensors"
        own["kind"] = header.get("kind", "translator")
    else:
        make, config = DISCRIMINATORS[name]
        kind, network = "discriminator", make(config(**options), 3)
        own |= {"kind": kind, "domain": own["direction"][1], "pair": False}
        path = folder / f"d_{own['domain']}.safetensors"
    save_network(path, network.state_dict(), {**own, kind: settings})
    return path


@pytest.mark.parametrize("direction", ["ab", "ba"])
def test_an_imported_model_is_exported_as_it_was(
    direction: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = FILES / "pix2pix"
    import_models(source, tmp_path / "own", ImportOptions(direction=direction))
    back = tmp_path / "back"
    text = command_output(capsys, "convert", tmp_path / "own", "-o", back, "--to", "reference")
    for name in ("latest_net_G.pth", "latest_net_D.pth"):
        given, found = (torch.load(folder / name, weights_only=True) for folder in (source, back))
        assert list(given) == list(found)
        assert all(torch.equal(found[key], one) for key, one in given.items())
    assert "--netG unet_128 --ngf 1" in text and "--netD n_layers --n_layers_D 3 --ndf 2" in text
    assert "--model pix2pix --norm batch --input_nc 1 --output_nc 3" in text
    assert ("--direction BtoA" in text) == (direction == "ba") and "--no_dropout" not in text
    assert "--preprocess resize_and_crop --load_size 286 --crop_size 256" in text
    again = command_error(capsys, "convert", tmp_path / "own", "-o", back, "--to", "reference")
    assert f"{back / 'latest_net_G.pth'} exists" in again
    command_output(
        capsys, "convert", tmp_path / "own", "-o", back, "--to", "reference", "--overwrite"
    )


def test_both_directions_get_the_names_of_cyclegan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for direction in ("ab", "ba"):
        resnet = {"name": "resnet", "width": 2, "blocks": 6}
        model(tmp_path / "own", resnet, direction=direction)
        patchgan = {"name": "patchgan", "width": 2, "norm": "instance"}
        model(tmp_path / "own", patchgan, direction=direction)
    out = tmp_path / "out"
    text = command_output(capsys, "convert", tmp_path / "own", "-o", out, "--to", "reference")
    pairs = {"G_A": "ab", "G_B": "ba", "D_A": "d_b", "D_B": "d_a"}
    assert {path.name for path in out.iterdir()} == {f"latest_net_{name}.pth" for name in pairs}
    for name, own in pairs.items():
        assert f"{tmp_path / 'own' / own}.safetensors -> {out / f'latest_net_{name}.pth'}" in text
        found = torch.load(out / f"latest_net_{name}.pth", weights_only=True)
        weights = read_weights(tmp_path / "own" / f"{own}.safetensors")
        assert torch.equal(
            next(iter(found.values())),
            weights["layers.1.weight" if len(own) == 2 else "layers.0.weight"],
        )
    names = [name for name, _ in FACTS["tensors"]["resnet_6blocks instance plain"]]
    assert list(torch.load(out / "latest_net_G_A.pth", weights_only=True)) == names


@pytest.mark.parametrize(
    ("settings", "header", "message"),
    [
        ({"name": "unet", "depth": 6}, {}, "no unet with depth 6, only 7 or 8"),
        ({"name": "unet", "depth": 7, "upsample": "resize"}, {}, "upsample resize"),
        ({"name": "unet", "depth": 7, "skip": False}, {}, "skip no, only yes"),
        ({"name": "unet", "depth": 7, "dropout": 0.2}, {}, "dropout 0.2, only 0.0 or 0.5"),
        ({"name": "gdl-unet"}, {}, "no network gdl-unet"),
        ({"name": "resnet", "blocks": 3}, {}, "blocks 3, only 6 or 9"),
        ({"name": "resnet", "norm": "group"}, {}, "norm group, only batch or instance"),
        ({"name": "resnet", "antialias": True}, {}, "antialias yes, only no"),
        ({"name": "resnet", "downsamplings": 4}, {}, "downsamplings 4, only 2"),
        ({"name": "patchgan", "scales": 2}, {}, "scales 2, only 1"),
        ({"name": "patchgan", "padding": "two"}, {}, "padding two, only one"),
        ({"name": "patchgan", "spectral_norm": True}, {}, "spectral_norm yes, only no"),
        (
            {"name": "resnet"},
            {"target": plain(Domain(DomainConfig(), "uint16", (0,) * 3, (9,) * 3))},
            "images of 8 bits, not uint16",
        ),
        (
            {"name": "resnet"},
            {"source": plain(Domain(DomainConfig(kind="labels", ids=3), "uint8", (0,), (9,)))},
            "images of 8 bits, not label maps",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_networks_that_the_reference_lacks_are_refused(
    settings: dict[str, Any],
    header: dict[str, Any],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = model(tmp_path, {"width": 1, **settings}, **header)
    text = command_error(capsys, "convert", path, "-o", tmp_path / "out", "--to", "reference")
    assert message in text and str(path) in text
    assert not (tmp_path / "out").exists()


def test_one_norm_for_all_networks_and_other_refusals(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, words = tmp_path / "own", ["-o", tmp_path / "out", "--to", "reference"]
    path = model(own, {"name": "resnet", "width": 1})
    model(own, {"name": "patchgan", "width": 1, "norm": "batch"})
    assert "one norm for all networks" in command_error(capsys, "convert", own, *words)
    assert not (tmp_path / "out").exists()
    command_output(capsys, "convert", path, *words)  # the generator alone
    for option, value in (("--epoch", 7), ("--direction", "ba"), ("--crop_size", 64)):
        text = command_error(capsys, "convert", path, *words, option, value)
        assert f"{option} belongs to an import" in text
    ensemble = model(tmp_path / "e", {"name": "resnet", "width": 1}, kind="ensemble", members=[])
    assert read_header(ensemble)["kind"] == "ensemble"
    assert "no ensemble" in command_error(capsys, "convert", ensemble, *words)
