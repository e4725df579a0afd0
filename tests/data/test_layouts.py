"""Test layouts detected from the names of files in folders, archives and manifests."""

from __future__ import annotations

import hashlib
import json
import random
import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from forms import FORMS, Form, folder, tarred
from support import raises_user_error

from viceversa.data import DataConfig, SplitIndex, index_split
from viceversa.data.index import list_images
from viceversa.data.index.files import FileTree
from viceversa.errors import UserError
from viceversa.images.sources import Source

PAIR = ("1.png", "2.png")


every_form = pytest.mark.parametrize("form", FORMS)


def digest(root: Path) -> str:
    """Return the SHA-256 of names, contents and times of a dataset."""
    total = hashlib.sha256()
    for path in sorted([root, *root.rglob("*")]):
        total.update(f"{path!r} {path.stat().st_mtime_ns}".encode())
        total.update(path.read_bytes() if path.is_file() else b"")
    return total.hexdigest()


def index_names(
    data: Path, split: str = "train", paired: bool = True, **config: Any
) -> tuple[SplitIndex | None, tuple[list[str], list[str], list[str]]]:
    """Return the index of a split, and names of A, B and unmatched images from file contents."""
    before = digest(data)
    found = index_split(data, split, paired, DataConfig(**config))
    sides = (found.a, found.b, found.unmatched) if found else ((), (), ())
    names = [[source.read().decode() for source in side] for side in sides]
    assert digest(data) == before
    return found, (names[0], names[1], names[2])


def paths(*folders: str, names: Iterable[str] = PAIR) -> list[str]:
    return [f"{folder}/{name}" for folder in folders for name in names]


@every_form
@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize(
    ("first", "second"), [("A", "B"), ("train/A", "train/B"), ("trainA", "trainB")]
)
def test_two_folders_are_detected_and_described(
    tmp_path: Path, form: Form, first: str, second: str, paired: bool
) -> None:
    data = form(tmp_path / "set", paths(first, second))
    found, names = index_names(data, paired=paired)
    assert found is not None and not found.side_by_side
    assert names == (paths(first), paths(second), [])
    where = f"{data.name}/{first} and {data.name}/{second}"
    assert found.layout == (f"pairs by name in {where}" if paired else f"folders {where}")


@every_form
@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("where", ["", "train/", "train/deep/"])
def test_side_by_side_files_are_detected_and_described(
    tmp_path: Path, form: Form, where: str, paired: bool
) -> None:
    data = form(tmp_path / "set", [f"{where}{name}" for name in PAIR])
    found, names = index_names(data, paired=paired)
    assert found is not None and found.side_by_side and found.a == found.b
    assert names[0] == [f"{where}{name}" for name in PAIR]
    assert found.layout == f"side-by-side files in {data.name}{'/train' if where else ''}"


@every_form
@pytest.mark.parametrize(
    ("config", "first", "second"),
    [
        ({}, "{}_A.png", "{}_B.jpg"),
        ({}, "{}.a.png", "{}.b.tif"),
        ({"layout": "patterns"}, "{}_A.png", "{}_B.png"),
        ({"pattern_a": "real-{name}", "pattern_b": "{name}-label"}, "real-{}.png", "{}-label.png"),
        ({"pattern_a": "{name}", "pattern_b": "{name}_label"}, "{}.png", "{}_label.png"),
        ({"pattern_a": "in/{name}.x", "pattern_b": "out/{name}"}, "in/{}.x.png", "out/{}.png"),
    ],
)
@pytest.mark.parametrize("where", ["", "train/", "train/p1/"])
def test_name_patterns_are_detected_and_described(
    tmp_path: Path, form: Form, config: dict[str, Any], first: str, second: str, where: str
) -> None:
    if "/" in first:
        where = where.removesuffix("p1/")  # a pattern with folders begins at the split's folder
    a, b = ([where + name.format(i) for i in range(3)] for name in (first, second))
    for paired in (True, False):
        found, names = index_names(form(tmp_path / "set", a + b), paired=paired, **config)
        assert found is not None and not found.side_by_side
        assert names == (a, b, [])
        assert found.layout.startswith("pairs by the names" if paired else "images by the names")


