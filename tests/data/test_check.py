"""Test the check of a dataset: each issue in a dataset that has it, none in a valid one."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from bad_files import bad_files, special_files
from PIL import Image

from viceversa.data import DataConfig
from viceversa.data.check import (
    CheckResult,
    as_dict,
    as_text,
    check_dataset,
    usable_splits,
)
from viceversa.data.check.sheet import CELL, RED, contact_sheet
from viceversa.errors import UserError
from viceversa.images import Pixels, read
from viceversa.images.domain import DomainConfig
from viceversa.methods import METHODS

SMALL: dict[str, Any] = {"crop_size": 16, "load_size": 18}


def noise(seed: int, height: int = 20, width: int = 20, channels: int = 3) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def put(path: Path, pixels: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        tifffile.imwrite(path, pixels, photometric="rgb" if pixels.ndim == 3 else "minisblack")
    else:
        Image.fromarray(pixels if pixels.shape[2] > 1 else pixels[:, :, 0]).save(path)
    return path


def valid_data(root: Path, count: int = 5, splits: tuple[str, ...] = ("train", "test")) -> Path:
    """Write pairs by name without any issue."""
    for index, split in enumerate(splits):
        for number in range(count):
            put(root / split / "A" / f"{number}.png", noise(100 * index + number))
            put(root / split / "B" / f"{number}.png", noise(1000 + 100 * index + number))
    return root


def check(root: Path, paired: bool | None = True, **data: Any) -> CheckResult:
    return check_dataset(root, paired, DataConfig(path=str(root), **(SMALL | data)), store=None)


def digest(root: Path) -> str:
    total = hashlib.sha256()
    for path in sorted([root, *root.rglob("*")]):
        status = path.lstat()
        total.update(f"{path} {status.st_mtime_ns} {status.st_mode}".encode())
        total.update(path.read_bytes() if path.is_file() and not path.is_symlink() else b"")
    return total.hexdigest()


def issue_texts(checked: CheckResult, severity: str) -> list[str]:
    return [issue.text for issue in checked.issues if issue.severity == severity]


@pytest.mark.parametrize("paired", [True, False, None])
def test_valid_dataset_has_no_issues_and_is_described(tmp_path: Path, paired: bool | None) -> None:
    checked = check(valid_data(tmp_path / "set"), paired)
    assert checked.issues == () and not checked.errors and not checked.invalid
    assert checked.paired is (paired is not False)
    text = as_text(checked)
    assert "train 5 of A, 5 of B" in text and "test  5 of A" in text
    assert "20x20" in text and "RGB; uint8" in text and "0 to 255" in text
    recipe = "cyclegan" if paired is False else "pix2pix"
    assert text.splitlines()[-2].startswith("No problems detected")
    assert text.splitlines()[-1] == (
        f"  - train: viceversa train {recipe} {tmp_path}/set (with the same settings of data)"
    )
    usable = usable_splits(checked)
    assert usable == dict(checked.splits) and list(usable) == ["train", "test"]


def side_by_side(root: Path, count: int = 4) -> Path:
    for number in range(count):
        put(root / "train" / f"{number}.png", noise(number, 20, 40))
    return root


def test_valid_side_by_side_dataset_has_no_issues(tmp_path: Path) -> None:
    checked = check(side_by_side(tmp_path), None)
    assert checked.issues == () and checked.paired
    assert as_dict(checked)["domains"][0]["sizes"] == {"20x20": 4}


Change = Callable[[Path], object]
GREY = noise(50, channels=1)
CONSTANT = np.full((20, 20, 3), 9, dtype=np.uint8)
# name -> (change of a valid dataset, settings, severity, part of the text, part of a file)
ISSUES: dict[str, tuple[Change, dict[str, Any], str, str, str]] = {
    "unreadable": (
        lambda r: (r / "train/A/1.png").write_bytes(b"x"),
        {},
        "error",
        "cannot be read",
        "train/A/1.png is not an image",
    ),
    "missing in B": (
        lambda r: (r / "train/B/1.png").unlink(),
        {},
        "error",
        "images of A in train without a partner",
        "A/1.png",
    ),
    "channels": (
        lambda r: put(r / "train/A/1.png", noise(50, channels=4)),
        {"a": DomainConfig(channels=6)},
        "error",
        "channels do not fit data.a.channels",
        "1.png has 4 channels",
    ),
    "floats": (
        lambda r: [
            put(p.with_suffix(".tif"), noise(i) / np.float32(9)) and p.unlink()
            for i, p in enumerate(sorted(r.rglob("A/*.png")))
        ],
        {},
        "error",
        "values of A are not of 8 or 16 bits",
        "",
    ),
    "mixed dtypes": (
        lambda r: (
            put(r / "train/A/9.tif", noise(50).astype(np.uint16))
            and put(r / "train/B/9.png", noise(51))
        ),
        {},
        "error",
        "of A of another dtype than most",
        "9.tif is uint16, most are uint8",
    ),
    "too small": (
        lambda r: (
            put(r / "train/A/1.png", noise(50, 15, 20))
            and put(r / "train/B/1.png", noise(51, 15, 20))
        ),
        {"preprocess": "crop"},
        "error",
        "of A smaller than data.crop_size",
        "A/1.png is 20x15, smaller than 16",
    ),
    "sizes that cannot be cropped": (
        lambda r: put(r / "train/B/1.png", noise(50, 30, 20)),
        {"preprocess": "crop"},
        "error",
        "differ in size from their partner",
        "B/1.png is 20x30, its partner",
    ),
    "class numbers": (
        lambda r: [
            put(p, noise(50 + i, channels=1) % (7 if i == 3 else 5))
            for i, p in enumerate(sorted(r.rglob("B/*.png")))
        ],
        {"b": DomainConfig(kind="labels", ids=5)},
        "error",
        "of B with values that are not a class",
        "contains the class 6; with ids 5",
    ),
    "16-bit labels": (
        lambda r: (
            put(r / "train/B/1.tif", noise(50).astype(np.uint16)) and (r / "train/B/1.png").unlink()
        ),
        {"b": DomainConfig(kind="labels", classes=("#000000",))},
        "error",
        "of B that are not of 8 bits",
        "1.tif is uint16",
    ),
    "sizes": (
        lambda r: put(r / "train/B/1.png", noise(50, 30, 20)),
        {},
        "warning",
        "A and B differ in size",
        "A/1.png is 20x20, ",
    ),
    "copies": (
        lambda r: put(r / "train/A/1.png", noise(0)),
        {},
        "warning",
        "more than once in a split",
        "A/0.png = ",
    ),
    "leak": (
        lambda r: put(r / "test/B/1.png", noise(1003)),
        {},
        "warning",
        "in more than one split",
        "train/B/3.png = ",
    ),
    "one file as A and B": (
        lambda r: put(r / "train/B/1.png", noise(1)),
        {},
        "warning",
        "have the same content",
        "A/1.png",
    ),
    "constant": (
        lambda r: put(r / "train/A/1.png", CONSTANT),
        {},
        "warning",
        "one value everywhere",
        "A/1.png",
    ),
    "dark": (
        lambda r: [put(p, noise(50 + i) // 16) for i, p in enumerate(sorted(r.rglob("B/*.png")))],
        {},
        "warning",
        "values of B are from 0 to 15 only; uint8 goes to 255",
        "",
    ),
    "folder named like an image": (
        lambda r: (r / "train/A/x.png").mkdir(),
        {},
        "warning",
        "skipped files",
        "train/A/x.png: a folder",
    ),
    "other extension": (
        lambda r: (r / "train/A/9.nii.gz").touch(),
        {},
        "warning",
        "files ending in .nii.gz, which are not read",
        "train/A/9.nii.gz",
    ),
    "other extension outside of the domains": (
        lambda r: [(r / f"x{i}.AVIF").touch() for i in range(9)],
        {},
        "warning",
        "files ending in .avif, which are not read",
        "x2.AVIF",
    ),
    "no extension": (
        lambda r: (r / "train/A/IM0001").touch(),
        {},
        "warning",
        "files without an ending, which are not read",
        "train/A/IM0001",
    ),
    "text file": (
        lambda r: (r / "notes.txt").touch(),
        {},
        "note",
        "text and other files, which are not images",
        "notes.txt",
    ),
    "grey": (
        lambda r: put(r / "train/A/1.png", GREY),
        {},
        "note",
        "of A that will be converted from grey to RGB",
        "A/1.png",
    ),
    "alpha": (
        lambda r: put(r / "train/A/1.png", noise(50, channels=4)),
        {},
        "note",
        "will be blended over white",
        "A/1.png",
    ),
    "enlarged": (
        lambda r: (
            put(r / "train/A/1.png", noise(50, 9, 9)) and put(r / "train/B/1.png", noise(51, 9, 9))
        ),
        {},
        "note",
        "of A smaller than data.crop_size, which will be enlarged",
        "A/1.png",
    ),
}


@pytest.mark.parametrize("name", ISSUES)
def test_issue_is_reported_with_its_files(tmp_path: Path, name: str) -> None:
    change, data, severity, words, names = ISSUES[name]
    root = valid_data(tmp_path / "set")
    change(root)
    before = digest(root)
    checked = check(root, **data)
    (issue,) = [f for f in checked.issues if f.severity == severity and words in f.text]
    assert any(names in file for file in issue.files) or not names
    assert digest(root) == before
    text = as_text(checked)
    assert issue.text in text and all(file in text for file in issue.files[:3])
    if severity == "error":
        assert issue.advice in text.partition("What to do before training:")[2]
        with pytest.raises(UserError, match="viceversa check") as error:
            usable_splits(checked)
        assert issue.text in str(error.value) and names in str(error.value)
    else:
        assert not checked.errors and usable_splits(checked)
        assert "train: viceversa train" in text.splitlines()[-1]


def test_text_files_are_only_a_note(tmp_path: Path) -> None:
    root = valid_data(tmp_path / "set")
    for name in ("notes.txt", "labels.csv", "train/A/1.json", "LICENSE", "._x.png"):
        (root / name).touch()
    (issue,) = check(root).issues
    assert (issue.severity, issue.total, issue.advice) == ("note", 4, "")
    assert "No problems detected." in as_text(check(root))


def test_files_of_each_other_extension_are_counted(tmp_path: Path) -> None:
    root = valid_data(tmp_path / "set")
    for number in range(7):
        (root / f"train/B/{number}.dcm").touch()
        (root / f"test/A/{number}.heic").touch()
    checked = check(root)
    assert [(f.total, len(f.files)) for f in checked.issues] == [(7, 7), (7, 7)]
    assert str(checked.issues[0]) == (
        "files ending in .dcm, which are not read: 7 (train/B/0.dcm, train/B/1.dcm, train/B/2.dcm "
        "and 4 more)"
    )
    assert as_text(checked).count("convert the files that are not read") == 1
    issues = as_dict(checked)["issues"]
    assert [(issue["severity"], issue["total"]) for issue in issues] == [("warning", 7)] * 2


@pytest.mark.parametrize("preprocess", ["crop", "none", "scale_width_and_crop"])
def test_valid_data_has_no_issues_with_any_preprocessing(tmp_path: Path, preprocess: str) -> None:
    assert check(valid_data(tmp_path), preprocess=preprocess).issues == ()


def test_images_without_a_partner_are_reported_before_decoding(tmp_path: Path) -> None:
    root = valid_data(tmp_path / "set", 15)
    for number in range(12):
        (root / f"train/A/{number}.png").rename(root / f"train/A/x{number}.png")
    (root / "train/A/14.png").write_bytes(b"not an image")
    config, reported = DataConfig(**SMALL), list[tuple[int, int]]()
    with pytest.raises(UserError) as error:
        check_dataset(
            root, True, config, names_first=True, store=None, progress=lambda *n: reported.append(n)
        )
    assert not reported
    for side, name in ("A", "x0.png"), ("B", "0.png"):
        words = f"images of {side} in train without a partner: 12 ({root}/train/{side}/{name}"
        assert words in str(error.value) and str(error.value).count("and 9 more") == 2
    skipping = DataConfig(**SMALL, on_invalid="skip", max_invalid=0.6)
    usable = usable_splits(check_dataset(root, True, skipping, names_first=True, store=None))
    assert len(usable["train"].a) == 2


def test_scan_results_are_stored_in_the_user_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / "cache" / name)
    root = valid_data(tmp_path / "set")
    before = digest(root)
    check_dataset(root, True, DataConfig(**SMALL))
    assert len(list((tmp_path / "cache/viceversa/scans").iterdir())) == 1
    assert digest(root) == before


def test_side_by_side_files_of_odd_width(tmp_path: Path) -> None:
    put(side_by_side(tmp_path) / "train" / "9.png", noise(9, 20, 41))
    (issue,) = check(tmp_path).issues
    assert issue.severity == "error" and "width is odd" in issue.text
    assert "9.png is 41 pixels wide" in issue.files[0]


def test_halves_have_their_own_ranges_and_sizes(tmp_path: Path) -> None:
    for number in range(3):
        halves = noise(number) // 2 + 100, noise(number + 9, channels=1).repeat(3, axis=2) // 2
        put(tmp_path / "train" / f"{number}.png", np.concatenate(halves, axis=1))
    checked = check(tmp_path)
    a, b = as_dict(checked)["domains"]
    assert a["range"] == [[100, 227]] * 3 and b["range"] == [[0, 127]] * 3
    assert check(tmp_path, preprocess="crop", crop_size=21).errors  # each half is 20 wide


def test_same_image_in_both_domains_of_unpaired_data(tmp_path: Path) -> None:
    root = valid_data(tmp_path)
    put(root / "train/B/4.png", noise(0))
    checked = check(root, False)
    assert issue_texts(checked, "warning") == ["images that are in both A and B"]
    assert not check(root, True).issues  # 0 of A and 4 of B are not a pair


def test_photos_as_both_domains_are_not_duplicates(tmp_path: Path) -> None:
    for number in range(3):
        put(tmp_path / f"{number}.png", noise(number))
    data = {"a": DomainConfig(kind="lab-l"), "b": DomainConfig(kind="lab-ab"), "layout": "photos"}
    assert check(tmp_path, True, **data).issues == ()


@pytest.mark.parametrize(("names", "pairs"), [("01234", True), ("0567x", False)])
def test_pairs_are_detected_if_names_match(tmp_path: Path, names: str, pairs: bool) -> None:
    root = valid_data(tmp_path, splits=("train",))
    for old, new in zip("01234", names, strict=True):
        (root / "train/B" / f"{old}.png").rename(root / "train/B" / f"_{new}.png")
    for path in (root / "train/B").iterdir():
        path.rename(path.with_name(path.name[1:]))
    checked = check(root, None)
    assert checked.paired is pairs
    assert ("A and B without pairs" in as_text(checked)) is not pairs


@pytest.mark.parametrize(
    ("names_a", "names_b", "doubtful"),
    [(("1", "10", "100"), ("1", "11"), True), (("1", "2"), ("3", "4"), False)],
)
def test_names_that_match_in_part_are_reported(
    tmp_path: Path, names_a: tuple[str, ...], names_b: tuple[str, ...], doubtful: bool
) -> None:
    for side, names in (("A", names_a), ("B", names_b)):
        for name in names:
            put(tmp_path / side / f"{name}.png", noise(int(name) + 1000 * (side == "B")))
    checked = check(tmp_path, None)
    assert not checked.paired and not checked.errors
    warnings = [issue for issue in checked.issues if issue.severity == "warning"]
    *_, last_but_one, last = as_text(checked).splitlines()
    if not doubtful:
        assert not warnings and last.startswith("  - train: viceversa train cyclegan")
        return
    summary, of_a, of_b = warnings
    assert "only 1 of 3 images of A and 1 of 2 images of B have a partner" in summary.text
    assert [Path(name).name for name in of_a.files] == ["10.png", "100.png"]
    assert [Path(name).name for name in of_b.files] == ["11.png"]
    assert "if A and B are not pairs, train: viceversa train cyclegan" in last_but_one
    assert "if A and B are pairs, give both images of a pair the same name" in last
    assert "pix2pix" in last
    with pytest.raises(UserError, match="same name") as error:  # as `train` reports it
        check_dataset(tmp_path, True, checked.config, names_first=True, store=None)
    assert str(of_a) in str(error.value)
    assert check(tmp_path, False).issues == ()  # the user says that they are not pairs


def test_recommended_recipe_is_that_of_a_registered_method(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Paired:
        paired = True

    root = valid_data(tmp_path / "set")
    monkeypatch.setitem(METHODS, "cyclegan", (Paired, Paired))
    monkeypatch.delitem(METHODS, "pix2pix")
    assert "viceversa train cyclegan" in as_text(check(root))


def test_range_of_numbers_allows_mixed_dtypes_and_floats(tmp_path: Path) -> None:
    root = valid_data(tmp_path)
    put(root / "train/A/9.tif", noise(50) / np.float32(2))
    put(root / "train/B/9.png", noise(51))
    assert check(root).errors
    assert check(root, a=DomainConfig(range="0,255")).issues == ()


def test_single_image_is_a_note(tmp_path: Path) -> None:
    checked = check(valid_data(tmp_path, 1, ("train",)))
    assert issue_texts(checked, "note") == [
        "train has a single image of A",
        "train has a single image of B",
    ]


def test_domain_without_a_readable_image_is_an_error_even_with_skip(tmp_path: Path) -> None:
    root = valid_data(tmp_path, 2)
    for path in (root / "train/B").iterdir():
        path.write_bytes(b"x")
    checked = check(root, on_invalid="skip", max_invalid=0.9)
    assert "train has no image of B that can be read" in issue_texts(checked, "error")
    with pytest.raises(UserError, match="no image of B"):
        usable_splits(checked)


def test_skip_leaves_out_and_reports_pairs(tmp_path: Path) -> None:
    root = valid_data(tmp_path, 30)
    (root / "train/A/3.png").write_bytes(b"x")
    (root / "train/B/7.png").unlink()
    checked = check(root, on_invalid="skip", max_invalid=0.05)
    assert not checked.errors
    notes: list[str] = []
    usable = usable_splits(checked, notes.append)
    names = [source.name.name for source in usable["train"].a]
    assert "3.png" not in names and "7.png" not in names and len(names) == 28
    assert [source.name.name for source in usable["train"].b] == names
    assert not usable["train"].unmatched and len(usable["test"].a) == 30
    assert notes[0].startswith("left out: 2 files: ") and "A/3.png is not" in notes[0]
    assert "A/7.png has no partner" in notes[0]
    unpaired = usable_splits(check(root, False, on_invalid="skip", max_invalid=0.05))["train"]
    assert (len(unpaired.a), len(unpaired.b)) == (29, 29)  # unpaired: only the invalid file


def test_more_invalid_files_than_max_invalid_are_refused(tmp_path: Path) -> None:
    root = valid_data(tmp_path, 5)
    (root / "train/A/3.png").write_bytes(b"x")
    checked = check(root, on_invalid="skip", max_invalid=0.01)
    with pytest.raises(
        UserError, match=r"1 of 20 files cannot be used, more than data.max_invalid 0\.0"
    ):
        usable_splits(checked)
    assert "--data.on_invalid skip --data.max_invalid 0.05" in as_text(checked)
    allowed = check(root, on_invalid="skip", max_invalid=0.05)
    assert len(usable_splits(allowed)["train"].a) == 4


@pytest.mark.slow
def test_forty_kinds_of_invalid_files_are_all_reported(tmp_path: Path) -> None:
    root = valid_data(tmp_path / "set", 10)
    invalid = bad_files(root / "train" / "A")
    special = special_files(root / "train" / "A")
    for name, _ in invalid:
        put(root / "train" / "B" / Path(name).with_suffix(".png"), noise(500 + int(name[3:5])))
    before = digest(root)
    checked = check(root)
    reported_names = {source.name.name for source in checked.invalid}
    assert [kind for name, kind in invalid if name not in reported_names] == [] and len(
        invalid
    ) == 40
    assert reported_names == {name for name, _ in invalid}
    assert digest(root) == before
    reported = json.dumps(as_dict(checked))
    assert all(name in reported for name in [*reported_names, *special])
    with pytest.raises(UserError, match=r"files that cannot be read: \d+ \(.* more\)"):
        usable_splits(checked)
    skipping = check(root, on_invalid="skip", max_invalid=0.5)
    assert len(usable_splits(skipping)["train"].a) == 10


def test_result_as_json(tmp_path: Path) -> None:
    root = valid_data(tmp_path)
    (root / "train/A/3.png").write_bytes(b"x")
    reported = json.loads(json.dumps(as_dict(check(root))))
    assert reported["trainable"] is False and list(reported["invalid"]) == [f"{root}/train/A/3.png"]
    assert reported["splits"]["train"]["a"] == 5 and reported["domains"][1]["images"] == 10
    assert reported["issues"][0]["severity"] == "error" and reported["issues"][0]["total"] == 1
    assert reported["advice"][0].startswith("repair or remove")


def test_progress_counts_files_of_both_domains(tmp_path: Path) -> None:
    root, reported = valid_data(tmp_path), list[tuple[int, int]]()
    config = DataConfig(b=DomainConfig(kind="labels", ids=256), **SMALL)
    check_dataset(
        root, True, config, store=None, progress=lambda done, total: reported.append((done, total))
    )
    assert reported[-1] == (20, 20) and reported == sorted(reported)


def test_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no images"):
        check(tmp_path, None)


def test_check_does_not_import_torch() -> None:
    import subprocess

    code = "import sys, viceversa.data.check.sheet; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("paired", [True, False])
def test_contact_sheet_marks_invalid_images(tmp_path: Path, paired: bool) -> None:
    root = valid_data(tmp_path / "set", 8, ("train",))
    contact_sheet(check(root, paired), tmp_path / "valid_data.png", 3)
    sheet = read(tmp_path / "valid_data.png")
    assert not (sheet == RED).all(axis=2).any() and sheet.shape[1] > 6 * CELL
    (root / "train/A/7.png").write_bytes(b"x")
    contact_sheet(check(root, paired), tmp_path / "bad.png", 3)
    assert (read(tmp_path / "bad.png") == RED).all(axis=2).any()


def test_contact_sheet_scales_every_dtype_to_8_bits(tmp_path: Path) -> None:
    ramp = np.arange(40 * 40, dtype=np.uint16).reshape(40, 40, 1)
    for number in range(2):
        put(tmp_path / "set/A" / f"{number}.tif", ramp[:, :, 0] + 1000)
        path = tmp_path / "set/B" / f"{number}.npy"
        path.parent.mkdir(exist_ok=True)
        np.save(path, ramp.repeat(6, axis=2) / np.float32(7))
    data = {"a": DomainConfig(channels=1), "b": DomainConfig(channels=6, range="minmax")}
    contact_sheet(check(tmp_path / "set", True, **data), tmp_path / "sheet.png")
    sheet = read(tmp_path / "sheet.png")
    for left in (0, CELL):
        cell = sheet[6 : CELL - 6, left + 10 : left + CELL - 10]
        assert cell.min() < 10 and cell.max() > 245 and np.ptp(cell, axis=2).max() == 0


@pytest.mark.parametrize("paired", [None, True, False])
@pytest.mark.parametrize(
    ("shape", "doubtful"), [((40, 40), True), ((20, 30), True), ((20, 40), False)]
)
def test_photos_detected_as_side_by_side_files_are_warned_about(
    tmp_path: Path, shape: tuple[int, int], doubtful: bool, paired: bool | None
) -> None:
    """Halves of square and 3:2 photos are tall; those of joined pairs are usually square."""
    for number in range(3):
        put(tmp_path / f"{number}.png", noise(number, *shape))
    checked = check(tmp_path, paired)
    warnings = issue_texts(checked, "warning")
    assert any("cut in the middle" in warning for warning in warnings) == doubtful
    *_, last_but_one, last = as_text(checked).splitlines()
    if doubtful:
        assert "if the files are pairs, train: viceversa train" in last_but_one
        assert "if they are not pairs, make folders A/ and B/" in last
    else:
        assert last.startswith("  - train: viceversa train")
    chosen = check(tmp_path, paired, layout="side-by-side")
    assert any("cut in the middle" in note for note in issue_texts(chosen, "note")) == doubtful
    assert as_text(chosen).splitlines()[-1].startswith("  - train: viceversa train")
    put(tmp_path / "broken.png", noise(9)).write_bytes(b"broken")
    assert not any("if the files are pairs" in step for step in as_dict(check(tmp_path))["advice"])


def test_channels_are_described_and_counts_agree_with_their_noun(tmp_path: Path) -> None:
    image = np.zeros((20, 20, 3), dtype=np.uint8)
    image[0, :, :] = (255, 254, 238)
    for side in "AB":
        put(tmp_path / side / "1.png", image)
    text = as_text(check(tmp_path))
    assert "values  0 to 255; 0 to 254; 0 to 238 (channels 1 to 3)" in text
    assert "A  1 image that can be read" in text
    put(tmp_path / "A/2.png", noise(2))
    text = as_text(check(tmp_path))
    assert "A  1 image that" in text and "or train without 1 of the 3 files: " in text
    notes: list[str] = []
    usable_splits(check(tmp_path, on_invalid="skip", max_invalid=0.5), notes.append)
    assert notes[0].startswith("left out: 1 file: ")


def test_groups_are_counted_and_groups_in_two_splits_are_warned_about(tmp_path: Path) -> None:
    for number, folder in enumerate(("p1/train", "p2/train", "p2/test", "p3/test")):
        for side in "AB":
            put(tmp_path / "set" / folder / side / "1.png", noise(2 * number + (side == "B")))
    checked = check(tmp_path / "set")
    assert "train 2 of A, 2 of B: pairs by name in set/*/train/A and set/*/train/B, 2 groups" in (
        as_text(checked)
    )
    assert [split["groups"] for split in as_dict(checked)["splits"].values()] == [2, 2]
    (issue,) = [f for f in checked.issues if "groups" in f.text]
    assert (issue.severity, issue.files) == ("warning", ("p2 in train and test",))
    assert not any("groups" in f.text for f in check(valid_data(tmp_path / "valid_data")).issues)


def test_narrow_files_of_several_folders_are_not_cut_in_half(tmp_path: Path) -> None:
    """They may be three domains. Wide files, one folder, or a given layout are side by side."""
    for width, folders, layout, refused in (
        (20, "xyz", "auto", True),
        (28, "xyz", "auto", True),
        (20, "xyz", "side-by-side", False),
        (40, "xyz", "auto", False),
        (20, "x", "auto", False),
    ):
        root = tmp_path / f"{width}{folders}{layout}"
        for number, folder in enumerate(folders):
            put(root / folder / "1.png", noise(number, 20, width))
            put(root / folder / "2.png", noise(number + 9, 20, width))
        checked = check(root, True, layout=layout)
        errors = [text for text in issue_texts(checked, "error") if "too narrow" in text]
        assert bool(errors) == refused
        assert all(f.advice.endswith("--data.layout side-by-side") for f in checked.errors)
        if refused:
            with pytest.raises(UserError, match="each file is cut in the middle into A and B"):
                usable_splits(checked)
