"""Test masks of images: folders, archives, manifests, crops, and what a check reports."""

from __future__ import annotations

import dataclasses
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from viceversa.data import DataConfig, index_split
from viceversa.data.check import CheckResult, as_dict, as_text, check_dataset, usable_splits
from viceversa.data.crops import LEAST_DATA, crops_with_data
from viceversa.data.dataset import ImageDataset
from viceversa.data.fit import fit_domains
from viceversa.data.index import list_images
from viceversa.data.transforms import Augmentation, draw_augmentation
from viceversa.errors import UserError
from viceversa.fields import fill

CPU = torch.device("cpu")
SIDE = 16


def save(path: Path, pixels: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)
    return path


def hole(number: int, side: int = SIDE) -> Any:
    """Return a mask (side, side) that is 0 in the first rows, more of them for larger numbers."""
    mask = np.full((side, side), 255)
    mask[: 2 + number] = 0
    return mask


def pairs(root: Path, count: int = 3, hidden: int = 0, folder: str = "masks") -> Path:
    """Write pairs; where the mask of A is 0, its pixels are `hidden`."""
    rng = np.random.default_rng(0)
    for number in range(count):
        a = rng.integers(0, 256, (SIDE, SIDE, 3))
        mask = hole(number)
        a[mask == 0] = hidden
        save(root / f"A/{number}.png", a)
        save(root / f"B/{number}.png", rng.integers(0, 256, (SIDE, SIDE, 3)))
        if folder:
            save(root / f"{folder}/{number}.png", mask)
    return root


def settings(root: Path, masks: str = "masks", **data: Any) -> DataConfig:
    usual = {"preprocess": "none", "flip": False, "workers": 0, "a": {"masks": masks}}
    return fill(DataConfig, {"path": str(root), **usual, **data}, "data")


def check(root: Path, masks: str = "masks", store: Any = None, **data: Any) -> CheckResult:
    return check_dataset(root, True, settings(root, masks, **data), store=store)


def dataset(root: Path, masks: str = "masks", training: bool = False, **data: Any) -> ImageDataset:
    checked = check(root, masks, **data)
    splits = usable_splits(checked)
    domains = fit_domains(splits["train"], checked.domains["train"], checked.config)
    config, digests = checked.config, checked.digests
    return ImageDataset(splits["train"], config, domains, checked.paired, 0, training, digests)


def weights(of: ImageDataset) -> list[Any]:
    batches = [of.batch([(1, position)], CPU) for position in range(len(of))]
    return [None if one is None or one.weight_a is None else one.weight_a[0, 0] for one in batches]


def assert_masked(of: ImageDataset, count: int = 3) -> None:
    found = weights(of)
    assert len(found) == count
    for number, weight in enumerate(found):
        assert torch.equal(weight, torch.from_numpy(hole(number) / 255).float())


def test_masks_are_found_by_name_wherever_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = pairs(tmp_path / "inside")
    assert_masked(dataset(inside))
    assert_masked(dataset(inside, str(inside / "masks")))  # by its absolute path
    outside = pairs(tmp_path / "outside", folder="../others")
    assert_masked(dataset(outside, str(tmp_path / "others")))
    monkeypatch.chdir(tmp_path)
    assert_masked(dataset(outside, "others"))
    assert_masked(dataset(Path("inside"), "inside/masks"))
    for folder in ("masks/A", "masks/train/A"):  # as many folders as needed
        root = pairs(tmp_path / folder.replace("/", "_") / "train", folder=f"../{folder}").parent
        assert_masked(dataset(root))


def test_masks_in_an_archive(tmp_path: Path) -> None:
    root = pairs(tmp_path / "set")
    for top in ("", "set/"):
        with zipfile.ZipFile(tmp_path / f"{len(top)}.zip", "w") as archive:
            for path in sorted(root.rglob("*.png")):
                archive.write(path, top + path.relative_to(root).as_posix())
        assert_masked(dataset(tmp_path / f"{len(top)}.zip"))


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_masks_in_a_manifest(tmp_path: Path, kind: str) -> None:
    pairs(tmp_path)
    rows = [(f"A/{n}.png", f"B/{n}.png", f"masks/{n}.png") for n in range(3)]
    path = tmp_path / f"set.{kind}"
    if kind == "csv":
        path.write_text("a,b,mask_a\n" + "\n".join(",".join(row) for row in rows))
    else:
        lines = [f'{{"a": "{a}", "b": "{b}", "mask_a": "{mask}"}}' for a, b, mask in rows]
        path.write_text("\n".join(lines))
    assert_masked(dataset(path, ""))
    (tmp_path / "masks/1.png").unlink()
    with pytest.raises(UserError, match=r"line \d: masks/1.png does not exist"):
        list_images(path)