@every_form
def test_photos_are_images_of_both_domains(tmp_path: Path, form: Form) -> None:
    data = form(tmp_path / "set", ["1.png", "x/1.png", "x/1.jpg", "test/2.png"])
    found, names = index_names(data, layout="photos")
    assert found is not None and found.a == found.b and not found.side_by_side
    assert names[0] == ["1.png", "x/1.jpg", "x/1.png"] and not found.unmatched
    assert found.layout == f"photos in {data.name}, each both A and B"
    assert index_names(data, "test", layout="photos")[1][0] == ["test/2.png"]


@every_form
def test_each_split_has_its_own_images(tmp_path: Path, form: Form) -> None:
    names = [*paths("trainA", "trainB"), *paths("A/val", "B/val"), *paths("test/A", "test/B")]
    data = list_images(form(tmp_path / "set", names))  # read once for all splits
    train, val, test = (index_split(data, split, True) for split in ("train", "val", "test"))
    assert train and val and test
    assert [s.read().decode() for s in (*test.a, *test.b)] == paths("test/A", "test/B")
    assert [s.read().decode() for s in (*val.a, *val.b)] == paths("A/val", "B/val")
    assert len(train.a) == 2
    joint = form(tmp_path / "joint", ["1.png", "test/2.png"])
    assert index_names(joint)[1][0] == ["1.png"]  # images of test are not in train
    assert index_split(joint, "val", True) is None
    assert index_split(form(tmp_path / "two", paths("A", "B")), "test", True) is None


@every_form
def test_names_of_pairs_include_subfolders_but_not_extensions(tmp_path: Path, form: Form) -> None:
    a = ["A/p1/001.png", "A/p2/001.png", "A/p2/x.y.png"]
    b = ["B/p1/001.tif", "B/p2/001.PNG", "B/p2/x.y.bmp"]
    assert index_names(form(tmp_path / "set", a + b))[1] == (a, b, [])


@every_form
def test_single_outer_folders_are_ignored(tmp_path: Path, form: Form) -> None:
    data = form(tmp_path / "set", [f"facades/v1/{name}" for name in ("train/1.png", "test/2.png")])
    found, names = index_names(data)
    assert found is not None and names[0] == ["facades/v1/train/1.png"]
    assert found.layout == f"side-by-side files in {data.name}/facades/v1/train"
    assert index_names(data, "test")[1][0] == ["facades/v1/test/2.png"]
    stray = form(tmp_path / "stray", ["preview.png", "facades/train/1.png", "facades/test/2.png"])
    with pytest.raises(UserError, match=r"facades/test has a split's name"):
        index_split(stray, "train", True)
    assert len(index_names(stray, layout="side-by-side")[1][0]) == 3


@every_form
def test_unmatched_and_ambiguous_names_are_listed(tmp_path: Path, form: Form) -> None:
    names = [f"A/{name}" for name in ("1.png", "2.png", "2.jpg", "3.png", "c.png")]
    names += [f"B/{name}" for name in ("1.png", "2.png", "4.png", "C.png")]
    found, sides = index_names(form(tmp_path / "set", names))
    unmatched = ["A/2.jpg", "A/2.png", "A/3.png", "A/c.png", "B/2.png", "B/4.png", "B/C.png"]
    assert sides == (["A/1.png"], ["B/1.png"], unmatched)
    assert found is not None and len(found.unmatched) == 7
    all_of_them = index_names(form(tmp_path / "set", names), paired=False)[1]
    assert all_of_them == (sorted(names[:5]), sorted(names[5:]), [])


def test_names_without_the_pattern_are_unmatched_or_refused(tmp_path: Path) -> None:
    data = folder(tmp_path / "set", ["1_A.png", "1_B.png", "2_A.png", "_A.png", "x.png"])
    with pytest.raises(UserError, match=r"most images in set are named \{name\}_A and .* but 2"):
        index_split(data, "train", True)
    assert index_names(data, layout="patterns")[1][2] == ["2_A.png", "_A.png", "x.png"]
    assert index_names(data, layout="patterns", paired=False)[1][2] == ["_A.png", "x.png"]
    assert index_names(data, layout="side-by-side")[1][0] == sorted(p.name for p in data.iterdir())
    with pytest.raises(UserError, match=r"no image in set is named \{name\}-b; there are .*x\.png"):
        index_split(data, "train", True, DataConfig(layout="patterns", pattern_b="{name}-b"))


def test_few_names_with_a_pattern_are_side_by_side_files(tmp_path: Path) -> None:
    data = folder(tmp_path / "set", ["1_A.png", "1_B.png", "x.png", "y.png", "z.png"])
    found, _ = index_names(data)
    assert found is not None and found.side_by_side and len(found.a) == 5


