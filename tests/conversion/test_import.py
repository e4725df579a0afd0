"""Weights of other implementations become models with the same outputs.

The files in `reference` were written by junyanz/pytorch-CycleGAN-and-pix2pix, with the
outputs of its networks for the images of `image`, and the names and shapes of its state dicts.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support import command_error, command_output, noise_images, noise_pairs
from torch import Tensor

import viceversa
from viceversa import Translator
from viceversa.checkpoint import read_header, read_weights
from viceversa.conversion.architecture import UnknownArchitecture, recognize
from viceversa.conversion.importing import ImportOptions, import_models
from viceversa.conversion.weights import build, reference_weights
from viceversa.networks.norms import use_policy

FILES = Path(__file__).parent / "reference"
FACTS = json.loads((FILES / "networks.json").read_text())
OPTIONS = """----------------- Options ---------------
               batch_size: 1                             
                crop_size: 128                           \t[default: 256]
                direction: BtoA                          \t[default: AtoB]
                load_size: 143                           \t[default: 286]
                    model: pix2pix                       \t[default: cycle_gan]
               no_dropout: True                          \t[default: False]
                  no_flip: True                          \t[default: False]
               preprocess: scale_width_and_crop          \t[default: resize_and_crop]
----------------- End -------------------
"""


def image(channels: int, side: int) -> Tensor:
    y, x = torch.arange(side)[:, None], torch.arange(side)[None]
    return torch.stack([torch.sin(0.1 * (c + 1) * x + 0.07 * y) for c in range(channels)])[None]


def random_state(tag: str) -> OrderedDict[str, Tensor]:
    """Return random tensors with the names and shapes of a network of the reference."""
    draw = torch.Generator().manual_seed(0)
    return OrderedDict(
        (name, torch.rand(shape, generator=draw)) for name, shape in FACTS["tensors"][tag]
    )


# -- the same outputs


@pytest.mark.parametrize("name", FACTS["outputs"])
def test_networks_have_the_outputs_of_the_reference(name: str) -> None:
    expected = FACTS["outputs"][name]
    architecture = recognize(torch.load(FILES / name, weights_only=True))
    network = build(architecture).eval()
    use_policy(network, "running")
    output = network(image(architecture.channels[0], expected["side"]))
    output = output[0] if isinstance(output, list) else output
    assert list(output.shape) == expected["shape"]
    found = output.flatten()[:: max(1, output.numel() // 24)].tolist()
    assert found == pytest.approx(expected["outputs"], abs=1e-6)


@pytest.mark.parametrize("tag", FACTS["tensors"])
def test_every_network_is_recognized_and_gets_its_names_back(tag: str) -> None:
    name, kind, *more = tag.split()
    state = random_state(tag)
    architecture = recognize(state)
    settings, network = architecture.settings, build(architecture)
    norm = more[-1] if kind.isdecimal() else kind
    assert settings["norm"] == norm and settings["width"] == 2
    if name.startswith("unet"):
        assert (settings["name"], 2 ** settings["depth"]) == ("unet", int(name[5:]))
    elif name.startswith("resnet"):
        assert f"resnet_{settings['blocks']}blocks" == name
        assert settings["dropout"] == (0.5 if more == ["dropout"] else 0.0)
    else:
        assert settings["name"] == ("pixelgan" if name == "pixel" else "patchgan")
        assert settings.get("layers", 3) == int(kind)
    if norm == "none":  # the network here has biases, which are 0
        assert sum(not one.any() for one in network.state_dict().values()) > 0
        with pytest.raises(UnknownArchitecture, match="norm none, only batch or instance"):
            reference_weights(settings, network.state_dict())
        return
    back = reference_weights(settings, network.state_dict())
    assert list(back) == list(state)
    for one, tensor in state.items():
        counter = one.endswith("num_batches_tracked")
        assert back[one].shape == tensor.shape and (counter or torch.equal(back[one], tensor))


def test_prefixes_and_old_statistics_are_removed() -> None:
    """DataParallel adds `module.`; torch 0.3 saved statistics of instance norms without weights."""
    state = random_state("resnet_6blocks instance plain")
    expected = build(recognize(state)).state_dict()
    old: dict[str, Tensor] = {}
    for name, tensor in state.items():
        old[f"module.{name}"] = tensor
        if name.endswith("bias"):
            place, number = name.removesuffix(".bias").rsplit(".", 1)
            norm = f"module.{place}.{int(number) + 1}"
            old |= {f"{norm}.running_mean": tensor, f"{norm}.running_var": tensor}
    found = build(recognize(old)).state_dict()
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], expected[name]) for name in found)


def test_discriminators_of_pix2pixhd_are_ordered_from_the_full_size() -> None:
    one = random_state("basic 3 instance")
    state: dict[str, Tensor] = {}
    for scale in (0, 1):
        layers = [name.split(".")[1] for name in one if name.endswith("weight")]
        for name, tensor in one.items():
            _, number, leaf = name.split(".")
            state[f"scale{scale}_layer{layers.index(number)}.0.{leaf}"] = tensor + scale
    architecture = recognize(state)
    assert architecture.settings["scales"] == 2 and architecture.settings["padding"] == "two"
    first, second = build(architecture).scales  # type: ignore[misc]
    weight = next(iter(one.values()))
    assert torch.equal(next(first.parameters()), weight + 1)
    assert torch.equal(next(second.parameters()), weight)
    scores = build(architecture)(torch.rand(1, 4, 256, 256))
    assert [tuple(score.shape[2:]) for score in scores] == [(35, 35), (19, 19)]


def test_networks_of_cut_with_a_part_of_their_blurs_are_refused() -> None:
    state = torch.load(FILES / "cut" / "latest_net_D.pth", weights_only=True)
    assert recognize(state).settings["antialias"]
    blur = next(name for name in state if name.endswith(".filt"))
    with pytest.raises(UnknownArchitecture, match="only some of its layers are anti-aliased"):
        recognize({name: tensor for name, tensor in state.items() if name != blur})


def test_the_order_of_the_file_does_not_matter() -> None:
    for tag in FACTS["tensors"]:
        state = random_state(tag)
        expected = build(recognize(state)).state_dict()
        shuffled = random.Random(0).sample(sorted(state.items()), len(state))
        assert [name for name, _ in shuffled] != list(state)
        found = build(recognize(dict(shuffled))).state_dict()
        assert all(torch.equal(found[name], expected[name]) for name in expected), tag


# -- settings that the weights do not contain


def folder(tmp_path: Path, options: str = "") -> Path:
    copied = shutil.copytree(FILES / "pix2pix", tmp_path / "facades")
    if options:
        (copied / "train_opt.txt").write_text(options)
    return copied


def test_defaults_of_the_reference_are_assumed_and_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = command_output(capsys, "convert", str(folder(tmp_path)), "-o", str(tmp_path / "out"))
    assert (
        "latest_net_G.pth" in text and "unet, width 1, depth 7, norm batch, channels 1 -> 3" in text
    )
    assert (
        "assumed: method pix2pix, direction ab, preprocess resize_and_crop, load_size 286, "
        "crop_size 256, flip yes, dropout yes, gan_loss bce, images 8 bits" in text
    )
    header = read_header(tmp_path / "out" / "ab.safetensors")
    assert header["generator"]["dropout"] == 0.5
    assert (header["generator"]["dropout_from"], header["generator"]["dropout_layers"]) == (2, 2)
    discriminator = read_header(tmp_path / "out" / "d_b.safetensors")
    assert discriminator["pair"] and discriminator["objective"] == "bce"
    card = command_output(capsys, "show", str(tmp_path / "out" / "ab.safetensors"))
    assert "unknown; converted from latest_net_G.pth" in card and "None" not in card


def test_saved_options_are_used_and_those_of_the_command_win(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = folder(tmp_path, OPTIONS), tmp_path / "out"
    text = command_output(capsys, "convert", str(source), "-o", str(out), "--load_size", "160")
    assert "train_opt.txt: method pix2pix, direction ba" in text and "assumed: gan_loss bce" in text
    assert sorted(path.name for path in out.iterdir()) == ["ba.safetensors", "d_a.safetensors"]
    header = read_header(out / "ba.safetensors")
    data = header["trained"]["data"]
    assert (data["load_size"], data["crop_size"]) == (160, 128)
    assert data["preprocess"] == "scale_width_and_crop" and data["flip"] is False
    assert header["generator"]["dropout"] == 0.0
    assert header["source"]["config"]["channels"] == 1  # of B
    words = ["--direction", "ab", "--dropout", "yes", "--flip", "yes", "--gan_loss", "lsgan"]
    words += ["--preprocess", "none", "--crop_size", "64"]
    command_output(capsys, "convert", source, "-o", tmp_path / "2", *words)
    header = read_header(tmp_path / "2" / "ab.safetensors")
    data = header["trained"]["data"]
    assert header["generator"]["dropout"] == 0.5 and data["flip"] is True
    assert (data["preprocess"], data["load_size"], data["crop_size"]) == ("none", 143, 64)
    discriminator = read_header(tmp_path / "2" / "d_b.safetensors")
    assert discriminator["objective"] == "lsgan" and discriminator["pair"]


def test_names_of_options_until_2018(tmp_path: Path) -> None:
    old = OPTIONS.replace("crop_size:", "fineSize:").replace("load_size:", "loadSize:")
    source = folder(tmp_path, old.replace("direction:", "which_direction:"))
    import_models(source, tmp_path / "out", ImportOptions())
    data = read_header(tmp_path / "out" / "ba.safetensors")["trained"]["data"]
    assert (data["load_size"], data["crop_size"]) == (143, 128)


@pytest.mark.parametrize("direction", ["ab", "ba"])
def test_networks_of_cyclegan_get_the_names_of_their_directions(
    direction: Any, tmp_path: Path
) -> None:
    state = torch.load(FILES / "cyclegan" / "latest_net_G_A.pth", weights_only=True)
    source = tmp_path / "horses"
    source.mkdir()
    marks = {}
    for number, side in enumerate("AB"):
        first = next(iter(state))
        marked = {**state, first: state[first] + number}
        torch.save(marked, source / f"5_net_G_{side}.pth")
        shutil.copy(FILES / "cut" / "latest_net_D.pth", source / f"5_net_D_{side}.pth")
        marks[side] = state[first] + number
    import_models(source, tmp_path / "out", ImportOptions(epoch="5", direction=direction))
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["ab.safetensors", "ba.safetensors", "d_a.safetensors", "d_b.safetensors"]
    for side, own in (("A", direction), ("B", direction[::-1])):
        network = Translator.load(tmp_path / "out" / f"{own}.safetensors", "cpu").network
        assert torch.equal(next(network.parameters()), marks[side])
    assert read_header(tmp_path / "out" / "ab.safetensors")["paired"] is False


def test_lab_images_of_colorization(tmp_path: Path) -> None:
    names = FACTS["tensors"]["unet_128 batch plain"]
    state = {
        name: torch.rand([size if size != 3 or len(shape) < 4 else 2 for size in shape])
        for name, shape in names
    }
    state["model.model.3.bias"] = torch.rand(2)
    source = tmp_path / "colours"
    source.mkdir()
    torch.save(state, source / "latest_net_G.pth")
    (source / "train_opt.txt").write_text("model: colorization\ndataset_mode: colorization\n")
    import_models(source, tmp_path / "out", ImportOptions())
    model = Translator.load(tmp_path / "out" / "ab.safetensors", "cpu")
    assert (model.source.config.kind, model.target.config.kind) == ("lab-l", "lab-ab")


# -- use


def test_a_converted_model_translates_and_starts_a_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    import_models(FILES / "cyclegan" / "latest_net_G_A.pth", out, ImportOptions())
    noise_images(tmp_path / "images", 2, size=(40, 44))
    model = str(out / "ab.safetensors")
    command_output(capsys, "translate", model, str(tmp_path / "images"), "-o", str(tmp_path / "t"))
    assert len(list((tmp_path / "t").glob("*.png"))) == 2
    run = viceversa.train(
        "cyclegan",
        data={"path": str(noise_pairs(tmp_path / "data", 2, 32)), "preprocess": "none"},
        run=tmp_path / "run",
        epochs=1,
        generator={"width": 1, "blocks": 6},
        discriminator={"width": 1, "layers": 1},
        lr=0.0,
        train={"init": model},
    )
    trained, given = (read_weights(folder / "ab.safetensors") for folder in (run, out))
    assert all(torch.equal(trained[name], weight) for name, weight in given.items())
    other = read_weights(run / "ba.safetensors")  # the control
    assert not all(torch.equal(other[name], weight) for name, weight in given.items())


def test_patch_scores_of_a_converted_discriminator(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import_models(folder(tmp_path), tmp_path / "out", ImportOptions())
    rng = np.random.default_rng(0)
    for name, channels in (("a", ()), ("b", (3,))):
        pixels = rng.integers(0, 256, (128, 128, *channels), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    words = [
        tmp_path / "out" / "d_b.safetensors",
        tmp_path / "b.png",
        "--source",
        tmp_path / "a.png",
    ]
    command_output(capsys, "explain", *map(str, words), "-o", str(tmp_path / "map.png"))
    assert (tmp_path / "map.png").exists()


def test_saved_options_without_equivalent_are_reported_or_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = OPTIONS.replace("scale_width_and_crop", "zoom_and_crop      ")
    source = folder(tmp_path, options + "gan_mode: nonsaturating\n")
    text = command_output(capsys, "convert", source, "-o", tmp_path / "out")
    assert "train_opt.txt: preprocess zoom_and_crop is not available" in text
    assert "train_opt.txt: gan_mode nonsaturating is not available" in text
    assert "assumed: preprocess resize_and_crop, gan_loss bce" in text
    (source / "train_opt.txt").write_text("model: pix2pixHD\nlabel_nc: 35\nno_instance: False\n")
    assert "inputs of label maps" in refused(source, tmp_path, capsys)
    (source / "train_opt.txt").write_text("model: pix2pixHD\nlabel_nc: 0\nno_instance: True\n")
    command_output(capsys, "convert", source, "-o", tmp_path / "hd")
    (source / "train_opt.txt").write_text("no_lsgan: False\nno_dropout: False\n")
    text = command_output(capsys, "convert", source, "-o", tmp_path / "old")
    assert "dropout yes, gan_loss lsgan" in text
    (source / "train_opt.txt").write_bytes(b" " * 2**21)
    assert "is not a file of options" in refused(source, tmp_path, capsys)


def test_a_discriminator_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its channels do not show whether it takes pairs; the saved options do."""
    source = folder(tmp_path)
    path = source / "latest_net_D.pth"
    assert "do not show whether it takes pairs" in refused(path, tmp_path, capsys)
    (source / "train_opt.txt").write_text("model: pix2pix\ninput_nc: 1\noutput_nc: 3\n")
    command_output(capsys, "convert", path, "-o", tmp_path / "out")
    header = read_header(tmp_path / "out" / "d_b.safetensors")
    assert header["pair"] and header["source"]["config"]["channels"] == 1
    shutil.copy(FILES / "cut" / path.name, source / "latest_net_D_A.pth")
    (source / "train_opt.txt").unlink()
    command_output(capsys, "convert", source / "latest_net_D_A.pth", "-o", tmp_path / "2")
    assert not read_header(tmp_path / "2" / "d_b.safetensors")["pair"]