def test_a_manifest_may_lack_a_mask_but_not_have_two(tmp_path: Path) -> None:
    pairs(tmp_path)
    path = tmp_path / "set.csv"
    path.write_text("a,b,mask_a\nA/0.png,B/0.png,masks/0.png\nA/1.png,B/1.png,\n")
    found = weights(dataset(path, ""))
    assert torch.equal(found[0], torch.from_numpy(hole(0) / 255).float()) and found[1].all()
    path.write_text("a,b,mask_a\nA/0.png,B/0.png,masks/0.png\nA/0.png,B/1.png,masks/1.png\n")
    with pytest.raises(UserError, match="two masks"):
        index_split(path, "train", True)


def test_masks_of_side_by_side_files_are_side_by_side(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(2):
        mask = np.concatenate([hole(number), hole(number + 3)], axis=1)
        save(tmp_path / f"{number}.png", rng.integers(0, 256, (SIDE, 2 * SIDE, 3)))
        save(tmp_path / f"masks/{number}.png", mask)
    left = dataset(tmp_path)
    assert len(left) == 2
    assert_masked(left, 2)
    both = dataset(tmp_path, b={"masks": "masks"})
    for number, weight in enumerate(weights(both)):  # of a pair: valid in both
        assert torch.equal(weight, torch.from_numpy(hole(number + 3) / 255).float())
    right = dataset(tmp_path, "", b={"masks": "masks"})
    assert left.contents.fingerprint != both.contents.fingerprint != right.contents.fingerprint


def test_masks_are_no_images_of_the_dataset(tmp_path: Path) -> None:
    root = pairs(tmp_path)
    index = index_split(root, "train", True, settings(root))
    assert index is not None and "not used" not in index.layout
    control = index_split(root, "train", True)
    assert control is not None and "3 images elsewhere are not used" in control.layout


def test_masked_pixels_change_nothing_but_the_files(tmp_path: Path) -> None:
    one, other = (dataset(pairs(tmp_path / str(hidden), hidden=hidden)) for hidden in (0, 200))
    without = [dataset(tmp_path / str(hidden), "") for hidden in (0, 200)]
    assert one.contents.fingerprint != other.contents.fingerprint
    first, second, third, fourth = (d.batch([(1, 0)], CPU) for d in (one, other, *without))
    assert first is not None and second is not None and third is not None and fourth is not None
    assert torch.equal(first.a, second.a) and torch.equal(first.b, second.b)
    assert not torch.equal(third.a, fourth.a)  # control


def test_a_changed_mask_is_a_changed_dataset(tmp_path: Path) -> None:
    root, store = pairs(tmp_path / "set"), tmp_path / "store"
    before = check(root, store=store)
    assert check(root, store=store).digests == before.digests  # control
    save(root / "masks/1.png", hole(5))
    os.utime(root / "masks/1.png", ns=(1, 1))
    after = check(root, store=store)
    changed = [
        source.name.name for source, one in after.digests.items() if one != before.digests[source]
    ]
    assert changed == ["1.png"]
    (source,) = [one for one in after.records if one.path == root / "A/1.png"]
    assert after.records[source].masked[0] == 7 / SIDE != before.records[source].masked[0]
    assert after.records[source].sha256 == before.records[source].sha256
    notes: list[str] = []
    for mask in (hole(5), hole(5), hole(1)):
        save(root / "masks/1.png", mask)
        cached = dataset(root, cache="disk")
        cached.cache_on_disk(tmp_path / "cache", notes.append)
        weight = weights(cached)[1]
        assert torch.equal(weight, torch.from_numpy(mask / 255).float())
    assert [note.split(" in ")[0] for note in notes] == [
        "caching 6 images",
        "images cached",
        "rebuilding the image cache",
        "caching 6 images",
    ]


def test_a_second_check_decodes_nothing_if_both_domains_have_masks(tmp_path: Path) -> None:
    root, store = pairs(tmp_path / "set"), tmp_path / "store"
    config = settings(root, b={"masks": "masks"})
    counts: list[list[int]] = []
    for _ in range(2):
        counts.append([])
        check_dataset(
            root, True, config, store=store, progress=lambda done, _: counts[-1].append(done)
        )
    assert counts == [[0, 1, 2, 3, 3, 4, 5, 6], [3, 6]]


def test_unusable_masks_are_errors_that_name_the_image(tmp_path: Path) -> None:
    root = pairs(tmp_path, 5)
    (root / "masks/0.png").unlink()
    save(root / "masks/1.png", hole(1)[:8])
    save(root / "masks/2.png", np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3)))
    (root / "masks/3.png").write_bytes(b"no image")
    checked = check(root)
    reasons = {source.name.name: text for source, text in checked.invalid.items()}
    assert reasons["0.png"] == "has no mask with its name in masks"
    assert reasons["1.png"] == "is 16x16, and its mask 16x8; save both at one size"
    assert "masks/2.png has 3 channels; a mask has one" in reasons["2.png"]
    assert "masks/3.png is not an image" in reasons["3.png"]
    assert len(reasons) == 4 and len(checked.errors) == 2
    with pytest.raises(UserError, match="images of A without a mask: 1"):
        usable_splits(checked)
    skipping = check(root, on_invalid="skip", max_invalid=0.9)
    assert [source.name.name for source in usable_splits(skipping)["train"].a] == ["4.png"]


