"""Damaged files: flipped bits, zeroed pages, truncation."""

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
    """Return a state like that of training, about 100 kB: tensors, random states, plain values."""
    generator = torch.Generator().manual_seed(number)
    return {
        "images": number,
        "epoch": 1,
        "log": {"sums": {}, "counts": {"l1": 3}},
        "sections": {"train": {"lr": 2e-4, "run": "runs/x"}, "data": {"classes": []}},
        "method": {f"{i}.weight": torch.randn(16, 16, 4, 4, generator=generator) for i in range(5)},
        "optimizers": {
            "generator": {
                "0": {"step": torch.tensor(4.0), "exp_avg": torch.randn(999, generator=generator)}
            }
        },
        "random": {"python": [3, list(range(600)), None], "torch": torch.get_rng_state()},
    }


def identical(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return (
            isinstance(other, dict)
            and one.keys() == other.keys()
            and all(identical(one[key], other[key]) for key in one)
        )
    if isinstance(one, list):
        return (
            isinstance(other, list) and len(one) == len(other) and all(map(identical, one, other))
        )
    return bool(one == other) and type(one) is type(other)


def flipped(content: bytes, bit: int) -> bytes:
    damaged = bytearray(content)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def bit_flips(content: bytes, count: int, seed: int) -> Iterator[bytes]:
    rng = random.Random(seed)
    return (flipped(content, rng.randrange(8 * len(content))) for _ in range(count))


def header_flips(content: bytes) -> Iterator[bytes]:
    """Flip every bit of the length and the header, one at a time."""
    end = 8 + int.from_bytes(content[:8], "little")
    return (flipped(content, bit) for bit in range(8 * end))


def zeroed_pages(content: bytes, count: int, seed: int) -> Iterator[bytes]:
    rng = random.Random(seed)
    for _ in range(count):
        start = rng.randrange(len(content) // PAGE) * PAGE
        yield content[:start] + bytes(PAGE) + content[start + PAGE :]


def truncations(content: bytes, count: int, seed: int) -> Iterator[bytes]:
    rng = random.Random(seed)
    return (content[: rng.randrange(len(content))] for _ in range(count))


class DamagedCheckpoint:
    """A checkpoint and a newer, damaged one: the older one must be loaded, with a message."""

    def __init__(self, folder: Path):
        self.checkpoints = Checkpoints(folder, 3)
        self.before, self.newest = state(1), state(2)
        self.checkpoints.save(self.before, 1)
        self.path = self.checkpoints.save(self.newest, 2)
        self.content = self.path.read_bytes()

    def outcome(self, damaged: bytes) -> str:
        self.path.write_bytes(damaged)
        notes: list[str] = []
        found = self.checkpoints.latest(notes.append)
        assert found is not None
        for copy in self.checkpoints.folder.glob("*.damaged*"):
            assert copy.read_bytes() == damaged
            copy.unlink()
        if not notes:
            return "same" if identical(found[0], self.newest) else "wrong"
        reported = str(self.path) in notes[0] and "going back to the checkpoint before" in notes[0]
        return "refused" if reported and identical(found[0], self.before) else "wrong"


class DamagedModel:
    """A damaged model file."""

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
        self.content = self.path.read_bytes()
        self.original = [read_header(self.path), read_weights(self.path)]

    def outcome(self, damaged: bytes) -> str:
        self.path.write_bytes(damaged)
        try:
            found = [read_header(self.path), read_weights(self.path)]
        except UserError as error:
            assert error.path == self.path, error
            return "refused"
        return "same" if identical(found, self.original) else "wrong"


class DamagedSafetensors:
    """A damaged safetensors file without our digest (the control)."""

    def __init__(self, folder: Path):
        self.path = folder / "bare.safetensors"
        self.original = state(4)["method"]
        save_file(self.original, self.path)
        self.content = self.path.read_bytes()

    def outcome(self, damaged: bytes) -> str:
        self.path.write_bytes(damaged)
        try:
            return "same" if identical(load_file(self.path), self.original) else "wrong"
        except Exception:  # the library raises errors of several types
            return "refused"


def count_outcomes(outcome: Callable[[bytes], str], damaged: Iterator[bytes]) -> dict[str, int]:
    counts = dict.fromkeys(OUTCOMES, 0)
    for one in damaged:
        counts[outcome(one)] += 1
    return counts
