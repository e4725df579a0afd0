"""Test splits, domains and groups detected from names of folders, in folders and archives."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from forms import FORMS, folder, tarred

from viceversa.data import DataConfig, SplitIndex, index_split
from viceversa.data.index import index_splits, list_images
from viceversa.data.index.files import FileTree
from viceversa.data.index.manifest import Manifest
from viceversa.data.index.roles import SPLITS, Role, other_domain, resembles, role_of, split_of
from viceversa.errors import UserError
from viceversa.images.sources import Source


def sharded(root: Path, names: Iterable[str]) -> Path:
    root.mkdir(exist_ok=True)
    names = list(names)
    for number in range(2):
        tarred(root / f"shard-{number:03}", names[number::2])
    return root


def every_form(root: Path, folders: str) -> Iterator[tuple[FileTree | Manifest, str]]:
    """Yield the dataset in every form, with and without outer folders, and the outer folders."""
    for number, form in enumerate([*FORMS, sharded]):
        for wrapper in ("", "set/v 1/"):
            parent = root / f"{number}{bool(wrapper)}"
            parent.mkdir()
            names = [wrapper + name for name in files(folders)]
            yield list_images(form(parent / "data", names)), wrapper


def files(folders: str) -> list[str]:
    """Expand names: `A/x/` is a folder with two images, and `A/1.png` an image."""
    return [
        name + file
        for name in folders.split()
        for file in (["1.png", "2.jpg"] if name.endswith("/") else [""])
    ]


def texts(found: SplitIndex | None) -> tuple[list[str], list[str], list[str]]:
    """Return names of A, B and unmatched images, which `forms` writes into the files."""
    sides = (found.a, found.b, found.unmatched) if found else ((), (), ())
    a, b, unmatched = ([source.read().decode() for source in side] for side in sides)
    return a, b, unmatched


# Folders of a dataset -> for each split: folders of A, "|", folders of B, in the order of pairs.
DETECTED: dict[str, dict[str, str]] = {
    # splits inside of domains
    "A/train/ A/val/ A/test/ B/train/ B/val/ B/test/": {
        "train": "A/train/ | B/train/",
        "val": "A/val/ | B/val/",
        "test": "A/test/ | B/test/",
    },
    "A/Train/ A/VALID/ B/Train/ B/VALID/": {
        "train": "A/Train/ | B/Train/",
        "val": "A/VALID/ | B/VALID/",
    },
    "A/training/ A/validation/ A/testing/ B/training/ B/validation/ B/testing/": {
        "train": "A/training/ | B/training/",
        "val": "A/validation/ | B/validation/",
        "test": "A/testing/ | B/testing/",
    },
    "A/trainA/ A/testA/ B/trainB/ B/testB/": {
        "train": "A/trainA/ | B/trainB/",
        "test": "A/testA/ | B/testB/",
    },
    "A/train/x/ A/train/y/ A/val/x/ B/train/x/ B/train/y/ B/val/x/": {
        "train": "A/train/x/ A/train/y/ | B/train/x/ B/train/y/",
        "val": "A/val/x/ | B/val/x/",
    },
    "A/x/train/ A/x/test/ B/x/train/ B/x/test/": {
        "train": "A/x/train/ | B/x/train/",
        "test": "A/x/test/ | B/x/test/",
    },
    "A/ A/test/ B/ B/test/": {"train": "A/ | B/", "test": "A/test/ | B/test/"},
    "A/train/ A/val/ B/TRAIN/ B/valid/": {
        "train": "A/train/ | B/TRAIN/",
        "val": "A/val/ | B/valid/",
    },
    # domains inside of splits, or both in one name
    "Train/A/ Train/B/ Valid/A/ Valid/B/ Test/A/ Test/B/": {
        "train": "Train/A/ | Train/B/",
        "val": "Valid/A/ | Valid/B/",
        "test": "Test/A/ | Test/B/",
    },
    "A_train/ B_train/ A_test/ B_test/": {
        "train": "A_train/ | B_train/",
        "test": "A_test/ | B_test/",
    },
    "train_A/ train_B/ val_A/ val_B/": {"train": "train_A/ | train_B/", "val": "val_A/ | val_B/"},
    "TrainA/ TrainB/ TESTA/ TESTB/": {"train": "TrainA/ | TrainB/", "test": "TESTA/ | TESTB/"},
    "trainA/ trainB/ validationA/ validationB/": {
        "train": "trainA/ | trainB/",
        "val": "validationA/ | validationB/",
    },
    "training-a/ training-b/ testing.A/ testing.B/": {
        "train": "training-a/ | training-b/",
        "test": "testing.A/ | testing.B/",
    },
    "Atrain/ Btrain/ a_val/ b_val/": {"train": "Atrain/ | Btrain/", "val": "a_val/ | b_val/"},
    "train/trainA/ train/trainB/ test/testA/ test/testB/": {
        "train": "train/trainA/ | train/trainB/",
        "test": "test/testA/ | test/testB/",
    },
    "A/ B/ test/A/ test/B/": {"train": "A/ | B/", "test": "test/A/ | test/B/"},
    "A/ B/ testA/ testB/ valA/ valB/": {
        "train": "A/ | B/",
        "test": "testA/ | testB/",
        "val": "valA/ | valB/",
    },
    # groups
    "p1/A/ p1/B/ p2/A/ p2/B/ p3/A/ p3/B/": {"train": "p1/A/ p2/A/ p3/A/ | p1/B/ p2/B/ p3/B/"},
    "x/p1/A/ x/p1/B/ y/p1/A/ y/p1/B/": {"train": "x/p1/A/ y/p1/A/ | x/p1/B/ y/p1/B/"},
    "p1/A/s1/ p1/A/s2/ p1/B/s1/ p1/B/s2/ p2/A/s1/ p2/B/s1/": {
        "train": "p1/A/s1/ p1/A/s2/ p2/A/s1/ | p1/B/s1/ p1/B/s2/ p2/B/s1/"
    },
    "train/p1/A/ train/p1/B/ train/p2/A/ train/p2/B/ val/p3/A/ val/p3/B/": {
        "train": "train/p1/A/ train/p2/A/ | train/p1/B/ train/p2/B/",
        "val": "val/p3/A/ | val/p3/B/",
    },
    "p1/train/A/ p1/train/B/ p1/test/A/ p1/test/B/ p2/train/A/ p2/train/B/": {
        "train": "p1/train/A/ p2/train/A/ | p1/train/B/ p2/train/B/",
        "test": "p1/test/A/ | p1/test/B/",
    },
    "p1/trainA/ p1/trainB/ p2/trainA/ p2/trainB/ p2/valA/ p2/valB/": {
        "train": "p1/trainA/ p2/trainA/ | p1/trainB/ p2/trainB/",
        "val": "p2/valA/ | p2/valB/",
    },
    "p1/A/train/ p1/B/train/ p2/A/test/ p2/B/test/": {
        "train": "p1/A/train/ | p1/B/train/",
        "test": "p2/A/test/ | p2/B/test/",
    },
    "p1/A/ p1/B/ p2/A/ p2/B/ test/A/ test/B/": {
        "train": "p1/A/ p2/A/ | p1/B/ p2/B/",
        "test": "test/A/ | test/B/",
    },
    # images outside of domains or splits are not used
    "A/ B/ C/ masks/ x.png": {"train": "A/ | B/"},
    "p1/A/ p1/B/ p1/mask/ p2/A/ p2/B/ p2/x.png": {"train": "p1/A/ p2/A/ | p1/B/ p2/B/"},
    "train/A/ train/B/ train/x.png test/A/ test/B/ old/ y.png": {
        "train": "train/A/ | train/B/",
        "test": "test/A/ | test/B/",
    },
    "A/train/ A/test/ A/x.png B/train/ B/test/ B/y.png masks/train/ masks/test/": {
        "train": "A/train/ | B/train/",
        "test": "A/test/ | B/test/",
    },
    "A/bus/ A/car/ B/bus/ B/car/": {"train": "A/bus/ A/car/ | B/bus/ B/car/"},
    "train/A/bus/ train/A/train/ train/B/bus/ train/B/train/": {
        "train": "train/A/bus/ train/A/train/ | train/B/bus/ train/B/train/"
    },
    "A/test_01/ A/p2/ B/test_01/ B/p2/": {"train": "A/p2/ A/test_01/ | B/p2/ B/test_01/"},
}


@pytest.mark.parametrize("folders", DETECTED)
def test_splits_domains_and_groups_are_detected_by_name(tmp_path: Path, folders: str) -> None:
    for data, wrapper in every_form(tmp_path, folders):
        for split in SPLITS:
            expected = DETECTED[folders].get(split, " | ").split("|")
            a, b = ([wrapper + name for name in files(side)] for side in expected)
            pairs, unpaired = index_split(data, split, True), index_split(data, split, False)
            assert texts(pairs) == (a, b, [])
            assert texts(unpaired) == (sorted(a), sorted(b), [])
            above = {
                name: re.match(r"(train/|val/)?((?:[xy]/)?p\d)/", name) for name in files(folders)
            }
            grouped = {wrapper + name: group[2] for name, group in above.items() if group}
            for found in filter(None, (pairs, unpaired)):
                assert not found.side_by_side
                groups = {source.read().decode(): group for source, group in found.groups.items()}
                assert groups == {name: grouped[name] for name in (*a, *b) if name in grouped}


def test_groups_are_described_and_named(tmp_path: Path) -> None:
    names = files("x/p1/A/ x/p1/B/ x/p2/train/A/ y/p2/A/1.png y/p2/B/1.png y/p3/B/")
    data = list_images(folder(tmp_path / "data", [name for name in names if "train" not in name]))
    found = index_split(data, "train", False)
    assert found is not None and found.layout == "folders data/*/A and data/*/B, 3 groups"
    assert sorted(set(found.groups.values())) == ["x/p1", "y/p2", "y/p3"]
    assert found.group_of(found.a[0]) == found.group_of(found.b[1]) == "x/p1"
    pairs = index_split(data, "train", True)  # images of y/p3 have no partner
    assert pairs is not None and [*pairs.unmatched.values()] == ["b", "b"]
    assert pairs.layout == "pairs by name in data/*/A and data/*/B, 3 groups"
    one = index_split(folder(tmp_path / "one", files("p1/A/ p1/B/ x.png")), "train", True)
    assert one is not None and not one.groups  # a single outer folder is not a group
    assert one.layout == "pairs by name in one/p1/A and one/p1/B (1 images elsewhere are not used)"
    assert [one.group_of(source) for source in one.a + one.b] == ["p1/1", "p1/2"] * 2
    plain = index_split(
        folder(tmp_path / "plain", files("A/train/q/ B/train/q/ A/val/ B/val/")), "train", True
    )
    assert plain is not None and plain.layout.endswith("in plain/A/train and plain/B/train")
    assert [plain.group_of(source) for source in plain.a + plain.b] == ["q/1", "q/2"] * 2


# folders -> part of the error; numbers of images of A and B in train with each --data.layout
FOLDERS, SIDE, PHOTOS = "folders", "side-by-side", "photos"
REFUSED: dict[str, tuple[str, dict[str, tuple[int, int]]]] = {
    # two spellings of one split
    "A/train/ A/val/ A/valid/ B/train/ B/val/ B/valid/": (
        "A/val and .*A/valid are both named like the split val",
        {FOLDERS: (2, 2)},
    ),
    "train/A/ train/B/ val/A/ val/B/ valid/A/ valid/B/": (
        "both named like the split val",
        {FOLDERS: (2, 2)},
    ),
    "train/A/ train/B/ Train/A/ Train/B/": ("both named like the split train", {FOLDERS: (4, 4)}),
    "trainA/ trainB/ train_A/ train_B/": ("both named like the split train", {FOLDERS: (4, 4)}),
    "trainA/ trainB/ train/A/ train/B/": ("both named like the split train", {FOLDERS: (4, 4)}),
    "A/train/ B/train/ train/A/ train/B/": ("both named like the split train", {FOLDERS: (4, 4)}),
    "A/train/ B/train/ A/trainA/ B/trainB/": ("both named like", {FOLDERS: (4, 4)}),
    "train/ test/ testing/": ("both named like the split test", {SIDE: (2, 2)}),
    "train/ val/p1/ valid/p2/": ("both named like the split val", {SIDE: (2, 2)}),
    "val/p1/A/ val/p1/B/ valid/p2/A/ valid/p2/B/ A/ B/": ("both named like", {FOLDERS: (2, 2)}),
    # names of splits that contain only a part of the images, or none
    "A/bus/ A/car/ A/train/ B/bus/ B/car/ B/train/": (
        "A/train has a split's name, but 8 images in folders beside it",
        {FOLDERS: (6, 6)},
    ),
    "bus/ car/ train/": ("train has a split's name, but 4 images", {SIDE: (6, 6), PHOTOS: (6, 6)}),
    "p1/A/ p1/B/ train/A/ train/B/": ("train/A has a split's name", {FOLDERS: (4, 4)}),
    "x.png v1/train/ v1/test/": ("v1/test has a split's name, but 1 images", {SIDE: (5, 5)}),
    "p1/A/ p1/B/ p2/train/A/ p2/train/B/ p2/test/A/ p2/test/B/": (
        "p2/.* has a split's name, but 4 images outside",
        {FOLDERS: (6, 6)},
    ),
    "A/ A/x/test/ B/ B/x/test/": ("A/x/test has a split's name", {FOLDERS: (4, 4)}),
    "test/A/train/ test/B/train/ train/A/ train/B/": (
        "test/A/train contradicts a folder around it",
        {FOLDERS: (2, 2)},
    ),
    "A/trainB/ B/trainA/": ("A/trainB contradicts a folder around it", {}),
    "A/A/ A/B/ B/A/ B/B/ C/A/ C/B/": ("contradicts a folder around it", {SIDE: (12, 12)}),
    "train2017/ val2017/ test2017/": ("test2017 looks like a split", {SIDE: (6, 6)}),
    "A/train_images/ A/test_images/ B/train_images/ B/test_images/": (
        "A/test_images looks like a split",
        {FOLDERS: (4, 4)},
    ),
    "train/ val/ TestSet/": ("TestSet looks like a split", {SIDE: (2, 2)}),
    # one split, group or domain with another structure
    "trainA/ trainB/ val/": ("val has images, but no folders A and B", {FOLDERS: (2, 2)}),
    "A/ B/ test/": ("test has images, but no folders A and B", {FOLDERS: (2, 2)}),
    "A/ B/ old/A/ old/B/": ("/old/. both contain images", {FOLDERS: (4, 4)}),
    "train/A/ train/B/ train/p2/A/ train/p2/B/": ("both contain images", {FOLDERS: (4, 4)}),
    "A/train/ A/test/ B/": ("has images in .*A/train, but no folder .*B/train with images", {}),
    "A/ C/": ("has images in .*A, but no folder .*B with images beside it", {SIDE: (4, 4)}),
    "B_train/ C_train/": ("has images in .*B_train, but no folder .*A_train with", {SIDE: (4, 4)}),
    "p1/A/ p2/A/ p3/x/": (
        r"has images in .*\*/A, but no folder .*\*/B with images",
        {SIDE: (6, 6)},
    ),
    "A/test/ B/test/": (r"no images to train on \(4 are in test\)", {}),
    "train/1_A.png train/1_B.png val/1.png val/2.png": (
        "the splits of .* have several layouts: the files of train .*_A and .*those of val",
        {SIDE: (2, 2)},
    ),
    # domains by other names
    "a/ b/": ("contains the folders a and b; if they are the two domains", {SIDE: (4, 4)}),
    "t1/ t2/ x.png": ("contains the folders t1 and t2", {SIDE: (5, 5)}),
    "p1/a/ p1/b/ p2/a/ p2/b/ p3/a/ p3/b/": (r"the folders \*/a and \*/b", {SIDE: (12, 12)}),
    "p1/s/T1/ p1/s/T2/ p2/s/T1/ p2/s/T2/": (r"folders \*/\*/T1 and \*/\*/T2", {SIDE: (8, 8)}),
    "train/images/ train/labels/ test/images/ test/labels/": (
        "folders images and labels",
        {SIDE: (4, 4)},
    ),
    "images/train/ images/val/ labels/train/ labels/val/": (
        "folders images and labels",
        {SIDE: (4, 4)},
    ),
}


@pytest.mark.parametrize("folders", REFUSED)
def test_ambiguous_names_are_refused(tmp_path: Path, folders: str) -> None:
    words, layouts = REFUSED[folders]
    for data, _ in every_form(tmp_path, folders):
        for paired in (True, False):
            with pytest.raises(UserError, match=words) as caught:
                index_split(data, "train", paired)
            assert str(caught.value).isprintable()
            if layouts:
                assert caught.value.option == "data.layout"
                assert "--data.layout" in str(caught.value)
        for layout, counts in layouts.items():
            found = index_split(data, "train", False, DataConfig(layout=layout))  # type: ignore[arg-type]
            assert found is not None and (len(found.a), len(found.b)) == counts
            assert found.side_by_side == (layout == SIDE)


# side-by-side files: folders -> images of each split
SIDE_BY_SIDE: dict[str, dict[str, str]] = {
    "train/ val/ test/": {"train": "train/", "val": "val/", "test": "test/"},
    "Training/ VALID/": {"train": "Training/", "val": "VALID/"},
    "x.png y.png": {"train": "x.png y.png"},
    "x.png test/": {"train": "x.png", "test": "test/"},
    "bus/ car/ dog/": {"train": "bus/ car/ dog/"},
    "p1/train/ p1/test/ p2/train/ p3/train/ p3/test/ p4/test/": {
        "train": "p1/train/ p2/train/ p3/train/",
        "test": "p1/test/ p3/test/ p4/test/",
    },
    "x.png y.png z.png old/ new/1.png": {"train": "new/1.png old/ x.png y.png z.png"},
}


@pytest.mark.parametrize("folders", SIDE_BY_SIDE)
def test_side_by_side_files_in_splits(tmp_path: Path, folders: str) -> None:
    for data, wrapper in every_form(tmp_path, folders):
        for split in SPLITS:
            names = [wrapper + name for name in files(SIDE_BY_SIDE[folders].get(split, ""))]
            found = index_split(data, split, True)
            assert texts(found) == (names, names, [])
            assert found is None or (found.side_by_side and not found.groups)


def test_given_layout_overrides_detection(tmp_path: Path) -> None:
    data = list_images(folder(tmp_path / "data", files("p1/A/ p1/B/ p2/A/ p2/B/ test/A/ test/B/")))

    def index(split: str, layout: Any, **more: str) -> SplitIndex | None:
        return index_split(data, split, True, DataConfig(layout=layout, **more))

    for layout in (SIDE, PHOTOS):
        train, test = index("train", layout), index("test", layout)
        assert train and test and (len(train.a), len(test.a)) == (8, 4)
        assert not train.groups and train.side_by_side == (layout == SIDE)
    named = index("test", "patterns", pattern_a="A/{name}", pattern_b="B/{name}")
    assert texts(named)[:2] == (files("test/A/"), files("test/B/"))


def test_patterns_may_name_other_folders(tmp_path: Path) -> None:
    for number, folders in enumerate(
        (
            "images/train/ labels/train/ images/val/ labels/val/",
            "train/images/ train/labels/ val/images/ val/labels/",
        )
    ):
        data = folder(tmp_path / str(number), files(folders))
        with pytest.raises(UserError, match=r"--data\.pattern_a 'images/"):
            index_split(data, "train", True)
        config = DataConfig(layout="patterns", pattern_a="images/{name}", pattern_b="labels/{name}")
        for split in ("train", "val"):
            a, b, unmatched = texts(index_split(data, split, True, config))
            assert [name for name in files(folders) if split in name] == a + b and not unmatched


@pytest.mark.parametrize(
    ("shards", "folders"),
    [
        (("train-000", "train-001", "val-000"), ("train", "train", "val")),
        (("Train-000", "valid_000", "testing.0"), ("train", "val", "test")),
        (("train", "val2", "test-cats-01"), ("train", "val", "test")),
        (("training-0-of-2", "training-1-of-2", "test"), ("train", "train", "test")),
    ],
)
@pytest.mark.parametrize("wrapper", ["", "v1/"])
def test_shards_of_splits_are_named_like_folders(
    tmp_path: Path, shards: tuple[str, ...], folders: tuple[str, ...], wrapper: str
) -> None:
    (tmp_path / "data" / wrapper).mkdir(parents=True)
    for shard in shards:
        tarred(tmp_path / "data" / wrapper / f"{shard}.x", [f"{shard}.a.png", f"{shard}.b.png"])
    for split in SPLITS:
        a, b, unmatched = texts(index_split(tmp_path / "data", split, True))
        expected = [s for s, meant in zip(shards, folders, strict=True) if meant == split]
        assert a == [f"{shard}.a.png" for shard in expected]
        assert b == [f"{shard}.b.png" for shard in expected] and not unmatched


def test_shards_of_domains(tmp_path: Path) -> None:
    for shard in ("trainA-000", "trainA-001", "B_train", "A_test", "test-b-0"):
        tarred(tmp_path / f"{shard}.x", [f"{shard[-1]}.png" if "train" in shard else "t.png"])
    tarred(tmp_path / "B_train.x", ["0.png", "1.png"])
    train, test = index_split(tmp_path, "train", True), index_split(tmp_path, "test", True)
    assert texts(train) == (["0.png", "1.png"], ["0.png", "1.png"], [])
    assert texts(test) == (["t.png"], ["t.png"], [])


@pytest.mark.parametrize("name", ["train", "Train", "TRAINING", "training"])
def test_roles_of_names(name: str) -> None:
    assert role_of(name) == Role("train", "") and split_of(name) == "train"
    for form in ("{}A", "{}_A", "{}-A", "{} A", "{}.A", "A_{}", "A-{}", "A{}", "{}a", "a_{}"):
        folder = form.format(name)
        assert role_of(folder) == Role("train", "a"), folder
        assert role_of(other_domain(folder)) == Role("train", "b")
    for other in (f"{name}s", f"{name}2017", f"{name}C", f"my{name}", f"b{name}", f"A__{name}"):
        assert role_of(other) == Role("", ""), other


def test_names_without_a_role() -> None:
    for name in (*"ab*", "AB", "A1", "strain", "value", "contest", "testament", "", "evaluate"):
        assert role_of(name) == Role("", "") and not split_of(name)
    assert (role_of("A"), role_of("B")) == (Role("", "a"), Role("", "b"))
    near = {"train2017": "train", "test_images": "test", "ValidSet": "val", "my-test": "test"}
    assert {name: resembles(name) for name in near} == near
    for name in ("train", "trainA", "strain", "trains", "contest", "testament", "values"):
        assert not resembles(name), name


@pytest.mark.parametrize("words", [("val", "valid"), ("train", "Train")])
def test_manifest_with_two_spellings_of_a_split_is_refused(
    tmp_path: Path, words: tuple[str, str]
) -> None:
    folder(tmp_path, ["1.png", "2.png"])
    path = tmp_path / "list.csv"
    lines = [f"1.png,2.png,{word}" for word in ("Training", "VALID", "testing")]
    path.write_text("\n".join(["a,b,split", *lines]))
    assert [len(texts(index_split(path, split, True))[0]) for split in SPLITS] == [1, 1, 1]
    path.write_text("\n".join(["a,b,split", *(f"1.png,2.png,{word}" for word in words)]))
    with pytest.raises(UserError, match=f"line 3 has the split '{words[1]}', .* '{words[0]}'"):
        list_images(path)


def random_tree(rng: random.Random) -> FileTree:
    """Return a tree of folders that follow one scheme, with a few exceptions."""
    words = ["train", "Val", "test", "valid", "A", "B", "p1", "p2", "trainA", "B_test", "x", "bus"]
    schemes = [
        ["{s}", "{d}"],
        ["{d}", "{s}"],
        ["{s}{d}"],
        ["{p}", "{d}"],
        ["{p}", "{s}", "{d}"],
        ["{s}", "{p}", "{d}"],
        ["{s}"],
        ["{d}"],
        ["{d}", "{p}", "{s}"],
        [],
    ]
    scheme = rng.choice(schemes)
    folders = {
        "/".join(part.format(s=split, d=domain, p=group) for part in scheme)
        for split in rng.sample(["train", "val", "test"], rng.randint(1, 3))
        for domain in "AB"
        for group in ("p1", "p2")
    }
    for _ in range(rng.choice([0, 0, 0, 1, 2])):
        folders.add("/".join(rng.choice(words) for _ in range(rng.randint(1, 3))))
    names = sorted(f"{folder}/{i}.png".lstrip("/") for folder in folders for i in range(2))
    return FileTree(Path("set"), {name: Source(Path("set") / name) for name in names}, ())


def test_split_and_domain_of_every_image_match_its_folders() -> None:
    rng = random.Random(0)
    outcomes: Counter[str] = Counter()
    for _ in range(1500):
        tree = random_tree(rng)
        roles = {
            source: [role_of(folder) for folder in name.split("/")[:-1]]
            for name, source in tree.files.items()
        }
        try:
            splits = index_splits(tree, False, DataConfig())
        except UserError as error:
            outcomes["refused"] += 1
            assert error.option == "data.layout" or "no images to train on" in str(error)
            continue
        used = [s for found in splits.values() for s in dict.fromkeys(found.a + found.b)]
        assert len(used) == len(set(used))
        unused = len(tree.files) - len(used)
        assert unused == 0 or f"({unused} images elsewhere are not used)" in splits["train"].layout
        has_domains = any(role.domain for each in roles.values() for role in each)
        for split, found in splits.items():
            outcomes["side by side" if found.side_by_side else "folders"] += 1
            outcomes["groups"] += bool(found.groups)
            assert not (found.side_by_side and has_domains)
            for source in found.a + found.b:
                named = [role.split for role in roles[source] if role.split]
                assert named[:1] in ([], [split]) and (named or split == "train")
            for side, sources in (("a", found.a), ("b", found.b)):
                named = [r.domain for s in sources for r in roles[s] if r.domain]
                assert set(named) == (set() if found.side_by_side else {side})
    assert min(outcomes[name] for name in ("refused", "side by side", "folders", "groups")) > 50
