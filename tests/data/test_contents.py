"""Test the comparison of a dataset with the one stored in a checkpoint."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from viceversa.checkpoint import load_state, save_state
from viceversa.data.contents import Contents, compare, contents
from viceversa.images import Source


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def side(**files: str) -> tuple[tuple[str, bytes], ...]:
    return tuple((name, digest(text)) for name, text in files.items())


def pairs(a: dict[str, str], b: dict[str, str]) -> Contents:
    return Contents(side(**a), side(**b))


A, B = {"p": "1", "q": "2", "r": "3"}, {"p": "-1", "q": "-2", "r": "-3"}
BEFORE = pairs(A, B)


@pytest.mark.parametrize(
    ("a", "b", "text", "swapped", "common"),
    [
        (A, B, "", False, True),
        ({"x": "1", "y": "2", "z": "3"}, B, "", False, True),  # only names differ
        ({**A, "q": "9"}, B, "1 image of A changed (q)", False, True),
        (
            {**A, "s": "4"},
            {**B, "s": "-4"},
            "1 image of A added (s), 1 image of B added (s)",
            False,
            True,
        ),
        (
            {"p": "1"},
            {"p": "-1"},
            "2 images of A removed (q, r), 2 images of B removed (q, r)",
            False,
            True,
        ),
        (
            {"p": "1", "q": "2", "s": "9"},
            B,
            "1 image of A added (s), 1 image of A removed (r)",
            False,
            True,
        ),
        ({"a": "3", "p": "1", "q": "2"}, B, "1 image of A renamed (a)", False, True),
        ({"r": "3", "q": "2", "p": "1"}, B, "the images are in another order", False, True),
        ({"p": "2", "q": "1", "r": "3"}, B, "2 images of A changed (p, q)", False, True),
        (B, A, "3 images of A changed (p, q, r), 3 images of B changed (p, q, r)", True, False),
        (
            {**B, "r": "3"},
            A,
            "2 images of A changed (p, q), 3 images of B changed (p, q, r)",
            True,
            True,
        ),
        (
            {"p": "7", "q": "8", "r": "9"},
            {"p": "70", "q": "80", "r": "90"},
            "3 images of A changed (p, q, r), 3 images of B changed (p, q, r)",
            False,
            False,
        ),
    ],
)
def test_changes_of_images(
    a: dict[str, str], b: dict[str, str], text: str, swapped: bool, common: bool
) -> None:
    change = compare(BEFORE, pairs(a, b))
    assert (change.text, change.swapped, change.common) == (text, swapped, common)


def test_side_by_side_files_are_reported_once() -> None:
    before, now = (side(**A), side(**(A | {f"s{n}": f"s{n}" for n in range(5)})))
    change = compare(Contents(before, before), Contents(now, now))
    assert change.text == "5 images added (s0, s1, s2, ...)" and not change.swapped


def test_checkpoint_stores_100000_pairs_compactly(tmp_path: Path) -> None:
    one, two = (
        tuple((f"train/{s}/{n:06d}.png", digest(f"{s}{n}")) for n in range(100_000)) for s in "AB"
    )
    save_state(tmp_path / "state.safetensors", {"contents": Contents(one, two).state})
    assert (tmp_path / "state.safetensors").stat().st_size < 11e6
    state = load_state(tmp_path / "state.safetensors")["contents"]
    assert Contents.of_state(state) == Contents(one, two)


def test_names_are_relative_to_the_dataset(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    (folder / "A").mkdir(parents=True)
    archive = tmp_path / "set.tar"
    archive.touch()
    shard = folder / "train-1.tar"
    not_utf8 = Source(folder / "A" / "ö\udcff.png")
    sources = [Source(folder / "A" / "1.png"), not_utf8, Source(shard, "a/1.png")]
    result = contents((sources, sources), dict.fromkeys(sources, "00" * 32), folder)
    assert [name for name, _ in result.a] == ["A/1.png", "A/ö\udcff.png", "train-1.tar/a/1.png"]
    assert Contents.of_state(result.state) == result
    assert result.state.keys() == {"a"}  # B has the same files
    member = Source(archive, "A/1.png")
    result = contents(([member], [member]), {member: "11" * 32}, archive)
    assert result.a == (("A/1.png", b"\x11" * 32),)


DIGESTS = torch.zeros(1, 32, dtype=torch.uint8)


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"a": {}},
        {"a": {"names": torch.zeros(3, dtype=torch.uint8)}},
        {"a": {"names": torch.zeros(3, dtype=torch.uint8), "digests": DIGESTS}},
    ],
)
def test_invalid_state_is_refused(state: dict[str, object]) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        Contents.of_state(state)
