"""`viceversa explain`: what it says is what the discriminator says, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
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
        "train": {"run": str(run), "epochs": 1, "device": "cpu", "samples": 0},
        "validate": {"every": 0, "health": 0},
    }  # fmt: skip
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
    """A run of each kind that differs in what can be asked of it."""
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
    one_band = {"data": {"a": {"channels": 1}, "b": {"channels": 1}}}
    whole = {"discriminator": {"whole_image": True}}
    return {
        "pairs": trained("pix2pix", data, folder / "pairs"),
        "whole": trained("pix2pix", data, folder / "whole", **whole),
        "alone": trained("pix2pix", data, folder / "alone", method={"conditional": False}),
        "ba": trained("pix2pix", data, folder / "ba", data={"direction": "ba"}),
        "cycle": trained("cyclegan", data, folder / "cycle"),
        "deep": trained("pix2pix", deep, folder / "deep-run", **one_band),
        "lab": trained("colourise", photos, folder / "lab"),
        "grey": trained("pix2pix", data, folder / "grey", data={"a": {"channels": 1}}),
        "frozen": trained("pix2pix", data, folder / "frozen", method={"lambda_gan": 0.0}),
    }


@pytest.fixture
def one(tmp_path: Path) -> Path:
    """An image that no run has seen."""
    Image.fromarray(pixels(7)).save(tmp_path / "one.png")
    return tmp_path / "one.png"


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """Two of them, side by side."""
    Image.fromarray(pixels(8, (SIDE, 2 * SIDE, 3))).save(tmp_path / "pair.png")
    return tmp_path / "pair.png"


def told(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    capsys.readouterr()
    main(["explain", *map(str, words), "--device", "cpu"])
    said = capsys.readouterr()
    assert said.err == ""
    return said.out


def asked(capsys: pytest.CaptureFixture[str], out: Path, *words: object) -> dict[str, Any]:
    """What --json says, the figure being there."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    found = json.loads(told(capsys, *words, "--json", "-o", out), parse_constant=refuse)
    assert found["figure"] == str(out)
    with Image.open(out) as figure:
        figure.load()
        assert figure.mode == "RGB" and min(figure.size) > 128
    return dict(found)


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main(["explain", *map(str, words)])
    said = capsys.readouterr()
    assert end.value.code == 2 and said.out == ""
    assert said.err.startswith("viceversa: ") and said.err.count("\n") == 1, said.err
    return said.err


# -- what it says, against the discriminator run by hand


def values(file: Path | Any) -> Tensor:
    """(1, 3, h, w) in [-1, 1] of a file or an array of 8 bits."""
    array = np.asarray(Image.open(file)) if isinstance(file, Path) else file
    return torch.from_numpy(array.astype(np.float32) / 127.5 - 1).movedim(-1, 0)[None]


@torch.no_grad()
def by_hand(file: Path, *images: Tensor) -> Tensor:
    """The map of a discriminator's file: its scores of images joined band by band."""
    settings = dict(read_header(file)["discriminator"])
    settings.pop("name")
    width = sum(image.shape[1] for image in images)
    network = load_network(file, lambda: PatchGAN(PatchGAN.Config(**settings), width))
    scores: Tensor = network.train()(torch.cat(images, dim=1))[0]  # statistics of this image alone
    return scores[0, 0]


def made_by_hand(run: Path, source: Tensor) -> Tensor:
    return Translator.load(run / "ab.safetensors", "cpu").tensor(source)


