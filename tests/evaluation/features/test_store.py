"""Feature networks' files: the known ones are used, all others refused in a sentence."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support import FEATURE_FOLDER, feature_network

from viceversa.checkpoint import container, save_network
from viceversa.cli import main
from viceversa.errors import UserError
from viceversa.evaluation.features import NAMES, NETWORKS, find, load, pool3, resized, user_folder
from viceversa.evaluation.features.inception import Inception
from viceversa.files import sha256


def header(name: str) -> dict[str, object]:
    return {"format": 1, "kind": "features", "name": name}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the real AlexNet in it."""
    feature_network("alexnet")
    shutil.copy(FEATURE_FOLDER / "alexnet.safetensors", tmp_path)
    return tmp_path


def refusal(name: str, folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        load(name, folder)
    said = str(caught.value)
    assert str(folder / f"{name}.safetensors") in said and "\n" not in said
    return said


def test_a_known_file_is_loaded_to_be_used(folder: Path) -> None:
    net, digest = load("alexnet", folder)
    assert digest == NETWORKS["alexnet"].sha256 == sha256(folder / "alexnet.safetensors")
    assert not net.training and not any(one.requires_grad for one in net.parameters())
    assert not any(one.is_meta for one in [*net.parameters(), *net.buffers()])


def test_an_absent_one_says_how_to_get_it(tmp_path: Path) -> None:
    for name in NAMES:
        said = refusal(name, tmp_path)
        assert said.endswith(f"viceversa features --get {name} --to {tmp_path}")
    with pytest.raises(UserError, match="no feature network 'resnet'; there are inception, alex"):
        load("resnet", tmp_path)


def test_a_flipped_bit_is_found(folder: Path) -> None:
    path = folder / "alexnet.safetensors"
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)
    assert "is damaged: its contents are not what was written" in refusal("alexnet", folder)
    path.write_bytes(content[: len(content) // 2])
    assert "is damaged" in refusal("alexnet", folder)


def test_other_weights_are_not_used_under_a_known_name(folder: Path) -> None:
    path = folder / "alexnet.safetensors"
    tensors, told = container.load(path)
    tensors["heads.0"] = 1.01 * tensors["heads.0"]
    container.save(path, tensors, told)  # with a digest that fits
    said = refusal("alexnet", folder)
    assert sha256(path)[:12] in said and NETWORKS["alexnet"].sha256[:12] in said
    assert "viceversa features --get alexnet" in said


def test_files_of_another_architecture_or_kind_are_refused(folder: Path) -> None:
    path = folder / "vgg.safetensors"
    shutil.copy(folder / "alexnet.safetensors", path)
    assert "contains alexnet, not the feature network vgg" in refusal("vgg", folder)
    container.save(path, container.load(path)[0], header("vgg"))
    assert "has another architecture" in refusal("vgg", folder)
    save_network(
        path,
        {"x": torch.zeros(2)},
        {
            "kind": "translator",
            "direction": "ab",
            "generator": {"name": "unet"},
            "source": {},
            "target": {},
        },
    )
    assert "contains translator, not" in refusal("vgg", folder)
    path.write_bytes(b"not a file of weights")
    assert "is not a model" in refusal("vgg", folder)


def test_a_given_folder_is_looked_in_alone(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    assert find("alexnet", folder) == folder / "alexnet.safetensors"
    assert find("alexnet") is None
    user_folder().mkdir(parents=True)
    shutil.copy(folder / "alexnet.safetensors", user_folder())
    assert find("alexnet") == user_folder() / "alexnet.safetensors"
    assert find("alexnet", folder / "elsewhere") is None


def test_the_command_lists_what_is_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["features", "--to", str(folder)])
    said = capsys.readouterr().out
    assert f"{folder}/alexnet.safetensors, 10 MB, SHA-256 {NETWORKS['alexnet'].sha256}" in said
    assert f"missing: {folder}/inception.safetensors, 87 MB" in said
    assert f"viceversa features --get inception vgg --to {folder}" in said
    (folder / "alexnet.safetensors").write_bytes(b"something else")
    main(["features", "--to", str(folder)])
    said = capsys.readouterr().out
    assert f"{folder}/alexnet.safetensors is damaged or not the known one" in said


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--get"], "--get needs the networks to get: inception, alexnet, vgg; or give --all"),
        (["--get", "resnet"], "there is no feature network 'resnet'"),
        (["--get", "vgg", "--all"], "give one"),
        (["--from", "x"], "name the networks with --get or --all"),
    ],
)
def test_mistakes_are_told(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["features", *words])
    said = capsys.readouterr().err
    assert caught.value.code == 2 and sentence in said and said.count("\n") == 1


def test_the_inception_network_is_that_of_the_paper() -> None:
    net = Inception().eval()
    # Inception-v3 without its classifier, whose batch norms learn 2 x 17,216 numbers; ours a bias
    assert sum(one.numel() for one in net.parameters()) == 21_785_568 - 17_216
    seen: list[tuple[int, ...]] = []
    for layer in net.layers:
        layer.register_forward_hook(lambda _, __, out: seen.append(tuple(out.shape[1:])))
    with torch.no_grad():
        assert net(torch.zeros(1, 3, 299, 299)).shape == (1, 2048)
    # table 1: 35 x 35 x 288, 17 x 17 x 768, 8 x 8 x 1280, 8 x 8 x 2048
    assert {(288, 35, 35), (768, 17, 17), (1280, 8, 8), (2048, 8, 8)} <= set(seen)


def test_resizing_is_bicubic_and_clips_nothing() -> None:
    step = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    step[..., 4:] = 255
    made = resized(step)
    assert made.shape == (1, 3, 299, 299)
    assert made.min() < -1.02 and made.max() > (255 - 128) / 128 + 0.02  # it overshoots
    assert resized(torch.full((1, 3, 300, 20), 64, dtype=torch.uint8)).unique().tolist() == [-0.5]
    assert resized(step[:0]).shape == (0, 3, 299, 299)


def test_resizing_averages_where_an_image_shrinks() -> None:
    lines = torch.zeros(1, 3, 1196, 1196, dtype=torch.uint8)
    lines[..., ::2] = 255
    assert float((resized(lines)[..., 5:-5, 5:-5] - (127.5 - 128) / 128).abs().max()) < 0.02
    # and each channel by itself is what Pillow makes of it
    noise = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 3, 31, 400), np.uint8))
    plane = Image.fromarray(noise[0, 1].numpy().astype(np.float32))
    theirs = np.asarray(plane.resize((299, 299), Image.Resampling.BICUBIC))
    assert np.abs(resized(noise)[0, 1].numpy() * 128 + 128 - theirs).max() < 1e-4


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(1, 3, 8, 8),
        torch.zeros(1, 1, 8, 8, dtype=torch.uint8),
        torch.zeros(3, 8, 8, dtype=torch.uint8),
    ],
)
def test_only_bytes_of_three_channels_are_resized(images: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="features need uint8 images"):
        resized(images)


def test_features_do_not_depend_on_the_batch() -> None:
    net = feature_network("inception")
    drawn = np.random.default_rng(1).integers(0, 256, (3, 3, 40, 40), np.uint8)
    images = torch.from_numpy(drawn)
    whole = pool3(net, images)
    assert whole.shape == (3, 2048) and whole.dtype == torch.float64
    assert float((pool3(net, images, batch_size=1) - whole).abs().max()) < 1e-4
