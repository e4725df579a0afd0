"""Test files of feature networks: only the known ones are loaded."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support import FEATURE_FOLDER, command_error, feature_network, raises_user_error

from viceversa.checkpoint import container, save_network
from viceversa.cli import main
from viceversa.errors import UserError
from viceversa.evaluation.features import NAMES, NETWORKS, find, load, pool3, resized, user_folder
from viceversa.evaluation.features.inception import Inception
from viceversa.files import sha256


def features_header(name: str) -> dict[str, object]:
    return {"format": 1, "kind": "features", "name": name}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that contains the published AlexNet."""
    feature_network("alexnet")
    shutil.copy(FEATURE_FOLDER / "alexnet.safetensors", tmp_path)
    return tmp_path


def load_error(name: str, folder: Path) -> str:
    with raises_user_error(path=folder / f"{name}.safetensors") as caught:
        load(name, folder)
    message = str(caught.value)
    assert str(folder / f"{name}.safetensors") in message and "\n" not in message
    return message


def test_known_file_is_loaded_in_eval_mode(folder: Path) -> None:
    net, digest = load("alexnet", folder)
    assert digest == NETWORKS["alexnet"].sha256 == sha256(folder / "alexnet.safetensors")
    assert not net.training and not any(weight.requires_grad for weight in net.parameters())
    assert not any(tensor.is_meta for tensor in [*net.parameters(), *net.buffers()])


def test_message_of_a_missing_network_names_the_command(tmp_path: Path) -> None:
    for name in NAMES:
        assert load_error(name, tmp_path).endswith(
            f"viceversa features --get {name} --to {tmp_path}"
        )
    with pytest.raises(UserError, match="no feature network 'resnet'; there are inception, alex"):
        load("resnet", tmp_path)


def test_damaged_file_is_refused(folder: Path) -> None:
    path = folder / "alexnet.safetensors"
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)
    assert "is damaged: its contents are not what was written" in load_error("alexnet", folder)
    path.write_bytes(content[: len(content) // 2])
    assert "is damaged" in load_error("alexnet", folder)


def test_other_weights_of_a_known_name_are_refused(folder: Path) -> None:
    path = folder / "alexnet.safetensors"
    tensors, header = container.load(path)
    tensors["heads.0"] = 1.01 * tensors["heads.0"]
    container.save(path, tensors, header)  # with a valid digest
    message = load_error("alexnet", folder)
    assert sha256(path)[:12] in message and NETWORKS["alexnet"].sha256[:12] in message
    assert "viceversa features --get alexnet" in message


def test_files_of_another_architecture_or_kind_are_refused(folder: Path) -> None:
    path = folder / "vgg.safetensors"
    shutil.copy(folder / "alexnet.safetensors", path)
    assert "contains alexnet, not the feature network vgg" in load_error("vgg", folder)
    container.save(path, container.load(path)[0], features_header("vgg"))
    assert "has another architecture" in load_error("vgg", folder)
    header = {"kind": "translator", "direction": "ab", "source": {}, "target": {}}
    save_network(path, {"x": torch.zeros(2)}, header | {"generator": {"name": "unet"}})
    assert "contains translator, not" in load_error("vgg", folder)
    path.write_bytes(b"not a file of weights")
    assert "is not a model" in load_error("vgg", folder)


def test_given_folder_replaces_the_default_folder(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    assert find("alexnet", folder) == folder / "alexnet.safetensors"
    assert find("alexnet") is None
    user_folder().mkdir(parents=True)
    shutil.copy(folder / "alexnet.safetensors", user_folder())
    assert find("alexnet") == user_folder() / "alexnet.safetensors"
    assert find("alexnet", folder / "elsewhere") is None


def test_command_lists_available_and_missing_networks(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["features", "--to", str(folder)])
    printed = capsys.readouterr().out
    assert f"{folder}/alexnet.safetensors, 10 MB, SHA-256 {NETWORKS['alexnet'].sha256}" in printed
    assert f"missing: {folder}/inception.safetensors, 87 MB" in printed
    assert f"viceversa features --get inception vgg --to {folder}" in printed
    (folder / "alexnet.safetensors").write_bytes(b"something else")
    main(["features", "--to", str(folder)])
    printed = capsys.readouterr().out
    assert f"{folder}/alexnet.safetensors is damaged or not the known one" in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--get"], "--get needs the networks to get: inception, alexnet, vgg; or give --all"),
        (["--get", "resnet"], "there is no feature network 'resnet'"),
        (["--get", "vgg", "--all"], "give one"),
        (["--from", "x"], "name the networks with --get or --all"),
    ],
)
def test_invalid_options_of_the_command(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in command_error(capsys, "features", *words)


@pytest.mark.slow
def test_inception_has_the_architecture_of_the_paper() -> None:
    net = Inception().eval()
    # Inception-v3 without its classifier has batch norms with 2 x 17,216 weights; here they are
    # merged into the convolutions, which have 17,216 biases.
    assert sum(weight.numel() for weight in net.parameters()) == 21_785_568 - 17_216
    shapes: list[tuple[int, ...]] = []
    for layer in net.layers:
        layer.register_forward_hook(lambda _, __, out: shapes.append(tuple(out.shape[1:])))
    with torch.no_grad():
        assert net(torch.zeros(1, 3, 299, 299)).shape == (1, 2048)
    # table 1: 35 x 35 x 288, 17 x 17 x 768, 8 x 8 x 1280, 8 x 8 x 2048
    assert {(288, 35, 35), (768, 17, 17), (1280, 8, 8), (2048, 8, 8)} <= set(shapes)


def test_resizing_is_bicubic_without_clipping() -> None:
    step = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    step[..., 4:] = 255
    result = resized(step)
    assert result.shape == (1, 3, 299, 299)
    assert result.min() < -1.02 and result.max() > (255 - 128) / 128 + 0.02  # overshoot
    assert resized(torch.full((1, 3, 300, 20), 64, dtype=torch.uint8)).unique().tolist() == [-0.5]
    assert resized(step[:0]).shape == (0, 3, 299, 299)


def test_downsizing_is_antialiased() -> None:
    lines = torch.zeros(1, 3, 1196, 1196, dtype=torch.uint8)
    lines[..., ::2] = 255
    assert float((resized(lines)[..., 5:-5, 5:-5] - (127.5 - 128) / 128).abs().max()) < 0.02
    # Each channel is resized as Pillow does.
    noise = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 3, 31, 400), np.uint8))
    plane = Image.fromarray(noise[0, 1].numpy().astype(np.float32))
    expected = np.asarray(plane.resize((299, 299), Image.Resampling.BICUBIC))
    assert np.abs(resized(noise)[0, 1].numpy() * 128 + 128 - expected).max() < 1e-4


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(1, 3, 8, 8),
        torch.zeros(1, 1, 8, 8, dtype=torch.uint8),
        torch.zeros(3, 8, 8, dtype=torch.uint8),
    ],
)
def test_only_uint8_images_of_three_channels_are_resized(images: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="features need uint8 images"):
        resized(images)


def test_features_do_not_depend_on_the_batch() -> None:
    net = feature_network("inception")
    pixels = np.random.default_rng(1).integers(0, 256, (3, 3, 40, 40), np.uint8)
    images = torch.from_numpy(pixels)
    features = pool3(net, images)
    assert features.shape == (3, 2048) and features.dtype == torch.float64
    assert float((pool3(net, images, batch_size=1) - features).abs().max()) < 1e-4
