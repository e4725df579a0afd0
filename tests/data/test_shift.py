"""Test the estimated shifts of pairs: exact for textures, none without common content."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support import command_output, shared

from viceversa.data import DataConfig
from viceversa.data.check import CheckResult, add_shifts, as_dict, as_text, check_dataset
from viceversa.data.check import shift as module
from viceversa.data.check.result import PairShift
from viceversa.data.check.shift import CONFIDENT, RANGE, SMALLEST, estimate, summary
from viceversa.images import Pixels, Source

HEIGHT, WIDTH, MARGIN = 80, 96, 20


def texture(seed: int, height: int = HEIGHT, width: int = WIDTH) -> Pixels:
    """Smooth noise of `MARGIN` more pixels on each side: (h, w, 3) of uint8."""
    rng = np.random.default_rng(seed)
    size = (height + 2 * MARGIN) // 4, (width + 2 * MARGIN) // 4
    small = Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8))
    return np.asarray(small.resize((size[1] * 4, size[0] * 4), Image.Resampling.BICUBIC))


def pair(seed: int, rows: int = 0, columns: int = 0, **size: int) -> tuple[Pixels, Pixels]:
    """Return crops of a texture: what is at (y, x) in A is at (y + rows, x + columns) in B."""
    whole = texture(seed, **size)
    height, width = (side - MARGIN for side in whole.shape[:2])
    top, left = MARGIN - rows, MARGIN - columns
    return (
        whole[MARGIN:height, MARGIN:width],
        whole[top : height - rows, left : width - columns],
    )


@pytest.mark.parametrize("shift", [(0, 0), (1, 0), (7, -5), (-9, 3), (-9, -9), (0, 9)])
def test_shift_of_a_texture_is_exact(shift: tuple[int, int]) -> None:
    found = estimate(*pair(0, *shift))
    assert (found.rows, found.columns) == shift
    assert found.confidence > 2 * CONFIDENT and found.scale == 1


CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "inverted": lambda b: 255 - b,
    "channels in another order": lambda b: b[:, :, ::-1],
    "grey": lambda b: b.mean(axis=2, keepdims=True).astype(np.uint8),
    "classes": lambda b: (b[:, :, :1] > 127).astype(np.uint8),
    "16 bits, dark": lambda b: b.astype(np.uint16) + 9000,
    "float, negative": lambda b: -1e-6 * b.astype(np.float32),
    "six channels": lambda b: np.concatenate([b, 255 - b], axis=2),
}


@pytest.mark.parametrize("name", CHANGES)
def test_shift_does_not_depend_on_colours_and_dtype(name: str) -> None:
    a, b = pair(1, -4, 6)
    found = estimate(a, CHANGES[name](b))
    assert (found.rows, found.columns) == (-4, 6) and found.confidence > CONFIDENT


def test_large_images_are_reduced_and_the_shift_is_in_pixels_of_the_file() -> None:
    found = estimate(*pair(2, 12, -18, height=512, width=384))
    assert found == (12, -18, 2.0, found.confidence) and found.confidence > CONFIDENT


def test_images_of_a_pair_may_differ_in_size() -> None:
    a, b = pair(3, 6, -8)
    half = np.asarray(Image.fromarray(b).resize((WIDTH // 2, HEIGHT // 2)))
    assert estimate(a, half)[:2] == (6, -8)
    assert estimate(half, a)[:2] == (-3, 4)


@pytest.mark.parametrize("seed", range(8))
def test_unrelated_images_have_no_confident_shift(seed: int) -> None:
    assert estimate(pair(seed)[0], pair(100 + seed)[0]).confidence < CONFIDENT
    noise = np.random.default_rng(seed).integers(0, 256, (2, SMALLEST, SMALLEST, 1), np.uint8)
    assert estimate(*noise).confidence < CONFIDENT


STRIPES = np.tile(np.arange(WIDTH) % 8 * 30, (HEIGHT, 1)).astype(np.uint8)[:, :, None]
AMBIGUOUS: dict[str, tuple[Pixels, Pixels]] = {
    "constant": (np.full((HEIGHT, WIDTH, 3), 7, np.uint8), pair(0)[0]),
    "both constant": (np.full((HEIGHT, WIDTH, 3), 7, np.uint8),) * 2,
    "stripes": (STRIPES, np.roll(STRIPES, 3, axis=1)),
    "shifted too far": pair(0, HEIGHT // RANGE + 3, 0),
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_ambiguous_pairs_have_no_confident_shift(name: str) -> None:
    assert estimate(*AMBIGUOUS[name]).confidence < CONFIDENT


def test_along_a_straight_edge_the_shift_is_0() -> None:
    columns = np.tile(np.arange(WIDTH), (HEIGHT, 1))[:, :, None]
    edges = [np.where(columns < at, 0, 200).astype(np.uint8) for at in (40, 45)]
    assert estimate(*edges)[:2] == (0, 5)


def test_the_border_of_pixels_without_data_is_no_content() -> None:
    """Both images end at the same circle, as the field of view of a scanner."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] - np.array([HEIGHT / 2, WIDTH / 2])[:, None, None]
    outside = np.repeat((np.hypot(y, x) > HEIGHT / 2 - 4)[:, :, None], 3, axis=2)
    a, b = (np.where(outside, -9999, image.astype(np.float32)) for image in pair(4, 7, -5))
    assert estimate(a, b)[:2] == (0, 0)
    masked = (np.ma.MaskedArray(image, outside) for image in (a, b))
    found = estimate(*masked)
    assert found[:2] == (7, -5) and found.confidence > CONFIDENT


