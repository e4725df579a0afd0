"""Files whose bytes change where they lie: flipped bits, emptied pages, lost ends."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from viceversa.checkpoint import Checkpoints, read_header, read_weights, save_network
from viceversa.errors import UserError

PAGE = 4096
OUTCOMES = ("refused", "same", "wrong")


def state(number: int) -> dict[str, Any]:
    """A state like training's: weights, averages, random numbers, plain values; some 100 kB."""
    draw = torch.Generator().manual_seed(number)
    return {
        "images": number, "epoch": 1, "log": {"sums": {}, "counts": {"l1": 3}},
        "sections": {"train": {"lr": 2e-4, "run": "runs/x"}, "data": {"classes": []}},
        "method": {f"{i}.weight": torch.randn(16, 16, 4, 4, generator=draw) for i in range(5)},
        "optimizers": {"generator": {"0": {"step": torch.tensor(4.0),
                                           "exp_avg": torch.randn(999, generator=draw)}}},
        "random": {"python": [3, list(range(600)), None], "torch": torch.get_rng_state()},
    }  # fmt: skip


def same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return (
            isinstance(other, dict)
            and one.keys() == other.keys()
            and all(same(one[key], other[key]) for key in one)
        )
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
    return bool(one == other) and type(one) is type(other)


def flipped(whole: bytes, bit: int) -> bytes:
    made = bytearray(whole)
    made[bit // 8] ^= 1 << bit % 8
    return bytes(made)


def flips(whole: bytes, count: int, seed: int) -> Iterator[bytes]:
    rng = random.Random(seed)
    return (flipped(whole, rng.randrange(8 * len(whole))) for _ in range(count))


def header_flips(whole: bytes) -> Iterator[bytes]:
    """Every bit of the length and the header, one after another."""
    end = 8 + int.from_bytes(whole[:8], "little")
    return (flipped(whole, bit) for bit in range(8 * end))


def pages(whole: bytes, count: int, seed: int) -> Iterator[bytes]:
    rng = random.Random(seed)
    for _ in range(count):
        start = rng.randrange(len(whole) // PAGE) * PAGE
        yield whole[:start] + bytes(PAGE) + whole[start + PAGE :]


def cuts(whole: bytes, count: int, seed: int) -> Iterator[bytes]:
    rng = random.Random(seed)
    return (whole[: rng.randrange(len(whole))] for _ in range(count))


class Kept:
    """A good checkpoint, and a newer one that rots: the first must be gone back to, and said so."""

    def __init__(self, folder: Path):
        self.checkpoints = Checkpoints(folder, 3)
        self.before, self.newest = state(1), state(2)
        self.checkpoints.save(self.before, 1)
        self.path = self.checkpoints.save(self.newest, 2)
        self.whole = self.path.read_bytes()

    def outcome(self, damaged: bytes) -> str:
        self.path.write_bytes(damaged)
        notes: list[str] = []
        found = self.checkpoints.latest(notes.append)
        assert found is not None
        for kept in self.checkpoints.folder.glob("*.damaged*"):
            assert kept.read_bytes() == damaged
            kept.unlink()
        if not notes:
            return "same" if same(found[0], self.newest) else "wrong"
        told = str(self.path) in notes[0] and "going back to the checkpoint before" in notes[0]
        return "refused" if told and same(found[0], self.before) else "wrong"


class Model:
    """A network's file that rots."""

    def __init__(self, folder: Path):
        self.path = folder / "ab.safetensors"
        header = {
            "kind": "translator",
            "direction": "ab",
            "source": {},
            "target": {},
            "generator": {"name": "unet", "depth": 2},
            "images": 3,
        }
        save_network(self.path, state(3)["method"], header)
        self.whole = self.path.read_bytes()
        self.original = [read_header(self.path), read_weights(self.path)]

    def outcome(self, damaged: bytes) -> str:
        self.path.write_bytes(damaged)
        try:
            return "same" if same([read_header(self.path), read_weights(self.path)],
                                  self.original) else "wrong"  # fmt: skip
        except UserError as error:
            assert str(self.path) in str(error), error
            return "refused"


class Bare:
    """The format alone, with no digest of ours."""

    def __init__(self, folder: Path):
        self.path = folder / "bare.safetensors"
        self.original = state(4)["method"]
        save_file(self.original, self.path)
        self.whole = self.path.read_bytes()

    def outcome(self, damaged: bytes) -> str:
        self.path.write_bytes(damaged)
        try:
            return "same" if same(load_file(self.path), self.original) else "wrong"
        except Exception:  # whatever the library raises
            return "refused"


def tally(outcome: Callable[[bytes], str], damaged: Iterator[bytes]) -> dict[str, int]:
    counts = dict.fromkeys(OUTCOMES, 0)
    for one in damaged:
        counts[outcome(one)] += 1
    return counts