def test_shards_in_a_folder(tmp_path: Path) -> None:
    data = tmp_path / "set"
    data.mkdir()
    for shard in range(2):
        for split in ("train", "val"):
            keys = [f"{split}{shard}{i}.{side}" for i in range(2) for side in ("a.png", "b.png")]
            tarred(data / f"{split}-{shard}", [*keys, f"{split}{shard}0.json"])
    found, (a, b, unmatched) = index_names(data)
    assert found is not None and not unmatched
    assert a == ["train00.a.png", "train01.a.png", "train10.a.png", "train11.a.png"]
    assert b == [name.replace(".a.", ".b.") for name in a]
    assert index_names(data, "val")[1][0][0] == "val00.a.png"


@pytest.mark.parametrize(
    ("a", "b", "hint"),
    [
        ("{}_real", "{}_label", '"_real" in A and "_label" in B'),
        ("{}-real", "{}", '"-real" in A'),
        ("real_{}", "label_{}", '"real_" in A and "label_" in B'),
        ("{}a", "{}b", '"a" in A and "b" in B'),
        ("x{}", "X{}", "the difference in upper and lower case"),
        ("p/{}", "q/{}", "the difference in sub-folders"),
    ],
)
def test_error_without_any_match_lists_both_sides_with_a_hint(
    tmp_path: Path, a: str, b: str, hint: str
) -> None:
    names = [f"A/{a}.png".format(i) for i in range(12)] + [f"B/{b}.png".format(i) for i in range(9)]
    with pytest.raises(UserError, match="none of the 12 images of A and 9 of B") as caught:
        index_split(folder(tmp_path / "set", names), "train", True)
    message = str(caught.value)
    assert message.count("/A/") == 3 and message.count("/B/") == 3
    assert "and 9 more" in message and f"9 names match without {hint}: rename them" in message
    assert index_split(tmp_path / "set", "train", False) is not None


def test_error_without_a_common_pattern_has_no_hint(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="both images of a pair have the same name"):
        index_split(folder(tmp_path / "set", ["A/cat.png", "B/dog.png"]), "train", True)


def test_ten_thousand_unmatched_names_are_reported_quickly(tmp_path: Path) -> None:
    names = [
        f"{side}/{i:05}_{word}.png"
        for side, word in (("A", "x"), ("B", "y"))
        for i in range(10_000)
    ]
    data = folder(tmp_path / "set", names)
    start = time.process_time()
    with pytest.raises(UserError, match="none of the 10000 images of A and 10000 of B"):
        index_split(data, "train", True)
    assert time.process_time() - start < 30  # not 10^8 comparisons
    start = time.process_time()
    (data / "B/00000_x.png").touch()
    found = index_split(data, "train", True)
    assert found is not None and (len(found.a), len(found.unmatched)) == (1, 19_999)
    assert time.process_time() - start < 30  # not 10^8 comparisons


def test_empty_missing_and_incomplete_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no data folder .*nowhere"):
        index_split(tmp_path / "nowhere", "train", True)
    root = folder(tmp_path / "set", ["notes.txt"])
    for split in ("val", "test"):
        assert index_split(root, split, True) is None
    with pytest.raises(UserError, match=r"set has no images to train on; it needs folders A/"):
        index_split(root, "train", True)
    (root / "A").mkdir()
    (root / "A" / "1.png").symlink_to("gone.png")
    with pytest.raises(UserError, match=r"skipped: 1, such as A/1\.png: a link to nothing"):
        index_split(root, "train", True)
    folder(root, ["A/2.png"])
    (root / "B").mkdir()
    with pytest.raises(UserError, match="has images in A, but no folder B with images beside it"):
        index_split(root, "train", False)
    folder(root, ["test/B/2.png"])
    with pytest.raises(UserError, match="has images in test/B, but no folder test/A with images"):
        index_split(root, "test", True)


