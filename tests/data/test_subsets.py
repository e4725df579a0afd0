"""Test the options data.hold_out and data.max_images, which select images by a hash of names."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forms import FORMS, Form, folder
from PIL import Image
from support import noise_pairs, raises_user_error

from viceversa.cli import main
from viceversa.config.recipes import read_recipe
from viceversa.config.run import resolve
from viceversa.data import DataConfig, SplitIndex, index_split
from viceversa.data.check import check_dataset
from viceversa.fields import fill
from viceversa.plan import inspect_images

NAMES = [f"{number}.png" for number in range(100)]


def paths(*folders: str, names: list[str] = NAMES) -> list[str]:
    return [f"{folder}/{name}" for folder in folders for name in names]


def stems(found: SplitIndex | None, side: str = "a") -> list[str]:
    assert found is not None
    return [source.name.stem for source in (found.a if side == "a" else found.b)]


def hold_out_splits(
    data: Path, paired: bool = True, **config: Any
) -> tuple[SplitIndex, SplitIndex]:
    """Return `train` and `val`, after checking that they are disjoint and contain all images."""
    settings = DataConfig(**config)
    train, val = (index_split(data, split, paired, settings) for split in ("train", "val"))
    full = index_split(data, "train", paired)
    assert train and val and full and index_split(data, "test", paired, settings) is None
    for side in ("a", "b"):
        one, other, every = (set(getattr(found, side)) for found in (train, val, full))
        assert one and other and not one & other and one | other == every
    return train, val


def below(name: str, fraction: float) -> bool:
    """Return whether the first 8 bytes of the SHA-256 of a name are below fraction * 2^64."""
    return int(hashlib.sha256(name.encode()).hexdigest()[:16], 16) < fraction * 2**64


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("where", [("A", "B"), ("train/A", "train/B"), ("trainA", "trainB")])
def test_images_are_held_out_by_the_hash_of_their_name(
    tmp_path: Path, form: Form, paired: bool, where: tuple[str, str]
) -> None:
    data = form(tmp_path / "set", paths(*where))
    train, val = hold_out_splits(data, paired, hold_out=0.2)
    expected = {name[:-4] for name in NAMES if below(name[:-4], 0.2)}
    assert 10 <= len(expected) <= 30  # about 20 of 100
    assert set(stems(val)) == set(stems(val, "b")) == expected
    assert "held out by data.hold_out 0.2" in train.layout and "held out" in val.layout
    if paired:
        assert stems(val) == stems(val, "b") and stems(train) == stems(train, "b")
        assert f"without {len(expected)} of 100 pairs" in train.layout


@pytest.mark.parametrize("layout", ["side by side", "patterns", "photos"])
@pytest.mark.parametrize("paired", [True, False])
def test_hold_out_of_every_layout(tmp_path: Path, layout: str, paired: bool) -> None:
    names = {"patterns": [f"{i}_{side}.png" for i in range(50) for side in "AB"]}.get(layout, NAMES)
    data = folder(tmp_path / "set", names)
    train, val = (
        hold_out_splits(data, paired, hold_out=0.1)
        if layout != "photos"
        else (
            index_split(data, split, paired, DataConfig(layout="photos", hold_out=0.1))
            for split in ("train", "val")
        )
    )
    assert train and val and not set(train.a) & set(val.a)
    if layout != "patterns":
        assert train.a == train.b and val.a == val.b
    else:
        assert [name[:-2] for name in stems(val)] == [name[:-2] for name in stems(val, "b")]


def test_held_out_images_do_not_change_when_images_are_added_or_moved(tmp_path: Path) -> None:
    few = folder(tmp_path / "few", paths("A", "B"))
    more = [f"x{number}.png" for number in range(100)]
    (tmp_path / "many").mkdir()
    many = folder(tmp_path / "many" / "deeper", paths("A", "B", names=NAMES + more))
    first, second = (
        hold_out_splits(few, hold_out=0.1)[1],
        hold_out_splits(many.parent, hold_out=0.1)[1],
    )
    assert set(stems(first)) == {name for name in stems(second) if not name.startswith("x")}
    smaller, larger = (
        set(stems(hold_out_splits(few, hold_out=fraction)[1])) for fraction in (0.1, 0.3)
    )
    assert smaller < larger


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("deep", ["{group}/{side}", "train/{group}/{side}", "{group}/train/{side}"])
def test_groups_are_held_out_completely(
    tmp_path: Path, form: Form, paired: bool, deep: str
) -> None:
    groups = [f"patient{number}" for number in range(30)]
    folders = [deep.format(group=group, side=side) for group in groups for side in "AB"]
    data = form(tmp_path / "set", paths(*folders, names=["1.png", "2.png", "3.png"]))
    train, val = hold_out_splits(data, paired, hold_out=0.2)
    expected = {group for group in groups if below(group, 0.2)}
    assert {val.group_of(source) for source in (*val.a, *val.b)} == expected
    assert {train.group_of(s) for s in (*train.a, *train.b)} == set(groups) - expected
    assert f"{len(expected)} of the 30 groups" in val.layout


def manifest(root: Path, rows: list[dict[str, str]]) -> Path:
    root.mkdir(exist_ok=True)
    for row in rows:
        for side in "ab":
            (root / row[side]).touch()
    (root / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return root / "list.jsonl"


@pytest.mark.parametrize("paired", [True, False])
def test_manifest_holds_out_by_group_or_by_image(tmp_path: Path, paired: bool) -> None:
    rows = [{"a": f"a{i}.png", "b": f"b{i}.png"} for i in range(60)]
    grouped = [row | {"group": f"slide {i // 6}"} for i, row in enumerate(rows)]
    _, val = hold_out_splits(manifest(tmp_path / "one", grouped), paired, hold_out=0.3)
    held = {f"slide {i}" for i in range(10) if below(f"slide {i}", 0.3)}
    assert {val.group_of(s) for s in val.a} == {val.group_of(s) for s in val.b} == held
    _, val = hold_out_splits(manifest(tmp_path / "two", rows), paired, hold_out=0.3)
    assert 5 < len(val.a) < 30
    if paired:
        assert [name[1:] for name in stems(val)] == [name[1:] for name in stems(val, "b")]


def test_pairs_that_share_an_image_are_in_one_split(tmp_path: Path) -> None:
    rows = [{"a": f"a{i}.png", "b": f"b{i // 3}.png"} for i in range(60)]
    rows += [{"a": "a0.png", "b": "b19.png"}]  # connects the first three with the last
    train, val = hold_out_splits(manifest(tmp_path / "set", rows), hold_out=0.3)
    assert {"a0", "a59"} <= set(stems(train)) or {"a0", "a59"} <= set(stems(val))


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("fraction", [0.001, 0.999])
def test_each_split_has_at_least_one_group(tmp_path: Path, paired: bool, fraction: float) -> None:
    data = folder(tmp_path / "set", paths("A", "B"))
    train, val = hold_out_splits(data, paired, hold_out=fraction)
    assert (1 if fraction < 0.5 else 99) in (len(val.a), len(train.b))
    assert min(len(train.a), len(val.a)) == min(len(train.b), len(val.b)) == 1


@pytest.mark.parametrize("split", ["val", "test", "valid"])
@pytest.mark.parametrize("wanted", ["train", "val", "test"])
def test_hold_out_of_data_with_val_or_test_is_refused(
    tmp_path: Path, split: str, wanted: str
) -> None:
    data = folder(tmp_path / "set", paths("train/A", "train/B", f"{split}/A", f"{split}/B"))
    with raises_user_error("data.hold_out", data):
        index_split(data, wanted, True, DataConfig(hold_out=0.1))
    assert index_split(data, wanted, True, DataConfig()) is not None or wanted != split


def test_hold_out_that_leaves_a_split_empty_is_refused(tmp_path: Path) -> None:
    one = folder(tmp_path / "one", ["A/1.png", "B/1.png"])
    single = folder(tmp_path / "single", ["A/1.png", "A/2.png", "B/1.png"])
    group = folder(tmp_path / "group", ["p1/A/1.png", "p1/B/1.png", "p2/A/1.png"])
    for data, paired in ((one, True), (one, False), (single, False), (group, False)):
        with raises_user_error("data.hold_out"):
            index_split(data, "train", paired, DataConfig(hold_out=0.5))
    for invalid in (-0.1, 1.0, 7.0):
        with raises_user_error("data.hold_out"):
            fill(DataConfig, {"hold_out": invalid}, "data")
    with raises_user_error("data.max_images"):
        fill(DataConfig, {"max_images": -1}, "data")


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("paired", [True, False])
def test_max_images_selects_the_first_images_by_hash(
    tmp_path: Path, form: Form, paired: bool
) -> None:
    data = form(tmp_path / "set", paths("train/A", "train/B", "test/A", "test/B"))
    found = index_split(data, "train", paired, DataConfig(max_images=10))
    order = sorted(
        (name[:-4] for name in NAMES), key=lambda name: hashlib.sha256(name.encode()).digest()
    )
    assert sorted(stems(found)) == sorted(stems(found, "b")) == sorted(order[:10])
    assert (
        found is not None and "10 " in found.layout and "of 100 by data.max_images" in found.layout
    )
    more = index_split(data, "train", paired, DataConfig(max_images=11))
    assert set(stems(found)) < set(stems(more))
    assert len(stems(index_split(data, "test", paired, DataConfig(max_images=10)))) == 100
    for at_least_all in (0, 100, 1000):
        full = index_split(data, "train", paired, DataConfig(max_images=at_least_all))
        assert full == index_split(data, "train", paired)


def test_hold_out_and_max_images_together(tmp_path: Path) -> None:
    data = folder(tmp_path / "set", paths("A", "B"))
    plain, val = hold_out_splits(data, hold_out=0.2)
    config = DataConfig(hold_out=0.2, max_images=30)
    train = index_split(data, "train", True, config)
    assert set(stems(train)) < set(stems(plain)) and len(stems(train)) == 30
    assert index_split(data, "val", True, config) == val


@pytest.mark.slow
def test_check_plan_and_train_select_the_same_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = noise_pairs(tmp_path / "data", 24, 16)
    config = DataConfig(path=str(data), hold_out=0.2, max_images=9, load_size=18, crop_size=16)
    checked = check_dataset(data, True, config, store=None)
    assert (len(checked.splits["train"].a), len(checked.splits["val"].a)) == (9, len(HELD))
    options = {"hold_out": 0.2, "max_images": 9, "load_size": 18, "crop_size": 16}
    arguments = [word for name, value in options.items() for word in (f"--data.{name}", str(value))]
    sections = read_recipe("pix2pix")
    sections["data"] |= {"path": str(data), "hold_out": 0.2, "max_images": 9}
    assert inspect_images(resolve(sections)).count == 9
    main(["check", str(data), *arguments])
    text = capsys.readouterr().out
    layout = f"pairs by name in data/A and data/B, without {len(HELD)} of 24"
    assert f"train 9 of A, 9 of B: {layout}" in text
    assert "9 pairs of" in text and f"val   {len(HELD)} of A" in text
    assert "hold_out 0.1 holds out" not in text


HELD = [f"{number:02d}" for number in range(24) if below(f"{number:02d}", 0.2)]


def test_check_advises_to_hold_out_images(tmp_path: Path) -> None:
    def advice(data: Path, **config: Any) -> list[str]:
        small = DataConfig(path=str(data), load_size=18, crop_size=16, **config)
        issues = check_dataset(data, True, small, store=None).issues
        return [issue.text for issue in issues if "hold_out" in issue.text]

    (text,) = advice(noise_pairs(tmp_path / "many", 20, 16))
    assert "no val or test split" in text and "a tenth of the images" in text
    for group in ("p1", "p2"):
        noise_pairs(tmp_path / "groups" / group, 10, 16)
    assert "a tenth of the groups" in advice(tmp_path / "groups")[0]
    assert not advice(tmp_path / "many", hold_out=0.1)
    assert not advice(noise_pairs(tmp_path / "few", 19, 16))
    noise_pairs(tmp_path / "split" / "train", 20, 16)
    noise_pairs(tmp_path / "split" / "val", 2, 16)
    assert not advice(tmp_path / "split")


def test_invalid_held_out_file_is_reported(tmp_path: Path) -> None:
    data = noise_pairs(tmp_path / "data", 24, 16)
    (data / "A" / f"{HELD[0]}.png").write_bytes(b"bad")
    config = DataConfig(path=str(data), hold_out=0.2, load_size=18, crop_size=16)
    checked = check_dataset(data, True, config, store=None)
    assert [source.name.stem for source in checked.invalid] == [HELD[0]]
    assert np.asarray(Image.open(data / "B" / f"{HELD[0]}.png")).shape == (16, 16, 3)
