"""Test translations of images with masks: fill values, alpha, and mask files."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support import small_model

from viceversa import Translator, evaluate
from viceversa.checkpoint import read_header as read_model_header
from viceversa.checkpoint import save_network
from viceversa.cli import main
from viceversa.data import DataConfig, index_split
from viceversa.data.dataset import ImageDataset
from viceversa.errors import UserError
from viceversa.evaluation.model_cases import case_images
from viceversa.images import Pixels, read, read_header
from viceversa.images.domain import Domain, DomainConfig
from viceversa.images.masks import MaskFiles
from viceversa.inference.patch_scores import ExplainOptions, explain
from viceversa.networks.patchgan import PatchGAN

SIDE = 16


def colours(hidden: int) -> Pixels:
    """Return (SIDE, SIDE, 3); the first rows are masked, and have the value `hidden`."""
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    pixels[:5] = hidden
    return pixels


def mask() -> Pixels:
    result = np.full((SIDE, SIDE), 255, np.uint8)
    result[:5] = 0
    return result


def domain(channels: int = 3, dtype: str = "uint8", **config: Any) -> Domain:
    top = float(np.iinfo(dtype).max)
    settings = DomainConfig(channels=channels, **config)
    return Domain(settings, dtype, (0.0,) * channels, (top,) * channels)


def save(path: Path, *planes: Pixels) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.dstack(planes) if len(planes) > 1 else planes[0]).save(path)
    return path


def translate(model: Path, source: Path, out: Path, *options: str) -> Path:
    main(["translate", str(model), str(source), "-o", str(out), *options])
    return out


@pytest.mark.parametrize("alpha_of", ["source", "target"])
@pytest.mark.parametrize(("channels", "dtype"), [(3, "uint8"), (1, "uint8"), (3, "uint16")])
def test_results_have_alpha_where_the_format_has_it(
    tmp_path: Path, alpha_of: str, channels: int, dtype: str
) -> None:
    source = domain(alpha="mask")
    target = domain(channels, dtype, alpha="mask" if alpha_of == "target" else "blend")
    model = small_model(tmp_path, source, target)
    results = []
    for hidden in (0, 200):
        image = save(tmp_path / f"{hidden}.png", colours(hidden), mask())
        for suffix in (".png", ".tif"):
            result = translate(model, image, tmp_path / f"result{hidden}{suffix}")
            header = read_header(result)
            assert header.alpha and header.dtype == dtype
            results.append(read(result))
    for result in results:
        assert np.array_equal(result, results[0])
        assert np.array_equal(result[..., -1] > 0, mask() > 0)
        assert result[..., -1].max() == np.iinfo(dtype).max
        assert (result[:5, :, :-1] == 0).all() and result[5:, :, :-1].any()
    if (channels, dtype) == (3, "uint8"):
        jpeg = read(translate(model, image, tmp_path / "result.jpg"))
        assert jpeg.shape[2] == 3 and jpeg[:4].max() < 40
        saved = Translator.load(model).save(image, tmp_path / "saved.png")
        assert np.array_equal(read(saved), results[0])


def test_results_have_no_alpha_without_alpha_masks(tmp_path: Path) -> None:
    model = small_model(tmp_path, domain(), domain())
    image = save(tmp_path / "x.png", colours(0), mask())
    result = read(translate(model, image, tmp_path / "result.png"))
    assert result.shape[2] == 3 and result[:5].any()


@pytest.mark.parametrize("fill", [-1.0, 1.0])
def test_mask_files_of_translated_images(tmp_path: Path, fill: float) -> None:
    model = small_model(tmp_path, domain(), domain(nodata_fill=fill))
    results = []
    for hidden in (0, 200):
        folder = tmp_path / f"images{hidden}"
        save(folder / "sub/x.png", colours(hidden))
        save(folder / "masks/x.png", mask())
        out = translate(model, folder, tmp_path / f"out{hidden}", "--masks", str(folder / "masks"))
        assert sorted(path.name for path in out.rglob("*.png")) == ["x.png"]  # not the mask
        results.append(read(out / "sub/x.png"))
    assert np.array_equal(*results)
    assert (results[0][:5] == (0 if fill < 0 else 255)).all()
    control = [
        read(translate(model, tmp_path / f"images{h}/sub/x.png", tmp_path / f"{h}.png"))
        for h in (0, 200)
    ]
    assert not np.array_equal(*control)


def test_a_missing_mask_is_a_failure_of_its_image(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = small_model(tmp_path, domain(), domain())
    for name in ("x", "y", "z"):
        save(tmp_path / f"images/{name}.png", colours(0))
    save(tmp_path / "masks/x.png", mask())
    save(tmp_path / "masks/z.png", mask()[:8])
    masks = ["--masks", str(tmp_path / "masks")]
    with pytest.raises(SystemExit) as caught:
        translate(model, tmp_path / "images", tmp_path / "out", *masks)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert "y.png has no mask with its name in" in error
    assert "z.png is 16x16, and its mask 16x8" in error
    assert [path.name for path in (tmp_path / "out").glob("*.png")] == ["x.png"]
    for folder in ("none", "images/x.png"):
        with pytest.raises(UserError) as refused:
            MaskFiles.in_folder(tmp_path / folder, "--masks")
        assert refused.value.option == "--masks"


def test_resuming_translates_again_if_the_mask_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = small_model(tmp_path, domain(), domain())
    image = save(tmp_path / "images/x.png", colours(0)).parent
    for shift, note in ((0, "1 of 1"), (0, "1 were translated before"), (3, "1 of 1")):
        save(tmp_path / "masks/x.png", np.roll(mask(), shift, axis=0))
        masks = ["--masks", str(tmp_path / "masks"), "--resume"]
        out = translate(model, image, tmp_path / "out", *masks)
        assert note in capsys.readouterr().out
        assert (read(out / "x.png")[shift : shift + 5] == 0).all()


def with_discriminator(model: Path) -> Path:
    """Write a discriminator of single images of B beside a translator; return the latter."""
    config = PatchGAN.Config(width=2, layers=1, norm="instance")
    header = read_model_header(model) | {
        "kind": "discriminator",
        "domain": "b",
        "pair": False,
        "objective": "bce",
        "discriminator": {"name": "patchgan", **asdict(config)},
    }
    file = model.with_name("d_b.safetensors")
    save_network(file, PatchGAN(config, 3).state_dict(), header)
    return model


def test_explain_scores_the_translation_that_is_written(tmp_path: Path) -> None:
    model = with_discriminator(small_model(tmp_path, domain(alpha="mask"), domain(nodata_fill=0.5)))
    image = save(tmp_path / "image.png", colours(0), mask())
    (row,) = explain(ExplainOptions(model, image, device="cpu")).rows
    assert (row.image[:, :5] == 0.5).all() and not (row.image[:, 5:] == 0.5).all()


def test_explain_masks_the_image_and_its_target(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is under the masks has no influence on the scores; without masks it has."""
    model = with_discriminator(small_model(tmp_path, domain(), domain()))
    save(tmp_path / "masks/image.png", mask())
    save(tmp_path / "masks/real.png", mask())
    scores = []
    for masks in (["--masks", str(tmp_path / "masks")], []):
        for hidden in (0, 200):
            image = save(tmp_path / "image.png", colours(hidden))
            real = save(tmp_path / "real.png", colours(hidden)[:, ::-1])
            words = [str(model), str(image), "--real", str(real), "-o", str(tmp_path / "o.png")]
            main(["explain", *words, *masks, "--json", "--overwrite", "--device", "cpu"])
            scores.append(json.loads(capsys.readouterr().out)["images"])
    assert scores[0] == scores[1] and scores[2] != scores[3]
    assert scores[2][1] != scores[3][1] != scores[0][1]  # the real target
    other = save(tmp_path / "other.png", colours(0))
    with pytest.raises(UserError, match=r"other\.png has no mask with its name"):
        masks = MaskFiles.in_folder(tmp_path / "masks", "--masks")
        explain(ExplainOptions(model, other, masks=masks, device="cpu"))