@pytest.mark.parametrize("layout", ["folders", "side-by-side", "patterns", "photos"])
def test_given_layout_is_the_only_one_used(tmp_path: Path, layout: Any) -> None:
    config = DataConfig(layout=layout)
    other = ["1.png", "2.png"] if layout == "folders" else paths("trainA", "trainB")
    data = folder(tmp_path / "set", other)
    if layout in ("side-by-side", "photos"):  # A and B have no meaning
        found, names = index_names(data, layout=layout)
        assert found is not None and found.side_by_side == (layout == "side-by-side")
        assert names == (other, other, [])
    else:
        what = "no images to train on" if layout == "folders" else r"is named \{name\}_A or"
        with pytest.raises(UserError, match=what):
            index_split(data, "train", True, config)
    assert index_split(data, "val", True, config) is None
    fits = {"folders": paths("A", "B"), "patterns": ["1_A.png", "1_B.png"]}.get(layout, ["1.png"])
    assert index_split(folder(tmp_path / "fit", fits), "train", True, config) is not None


def test_unused_images_are_counted(tmp_path: Path) -> None:
    data = folder(tmp_path / "set", [*paths("A", "B"), "test/A/1.png", "old/1.png", "x.png"])
    found, _ = index_names(data)
    assert found is not None
    assert found.layout == "pairs by name in set/A and set/B (2 images elsewhere are not used)"


def test_hidden_and_other_files_are_ignored(tmp_path: Path) -> None:
    hidden = ["A/.1.png", "A/._1.png", "A/Thumbs.db", ".git/A/1.png", "__MACOSX/1.png", "A/1.txt"]
    for form in FORMS:
        assert index_names(form(tmp_path / "set", paths("A", "B") + hidden))[1][0] == paths("A")


def shards(root: Path, names: Iterable[str]) -> Path:
    root.mkdir()
    tarred(root / "all", names)
    return root


@pytest.mark.parametrize("form", [*FORMS, shards])
def test_files_of_other_extensions_are_listed(tmp_path: Path, form: Form) -> None:
    others = ["A/9.nii.gz", "B/9.NII.GZ", "A/x", "A/IM.0001", "B/y.avif", "deep/z.dcm"]
    sidecars = ["A/1.txt", "labels.csv", "README"]
    hidden = ["A/.x.dcm", ".git/A/1.dcm", "__MACOSX/A/._1.dcm", "A/Thumbs.db"]
    data = form(tmp_path / "set", [*paths("A", "B"), *others, *sidecars, *hidden])
    tree = list_images(data)
    assert isinstance(tree, FileTree)
    assert sorted(tree.files) == paths("A", "B") and not tree.skipped
    assert tree.other == tuple(sorted([*others, *sidecars]))


@pytest.mark.parametrize("form", [*FORMS, shards])
@pytest.mark.parametrize("layout", ["auto", "folders", "side-by-side", "patterns", "photos"])
def test_data_of_only_other_extensions_is_refused(tmp_path: Path, form: Form, layout: Any) -> None:
    names = [*paths("A", "B", names=("1.dcm", "2.dcm")), "A/3.nii.gz", "notes.txt"]
    data = form(tmp_path / "set", names)
    for paired in (True, False):
        with pytest.raises(UserError) as caught:
            index_split(data, "train", paired, DataConfig(layout=layout))
        assert caught.value.path == data
        assert re.search(
            r"no images that can be read, only 4 files ending in \.dcm: A/1\.dcm, A/2\.dcm, "
            r"B/1\.dcm and 1 more; 1 file ending in \.nii\.gz: A/3\.nii\.gz; convert .* PNG, JPEG",
            str(caught.value),
        )
        assert "it needs" not in str(caught.value)  # the folders exist


def test_domain_of_only_other_extensions_is_named(tmp_path: Path) -> None:
    data = folder(tmp_path / "set", [*paths("A"), "B/1.dcm", "B/2.dcm"])
    with pytest.raises(UserError, match=r"no folder B with .*not read: 2 files ending in \.dcm"):
        index_split(data, "train", True)


# -- a folder, a zip and a tar are equivalent


def random_names(rng: random.Random) -> list[str]:
    words = [
        "A",
        "B",
        "train",
        "test",
        "a",
        "1",
        "é",
        "\u202e",
        "x.y",
        "sp ace",
        "n\nl",
        "_A",
        "😀",
    ]
    ends = [".png", ".JPG", ".tif", "_A.png", "_B.png", ".a.png", ".b.png", ".txt", ""]
    tops = ["", "A/", "B/", "trainA/", "trainB/", "test/A/", "test/B/", "train/", "wrap/"]
    names: set[str] = set()
    top = rng.sample(tops, rng.randint(1, 4))
    for _ in range(rng.randint(1, 30)):
        middle = "".join(rng.choice(words) + "/" for _ in range(rng.choice([0, 0, 0, 1, 2])))
        names.add(rng.choice(top) + middle + rng.choice(words) + rng.choice(ends))
    folders = {name[:i] for name in names for i, c in enumerate(name) if c == "/"}
    return sorted(names - folders)