def shifts(*values: tuple[int, int], confidence: float = 9.0, scale: float = 1.0) -> Any:
    return {
        (Source(Path(f"{i}-{confidence}")), Source(Path(f"{i}-b"))): PairShift(
            *value, scale, confidence
        )
        for i, value in enumerate(values)
    }


def test_only_confident_shifts_of_more_than_three_pixels_are_reported() -> None:
    few = shifts((0, 3), (-4, 0), (1, 8), (0, 0))
    found = summary(few | shifts((9, 9), (9, 9), confidence=1.9))
    assert (found.compared, found.confident, found.constant) == (6, 4, None)
    assert [one[:2] for one in found.shifted.values()] == [(1, 8), (-4, 0)]
    assert summary(shifts((0, 12), (0, 14), scale=4.0)).shifted.keys() == set()
    assert len(summary(shifts((0, 12), (0, 16), scale=4.0)).shifted) == 1


def test_a_constant_shift_is_that_of_most_confident_pairs() -> None:
    most = [(2, -3)] * 9 + [(2, -2), (1, -3)]
    found = summary(shifts(*most, (2, 9)) | shifts(*[(0, 0)] * 20, confidence=1.0))
    assert found.constant == (2, -3)
    assert [one[:2] for one in found.shifted.values()] == [(2, 9)]
    assert summary(shifts(*most, *[(0, 0)] * 4)).constant is None  # 11 of 15
    assert summary(shifts(*most[:9])).constant is None  # too few
    assert summary(shifts(*[(1, -1)] * 50)).constant is None  # too small
    assert summary(shifts(*most) | shifts(*[(0, 0)] * 200, confidence=1.0)).constant is None
    assert summary(shifts(*[(4, -4)] * 20, scale=4.0)).constant is None
    assert summary(shifts(*[(8, -4)] * 20, scale=4.0)).constant == (8, -4)


def write_pairs(
    root: Path, moved: dict[int, tuple[int, int]], joined: bool = False, count: int = 4
) -> Path:
    """Write pairs of 64 x 72 pixels."""
    for number in range(count):
        a, b = pair(number, *moved.get(number, (0, 0)), height=64, width=72)
        images = {"train": np.concatenate([a, b], axis=1)} if joined else {"A": a, "B": b}
        for folder, image in images.items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(root / folder / f"{number:02d}.png")
    return root


def checked(root: Path, paired: bool | None = True, store: Path | None = None) -> CheckResult:
    config = DataConfig(path=str(root))
    return add_shifts(check_dataset(root, paired, config, store=store), store)


def warnings(check: CheckResult) -> list[str]:
    return [str(issue) for issue in check.issues if "shift" in issue.text]


