"""Folds: no group is divided, every image is tested once, sizes are balanced."""

from __future__ import annotations

import hashlib
import itertools
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest
from support import noise_images, noise_pairs, raises_user_error

from viceversa.data import DataConfig, index_split
from viceversa.images.domain import DomainConfig
from viceversa.study.folds import (
    balanced,
    cross_validation,
    cut,
    given_split,
    manifest_text,
    write_manifest,
)
from viceversa.study.groups import Item, read_items


def items_of(sizes: dict[str, int], split: str = "train") -> list[Item]:
    """Pairs in groups of these sizes."""
    return [
        Item(split, Path(f"{group}/A/{i}.png"), Path(f"{group}/B/{i}.png"), group)
        for group, size in sizes.items()
        for i in range(size)
    ]


def read(path: Path, **options: str) -> list[Item]:
    groups = options.pop("groups", "")
    return read_items(DataConfig(path=str(path), **options), True, groups)  # type: ignore[arg-type]


def test_large_groups_first_to_the_emptiest_fold() -> None:
    # e: 5 | 0; d: 5 | 4; c: 5 | 7; b: 7 | 7; a: a tie, to the first.
    fold = balanced({"a": (1, 1), "b": (2, 2), "c": (3, 3), "d": (4, 4), "e": (5, 5)}, 2, 0)
    assert fold == {"e": 1, "d": 2, "c": 2, "b": 1, "a": 1}


def test_equal_groups_are_dealt_in_the_order_of_a_hash() -> None:
    names = ["p1", "p2", "p3", "p4"]
    order = sorted(names, key=lambda n: hashlib.sha256(f"7 {n}".encode()).digest())
    assert balanced(dict.fromkeys(names, (1, 1)), 2, 7) == {
        order[0]: 1,
        order[1]: 2,
        order[2]: 1,
        order[3]: 2,
    }
    seeds = {tuple(sorted(balanced(dict.fromkeys(names, (1, 1)), 2, s).items())) for s in range(20)}
    assert len(seeds) > 1  # another seed is another choice


@pytest.mark.parametrize("seed", range(12))
def test_no_group_is_divided_and_every_image_is_tested_once(seed: int) -> None:
    drawn = random.Random(seed)
    folds = drawn.randint(2, 6)
    sizes = {f"g{i}": drawn.randint(1, 9) for i in range(drawn.randint(2 * folds, 30))}
    items = items_of(sizes)
    result = cross_validation(items, folds, 0.2, seed)
    assert result == cross_validation(items[::-1], folds, 0.2, seed)  # in any order
    assert len(result) == folds
    tested = Counter(group for splits in result for group, s in splits.items() if s == "test")
    assert tested == dict.fromkeys(sizes, 1)
    for splits in result:
        assert splits.keys() == sizes.keys()
        assert set(splits.values()) == {"train", "val", "test"}
    counts = [sum(sizes[g] for g, s in splits.items() if s == "test") for splits in result]
    assert max(counts) - min(counts) <= max(sizes.values())


def test_unpaired_domains_are_balanced_separately() -> None:
    items = [Item("train", Path(f"a{i}"), None, f"a{i}") for i in range(30)]
    items += [Item("train", None, Path(f"b{i}"), f"b{i}") for i in range(9)]
    for splits in cross_validation(items, 3, 0.2, 0):
        tested = [item for item in items if splits[item.group] == "test"]
        assert [sum(bool(i.a) for i in tested), sum(bool(i.b) for i in tested)] == [10, 3]


def test_val_is_about_the_fraction() -> None:
    sizes = {f"g{i}": (2, 2) for i in range(20)}
    assert len(cut(sizes, 0.1, "0")) == 2  # 4 of 40 images
    assert len(cut(sizes, 0.01, "0")) == 1  # at least one group
    assert cut({"one": (5, 5)}, 0.5, "0") == set()  # not all
    unpaired = {f"a{i}": (1, 0) for i in range(5)} | {f"b{i}": (0, 1) for i in range(30)}
    chosen = cut(unpaired, 0.1, "0")  # 3 of B, and at least one of A
    assert sorted(name[0] for name in chosen) == ["a", "b", "b", "b"]