@pytest.mark.parametrize("seed", range(40))
def test_folder_zip_and_tar_have_the_same_index(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    names = random_names(rng)
    results = []
    for form in FORMS:
        rng.shuffle(names)  # any order
        data = form(tmp_path / "d4ta", names)
        for split in ("train", "val", "test"):
            for paired in (True, False):
                for layout in ("auto", "folders", "side-by-side", "patterns", "photos"):
                    try:
                        found, sides = index_names(data, split, paired, layout=layout)
                        words = found.layout if found else ""
                    except UserError as error:
                        assert str(error).isprintable()
                        words, sides = str(error), ([], [], [])
                    words = words.replace(str(data), "SET").replace(data.name, "SET")
                    results.append((words, sides))
    third = len(results) // 3
    assert results[:third] == results[third : 2 * third] == results[2 * third :]


# -- manifests


def csv_manifest(path: Path, rows: list[dict[str, str]]) -> Path:
    columns = list(rows[0])
    lines = [columns, *([row[column] for column in columns] for row in rows)]
    path = path.with_suffix(".csv")
    path.write_text("\ufeff" + "\r\n".join(",".join(f'"{v}"' for v in line) for line in lines))
    return path


def jsonl_manifest(path: Path, rows: list[dict[str, str]]) -> Path:
    path = path.with_suffix(".jsonl")
    path.write_text("\n\n".join(json.dumps(row) for row in rows) + "\n")
    return path


every_manifest = pytest.mark.parametrize("make", [csv_manifest, jsonl_manifest])
Make = Callable[[Path, list[dict[str, str]]], Path]


@every_manifest
def test_manifest_defines_pairs_splits_and_order(tmp_path: Path, make: Make) -> None:
    root = folder(tmp_path / "set", ["z.png", "x,y.png", "q/1.tif", "2.png"])
    elsewhere = folder(tmp_path / "far", ["é.png"]) / "é.png"
    rows = [
        {"a": "z.png", "b": "x,y.png", "split": "train"},
        {"a": "q/1.tif", "b": "../far/é.png", "split": "train"},
        {"a": "2.png", "b": str(elsewhere), "split": "val"},
    ]
    path = make(root / "list", rows)
    data = list_images(path)
    found = index_split(data, "train", True)
    assert found is not None and found.layout == f"pairs listed in {path.name}"
    assert found.a == (Source(root / "z.png"), Source(root / "q/1.tif"))
    assert [source.read().decode() for source in found.b] == ["x,y.png", "é.png"]
    val = index_split(data, "val", False)
    assert val is not None and val.b == (Source(elsewhere),)
    assert index_split(data, "test", True) is None


@every_manifest
def test_manifest_of_unpaired_images_may_have_empty_fields(tmp_path: Path, make: Make) -> None:
    folder(tmp_path, ["1.png", "2.png", "3.png"])
    rows = [{"a": "1.png", "b": ""}, {"a": "", "b": "2.png"}, {"a": "1.png", "b": "3.png"}]
    path = make(tmp_path / "list", rows)
    found = index_split(path, "train", False)
    assert found is not None and not found.unmatched
    assert ([s.path.name for s in found.a], len(found.b)) == (["1.png"], 2)
    paired = index_split(path, "train", True)
    assert paired is not None and len(paired.a) == 1
    assert [s.path.name for s in paired.unmatched] == ["1.png", "2.png"]
    photos = index_split(path, "train", True, DataConfig(layout="photos"))
    assert photos is not None and photos.a == photos.b and len(photos.a) == 3
    manifest = make(tmp_path / "list", rows[:2])
    with raises_user_error(path=manifest):
        index_split(manifest, "train", True)
    manifest = make(tmp_path / "list", rows[:1])
    with raises_user_error(path=manifest):
        index_split(manifest, "train", False)
    with raises_user_error("data.layout"):
        index_split(path, "train", True, DataConfig(layout="folders"))


@every_manifest
def test_manifest_defines_groups(tmp_path: Path, make: Make) -> None:
    folder(tmp_path, ["1.png", "2.png", "3.png", "4.png"])
    rows = [{"a": "1.png", "b": "2.png", "group": "p1"}, {"a": "3.png", "b": "4.png", "group": ""}]
    path = make(tmp_path / "list", rows)
    for layout, paired in (("auto", True), ("auto", False), ("photos", True)):
        found = index_split(path, "train", paired, DataConfig(layout=layout))  # type: ignore[arg-type]
        assert found is not None and set(found.groups.values()) == {"p1"}
        groups = {source.path.name: found.group_of(source) for source in found.a + found.b}
        assert groups == {"1.png": "p1", "2.png": "p1", "3.png": "3.png", "4.png": "3.png"}


def test_lines_that_share_an_image_are_one_group(tmp_path: Path) -> None:
    folder(tmp_path, [f"{i}.png" for i in range(9)])
    pairs = [(0, 1), (2, 3), (4, 3), (4, 5), (6, 7), (6, 8)]
    rows = [{"a": f"{a}.png", "b": f"{b}.png"} for a, b in pairs]
    found = index_split(csv_manifest(tmp_path / "list", rows), "train", True)
    assert found is not None
    names = {int(s.path.stem): found.group_of(s) for s in found.a + found.b}
    assert names[0] == names[1] == "0.png"
    assert names[2] == names[3] == names[4] == names[5] and names[6] == names[7] == names[8]
    assert len(set(names.values())) == 3


@every_manifest
def test_missing_files_of_a_manifest_are_listed_by_line_and_counted(
    tmp_path: Path, make: Make
) -> None:
    folder(tmp_path, ["1.png", "x.txt", "d/1.png"])
    rows = [{"a": f"{i}.png", "b": "1.png"} for i in range(1, 14)]
    rows += [{"a": "d", "b": "d"}, {"a": "x.txt", "b": "d"}]
    with pytest.raises(UserError, match=r"^15 of the files that .*list\.\w+ names") as caught:
        list_images(make(tmp_path / "list", rows))
    # The line before it is the header, or empty.
    assert "line 3: 2.png does not exist; " in str(caught.value)
    assert str(caught.value).count("does not exist") == 10 and "and 5 more" in str(caught.value)
    # Files of any extension are accepted: their contents decide whether they are images.
    with pytest.raises(UserError, match=r"^1 of the files that .*: line \d: d is not a file"):
        list_images(make(tmp_path / "list", rows[-1:]))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.csv", "", "its first line must name the columns a and b"),
        ("x.csv", "a;b\n1;2\n", "its first line must name the columns a and b"),
        ("x.csv", "a,b,a\n", "its first line must name the columns a and b"),
        (
            "x.csv",
            "a,b,group,group\n",
            "columns a and b, and may name split, group, mask_a and mask_b",
        ),
        ("x.csv", "a, b\n1.png\n", "line 2 has 1 fields, not 2"),
        ("x.csv", "a,b\n1.png,2,3.png\n", "line 2 has 3 fields, not 2 .*quotation marks"),
        ("x.csv", 'a,b\n"1.png,2.png\n', "unexpected end of data"),
        ("x.csv", "a,b,split\n1.png,1.png,dev\n", "line 2: the split is one of train, v"),
        ("x.csv", "a,b\n,\n", "line 2 names no image"),
        ("x.csv", "a,b\n", "lists nothing to train on"),
        ("x.jsonl", "", "lists nothing to train on"),
        ("x.jsonl", '{"a": "1.png"\n', "line 1 is not JSON"),
        ("x.jsonl", "\n[1, 2]\n", "line 2 is not like"),
        ("x.jsonl", '{"b": 3}\n', "line 1: b is 3, not text"),
        ("x.jsonl", '{"a": "1.png", "split": 1}\n', "line 1: split is 1, not text"),
        ("x.jsonl", '{"a": "1.png", "group": 7}\n', "line 1: group is 7, not text"),
        ("x.jsonl", '{"c": "1.png"}\n', "line 1 is not like"),
        ("x.jsonl", '{"a": "n\\u0000l.png"}\n', r"n\\x00l\.png is not accessible"),
        ("x.jsonl", "[" * 100_000, "cannot be used"),
    ],
)
def test_invalid_manifest_is_refused_with_the_line(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    folder(tmp_path, ["1.png"])
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        index_split(tmp_path / name, "train", True)
    assert name in str(caught.value) and str(caught.value).isprintable()


def test_indexing_does_not_decode(tmp_path: Path) -> None:
    """Empty files are indexed: decoding them is a later step."""
    for name in paths("A", "B"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = index_split(tmp_path, "train", True)
    assert found is not None and len(found.a) == 2