@pytest.mark.parametrize("joined", [False, True])
def test_shifted_pairs_are_reported_with_their_shift(tmp_path: Path, joined: bool) -> None:
    check = checked(write_pairs(tmp_path / "x", {3: (5, -2), 1: (-1, 7)}, joined))
    (text,) = warnings(check)
    assert "pairs of train, of 4 compared" in text and "more than 3 px, with" in text
    names = ["01.png (-1, 7)", "03.png (5, -2)"]
    assert [text.index(name) for name in names] == sorted(text.index(name) for name in names)
    assert "4 pairs of train: 2 aligned, 2 shifted, 0 cannot tell" in as_text(check)
    values = as_dict(check)["shifts"]["train"]
    assert values["compared"] == values["pairs"] == 4 and values["shifted"] == 2
    assert values["of_pairs"][1]["rows"] == -1 and values["of_pairs"][1]["columns"] == 7
    assert "or train with a recipe for misaligned pairs" in str(as_dict(check)["advice"])


def test_a_constant_shift_of_the_dataset_is_reported_once(tmp_path: Path) -> None:
    root = write_pairs(tmp_path, dict.fromkeys(range(12), (-4, 6)) | {5: (-4, -1)}, count=12)
    check = checked(root)
    whole, single = warnings(check)
    assert "shifted against A by (-4, 6) pixels" in whole
    assert "differs from (-4, 6) by more than 3 px" in single and "05.png (-4, -1)" in single
    assert "move the images of B by (4, -6) pixels" in str(as_dict(check)["advice"])
    assert "11 with the shift (-4, 6) of all, 1 shifted" in as_text(check)


def test_pairs_that_are_not_compared(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "x", {0: (5, 5)})
    assert checked(root, paired=False).shifts == {}
    (root / "A/00.png").write_bytes(b"x")
    Image.new("RGB", (72, SMALLEST - 1)).save(root / "B/01.png")
    assert as_dict(checked(root))["shifts"]["train"]["compared"] == 2
    photos = DataConfig(path=str(root / "B"), layout="photos")
    check = add_shifts(check_dataset(root / "B", True, photos, store=None), None)
    assert check.shifts == {"train": {}} and "shift of B" not in as_text(check)


def test_many_pairs_are_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PAIRS", 2)
    check = checked(write_pairs(tmp_path, {}))
    assert [a.name.name for a, _ in check.shifts["train"]] == ["00.png", "02.png"]
    assert as_dict(check)["shifts"]["train"]["pairs"] == 4


def test_only_new_and_changed_pairs_are_compared_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, store, compared = write_pairs(tmp_path / "x", {2: (0, 6)}), tmp_path / "store", []

    def spy(a: Pixels, b: Pixels) -> PairShift:
        compared.append(a)
        return estimate(a, b)

    monkeypatch.setattr(module, "estimate", spy)
    first = checked(root, store=store)
    assert len(compared) == 4
    assert checked(root, store=store).shifts == first.shifts and len(compared) == 4
    Image.fromarray(pair(50, height=64, width=72)[0]).save(root / "B/03.png")
    assert checked(root, store=store).shifts != first.shifts and len(compared) == 5
    (kept,) = (store / "shifts").iterdir()
    assert len(json.loads(kept.read_bytes().partition(b"\n")[2])["pairs"]) == 4
    kept.write_bytes(b"{}")
    checked(root, store=store)
    assert len(compared) == 9


def test_check_prints_the_shifts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_pairs(tmp_path, {3: (5, -2)})
    assert "3 aligned, 1 shifted" in command_output(capsys, "check", root)
    values = json.loads(command_output(capsys, "check", root, "--json"))
    assert values["shifts"]["train"]["shifted"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(("name", "least"), [("facades", 60), ("earth_relief", 11)])
def test_aligned_pairs_are_not_reported(name: str, least: int) -> None:
    """The pairs of the test split; many facades are too regular to tell."""
    check = checked(shared(name, "test"))
    assert not warnings(check)
    assert as_dict(check)["shifts"]["train"]["confident"] >= least