def test_too_few_groups_are_refused() -> None:
    with raises_user_error(option="--folds"):
        cross_validation(items_of({"a": 9, "b": 9}), 3, 0, 0)
    with raises_user_error(option="--folds"):
        cross_validation(items_of({"a": 9, "b": 9}), 1, 0, 0)
    with raises_user_error(option="--val"):  # train is one group
        cross_validation(items_of({"a": 9, "b": 9}), 2, 0.1, 0)
    one, two = cross_validation(items_of({"a": 9, "b": 9}), 2, 0, 0)
    assert sorted(one.values()) == ["test", "train"] and one["a"] == two["b"] != one["b"]


def test_the_split_of_the_dataset_is_kept() -> None:
    items = items_of({"a": 8, "b": 8, "c": 8}) + items_of({"t": 4}, "test")
    splits = given_split(items, 0.3, 0)
    assert splits["t"] == "test" and sorted(splits.values()) == ["test", "train", "train", "val"]
    assert set(given_split(items, 0, 0).values()) == {"train", "test"}
    with_val = [*items, *items_of({"v": 2}, "val")]
    assert given_split(with_val, 0.3, 0) == {
        "a": "train",
        "b": "train",
        "c": "train",
        "t": "test",
        "v": "val",
    }
    assert "v" not in given_split(with_val, 0, 0)  # no image of val is trained on
    with raises_user_error(option="--folds"):
        given_split(items_of({"a": 3}), 0, 0)
    with raises_user_error(option="--groups"):
        given_split([*items, *items_of({"a": 1}, "test")], 0, 0)


# -- groups