def test_masks_that_cannot_be_assigned_are_refused(tmp_path: Path) -> None:
    root = pairs(tmp_path)
    with pytest.raises(UserError, match="there is no folder none of masks") as caught:
        index_split(root, "train", True, settings(root, "none"))
    assert caught.value.option == "data.a.masks"
    save(root / "masks/0.tif", hole(0))
    with pytest.raises(UserError, match="are masks of the same name"):
        index_split(root, "train", True, settings(root))
    (root / "masks/0.tif").unlink()
    for domain in "AB":
        save(root / f"test/{domain}/0.png", np.zeros((SIDE, SIDE, 3)))
        (root / f"train/{domain}").mkdir(parents=True, exist_ok=True)
        for number in range(3):
            os.replace(root / f"{domain}/{number}.png", root / f"train/{domain}/{number}.png")
    with pytest.raises(UserError, match="would have the same mask"):
        check(root)
    with pytest.raises(UserError, match="masks belong to images"):
        settings(root, a={"masks": "masks", "kind": "lab-l"})


def test_check_reports_masked_pixels_empty_images_and_jpeg(tmp_path: Path) -> None:
    root = pairs(tmp_path)
    save(root / "masks/1.png", np.zeros((SIDE, SIDE)))
    with Image.open(root / "A/2.png") as image:
        image.save(root / "A/2.jpg")
    (root / "A/2.png").unlink()
    checked = check(root)
    fraction = (2 + SIDE + 4) / (3 * SIDE)
    assert as_dict(checked)["domains"][0]["masked"] == {"images": 3, "fraction": fraction}
    assert "     masked  45.8 % of the pixels, in 3 images" in as_text(checked).splitlines()
    issues = {issue.text: issue for issue in checked.issues}
    empty = issues["images of A without any data, which are left out"]
    assert empty.files == (str(root / "A/1.png"),) and empty.severity == "warning"
    (jpeg,) = [issue for text, issue in issues.items() if "JPEG" in text]
    assert jpeg.files == (str(root / "A/2.jpg"),) and jpeg.severity == "note"
    notes: list[str] = []
    train = usable_splits(checked, notes.append)["train"]
    assert [source.name.name for source in train.b] == ["0.png", "2.png"]  # the pair is left out
    assert notes == [f"left out: 1 file: {root / 'A/1.png'} has no data"]
    control = check(root, "")
    assert as_dict(control)["domains"][0]["masked"] == {"images": 0, "fraction": 0}
    assert not [issue for issue in control.issues if "JPEG" in issue.text or "data" in issue.text]


def test_a_rule_and_alpha_give_weights_without_a_mask_file(tmp_path: Path) -> None:
    root = pairs(tmp_path / "rule", hidden=255)
    for number in range(3):
        path = root / f"A/{number}.png"
        with Image.open(path) as image:
            rgb = np.asarray(image)
        save(tmp_path / f"alpha/A/{number}.png", np.dstack([rgb, hole(number)]))
        save(tmp_path / f"alpha/B/{number}.png", rgb)
    assert_masked(dataset(root, a={"nodata": ">=255"}))
    assert_masked(dataset(tmp_path / "alpha", a={"alpha": "mask"}))
    checked = check(tmp_path / "alpha", a={"alpha": "mask"})
    assert not checked.errors and not [i for i in checked.issues if "blended" in i.text]
    assert dataset(tmp_path / "alpha", "").has_weights is False  # control