# -- what is refused


class Command:
    """A pickle that would create a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def refused(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], *words: object) -> str:
    out = tmp_path / "refused"
    text = command_error(capsys, "convert", str(path), "-o", str(out), *words)
    assert not out.exists()
    return text


def test_code_in_a_file_is_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, ran = tmp_path / "latest_net_G.pth", tmp_path / "ran"
    torch.save({"weight": Command(ran)}, path)
    assert "not a file of weights alone" in refused(path, tmp_path, capsys)
    assert not ran.exists()
    torch.load(path, weights_only=False)  # the control
    assert ran.exists()


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ({"model.0.weight": torch.full((2, 3, 4, 4), torch.nan)}, "non-finite weights"),
        ({"model.0.weight": torch.zeros(()).expand(10**6, 10**4, 4, 4)}, "more weights than"),
        ({"weight": 3}, "does not contain the weights of one network"),
        ([torch.zeros(2)], "does not contain the weights of one network"),
        ({}, "does not contain the weights of one network"),
        ({"state_dict": {"model.0.weight": torch.zeros(2, 3, 4, 4)}}, "the weights of one network"),
        ({"conv1.weight": torch.zeros(64, 3, 7, 7)}, "belong to none of"),
        ({"mlp_0.0.weight": torch.zeros(4, 4)}, "belong to none of"),
        ({"model.0.weight": torch.zeros(64, 3, 3, 3)}, "resembles the PatchGAN"),
        ({"model.0.weight": torch.zeros((2, 3, 4, 4), dtype=torch.int64)}, "does not contain"),
        ({"model.0.weight": torch.zeros((2, 3, 4, 4), dtype=torch.complex64)}, "weights alone"),
        ({"model.0.weight": torch.rand(3, device="meta")}, "weights alone"),
        ({"model.0.weight": torch.zeros(2, 3).to_sparse()}, "weights alone"),
        ({"model1_1.0.weight": torch.zeros(2)}, "local enhancer"),
        ({"a\x1b[31m": torch.zeros(2, 2, 2, 2)}, r"'a\x1b[31m'"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_other_contents_are_refused_with_a_sentence(
    contents: Any, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "latest_net_G.pth"
    torch.save(contents, path)
    text = refused(path, tmp_path, capsys)
    assert message in text and str(path) in text


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04", b"garbage" * 100, "half"])
def test_damaged_files_are_refused(
    damage: bytes | str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "latest_net_G.pth"
    whole = (FILES / "pix2pix" / path.name).read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if isinstance(damage, str) else damage)
    assert "is damaged, or not a file of weights alone" in refused(path, tmp_path, capsys)


def test_files_that_would_need_more_memory_than_their_size_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, packed = FILES / "pix2pix" / "latest_net_G.pth", tmp_path / "latest_net_G.pth"
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    torch.load(packed, weights_only=True)  # the control
    assert "is damaged, or not a file of weights alone" in refused(packed, tmp_path, capsys)
    pickled = b"\x80\x02c__builtin__\nbytearray\n(J\x00\x00\x00\x08tR."
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("x/data.pkl", pickled)
        archive.writestr("x/version", b"3\n")
    assert "is damaged, or not a file of weights alone" in refused(packed, tmp_path, capsys)


def test_other_kinds_of_paths_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "latest_net_G.pth")
    assert "is not a regular file" in refused(tmp_path / "latest_net_G.pth", tmp_path, capsys)
    assert "is not a regular file" in refused(tmp_path, tmp_path, capsys)


def test_existing_and_ambiguous_results_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = folder(tmp_path), tmp_path / "out"
    command_output(capsys, "convert", source, "-o", out)
    kept = (out / "ab.safetensors").read_bytes()
    text = command_error(capsys, "convert", FILES / "cyclegan" / "latest_net_G_A.pth", "-o", out)
    assert f"{out / 'ab.safetensors'} exists" in text and "--overwrite" in text
    assert (out / "ab.safetensors").read_bytes() == kept
    more = ["-o", out, "--overwrite"]
    command_output(capsys, "convert", FILES / "cyclegan" / "latest_net_G_A.pth", *more)
    assert (out / "ab.safetensors").read_bytes() != kept
    shutil.copy(FILES / "cyclegan" / "latest_net_G_A.pth", source)
    assert "would both be" in refused(source, tmp_path, capsys)
    (source / "latest_net_G_A.pth").unlink()
    torch.save(
        random_state("basic 3 batch") | {"model.0.weight": torch.rand(2, 5, 4, 4)},
        source / "latest_net_D.pth",
    )
    assert "takes 5 channels, neither images of 3 nor pairs of 1 and 3" in refused(
        source, tmp_path, capsys
    )
    shutil.copy(source / "latest_net_G.pth", source / "latest_net_D.pth")
    assert "has a generator, unlike its name" in refused(source, tmp_path, capsys)
    assert "is a file; choose a folder" in command_error(
        capsys, "convert", FILES / "cut", "-o", source / "latest_net_D.pth"
    )
    for option, value in (("--load_size", 0), ("--crop_size", 10**9)):
        assert f"{option} must be from 1 to" in refused(source, tmp_path, capsys, option, value)


def test_other_networks_of_a_folder_are_skipped_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = folder(tmp_path)
    (source / "latest_net_F.pth").write_bytes(b"heads of patches")
    text = command_output(capsys, "convert", source, "-o", tmp_path / "out")
    assert f"{source / 'latest_net_F.pth'}: skipped" in text


def test_zero_padded_blocks_and_other_layers_are_refused() -> None:
    state = random_state("resnet_6blocks instance plain")
    zero = {
        name.replace("conv_block.1.", "conv_block.0.").replace(
            "conv_block.5.", "conv_block.3."
        ): one
        for name, one in state.items()
    }
    with pytest.raises(UnknownArchitecture, match="not padded by reflection"):
        recognize(zero)
    more = {**state, "model.99.weight": torch.zeros(2)}
    with pytest.raises(UnknownArchitecture):
        build(recognize(more))
    for extra, message in (("running_var", "is negative"), ("weight", "no running statistics")):
        norm = {**state, f"model.2.{extra}": torch.full((2,), -1.0)}
        with pytest.raises(UnknownArchitecture, match=message):
            recognize(norm)
    batch = random_state("resnet_6blocks batch plain")
    with pytest.raises(UnknownArchitecture, match="batch norm after convolutions with biases"):
        recognize({**batch, "model.1.bias": torch.zeros(2)})
    first = next(iter(state))
    with pytest.raises(UnknownArchitecture):
        build(recognize({name: one for name, one in state.items() if name != first}))


def test_paths_without_weights_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = folder(tmp_path)
    assert "no weights of epoch 7; it has latest" in refused(
        source, tmp_path, capsys, "--epoch", "7"
    )
    assert "no file such as latest_net_G.pth" in refused(tmp_path, tmp_path, capsys)
    assert "there is no file" in refused(tmp_path / "missing.pth", tmp_path, capsys)
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text("{}")
    text = command_error(capsys, "convert", str(source), "-o", str(run))
    assert "is the folder of a run" in text and sorted(run.iterdir()) == [run / "config.json"]


def test_files_of_old_versions_of_torch(tmp_path: Path) -> None:
    state = torch.load(FILES / "cyclegan" / "latest_net_G_A.pth", weights_only=True)
    path = tmp_path / "latest_net_G_A.pth"
    torch.save(state, path, _use_new_zipfile_serialization=False)
    import_models(path, tmp_path / "out", ImportOptions())
    network = Translator.load(tmp_path / "out" / "ab.safetensors", "cpu").network
    assert torch.equal(next(network.parameters()), next(iter(state.values())))
