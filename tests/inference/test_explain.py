"""Test `viceversa explain`: scores against the discriminator itself, and invalid input."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support import command_exception
from torch import Tensor

from viceversa.checkpoint import load_network, read_header, save_network
from viceversa.cli import main
from viceversa.config.recipes import Sections, merge, read_recipe
from viceversa.config.run import resolve
from viceversa.images import write
from viceversa.inference import Translator
from viceversa.inference.patch_scores import ExplainOptions, explain
from viceversa.networks.patchgan import PatchGAN
from viceversa.training import loop as training

SIDE = 32


def pixels(seed: int, shape: tuple[int, ...] = (SIDE, SIDE, 3), dtype: Any = np.uint8) -> Any:
    rng = np.random.default_rng(seed)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def trained(name: str, data: Path, run: Path, /, **more: dict[str, Any]) -> Path:
    tiny: Sections = {
        "generator": {"width": 2},
        "discriminator": {"width": 2, "layers": 1},
        "data": {"path": str(data), "load_size": SIDE, "crop_size": SIDE, "workers": 0},
        "train": {"run": str(run), "epochs": 1, "device": "cpu", "precision": "fp32", "samples": 0},
        "validate": {"every": 0, "health": 0},
    }
    tiny["generator"] |= {"blocks": 1} if name == "cyclegan" else {"depth": 3}
    return training.train(resolve(merge(merge(read_recipe(name), tiny), more)))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files with A and B side by side."""
    root = tmp_path_factory.mktemp("explain")
    for number in range(2):
        Image.fromarray(pixels(number, (SIDE, 2 * SIDE, 3))).save(root / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One run for each kind of discriminator, dtype and domain."""
    folder = tmp_path_factory.mktemp("runs")
    deep = folder / "deep"
    for number in range(4):
        for side in "AB":
            path = deep / side / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path, pixels(number, (SIDE, SIDE, 1), np.uint16))
    photos = folder / "photos"
    photos.mkdir()
    for number in range(2):
        Image.fromarray(pixels(number)).save(photos / f"{number}.png")
    one_channel = {"data": {"a": {"channels": 1}, "b": {"channels": 1}}}
    whole = {"discriminator": {"whole_image": True}}
    return {
        "pairs": trained("pix2pix", data, folder / "pairs"),
        "whole": trained("pix2pix", data, folder / "whole", **whole),
        "alone": trained("pix2pix", data, folder / "alone", method={"conditional": False}),
        "ba": trained("pix2pix", data, folder / "ba", data={"direction": "ba"}),
        "cycle": trained("cyclegan", data, folder / "cycle"),
        "deep": trained("pix2pix", deep, folder / "deep-run", **one_channel),
        "lab": trained("colourise", photos, folder / "lab"),
        "grey": trained("pix2pix", data, folder / "grey", data={"a": {"channels": 1}}),
        "frozen": trained("pix2pix", data, folder / "frozen", method={"lambda_gan": 0.0}),
    }


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """An image outside of the training data."""
    Image.fromarray(pixels(7)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """Two images outside of the training data, side by side in one file."""
    Image.fromarray(pixels(8, (SIDE, 2 * SIDE, 3))).save(tmp_path / "pair.png")
    return tmp_path / "pair.png"


def explain_text(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    capsys.readouterr()
    main(["explain", *map(str, words), "--device", "cpu"])
    printed = capsys.readouterr()
    assert printed.err == ""
    return printed.out


def explain_json(capsys: pytest.CaptureFixture[str], out: Path, *words: object) -> dict[str, Any]:
    """Return the output of --json, after checking that it is strict JSON and the figure exists."""

    def invalid_constant(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    text = explain_text(capsys, *words, "--json", "-o", out)
    result = json.loads(text, parse_constant=invalid_constant)
    assert result["figure"] == str(out)
    with Image.open(out) as figure:
        figure.load()
        assert figure.mode == "RGB" and min(figure.size) > 128
    return dict(result)


def explain_error(capsys: pytest.CaptureFixture[str], *words: object) -> Any:
    """Return the exception of a command that fails and prints nothing to stdout."""
    error = command_exception(capsys, "explain", *words)
    assert capsys.readouterr().out == ""
    return error


# -- scores against the discriminator, called directly


def values(file: Path | Any) -> Tensor:
    """Return an 8-bit file or array as (1, 3, h, w) in [-1, 1]."""
    array = np.asarray(Image.open(file)) if isinstance(file, Path) else file
    return torch.from_numpy(array.astype(np.float32) / 127.5 - 1).movedim(-1, 0)[None]


@torch.no_grad()
def expected_scores(file: Path, *images: Tensor) -> Tensor:
    """Return the score map of a discriminator file for images concatenated along channels."""
    settings = dict(read_header(file)["discriminator"])
    settings.pop("name")
    width = sum(image.shape[1] for image in images)
    network = load_network(file, lambda: PatchGAN(PatchGAN.Config(**settings), width))
    scores: Tensor = network.train()(torch.cat(images, dim=1))[0]  # statistics of this image alone
    return scores[0, 0]


def translation(run: Path, source: Tensor) -> Tensor:
    return Translator.load(run / "ab.safetensors", "cpu").tensor(source)


def check_entry(entry: dict[str, Any], scores: Tensor) -> None:
    """Compare an image of the JSON output with a score map of patches of 16x16 pixels."""
    assert entry["objective"] == "bce" and entry["map"] == list(scores.shape) == [14, 14]
    assert entry["patch"] == {"size": 16, "stride": 2}
    assert entry["mean_score"] == pytest.approx(float(scores.mean()), abs=1e-5)
    assert entry["mean_value"] == pytest.approx(float(scores.mean().sigmoid()), abs=1e-5)
    assert entry["real_fraction"] == pytest.approx(float((scores > 0).float().mean()))
    for name, index in (("lowest", int(scores.argmin())), ("highest", int(scores.argmax()))):
        value = float(scores.flatten()[index].sigmoid())
        assert entry[name]["value"] == pytest.approx(value, abs=1e-5)
        for axis, position in (("y", index // 14), ("x", index % 14)):
            assert entry[name][axis] == [max(2 * position - 5, 0), min(2 * position + 11, SIDE)]


@pytest.mark.slow
def test_scores_of_a_translation_match_the_discriminator(
    runs: dict[str, Path], photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, run = values(photo), runs["pairs"]
    scores = expected_scores(run / "d_b.safetensors", source, translation(run, source))
    (row,) = explain(ExplainOptions(run, photo, device="cpu")).rows
    torch.testing.assert_close(row.scores.scores, scores, rtol=0, atol=1e-5)
    torch.testing.assert_close(row.image, translation(run, source)[0], rtol=0, atol=1e-5)
    for model in (run, run / "ab.safetensors"):
        result = explain_json(capsys, tmp_path / f"{model.name}.png", model, photo)
        assert result["discriminator"] == str(run / "d_b.safetensors")
        (entry,) = result["images"]
        assert entry["image"] == "generated" and entry["discriminator"] is None
        check_entry(entry, scores)
    other = expected_scores(run / "d_b.safetensors", source, source)  # negative control
    assert abs(float(other.mean()) - entry["mean_score"]) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("half", ["left", "right"])
def test_other_half_of_a_file_is_the_real_target(
    half: str,
    runs: dict[str, Path],
    pair: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    both = values(pair)
    source, real = both[..., :SIDE], both[..., SIDE:]
    if half == "right":
        source, real = real, source
    run = runs["pairs"]
    fake, true = explain_json(capsys, tmp_path / "v.png", run, pair, "--half", half)["images"]
    assert (fake["image"], true["image"]) == ("generated", "real")
    check_entry(fake, expected_scores(run / "d_b.safetensors", source, translation(run, source)))
    check_entry(true, expected_scores(run / "d_b.safetensors", source, real))


def test_real_target_in_a_separate_file(
    runs: dict[str, Path],
    photo: Path,
    pair: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other, run = tmp_path / "other.png", runs["pairs"]
    Image.fromarray(pixels(9)).save(other)
    fake, true = explain_json(capsys, tmp_path / "v.png", run, photo, "--real", other)["images"]
    check_entry(
        fake,
        expected_scores(run / "d_b.safetensors", values(photo), translation(run, values(photo))),
    )
    check_entry(true, expected_scores(run / "d_b.safetensors", values(photo), values(other)))


@pytest.mark.slow
def test_discriminator_file_scores_an_image_file(
    runs: dict[str, Path],
    photo: Path,
    pair: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    discriminator, other = runs["pairs"] / "d_b.safetensors", tmp_path / "other.png"
    Image.fromarray(pixels(9)).save(other)
    result = explain_json(
        capsys, tmp_path / "1.png", discriminator, photo, "--source", other, "--real", other
    )
    entry, true = result["images"]
    assert (entry["image"], true["image"]) == ("image", "real")
    check_entry(entry, expected_scores(discriminator, values(other), values(photo)))
    check_entry(true, expected_scores(discriminator, values(other), values(other)))
    (entry,) = explain_json(capsys, tmp_path / "2.png", discriminator, pair, "--half", "right")[
        "images"
    ]
    left, right = values(pair).split(SIDE, dim=3)
    check_entry(entry, expected_scores(discriminator, left, right))
    unpaired = runs["alone"] / "d_b.safetensors"
    (entry,) = explain_json(capsys, tmp_path / "3.png", unpaired, pair, "--half", "left")["images"]
    check_entry(entry, expected_scores(unpaired, left))


def test_run_of_direction_ba_scores_images_of_a(
    runs: dict[str, Path], photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runs["ba"]
    result = explain_json(capsys, tmp_path / "v.png", run, photo)
    assert result["discriminator"] == str(run / "d_a.safetensors")
    fake = Translator.load(run / "ba.safetensors", "cpu").tensor(values(photo))
    check_entry(result["images"][0], expected_scores(run / "d_a.safetensors", values(photo), fake))


@pytest.mark.slow
@pytest.mark.parametrize("way", ["ab", "ba"])
def test_cyclegan_discriminators_score_single_images(
    way: str, runs: dict[str, Path], photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runs["cycle"]
    discriminator = run / f"d_{way[1]}.safetensors"
    fake = Translator.load(run / f"{way}.safetensors", "cpu").tensor(values(photo))
    for number, (model, image) in enumerate(
        ((run / f"{way}.safetensors", fake), (discriminator, values(photo)))
    ):
        result = explain_json(capsys, tmp_path / f"{number}.png", model, photo)
        (entry,) = result["images"]
        scores = expected_scores(discriminator, image)
        assert result["discriminator"] == str(discriminator) and entry["objective"] == "lsgan"
        assert entry["mean_score"] == pytest.approx(float(scores.mean()), abs=1e-5)
        least = float(scores.min().clamp(0, 1))
        assert entry["lowest"]["value"] == pytest.approx(least, abs=1e-5)


@pytest.mark.slow
def test_scores_of_a_second_discriminator(
    runs: dict[str, Path], pair: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, whole = runs["pairs"], runs["whole"] / "d_b.safetensors"
    words = (run, pair, "--half", "left", "--beside", whole)
    result = explain_json(capsys, tmp_path / "v.png", *words)["images"]
    assert [(entry["image"], entry["discriminator"]) for entry in result] == [
        ("generated", None),
        ("generated", "whole/d_b"),
        ("real", None),
        ("real", "whole/d_b"),
    ]
    source, real = values(pair).split(SIDE, dim=3)
    for entry, image in zip(result[1::2], (translation(run, source), real), strict=True):
        scores = expected_scores(whole, source, image)
        assert scores.shape == (1, 1) and entry["map"] == [1, 1] and entry["patch"] is None
        assert entry["mean_score"] == pytest.approx(float(scores), abs=1e-5)
        assert "lowest" not in entry
    text = explain_text(capsys, *words, "-o", tmp_path / "w.png")
    assert text.count("one score for the whole image") == 2
    # Conditional and unconditional discriminators can be compared, and an unconditional one of
    # CycleGAN with a conditional photo, since the translation has a source.
    alone = runs["alone"] / "d_b.safetensors"
    result = explain_json(capsys, tmp_path / "x.png", *words[:-1], alone)["images"]
    check_entry(result[3], expected_scores(alone, real))
    cycle = runs["cycle"] / "ab.safetensors"
    result = explain_json(
        capsys, tmp_path / "y.png", cycle, pair, "--half", "left", "--beside", whole
    )
    assert result["images"][3]["mean_score"] == pytest.approx(
        float(expected_scores(whole, source, real)), 1e-4
    )


def test_text_output_has_the_values_of_the_json_output(
    runs: dict[str, Path], photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (entry,) = explain_json(capsys, tmp_path / "1.png", runs["pairs"], photo)["images"]
    text = explain_text(capsys, runs["pairs"], photo, "-o", tmp_path / "2.png")
    assert (
        f"generated: mean {entry['mean_value']:.3f} (mean score {entry['mean_score']:.3f})" in text
    )
    assert "14x14 patches of 16x16 pixels, 2 apart" in text
    (left, right), (top, bottom) = entry["highest"]["x"], entry["highest"]["y"]
    assert (
        f"{entry['highest']['value']:.3f}  at x {left} to {right - 1}, y {top} to {bottom - 1}"
        in text
    )
    assert "1 is real and 0 is fake; a value is the probability that it is real" in text
    assert text.endswith(f"the figure: {tmp_path / '2.png'}\n")
    assert (tmp_path / "1.png").read_bytes() == (tmp_path / "2.png").read_bytes()


# -- other dtypes, domains and sizes


def test_scores_of_16_bit_images(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deep, real = (pixels(seed, (SIDE, SIDE, 1), np.uint16) for seed in (5, 6))
    write(tmp_path / "deep.png", deep)
    write(tmp_path / "real.tif", real)
    run = runs["deep"]
    fake, true = explain_json(
        capsys, tmp_path / "v.png", run, tmp_path / "deep.png", "--real", tmp_path / "real.tif"
    )["images"]
    source, target = (
        torch.from_numpy(image.astype(np.float32) / 32767.5 - 1).movedim(-1, 0)[None]
        for image in (deep, real)
    )
    check_entry(fake, expected_scores(run / "d_b.safetensors", source, translation(run, source)))
    check_entry(true, expected_scores(run / "d_b.safetensors", source, target))


def test_colours_are_scored_together_with_their_lightness(
    runs: dict[str, Path], photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = explain_json(capsys, tmp_path / "v.png", runs["lab"], photo, "--real", photo)
    assert [entry["map"] for entry in result["images"]] == [[14, 14], [14, 14]]
    fake, true = explain(ExplainOptions(runs["lab"], photo, real=photo, device="cpu")).rows
    back = true.image[None]  # lightness and colours of a photo are the photo
    torch.testing.assert_close(back, values(photo), rtol=0, atol=0.02)
    assert fake.image.shape == true.image.shape
    discriminator = runs["lab"] / "d_b.safetensors"
    result = explain_json(capsys, tmp_path / "w.png", discriminator, photo, "--source", photo)
    assert result["images"][0]["map"] == [14, 14]


def test_image_of_another_size(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(pixels(3, (50, 90, 3))).save(tmp_path / "wide.png")
    (entry,) = explain_json(capsys, tmp_path / "v.png", runs["pairs"], tmp_path / "wide.png")[
        "images"
    ]
    assert entry["map"] == [23, 43]


# -- invalid input, which writes nothing


def test_existing_figure_needs_overwrite(
    runs: dict[str, Path], photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "v.png"
    out.write_text("mine")
    error = explain_error(capsys, runs["pairs"], photo, "-o", out)
    assert error.path == out and "--overwrite" in str(error)
    assert out.read_text() == "mine"
    explain_json(capsys, out, runs["pairs"], photo, "--overwrite")


def test_extension_selects_the_format_of_the_figure(
    runs: dict[str, Path], photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for ending, kind in ((".jpg", "JPEG"), (".WEBP", "WEBP")):
        explain_json(capsys, tmp_path / f"v{ending}", runs["pairs"], photo)
        with Image.open(tmp_path / f"v{ending}") as figure:
            assert figure.format == kind


def test_invalid_output_paths_of_the_figure(
    runs: dict[str, Path], photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runs["pairs"]
    before = photo.read_bytes()
    error = explain_error(capsys, run, photo, "-o", tmp_path / "v.pdf")
    assert (error.option, error.path) == ("--out", tmp_path / "v.pdf")
    for words in (
        (run, photo),
        (run, tmp_path / "x.png", "--real", photo),
        (run, tmp_path / "x.png", "--source", tmp_path / "." / "photo.png"),
    ):
        error = explain_error(capsys, *words, "-o", photo, "--overwrite")
        assert (error.option, error.path) == ("--out", photo) and "input" in str(error)
    (tmp_path / "folder.png").mkdir()
    error = explain_error(capsys, run, photo, "-o", tmp_path / "folder.png", "--overwrite")
    assert (error.option, error.path) == ("--out", tmp_path / "folder.png")
    assert str(photo / "v.png") in str(explain_error(capsys, run, photo, "-o", photo / "v.png"))
    assert photo.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"photo.png", "folder.png"}


INVALID_INPUT = [
    # model, options, option and path of the error
    ("empty", [], None, "{tmp}/empty"),
    ("nowhere", [], None, "{tmp}/nowhere"),
    ("other", [], None, "{tmp}/other"),
    ("cycle", [], None, "{run}"),
    ("pairs", ["--source", "{photo}"], "--source", None),
    ("pairs", ["--real", "{photo}", "--half", "left"], "--real", None),
    ("pairs", ["--real", "nowhere.png"], None, "nowhere.png"),
    ("pairs", ["--device", "abacus"], "device", None),
    ("pairs", ["--max_megapixels", "0"], None, "{photo}"),
    ("pairs", ["--beside", "{run}/ab.safetensors"], None, "{run}/ab.safetensors"),
    ("pairs", ["--beside", "{deep}/d_b.safetensors"], "--beside", "{deep}/d_b.safetensors"),
    ("pairs/d_b.safetensors", [], "--source", "{run}/d_b.safetensors"),
    ("alone/d_b.safetensors", ["--source", "{photo}"], "--source", "{run}/d_b.safetensors"),
    (
        "alone/d_b.safetensors",
        ["--beside", "{pairs}/d_b.safetensors"],
        "--beside",
        "{pairs}/d_b.safetensors",
    ),
    (
        "cycle/ab.safetensors",
        ["--beside", "{grey}/d_b.safetensors"],
        "--beside",
        "{grey}/d_b.safetensors",
    ),
    ("without-d", [], None, "{run}/d_b.safetensors"),
    ("mixed", [], None, "{run}/d_b.safetensors"),
    ("frozen", [], None, "{run}/d_b.safetensors"),
    ("deep/d_b.safetensors", ["--source", "{run}/config.json"], None, "{run}/config.json"),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "words", "option", "path", "text"),
    [
        *((*row, "") for row in INVALID_INPUT),
        ("pairs", ["--real", "{small}"], None, None, "the source has 32x32 pixels"),
        ("pairs", ["--half", "middle"], None, None, "--half"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_invalid_input_is_an_error_and_writes_nothing(
    model: str,
    words: list[str],
    option: str | None,
    path: str | None,
    text: str,
    runs: dict[str, Path],
    photo: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("empty", "without-d", "mixed"):
        (tmp_path / name).mkdir()
    for name in ("without-d", "mixed"):
        shutil.copy(runs["pairs"] / "ab.safetensors", tmp_path / name)
    shutil.copy(runs["deep"] / "d_b.safetensors", tmp_path / "mixed")
    save_network(tmp_path / "other", {"w": torch.zeros(1)}, {"kind": "features", "name": "x"})
    Image.fromarray(pixels(1, (20, 20, 3))).save(tmp_path / "small.png")
    name, _, file = model.partition("/")
    run = runs.get(name, tmp_path / name)
    paths = {"tmp": tmp_path, "run": run, "photo": photo, "small": tmp_path / "small.png", **runs}
    filled = [word.format(**paths) for word in words]
    before = sorted(tmp_path.rglob("*"))
    out = tmp_path / "v.png"
    error = explain_error(capsys, run / file if file else run, photo, *filled, "-o", out)
    if option is path is None:
        assert text in str(error)
    else:
        assert error.option == option
        assert error.path == (path and Path(path.format(**paths)))
    assert sorted(tmp_path.rglob("*")) == before
