"""Mutated model and checkpoint files, with a correct digest or without."""

from __future__ import annotations

import copy
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hostile_weights
import torch

from viceversa.checkpoint import container, load_state, read_header, read_weights, save_state
from viceversa.checkpoint.header import DIGEST, HEADER, shapes
from viceversa.errors import UserError
from viceversa.inference import Translator

VALUES: list[Any] = [
    None,
    True,
    False,
    -1,
    0,
    1,
    3,
    2**31,
    2**63,
    2**64,
    10**30,
    -(10**30),
    1e308,
    float("nan"),
    float("inf"),
    -0.0,
    "",
    "x" * 1000,
    "tensor:",
    "tensor:/method/0.weight",
    "\ud800",
    "\0",
    [],
    {},
    [[]],
    [None],
    {"": None},
    {"a": {"b": [1]}},
    "unet",
    ["unet"],
    "../../etc",
    "F32",
    "I64",
    [1, 2],
    [-1],
    [2**40, 2**40],
    json.loads(hostile_weights.nested(70)),
    "labels",
    "lab-ab",
    "uint16",
    "float32",
    [0.0],
    [1.0, 2.0, 3.0],
    ["#ff0000", "#00ff00"],
    "0,255",
]


def mutate_bytes(content: bytes, rng: random.Random) -> bytes:
    """Replace, insert, delete or duplicate some bytes."""
    mutant = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        position = rng.randrange(min(len(mutant), rng.choice((16, 4000, 10**9)))) if mutant else 0
        part = mutant[position : position + rng.randint(1, 64)]
        operation = rng.randrange(5)
        if operation == 0 and mutant:
            mutant[position] = rng.randrange(256)
        elif operation == 1:
            mutant[position:position] = rng.randbytes(rng.randint(1, 16))
        elif operation == 2:
            del mutant[position : position + len(part)]
        elif operation == 3:
            mutant[position:position] = part
        else:
            del mutant[position:]
    return bytes(mutant)


def mutate_value(value: Any, rng: random.Random) -> Any:
    """Copy nested dicts and lists with some entries replaced, removed, renamed or added."""
    value = copy.deepcopy(value)
    for _ in range(rng.randint(1, 3)):
        inner = value
        while isinstance(inner, dict | list) and inner:
            key = rng.choice(list(inner) if isinstance(inner, dict) else range(len(inner)))
            deeper = inner[key]
            if isinstance(deeper, dict | list) and deeper and rng.random() < 0.8:
                inner = deeper
                continue
            operation = rng.randrange(6)
            if operation == 0:
                del inner[key]
            elif operation == 1 and isinstance(inner, dict):
                inner[rng.choice(("name", "x", "", "config", "kind"))] = inner.pop(key)
            elif operation == 2 and isinstance(inner, list):
                inner.append(copy.deepcopy(rng.choice(VALUES)))
            else:
                inner[key] = copy.deepcopy(rng.choice(VALUES))
            break
    return value


class Fuzz:
    """Mutants of a model and of a checkpoint, and functions that read them."""

    def __init__(self, folder: Path, seed: int):
        self.rng, self.path = random.Random(seed), folder / f"mutant-{seed}.safetensors"
        hostile_weights.write_valid_model(self.path)
        self.model = self.path.read_bytes()
        self.weights, self.header = container.load(self.path)
        small = {
            "images": 1,
            "method": {"w": torch.ones(3)},
            "log": {"sums": {}},
            "random": {"python": [3, [1, 2, 3], None]},
        }
        save_state(self.path, small)
        self.state = self.path.read_bytes()
        self.tensors, self.state_header = container.load(self.path)

    def of_bytes(self) -> bytes:
        return mutate_bytes(self.rng.choice((self.model, self.state)), self.rng)

    def of_table(self) -> bytes:
        """Mutate the safetensors header."""
        content = self.rng.choice((self.model, self.state))
        end = 8 + int.from_bytes(content[:8], "little")
        return hostile_weights.raw(
            mutate_value(json.loads(content[8:end]), self.rng), content[end:]
        )

    def of_header(self) -> bytes:
        """Mutate our header of the model; the digest is correct."""
        return self._signed(mutate_value(self.header, self.rng), self.weights)

    def of_state(self) -> bytes:
        return self._signed(mutate_value(self.state_header, self.rng), self.tensors)

    def _signed(self, header: Any, tensors: dict[str, torch.Tensor]) -> bytes:
        text = json.dumps(header)
        metadata = {HEADER: text, DIGEST: container.digest(text, tensors)}
        table, data, end = {"__metadata__": metadata}, [], 0
        for name, tensor in tensors.items():
            data.append(tensor.numpy().tobytes())
            table[name] = hostile_weights.entry(
                list(tensor.shape), [end, end + tensor.nbytes], container.TYPES[tensor.dtype]
            )
            end += tensor.nbytes
        return hostile_weights.raw(table, b"".join(data))

    def file(self, path: Path) -> None:
        """Read a file with all readers. Raises UserError if all of them do."""
        refused = 0
        for read in (read_header, read_weights, load_state, shapes):
            try:
                read(path)
            except UserError:
                refused += 1
        if refused == 4:
            raise UserError(f"{path} is neither a model nor a checkpoint")

    def translator(self, path: Path) -> None:
        Translator.load(path, device="cpu")

    def run(
        self,
        reads: Callable[[Path], None],
        kinds: tuple[str, ...],
        count: int,
        seconds: float = 1e9,
    ) -> Counter[str]:
        """Count the outcomes of reading mutants: read, refused, or the text of another error."""
        outcomes: Counter[str] = Counter()
        deadline = time.monotonic() + seconds
        for number in range(count):
            if number % 64 == 0 and time.monotonic() > deadline:
                break
            kind = self.rng.choice(kinds)
            mutant: bytes = getattr(self, kind)()
            self.path.write_bytes(mutant)
            try:
                reads(self.path)
                outcomes["read"] += 1
            except UserError:
                outcomes["refused"] += 1
            except Exception as error:
                outcomes[f"{kind}: {type(error).__name__}: {error}"[:200]] += 1
        return outcomes


ALL_KINDS = ("of_bytes", "of_table", "of_header", "of_state")
MODEL_KINDS = ("of_header", "of_header", "of_table", "of_bytes")


def unexpected_errors(outcomes: Counter[str]) -> dict[str, int]:
    """Return the outcomes that are neither "read" nor "refused"."""
    return {name: count for name, count in outcomes.items() if name not in ("read", "refused")}
