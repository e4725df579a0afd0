"""Test `Translator`: types of inputs and outputs, sizes, policies, and input files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support import small_model

from viceversa.cli import main
from viceversa.errors import UserError
from viceversa.images import Pixels
from viceversa.images.domain import Domain, DomainConfig
from viceversa.images.values import to_pixels
from viceversa.inference import FileOptions, Translator, expand, plan, translate_files
from viceversa.networks import GENERATORS


def eight_bit(channels: int) -> Domain:
    return Domain(DomainConfig(channels=channels), "uint8", (0.0,) * channels, (255.0,) * channels)


def model(folder: Path, name: str = "unet", channels: tuple[int, int] = (3, 3)) -> Path:
    source, target = (eight_bit(number) for number in channels)
    return small_model(folder, source, target, name)


def noise(seed: int, height: int = 16, width: int = 16, channels: int = 3) -> Pixels:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, channels), dtype=np.uint8)


def put(path: Path, seed: int = 0, height: int = 16, width: int = 16) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(seed, height, width)).save(path)
    return path


def floats(pixels: Pixels) -> torch.Tensor:
    return torch.from_numpy(pixels).movedim(-1, 0) / 127.5 - 1


def planned(inputs: list[str], out: Path) -> list[tuple[Path, Path]]:
    """Return the plan for a model whose results every format supports."""
    return plan(expand(inputs).files, out, lambda suffix: suffix)


@pytest.fixture
def unet(tmp_path: Path) -> Path:
    return model(tmp_path / "model")


@pytest.mark.parametrize("name", GENERATORS)
def test_path_image_array_and_tensor_give_the_same_result(tmp_path: Path, name: str) -> None:
    translate = Translator.load(model(tmp_path, name), "cpu")
    pixels = noise(0, 21, 18)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    array = translate(pixels)
    assert array.shape == (21, 18, 3) and array.dtype == np.uint8 and array.std() > 5
    assert np.array_equal(np.asarray(translate(tmp_path / "x.png")), array)
    assert np.array_equal(np.asarray(translate(str(tmp_path / "x.png"))), array)
    assert np.array_equal(np.asarray(translate(Image.fromarray(pixels))), array)
    tensor = translate(floats(pixels))
    assert tensor.shape == (3, 21, 18) and float(tensor.abs().max()) <= 1
    assert np.array_equal(to_pixels(tensor[None], Domain())[0], array)
    assert torch.equal(translate(floats(pixels)[None])[0], tensor)


@pytest.mark.slow
@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("policy", ["image", "running", "paper"])
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (1, 40), (17, 33), (64, 8)])
def test_output_has_the_size_of_the_input(
    tmp_path: Path, name: str, policy: Any, size: tuple[int, int]
) -> None:
    translate = Translator.load(model(tmp_path, name), "cpu", policy)
    result = translate(floats(noise(0, *size)))
    assert result.shape == (3, *size) and bool(result.isfinite().all())


def test_only_sizes_that_the_network_does_not_support_are_padded(unet: Path) -> None:
    translate = Translator.load(unet, "cpu")
    image = floats(noise(0, 16, 24))[None]
    with torch.inference_mode():
        assert torch.equal(translate(image), translate.network(image))
        mirrored = torch.cat([image[..., :23], image[..., 21:22]], dim=-1)
        cut = translate(image[..., :23])
        assert torch.equal(cut, translate.network(mirrored)[..., :23])


@pytest.mark.parametrize("policy", ["image", "running", "paper"])
def test_result_does_not_depend_on_other_images_of_the_batch(unet: Path, policy: Any) -> None:
    translate = Translator.load(unet, "cpu", policy)
    x, y, z = (floats(noise(seed)) for seed in range(3))
    with_y, with_z = translate(torch.stack([x, y])), translate(torch.stack([x, z * 0.1]))
    assert torch.equal(with_y[0], with_z[0])
    assert torch.equal(translate(torch.stack([y, x]))[1], with_y[0])
    assert not torch.equal(with_y[1], with_z[1])
    torch.testing.assert_close(translate(x), with_y[0])
    # Negative control: with the batch statistics of training it does.
    translate.network.train()
    for layer in translate.network.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.eval()
    naive = [translate.network(torch.stack([x, other]))[0] for other in (y, z * 0.1)]
    assert not torch.allclose(*naive, atol=1e-3)


def test_policies_give_different_results(unet: Path) -> None:
    image = floats(noise(0))

    def translated(policy: Any, seed: int = 0) -> torch.Tensor:
        before = torch.get_rng_state()
        result: torch.Tensor = Translator.load(unet, "cpu", policy, seed)(image)
        torch.manual_seed(99)
        other: torch.Tensor = Translator.load(unet, "cpu", policy, seed)(image)
        torch.set_rng_state(before)
        assert torch.equal(result, other)  # depends on the seed of the translator only
        return result

    image_, running, paper = translated("image"), translated("running"), translated("paper")
    assert not torch.allclose(image_, running, atol=1e-3)
    assert not torch.allclose(image_, paper, atol=1e-3)
    assert not torch.allclose(paper, translated("paper", seed=1), atol=1e-3)
    for policy in ("image", "running"):
        assert torch.equal(translated(policy, seed=1), translated(policy))


def test_noise_does_not_change_the_global_random_state(unet: Path) -> None:
    translate = Translator.load(unet, "cpu", "paper")
    before = torch.get_rng_state()
    translate(floats(noise(0)))
    assert torch.equal(torch.get_rng_state(), before)


def test_grey_input_and_colour_output(tmp_path: Path) -> None:
    translate = Translator.load(model(tmp_path, channels=(1, 3)), "cpu")
    grey = noise(0, 16, 16, 1)
    result = translate(grey)
    assert result.shape == (16, 16, 3)
    assert np.array_equal(translate(grey[:, :, 0]), result)
    image = translate(Image.fromarray(grey[:, :, 0]))
    assert image.mode == "RGB" and np.array_equal(np.asarray(image), result)
    assert translate(put(tmp_path / "rgb.png")).mode == "RGB"
    back = Translator.load(model(tmp_path, channels=(3, 1)), "cpu")
    assert back(put(tmp_path / "rgb.png")).mode == "L"
    assert back(noise(0)).shape == (16, 16, 1)


@pytest.mark.parametrize(
    "image",
    [
        torch.zeros(1, 16, 16),
        torch.zeros(3, 16, 16, dtype=torch.uint8),
        torch.zeros(3, 3),
        np.zeros((16, 16, 3), dtype=np.float32),
        np.zeros((16, 16), dtype=np.uint8),
        np.zeros((16, 16, 4), dtype=np.uint8),
        None,
        7,
    ],
    ids=repr,
)
def test_invalid_image_is_refused(unet: Path, image: Any) -> None:
    with pytest.raises(
        UserError, match=r"(a tensor|an array|an image|arrays) (is|must|needs)|float32 values"
    ):
        Translator.load(unet, "cpu")(image)


# -- files


def test_files_globs_and_folders_are_inputs(tmp_path: Path) -> None:
    x, y = put(tmp_path / "in" / "x.png"), put(tmp_path / "in" / "y.jpg")
    deep = put(tmp_path / "in" / "deep" / "er" / "z.PNG")
    put(tmp_path / "in" / ".hidden.png")
    (tmp_path / "in" / "notes.txt").write_text("x")
    out = tmp_path / "out"
    assert planned([str(x)], out) == [(x, out / "x.png")]
    assert planned([str(tmp_path / "in" / "*.png")], out) == [(x, out / "x.png")]
    folder = planned([str(tmp_path / "in")], out)
    assert dict(folder) == {x: out / "x.png", y: out / "y.jpg", deep: out / "deep/er/z.PNG"}
    assert dict(planned([str(tmp_path / "in" / "**" / "*")], out)) == {
        x: out / "x.png",
        y: out / "y.jpg",
        deep: out / "z.PNG",
    }
    assert planned([str(x), str(x)], out) == [(x, out / "x.png")]


def test_files_of_other_formats_are_reported_by_extension(tmp_path: Path) -> None:
    root = tmp_path / "in"
    images = [put(root / name) for name in ("x.png", "y.jfif", "deep/z.jp2", "w.ppm")]
    others = ["1.nii.gz", "2.nii.gz", "deep/3.dcm", "noext"]
    for name in (*others, "notes.txt", ".hidden.dcm", ".git/x.png", "Thumbs.db"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()
    listed = [
        f"2 files ending in .nii.gz: {root}/1.nii.gz, {root}/2.nii.gz",
        f"1 file without an ending: {root}/noext",
        f"1 file ending in .dcm: {root}/deep/3.dcm",
    ]
    found = expand([str(root)])
    assert sorted(path for path, _ in found.files) == sorted(images)
    assert sorted(map(str, found.unread)) == sorted(listed)
    shallow = expand([str(root / "*"), str(root / "x.png")])
    assert len(shallow.files) == 3 and sorted(map(str, shallow.unread)) == sorted(listed[:2])
    # A file given by name is read by its contents, whatever its extension.
    named = expand([str(root), str(root / "noext")])
    assert (root / "noext", Path("noext")) in named.files
    assert sorted(map(str, named.unread)) == sorted([listed[0], listed[2]])
    for pattern in (root / "*.nii.gz", root / "deep2"):
        (root / "deep2").mkdir(exist_ok=True)
        (root / "deep2" / "1.nii.gz").touch()
        with pytest.raises(
            UserError, match=r"no images that can be read, only \d files? ending in"
        ):
            expand([str(pattern)])


def test_files_that_are_not_read_are_printed_and_counted(
    tmp_path: Path, unet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("1.png", "2.jfif", "3.jp2"):
        put(tmp_path / "in" / name)
    for name in ("4.dcm", "5.dcm", "notes.txt"):
        (tmp_path / "in" / name).touch()
    out = tmp_path / "out"
    main(["translate", str(unet), str(tmp_path / "in"), "-o", str(out), "--device", "cpu"])
    text = capsys.readouterr().out
    assert f"not read: 2 files ending in .dcm: {tmp_path}/in/4.dcm, {tmp_path}/in/5.dcm\n" in text
    assert f"3 of 5 images translated to {out}\n" in text and "notes.txt" not in text
    assert sorted(path.name for path in out.glob("[!.]*")) == ["1.png", "2.jfif", "3.png"]
    with Image.open(out / "2.jfif") as image:
        assert image.format == "JPEG"


def test_existing_file_with_brackets_is_not_a_glob(tmp_path: Path) -> None:
    path = put(tmp_path / "x[1].png")
    assert planned([str(path)], tmp_path / "out") == [(path, tmp_path / "out" / "x[1].png")]


def test_results_overwrite_neither_inputs_nor_each_other(tmp_path: Path) -> None:
    x = put(tmp_path / "one" / "x.png")
    put(tmp_path / "two" / "x.png", 1)
    with pytest.raises(UserError, match=r"x\.png would overwrite a file to translate"):
        planned([str(x)], tmp_path / "one")
    with pytest.raises(UserError, match="would overwrite"):
        planned([str(tmp_path / "one")], tmp_path / "two" / ".." / "one")
    with pytest.raises(UserError, match=r"one/x\.png and .*two/x\.png would both become"):
        planned([str(tmp_path / "one"), str(tmp_path / "two")], tmp_path / "out")


def test_missing_inputs_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "image.png")
    with pytest.raises(UserError, match=r"there is no image .*imag\.png \(did you mean .*image"):
        planned([str(tmp_path / "imag.png")], tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty contains no images"):
        planned([str(tmp_path / "empty")], tmp_path / "out")


def test_batched_files_of_mixed_sizes_match_single_images(tmp_path: Path, unet: Path) -> None:
    sizes = [(16, 16), (16, 16), (20, 9), (16, 16), (20, 9), (20, 9), (20, 9)]
    for number, size in enumerate(sizes):
        put(tmp_path / "in" / f"{number}.png", number, *size)
    translate = Translator.load(unet, "cpu")
    outcome = translate_files(
        translate, planned([str(tmp_path / "in")], tmp_path / "out"), FileOptions(2)
    )
    assert outcome[:2] == ([], []) and len(outcome.written) == len(sizes)
    for number, size in enumerate(sizes):
        with Image.open(tmp_path / "out" / f"{number}.png") as image:
            result = np.asarray(image).astype(int)
        assert result.shape == (*size, 3)
        assert np.abs(result - translate(noise(number, *size))).max() <= 1


def test_valid_images_are_translated_despite_an_invalid_one(
    tmp_path: Path, unet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.png", "c.jpg", "sub/d.png"):
        put(tmp_path / "in" / name)
    (tmp_path / "in" / "b.png").write_text("no image")
    words = ["translate", str(unet), str(tmp_path / "in"), "-o", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as caught:
        main([*words, "--device", "cpu"])
    assert caught.value.code == 2
    printed = capsys.readouterr()
    assert "3 of 4 images translated" in printed.out
    assert "b.png is not an image" in printed.err and printed.err.count("\n") == 1
    results = {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("[!.]*.*")}
    assert results == {"a.png", "c.jpg", "sub/d.png"}