@pytest.mark.parametrize("domains", ["ab", "a", "b", ""])
def test_evaluation_of_a_model_with_masks_for_other_data(domains: str, tmp_path: Path) -> None:
    """Pixels under the source's mask do not count; without it they reach other pixels."""
    model = small_model(tmp_path, domain(), domain())
    found = []
    for hidden in (0, 200):
        data = tmp_path / f"data-{hidden}"
        for folder in "AB":
            save(data / folder / "0.png", colours(hidden))
            save(data / f"masks-{folder.lower()}/0.png", mask())
        masks = {name: f"masks-{name}" for name in domains}
        options: dict[str, Any] = {"metrics": ("l1",), "size": "own", "device": "cpu"}
        result = evaluate(model, data, pairs="yes", layout="folders", masks=masks, **options)
        found.append(result["directions"]["ab"]["means"]["l1"]["mean"])
    assert (found[0] == found[1]) == ("a" in domains)


def test_cases_of_an_evaluation_are_the_translations_that_are_evaluated(tmp_path: Path) -> None:
    model = small_model(tmp_path, domain(alpha="mask"), domain(nodata_fill=0.5))
    for name in "AB":
        save(tmp_path / f"set/{name}/0.png", colours(0), mask())
    index = index_split(tmp_path / "set", "train", True)
    assert index is not None
    translator = Translator.load(model, "cpu")
    domains = translator.source, translator.target
    config = DataConfig(path=str(tmp_path / "set"), preprocess="none")
    dataset = ImageDataset(index, config, domains, True, 0, training=False)
    metrics: Any = SimpleNamespace(
        direction="ab", files=[SimpleNamespace(source=str(dataset.sources("a")[0]))]
    )
    drawn = case_images(translator, model, "cpu", dataset, False, metrics).draw(0)
    translation = drawn[2:-2, SIDE + 4 : 2 * SIDE + 4]
    assert (translation[:5] == 191).all() and not (translation[5:] == 191).all()