@pytest.mark.parametrize(
    ("tags", "mixed"),
    [
        (("-9999", "-32768", "5"), True),
        (("-9999", "-9999", ""), True),
        (("-9999", "-9999", "-9999"), False),
        (("", "", ""), False),
    ],
)
def test_files_with_different_no_data_tags_give_weights(
    tags: tuple[str, ...], mixed: bool, tmp_path: Path
) -> None:
    for number, tag in enumerate(tags):
        image = np.random.default_rng(number).random((SIDE, SIDE), np.float32)
        for folder in "AB":
            path = tmp_path / folder / f"{number}.tif"
            path.parent.mkdir(exist_ok=True)
            declared = [(42113, "s", 0, tag, True)] if tag and folder == "A" else []
            if declared:
                image[hole(number) == 0] = float(tag)
            tifffile.imwrite(path, image, metadata=None, extratags=declared)
            image = image[::-1].copy()
    float_images = {"channels": 1, "range": "0,1"}
    of = dataset(tmp_path, a=float_images, b=float_images)
    assert of.domains["a"].mixed_nodata == mixed and not of.domains["b"].mixed_nodata
    for number, (found, tag) in enumerate(zip(weights(of), tags, strict=True)):
        if any(tags):
            assert found is not None
            assert torch.equal(found == 0, torch.from_numpy((hole(number) == 0) & bool(tag)))
        else:
            assert found is None


def corner(side: int = 24, valid: int = 6) -> torch.Tensor:
    """Return an image (1, side, side) with data in its last rows and columns only."""
    image = torch.full((1, side, side), torch.nan)
    image[:, -valid:, -valid:] = 1
    return image


def crop_of(draw: Augmentation, side: int, size: int) -> tuple[int, int]:
    free = side - size + 1
    return int(draw.y * free), int(draw.x * free)


@pytest.mark.parametrize(("valid", "positions"), [(1, 1), (6, 11), (12, 25)])
def test_crops_have_data(valid: int, positions: int) -> None:
    config = DataConfig(preprocess="crop", crop_size=8)
    image, found = corner(24, valid), set()
    for seed in range(200):
        draw = draw_augmentation(config, (seed,))
        same = crops_with_data([image, image], [draw, draw], config, paired=True)
        assert same[0] == same[1]
        top, left = crop_of(same[0], 24, 8)
        inside = image[0, top : top + 8, left : left + 8]
        most = min(8, valid) ** 2
        assert int((~inside.isnan()).sum()) >= min(LEAST_DATA * 64, most)
        found.add((top, left))
        assert dataclasses.replace(same[0], x=draw.x, y=draw.y) == draw  # nothing else changes
    assert len(found) >= positions  # every one that is allowed


def test_crops_depend_on_the_mask_alone_and_stay_where_there_is_data() -> None:
    config = DataConfig(preprocess="crop", crop_size=8)
    draws = [draw_augmentation(config, (seed,)) for seed in (1, 2)]
    masked, full = corner(), torch.rand(1, 24, 24)
    noise = torch.where(masked.isnan(), masked, torch.rand(1, 24, 24))
    first = crops_with_data([masked, full], draws, config, paired=False)
    assert first == crops_with_data([noise, full], draws, config, paired=False)
    assert first[1] is draws[1]  # each image for itself
    assert crops_with_data([full, full], draws, config, paired=True) == draws
    half = full.clone()
    half[:, :, :12] = torch.nan
    for seed in range(50):  # a crop with enough data is kept
        draw = draw_augmentation(config, (seed,))
        kept = crops_with_data([half, full], [draw, draw], config, paired=True)[0] == draw
        left = crop_of(draw, 24, 8)[1]
        assert kept == (left + 8 - 12 >= 2)
    nothing = torch.full((1, 24, 24), torch.nan)
    assert crops_with_data([nothing, full], draws, config, paired=True) == draws
    whole = dataclasses.replace(config, preprocess="none")
    assert crops_with_data([masked, full], draws, whole, paired=True) == draws


def test_the_drawn_augmentation_is_that_of_earlier_versions() -> None:
    config = DataConfig(jitter=0.2)
    draw = draw_augmentation(config, (3, 1, 4))
    numbers = np.random.default_rng((3, 1, 4)).random(13)
    assert (draw.x, draw.y, draw.flip) == (numbers[0], numbers[1], bool(numbers[2] < 0.5))
    assert draw.color_jitter == tuple(2 * numbers[10:] - 1)
