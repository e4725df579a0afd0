"""Ensembles: the mean and the spread of several generators, and of mirrored images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support import QUICK, command_error, noise_images, noise_pairs, raises_user_error, small_model
from torch import Tensor, nn

from viceversa import Translator, evaluate
from viceversa.checkpoint import read_header, read_weights, save_network
from viceversa.cli import main
from viceversa.images import read
from viceversa.images.domain import Domain, DomainConfig
from viceversa.inference import with_spread, write_ensemble
from viceversa.inference.spread import write_maps
from viceversa.networks.ensemble import Ensemble, WithSpread


class Ramp(nn.Module):
    """Adds a number that grows to the right and downwards: mirroring changes the output."""

    multiple, smallest = 4, 8

    def __init__(self, scale: float):
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        assert height % 4 == width % 4 == 0 and min(height, width) >= 8
        return x + self.scale * (torch.arange(width) + 100 * torch.arange(height)[:, None])


def test_mean_and_spread_by_hand() -> None:
    x = torch.rand(2, 3, 8, 8)
    ramp = torch.arange(8) + 100.0 * torch.arange(8)[:, None]
    mean = Ensemble([Ramp(1), Ramp(3)])
    torch.testing.assert_close(mean(x), x + 2 * ramp)
    both = WithSpread(mean)(x)
    torch.testing.assert_close(both[:, :3], x + 2 * ramp)
    torch.testing.assert_close(both[:, 3:], ramp.expand(2, 1, 8, 8))  # of r and 3 r it is r
    # Mirrored left to right, column i has the number of column 7 - i: their mean is 3.5.
    mirrored = Ensemble([Ramp(1)], mirrored=(3,))
    torch.testing.assert_close(mirrored(x), x + 3.5 + 100.0 * torch.arange(8)[:, None])
    torch.testing.assert_close(
        WithSpread(mirrored)(x)[0, 3, 0], (torch.arange(8) - 3.5).abs(), atol=1e-4, rtol=0
    )
    every = Ensemble([Ramp(1)], mirrored=(3, 2))
    assert len(list(every.outputs(x))) == 4
    torch.testing.assert_close(every(x), x + 3.5 + 350.0)


def test_sizes_fit_all_members() -> None:
    class Other(Ramp):
        multiple, smallest = 6, 10

    ensemble = Ensemble([Ramp(1), Other(1), nn.Identity()])
    assert (ensemble.multiple, ensemble.smallest) == (12, 10)


# -- files


DOMAIN = Domain(DomainConfig())


def models(folder: Path, count: int = 3, **trained: bool) -> list[Path]:
    """Write generators with different weights."""
    files = []
    for i in range(count):
        path = small_model(_made(folder / f"{i}"), DOMAIN, DOMAIN)
        header, weights = read_header(path), read_weights(path)
        torch.manual_seed(i)
        weights = {name: one + 0.1 * torch.randn_like(one).abs() for name, one in weights.items()}
        data = {"path": f"folds/{i}.csv", **trained}
        header |= {"paired": True, "trained": {"data": data, "train": {"seed": i, "run": "x"}}}
        save_network(path, weights, header)
        files.append(path)
    return files


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("policy", ["image", "running"])
def test_the_output_is_the_mean_of_the_members(tmp_path: Path, policy: str) -> None:
    files = models(tmp_path)
    write_ensemble(files, tmp_path / "e.safetensors")
    images = torch.rand(2, 3, 19, 22) * 2 - 1
    members = [Translator.load(file, policy=policy)(images) for file in files]  # type: ignore[arg-type]
    ensemble = Translator.load(tmp_path / "e.safetensors", policy=policy)  # type: ignore[arg-type]
    torch.testing.assert_close(ensemble(images), torch.stack(members).mean(dim=0))
    assert not torch.equal(members[0], members[1])
    result, spread = with_spread(ensemble, images[0])
    torch.testing.assert_close(result, ensemble(images[:1])[0])
    expected = torch.stack([one[0] for one in members]).std(dim=0, correction=0).mean(dim=0)
    np.testing.assert_allclose(spread, expected.numpy(), atol=1e-6)
    assert "ensemble of 3" in repr(ensemble)


def test_flips_are_those_of_training(tmp_path: Path) -> None:
    both = models(tmp_path / "both", 1, flip=True, flip_vertical=True)[0]
    image = torch.rand(3, 16, 16) * 2 - 1
    one, mean = Translator.load(both), Translator.load(both, flips=True)
    by_hand = [one(image.flip(axes)).flip(axes) for axes in ((), (2,), (1,), (1, 2))]
    torch.testing.assert_close(mean(image), torch.stack(by_hand).mean(dim=0))
    horizontal = models(tmp_path / "horizontal", 2, flip=True, flip_vertical=False)
    write_ensemble(horizontal, tmp_path / "e.safetensors")
    translator = Translator.load(tmp_path / "e.safetensors", flips=True)
    assert isinstance(translator.network, Ensemble) and translator.network.mirrored == (3,)
    assert len(list(translator.network.outputs(image[None]))) == 4
    never = models(tmp_path / "never", 1, flip=False)[0]
    with raises_user_error(option="--flips", path=never):
        Translator.load(never, flips=True)
    with raises_user_error(option="--spread"):
        with_spread(Translator.load(never), image)


def test_what_is_no_ensemble_is_refused(tmp_path: Path) -> None:
    files, out = models(tmp_path), tmp_path / "e.safetensors"
    with raises_user_error():
        write_ensemble(files[:1], out)
    with raises_user_error(option="--out", path=tmp_path / "e.pt"):
        write_ensemble(files, tmp_path / "e.pt")
    with raises_user_error(option="--out"):
        write_ensemble(files, files[0])
    wide = Domain(DomainConfig(), low=(0.0,) * 3, high=(100.0,) * 3)
    other = small_model(_made(tmp_path / "wide"), DOMAIN, wide)
    with raises_user_error(path=other) as caught:
        write_ensemble([files[0], other], out)
    assert "target" in str(caught.value) and "data.b.range" in str(caught.value)
    resnet = small_model(_made(tmp_path / "resnet"), DOMAIN, DOMAIN, "resnet")
    with raises_user_error(path=resnet) as caught:
        write_ensemble([files[0], resnet], out)
    assert str(caught.value).endswith("their headers differ (generator, paired)")
    assert not out.exists()
    write_ensemble(files, out)
    with raises_user_error(path=out):  # an ensemble of ensembles
        write_ensemble([out, out], tmp_path / "f.safetensors")


def test_the_header_tells_the_members_and_hides_the_data_of_one(tmp_path: Path) -> None:
    write_ensemble(models(tmp_path), tmp_path / "e.safetensors")
    header = read_header(tmp_path / "e.safetensors")
    assert header["kind"] == "ensemble"  # earlier versions refuse all but "translator"
    assert [one["seed"] for one in header["members"]] == [0, 1, 2]
    assert [one["data"] for one in header["members"]] == [f"folds/{i}.csv" for i in range(3)]
    # No split of one fold is right for the members of the others.
    assert header["trained"]["data"]["path"] == "" and header["trained"]["train"]["run"] == ""


@pytest.mark.parametrize("members", [[], [{}] * 65, [{}] * 2, "3", None])
def test_a_wrong_number_of_members_is_refused(tmp_path: Path, members: object) -> None:
    path = tmp_path / "e.safetensors"
    write_ensemble(models(tmp_path), path)
    header = read_header(path) | {"members": members}
    save_network(path, read_weights(path), header)
    with raises_user_error(path=path):
        Translator.load(path)
    try:
        main(["show", str(path)])  # whatever the header contains
    except SystemExit as stopped:
        assert stopped.code == 2


# -- the command


def test_translate_writes_maps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = models(tmp_path / "models", flip=True)
    ensemble = tmp_path / "e.safetensors"
    main(["ensemble", *map(str, files), "-o", str(ensemble)])
    noise_images(tmp_path / "in", 2, size=(20, 24))
    words = ["translate", str(ensemble), str(tmp_path / "in"), "-o", str(tmp_path / "out")]
    main([*words, "--spread"])
    text = capsys.readouterr().out
    names = sorted(path.name for path in (tmp_path / "out").glob("*.png"))
    endings = ("png", "spread-view.png", "spread.png")
    assert names == [f"{i}.{ending}" for i in range(2) for ending in endings]
    translator = Translator.load(ensemble)
    main(["show", str(ensemble)])
    assert "ensemble of 3 generators ab" in capsys.readouterr().out
    result, spread = with_spread(translator, tmp_path / "in" / "0.png")
    with Image.open(tmp_path / "out" / "0.png") as image:
        np.testing.assert_array_equal(np.array(image), np.array(result))
    written = read(tmp_path / "out" / "0.spread.png")
    assert written.dtype == np.uint16 and written.shape == (20, 24, 1)
    np.testing.assert_allclose(written[:, :, 0] / 65535 / 2, spread, atol=1e-5)
    view = read(tmp_path / "out" / "0.spread-view.png")
    assert view.dtype == np.uint8 and view.max() == 255
    np.testing.assert_allclose(view[:, :, 0] / 255 * spread.max(), spread, atol=spread.max() / 500)
    other = with_spread(translator, tmp_path / "in" / "1.png")[1]
    percent = [f"{100 * one.max() / 2:.3g} %" for one in (spread, other)]
    assert "white is 25 % or more in NAME.spread.png" in text
    assert any(text.count(f"of that image: {x} to {y}\n") for x, y in (percent, percent[::-1]))
    assert "is there already" in command_error(capsys, *words, "--spread")
    main([*words, "--spread", "--resume"])
    assert "translated before" in capsys.readouterr().out
    main([*words, "--spread", "--flips", "--resume"])  # other options: translated again
    assert "2 of 2 images translated" in capsys.readouterr().out
    flipped = read(tmp_path / "out" / "0.spread.png")
    assert not np.array_equal(flipped, written)


def test_a_map_without_spread_is_black(tmp_path: Path) -> None:
    write_maps(np.zeros((4, 5), np.float32), tmp_path / "a.png")
    for name in ("a.spread.png", "a.spread-view.png"):
        assert read(tmp_path / name).shape == (4, 5, 1) and not read(tmp_path / name).any()


def test_maps_replace_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ensemble = tmp_path / "e.safetensors"
    write_ensemble(models(tmp_path / "models"), ensemble)
    noise_images(tmp_path / "in", 1, size=(20, 24))
    out = tmp_path / "out"
    out.mkdir()
    (out / "0.spread.png").write_bytes(b"mine")
    words = ["translate", ensemble, tmp_path / "in", "-o", out, "--spread"]
    assert "0.spread.png" in command_error(capsys, *words)
    assert (out / "0.spread.png").read_bytes() == b"mine" and not (out / "0.png").exists()
    (out / "0.spread.png").rename(out / "0.spread-view.png")
    assert "0.spread-view.png, which is there already" in command_error(capsys, *words)
    assert (out / "0.spread-view.png").read_bytes() == b"mine" and not (out / "0.png").exists()
    streamed = ["translate", ensemble, tmp_path / "in" / "0.png", "-o", "-", "--spread"]
    assert "--spread writes files" in command_error(capsys, *streamed)
    single = models(tmp_path / "single", 1)[0]
    words = ["translate", single, tmp_path / "in", "-o", tmp_path / "new", "--spread"]
    assert "--flips" in command_error(capsys, *words)
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_an_ensemble_of_a_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise_pairs(tmp_path / "data", 4, 36)
    study, options = tmp_path / "study", QUICK | {"train.samples": 0, "validate.health": 0}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    main(
        [
            *("study", "pix2pix", str(tmp_path / "data"), "--run", str(study)),
            *("--folds", "2", "--val", "0", "--evaluate.metrics", "l1", "--evaluate.flips", *words),
        ]
    )
    for path in study.rglob("metrics.json"):
        assert json.loads(path.read_text())["protocol"]["flips"]
    out = tmp_path / "e.safetensors"
    main(["ensemble", str(study), "-o", str(out)])
    header = read_header(out)
    assert len(header["members"]) == 2 and header["trained"]["data"]["path"] == ""
    error = command_error(capsys, "evaluate", out)
    assert "name the dataset" in error
    fold = study / "folds" / "fold-1.csv"
    # The test images of a fold are training images of the member of the other fold.
    with pytest.warns(UserWarning, match="was trained on these images"):
        metrics = evaluate(out, fold, metrics=["l1"], flips=True)
    assert metrics["directions"]["ab"]["translations"] == 2 and metrics["protocol"]["flips"]
    first, second = (study / f"runs/pix2pix/fold-{number}/seed-0" for number in (1, 2))
    assert not evaluate(first, fold, metrics=["l1"])["training_images"]
    with pytest.warns(UserWarning, match="was trained on these images"):
        assert evaluate(second, fold, metrics=["l1"])["training_images"]
    assert "--fold" in command_error(capsys, "ensemble", study, "--fold", "3", "-o", out)
    assert "--variant" in command_error(capsys, "ensemble", study, "--variant", "x", "-o", out)
    assert "ba" in command_error(capsys, "ensemble", study, "--direction", "ba", "-o", out)
    command_error(capsys, "ensemble", study, "--fold", "1", "-o", out)  # one generator
    (study / "runs" / "pix2pix" / "fold-2" / "seed-0" / "study.json").unlink()
    assert "not finished" in command_error(capsys, "ensemble", study, "-o", out)