def test_groups_of_folders_names_and_columns(tmp_path: Path) -> None:
    for patient in ("p1", "p2"):
        noise_pairs(tmp_path / "data" / patient, 3, 8)
    items = read(tmp_path / "data")
    assert Counter(i.group for i in items) == {"p1": 3, "p2": 3}
    assert Counter(i.group for i in read(tmp_path / "data", groups="folder:1")) == {
        "p1": 3,
        "p2": 3,
    }
    assert Counter(i.group for i in read(tmp_path / "data", groups="folder:-1")) == {
        "p1": 3,
        "p2": 3,
    }
    by_name = read(tmp_path / "data", groups=r"name:(\d)$")
    assert Counter(i.group for i in by_name) == {"0": 2, "1": 2, "2": 2}
    assert {i.group for i in read(tmp_path / "data", groups=r"name:p\d")} == {"p1", "p2"}
    with raises_user_error(option="--groups"):
        read(tmp_path / "data", groups="folder:2")
    with raises_user_error(option="--groups"):
        read(tmp_path / "data", groups="name:p1")
    for wrong in ("name:(", "folder:x", "folder:0", "patient", "name:", "column:"):
        with raises_user_error(option="--groups"):
            read(tmp_path / "data", groups=wrong)
    with raises_user_error(option="--groups"):
        read(tmp_path / "data", groups="column:patient")


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_groups_of_a_column(tmp_path: Path, ending: str) -> None:
    noise_pairs(tmp_path, 4, 8)
    rows = [(f"A/{i:02d}.png", f"B/{i:02d}.png", "xy"[i // 2]) for i in range(4)]
    path = tmp_path / f"pairs.{ending}"
    if ending == "csv":
        path.write_text("a,b,patient\n" + "".join(",".join(row) + "\n" for row in rows))
    else:
        lines = [f'{{"a": "{a}", "b": "{b}", "patient": "{p}", "age": 5}}\n' for a, b, p in rows]
        path.write_text("".join(lines))
    assert [i.group for i in read(path, groups="column:patient")] == ["x", "x", "y", "y"]
    with raises_user_error(path=path):
        read(path, groups="column:slide")


def test_pairs_that_share_an_image_are_one_group(tmp_path: Path) -> None:
    noise_pairs(tmp_path, 4, 8)
    pairs = [("00", "00", "g1"), ("01", "01", "g2"), ("00", "02", "g2"), ("03", "03", "g3")]
    path = tmp_path / "pairs.csv"
    path.write_text(
        "a,b,group\n" + "".join(f"A/{a}.png,B/{b}.png,{group}\n" for a, b, group in pairs)
    )
    items = read(path)
    assert len(items) == 4
    assert len({i.group for i in items}) == 2
    # Without groups too, and the same name in two splits is two images.
    path.write_text("a,b\n" + "".join(f"A/{a}.png,B/{b}.png\n" for a, b, _ in pairs))
    assert len({i.group for i in read(path)}) == 3


def test_the_same_name_in_two_splits_is_two_groups(tmp_path: Path) -> None:
    for split in ("train", "test"):
        noise_pairs(tmp_path / split, 2, 8)
    assert {i.group for i in read(tmp_path)} == {"train/00", "train/01", "test/00", "test/01"}


def test_archives_are_refused(tmp_path: Path) -> None:
    noise_pairs(tmp_path / "data", 3, 8)
    path = Path(shutil.make_archive(str(tmp_path / "data"), "zip", tmp_path / "data"))
    with raises_user_error(path=path):
        read(path)


# -- manifests


@pytest.mark.parametrize("layout", ["folders", "side-by-side", "unpaired"])
def test_manifests_name_the_same_images(tmp_path: Path, layout: str) -> None:
    data = tmp_path / "data, with a comma"
    if layout == "side-by-side":
        noise_images(data, 6, size=(8, 16))
    else:
        noise_pairs(data, 6, 8)
    paired = layout != "unpaired"
    config = DataConfig(path=str(data))
    items = read_items(config, paired, "")
    sources: dict[str, Counter[str]] = {"a": Counter(), "b": Counter()}
    for number, splits in enumerate(cross_validation(items, 3, 0.2, 0)):
        path = tmp_path / "study" / "folds" / f"{number}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_manifest(path, manifest_text(items, splits, path.parent))
        kind = "side-by-side" if layout == "side-by-side" else "auto"
        found = DataConfig(path=str(path), layout=kind)  # type: ignore[arg-type]
        parts = {s: index_split(str(path), s, paired, found) for s in ("train", "val", "test")}
        for one, other in itertools.combinations(parts.values(), 2):
            assert one and other and not set(one.a) & set(other.a)
        whole = index_split(str(data), "train", paired, config)
        test = parts["test"]
        assert whole and test and test.side_by_side == whole.side_by_side
        for domain in "ab":
            sources[domain].update(s.path.name for s in test.files(domain))
        if paired:
            assert all(a.path.name == b.path.name for a, b in zip(test.a, test.b, strict=True))
    assert set(sources["a"].values()) == set(sources["b"].values()) == {1}
    assert len(sources["a"]) == len(sources["b"]) == 6


def test_a_side_by_side_line_names_one_file(tmp_path: Path) -> None:
    noise_pairs(tmp_path, 2, 8)
    path = tmp_path / "pairs.csv"
    path.write_text("a,b\nA/00.png,B/00.png\n")
    config = DataConfig(path=str(path), layout="side-by-side")
    with raises_user_error(option="data.layout"):
        index_split(str(path), "train", True, config)
    path.write_text("a,b\nA/00.png,\n,A/01.png\nB/00.png,B/00.png\n")
    index = index_split(str(path), "train", True, config)
    assert index is not None and index.side_by_side and index.a == index.b and len(index.a) == 3


def test_masks_are_listed_in_the_manifests(tmp_path: Path) -> None:
    noise_pairs(tmp_path / "set", 2, 8)
    noise_images(tmp_path / "set/masks", 2, "0", (8, 8))
    settings = DataConfig(path=str(tmp_path / "set"), a=DomainConfig(masks="masks"))
    items = read_items(settings, True, "")
    path = tmp_path / "folds/1.csv"
    path.parent.mkdir()
    write_manifest(
        path, manifest_text(items, dict.fromkeys((i.group for i in items), "train"), path.parent)
    )
    first, *rows = path.read_text().splitlines()
    assert first == "split,a,b,group,mask_a,mask_b"
    assert [row.split(",")[4:] for row in rows] == [
        [f"../set/masks/0{n}.png", ""] for n in range(2)
    ]
    index = index_split(path, "train", True)
    assert index is not None
    masks = {source.path.name: mask.path.name for (_, source), mask in index.masks.items()}
    assert masks == {"00.png": "00.png", "01.png": "01.png"}


def test_an_image_without_a_mask_is_refused(tmp_path: Path) -> None:
    noise_pairs(tmp_path / "set", 2, 8)
    noise_images(tmp_path / "set/masks", 1, "0", (8, 8))
    settings = DataConfig(path=str(tmp_path / "set"), a=DomainConfig(masks="masks"))
    with raises_user_error(option="data.a.masks") as caught:
        read_items(settings, True, "")
    assert "01.png has no mask" in str(caught.value)