def refuse_others(said: dict[str, Any], scores: Tensor) -> None:
    """Numbers for programs are those of a map, and lie where its patches of 16x16 pixels do."""
    assert said["objective"] == "bce" and said["map"] == list(scores.shape) == [14, 14]
    assert said["patch"] == {"size": 16, "stride": 2}
    assert said["mean_score"] == pytest.approx(float(scores.mean()), abs=1e-5)
    assert said["mean_value"] == pytest.approx(float(scores.mean().sigmoid()), abs=1e-5)
    assert said["real_fraction"] == pytest.approx(float((scores > 0).float().mean()))
    for name, place in (("lowest", int(scores.argmin())), ("highest", int(scores.argmax()))):
        number = float(scores.flatten()[place].sigmoid())
        assert said[name]["value"] == pytest.approx(number, abs=1e-5)
        for axis, at in (("y", place // 14), ("x", place % 14)):
            assert said[name][axis] == [max(2 * at - 5, 0), min(2 * at + 11, SIDE)]


def test_translations_are_scored_as_by_hand(
    runs: dict[str, Path], one: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, run = values(one), runs["pairs"]
    scores = by_hand(run / "d_b.safetensors", source, made_by_hand(run, source))
    (row,) = explain(ExplainOptions(run, one, device="cpu")).rows
    torch.testing.assert_close(row.scores.scores, scores, rtol=0, atol=1e-5)
    torch.testing.assert_close(row.image, made_by_hand(run, source)[0], rtol=0, atol=1e-5)
    for model in (run, run / "ab.safetensors"):
        found = asked(capsys, tmp_path / f"{model.name}.png", model, one)
        assert found["discriminator"] == str(run / "d_b.safetensors")
        (said,) = found["images"]
        assert said["image"] == "generated" and said["discriminator"] is None
        refuse_others(said, scores)
    other = by_hand(run / "d_b.safetensors", source, source)  # the control
    assert abs(float(other.mean()) - said["mean_score"]) > 1e-3


@pytest.mark.parametrize("half", ["left", "right"])
def test_a_half_has_the_other_as_its_real_target(
    half: str, runs: dict[str, Path], pair: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    both = values(pair)
    source, real = both[..., :SIDE], both[..., SIDE:]
    if half == "right":
        source, real = real, source
    run = runs["pairs"]
    fake, true = asked(capsys, tmp_path / "v.png", run, pair, "--half", half)["images"]
    assert (fake["image"], true["image"]) == ("generated", "real")
    refuse_others(fake, by_hand(run / "d_b.safetensors", source, made_by_hand(run, source)))
    refuse_others(true, by_hand(run / "d_b.safetensors", source, real))


def test_the_real_target_may_be_a_file_of_its_own(
    runs: dict[str, Path], one: Path, pair: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    other, run = tmp_path / "other.png", runs["pairs"]
    Image.fromarray(pixels(9)).save(other)
    fake, true = asked(capsys, tmp_path / "v.png", run, one, "--real", other)["images"]
    refuse_others(fake, by_hand(run / "d_b.safetensors", values(one),
                                made_by_hand(run, values(one))))  # fmt: skip
    refuse_others(true, by_hand(run / "d_b.safetensors", values(one), values(other)))


def test_a_discriminator_scores_an_image_file(
    runs: dict[str, Path], one: Path, pair: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    discriminator, other = runs["pairs"] / "d_b.safetensors", tmp_path / "other.png"
    Image.fromarray(pixels(9)).save(other)
    found = asked(
        capsys, tmp_path / "1.png", discriminator, one, "--source", other, "--real", other
    )
    said, true = found["images"]
    assert (said["image"], true["image"]) == ("image", "real")
    refuse_others(said, by_hand(discriminator, values(other), values(one)))
    refuse_others(true, by_hand(discriminator, values(other), values(other)))
    (said,) = asked(capsys, tmp_path / "2.png", discriminator, pair, "--half", "right")["images"]
    left, right = values(pair).split(SIDE, dim=3)
    refuse_others(said, by_hand(discriminator, left, right))
    unpaired = runs["alone"] / "d_b.safetensors"
    (said,) = asked(capsys, tmp_path / "3.png", unpaired, pair, "--half", "left")["images"]
    refuse_others(said, by_hand(unpaired, left))


def test_a_direction_turned_round(
    runs: dict[str, Path], one: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runs["ba"]
    found = asked(capsys, tmp_path / "v.png", run, one)
    assert found["discriminator"] == str(run / "d_a.safetensors")
    fake = Translator.load(run / "ba.safetensors", "cpu").tensor(values(one))
    refuse_others(found["images"][0], by_hand(run / "d_a.safetensors", values(one), fake))


@pytest.mark.parametrize("way", ["ab", "ba"])
def test_discriminators_of_a_cycle_score_single_images(
    way: str, runs: dict[str, Path], one: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runs["cycle"]
    discriminator = run / f"d_{way[1]}.safetensors"
    fake = Translator.load(run / f"{way}.safetensors", "cpu").tensor(values(one))
    for number, (model, image) in enumerate(((run / f"{way}.safetensors", fake),
                                             (discriminator, values(one)))):  # fmt: skip
        found = asked(capsys, tmp_path / f"{number}.png", model, one)
        (said,) = found["images"]
        scores = by_hand(discriminator, image)
        assert found["discriminator"] == str(discriminator) and said["objective"] == "lsgan"
        assert said["mean_score"] == pytest.approx(float(scores.mean()), abs=1e-5)
        least = float(scores.min().clamp(0, 1))
        assert said["lowest"]["value"] == pytest.approx(least, abs=1e-5)


def test_another_discriminator_beside(
    runs: dict[str, Path], pair: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, whole = runs["pairs"], runs["whole"] / "d_b.safetensors"
    words = (run, pair, "--half", "left", "--beside", whole)
    found = asked(capsys, tmp_path / "v.png", *words)["images"]
    assert [(said["image"], said["discriminator"]) for said in found] == [
        ("generated", None), ("generated", "whole/d_b"), ("real", None), ("real", "whole/d_b"),
    ]  # fmt: skip
    source, real = values(pair).split(SIDE, dim=3)
    for said, image in zip(found[1::2], (made_by_hand(run, source), real), strict=True):
        scores = by_hand(whole, source, image)
        assert scores.shape == (1, 1) and said["map"] == [1, 1] and said["patch"] is None
        assert said["mean_score"] == pytest.approx(float(scores), abs=1e-5)
        assert "lowest" not in said
    text = told(capsys, *words, "-o", tmp_path / "w.png")
    assert text.count("one score for the whole image") == 2
    # One that sees the image alone fits, too, beside one that sees the pair; and beside a cycle's
    # discriminator one that wants the pair, since the translation has a source.
    alone = runs["alone"] / "d_b.safetensors"
    found = asked(capsys, tmp_path / "x.png", *words[:-1], alone)["images"]
    refuse_others(found[3], by_hand(alone, real))
    cycle = runs["cycle"] / "ab.safetensors"
    found = asked(capsys, tmp_path / "y.png", cycle, pair, "--half", "left", "--beside", whole)
    assert found["images"][3]["mean_score"] == pytest.approx(
        float(by_hand(whole, source, real)), 1e-4
    )


def test_the_text_has_the_same_values(
    runs: dict[str, Path], one: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (said,) = asked(capsys, tmp_path / "1.png", runs["pairs"], one)["images"]
    text = told(capsys, runs["pairs"], one, "-o", tmp_path / "2.png")
    assert f"generated: mean {said['mean_value']:.3f} (mean score {said['mean_score']:.3f})" in text
    assert "14x14 patches of 16x16 pixels, 2 apart" in text
    (left, right), (top, bottom) = said["highest"]["x"], said["highest"]["y"]
    assert (
        f"{said['highest']['value']:.3f}  at x {left} to {right - 1}, y {top} to {bottom - 1}"
        in text
    )
    assert "1 is real and 0 is fake; a value is the probability that it is real" in text
    assert text.endswith(f"the figure: {tmp_path / '2.png'}\n")
    assert (tmp_path / "1.png").read_bytes() == (tmp_path / "2.png").read_bytes()


# -- pictures of other kinds


def test_sixteen_bits(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deep, real = (pixels(seed, (SIDE, SIDE, 1), np.uint16) for seed in (5, 6))
    write(tmp_path / "deep.png", deep)
    write(tmp_path / "real.tif", real)
    run = runs["deep"]
    fake, true = asked(capsys, tmp_path / "v.png", run, tmp_path / "deep.png",
                       "--real", tmp_path / "real.tif")["images"]  # fmt: skip
    source, target = (
        torch.from_numpy(one.astype(np.float32) / 32767.5 - 1).movedim(-1, 0)[None]
        for one in (deep, real)
    )
    refuse_others(fake, by_hand(run / "d_b.safetensors", source, made_by_hand(run, source)))
    refuse_others(true, by_hand(run / "d_b.safetensors", source, target))


def test_colours_are_seen_with_their_lightness(
    runs: dict[str, Path], one: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = asked(capsys, tmp_path / "v.png", runs["lab"], one, "--real", one)
    assert [said["map"] for said in found["images"]] == [[14, 14], [14, 14]]
    fake, true = explain(ExplainOptions(runs["lab"], one, real=one, device="cpu")).rows
    back = true.image[None]  # lightness and colours of one photo are the photo again
    torch.testing.assert_close(back, values(one), rtol=0, atol=0.02)
    assert fake.image.shape == true.image.shape
    discriminator = runs["lab"] / "d_b.safetensors"
    found = asked(capsys, tmp_path / "w.png", discriminator, one, "--source", one)
    assert found["images"][0]["map"] == [14, 14]


def test_a_picture_of_another_size(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(pixels(3, (50, 90, 3))).save(tmp_path / "wide.png")
    (said,) = asked(capsys, tmp_path / "v.png", runs["pairs"], tmp_path / "wide.png")["images"]
    assert said["map"] == [23, 43]


# -- what is refused, and that it writes nothing


def test_a_picture_is_not_written_over_unless_that_is_said(
    runs: dict[str, Path], one: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "v.png"
    out.write_text("mine")
    said = refused(capsys, runs["pairs"], one, "-o", out)
    assert f"{out} is there already; choose another -o, or add --overwrite" in said
    assert out.read_text() == "mine"
    asked(capsys, out, runs["pairs"], one, "--overwrite")


def test_other_endings_give_other_files(
    runs: dict[str, Path], one: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for ending, kind in ((".jpg", "JPEG"), (".WEBP", "WEBP")):
        asked(capsys, tmp_path / f"v{ending}", runs["pairs"], one)
        with Image.open(tmp_path / f"v{ending}") as figure:
            assert figure.format == kind


def test_a_place_that_can_not_be_written_is_refused(
    runs: dict[str, Path], one: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runs["pairs"]
    before = one.read_bytes()
    assert "is not an image; its name ends in one of .png" in refused(
        capsys, run, one, "-o", tmp_path / "v.pdf")  # fmt: skip
    for words in ((run, one), (run, tmp_path / "x.png", "--real", one),
                  (run, tmp_path / "x.png", "--source", tmp_path / "." / "one.png")):  # fmt: skip
        said = refused(capsys, *words, "-o", one, "--overwrite")
        assert "would overwrite an input" in said
    (tmp_path / "folder.png").mkdir()
    assert "is a folder; name an image" in refused(
        capsys, run, one, "-o", tmp_path / "folder.png", "--overwrite")  # fmt: skip
    said = refused(capsys, run, one, "-o", one / "v.png")
    assert str(one / "v.png") in said
    assert one.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"one.png", "folder.png"}


@pytest.mark.parametrize(("model", "words", "sentence"), [
    ("empty", [], "the folder {tmp}/empty has neither ab.safetensors nor ba.safetensors"),
    ("nowhere", [], "there is no model {tmp}/nowhere"),
    ("other", [], "{tmp}/other is neither a translator nor a discriminator: features"),
    ("cycle", [], "{run} has translators of both directions; name one: {run}/ab.safetensors or "
                  "{run}/ba.safetensors"),
    ("pairs", ["--source", "{one}"], "the image is the source of its translation"),
    ("pairs", ["--real", "{one}", "--half", "left"], "the real target is the other half"),
    ("pairs", ["--real", "nowhere.png"], "there is no file nowhere.png"),
    ("pairs", ["--device", "abacus"], "abacus"),
    ("pairs", ["--max_megapixels", "0"], "one.png"),
    ("pairs", ["--real", "{small}"], "the source has 32x32 pixels and the image 20x20"),
    ("pairs", ["--beside", "{run}/ab.safetensors"],
     "ab.safetensors is a translator, not a discriminator"),
    ("pairs", ["--beside", "{deep}/d_b.safetensors"],
     "{deep}/d_b.safetensors takes other images than {run}/d_b.safetensors"),
    ("pairs/d_b.safetensors", [], "takes pairs; name the source of the image with --source"),
    ("alone/d_b.safetensors", ["--source", "{one}"],
     "takes single images; leave out --source"),
    ("alone/d_b.safetensors", ["--beside", "{pairs}/d_b.safetensors"],
     "{pairs}/d_b.safetensors takes pairs, and {run}/d_b.safetensors single images"),
    ("cycle/ab.safetensors", ["--beside", "{grey}/d_b.safetensors"],
     "{grey}/d_b.safetensors takes pairs with other sources than {run}/d_b.safetensors"),
    ("lone", [], "there is no discriminator d_b.safetensors beside {tmp}/lone/ab.safetensors"),
    ("mixed", [], "{tmp}/mixed/d_b.safetensors takes other images than "
                  "{tmp}/mixed/ab.safetensors generates; they are not of one run"),
    ("frozen", [], "d_b.safetensors was not trained: its run had no adversarial loss"),
    ("deep/d_b.safetensors", ["--source", "{run}/config.json"], "config.json"),
    ("pairs", ["--half", "middle"], "--half"),
], ids=lambda value: value if isinstance(value, str) else " ".join(value))  # fmt: skip
def test_what_does_not_fit_is_a_sentence(
    model: str, words: list[str], sentence: str, runs: dict[str, Path], one: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    folders = tmp_path / "empty", tmp_path / "lone", tmp_path / "mixed"
    for folder in folders:
        folder.mkdir()
    for folder in folders[1:]:
        shutil.copy(runs["pairs"] / "ab.safetensors", folder)
    shutil.copy(runs["deep"] / "d_b.safetensors", tmp_path / "mixed")
    save_network(tmp_path / "other", {"w": torch.zeros(1)}, {"kind": "features", "name": "x"})
    Image.fromarray(pixels(1, (20, 20, 3))).save(tmp_path / "small.png")
    name, _, rest = model.partition("/")
    run = runs.get(name, tmp_path / name)
    places = {"tmp": tmp_path, "run": run, "one": one, "small": tmp_path / "small.png", **runs}
    filled = [word.format(**places) for word in words]
    before = sorted(tmp_path.rglob("*"))
    said = refused(capsys, run / rest if rest else run, one, *filled, "-o", tmp_path / "v.png")
    assert sentence.format(**places) in said
    assert sorted(tmp_path.rglob("*")) == before
