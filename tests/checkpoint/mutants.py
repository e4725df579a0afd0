"""Files of ours with anything changed in them, their digest made anew or not."""

from __future__ import annotations

import copy
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hostile
import torch

from viceversa.checkpoint import container, load_state, read_header, read_weights, save_state
from viceversa.checkpoint.header import DIGEST, HEADER, shapes
from viceversa.errors import UserError
from viceversa.inference import Translator

NASTY: list[Any] = [
    None, True, False, -1, 0, 1, 3, 2**31, 2**63, 2**64, 10**30, -(10**30), 1e308, float("nan"),
    float("inf"), -0.0, "", "x" * 1000, "tensor:", "tensor:/method/0.weight", "\ud800", "\0", [],
    {}, [[]], [None], {"": None}, {"a": {"b": [1]}}, "unet", ["unet"], "../../etc", "F32", "I64",
    [1, 2], [-1], [2**40, 2**40], json.loads(hostile.nested(70)), "labels", "lab-ab", "uint16",
    "float32", [0.0], [1.0, 2.0, 3.0], ["#ff0000", "#00ff00"], "0,255",
]  # fmt: skip


def changed_bytes(whole: bytes, rng: random.Random) -> bytes:
    """A few bytes other, more, fewer or twice."""
    made = bytearray(whole)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(min(len(made), rng.choice((16, 4000, 10**9)))) if made else 0
        part = made[at : at + rng.randint(1, 64)]
        do = rng.randrange(5)
        if do == 0 and made:
            made[at] = rng.randrange(256)
        elif do == 1:
            made[at:at] = rng.randbytes(rng.randint(1, 16))
        elif do == 2:
            del made[at : at + len(part)]
        elif do == 3:
            made[at:at] = part
        else:
            del made[at:]
    return bytes(made)


def changed_value(value: Any, rng: random.Random) -> Any:
    """The same tables and lists, with something in them replaced, removed, renamed or added."""
    value = copy.deepcopy(value)
    for _ in range(rng.randint(1, 3)):
        inner = value
        while isinstance(inner, dict | list) and inner:
            key = rng.choice(list(inner) if isinstance(inner, dict) else range(len(inner)))
            deeper = inner[key]
            if isinstance(deeper, dict | list) and deeper and rng.random() < 0.8:
                inner = deeper
                continue
            do = rng.randrange(6)
            if do == 0:
                del inner[key]
            elif do == 1 and isinstance(inner, dict):
                inner[rng.choice(("name", "x", "", "config", "kind"))] = inner.pop(key)
            elif do == 2 and isinstance(inner, list):
                inner.append(copy.deepcopy(rng.choice(NASTY)))
            else:
                inner[key] = copy.deepcopy(rng.choice(NASTY))
            break
    return value


class Fuzz:
    """Mutants of one model and one state, and what reads them."""

    def __init__(self, folder: Path, seed: int):
        self.rng, self.path = random.Random(seed), folder / f"mutant-{seed}.safetensors"
        hostile.good(self.path)
        self.model = self.path.read_bytes()
        self.weights, self.header = container.load(self.path)
        small = {"images": 1, "method": {"w": torch.ones(3)}, "log": {"sums": {}},
                 "random": {"python": [3, [1, 2, 3], None]}}  # fmt: skip
        save_state(self.path, small)
        self.state = self.path.read_bytes()
        self.tensors, self.state_header = container.load(self.path)

    def of_bytes(self) -> bytes:
        return changed_bytes(self.rng.choice((self.model, self.state)), self.rng)

    def of_table(self) -> bytes:
        """The format's own header changed."""
        whole = self.rng.choice((self.model, self.state))
        end = 8 + int.from_bytes(whole[:8], "little")
        return hostile.raw(changed_value(json.loads(whole[8:end]), self.rng), whole[end:])

    def of_header(self) -> bytes:
        """What the file says of itself changed, and signed with a digest that is right."""
        return self._signed(changed_value(self.header, self.rng), self.weights)

    def of_state(self) -> bytes:
        return self._signed(changed_value(self.state_header, self.rng), self.tensors)

    def _signed(self, header: Any, tensors: dict[str, torch.Tensor]) -> bytes:
        text = json.dumps(header)
        metadata = {HEADER: text, DIGEST: container.digest(text, tensors)}
        table, data, end = {"__metadata__": metadata}, [], 0
        for name, tensor in tensors.items():
            data.append(tensor.numpy().tobytes())
            table[name] = hostile.one(list(tensor.shape), [end, end + tensor.nbytes],
                                      container.TYPES[tensor.dtype])  # fmt: skip
            end += tensor.nbytes
        return hostile.raw(table, b"".join(data))

    def file(self, path: Path) -> None:
        """All that reads a file, whatever it is of. Raises UserError where each refuses it."""
        refused = 0
        for read in (read_header, read_weights, load_state, shapes):
            try:
                read(path)
            except UserError:
                refused += 1
        if refused == 4:
            raise UserError(f"{path} is nothing of ours")

    def translator(self, path: Path) -> None:
        Translator.load(path, device="cpu")

    def run(self, reads: Callable[[Path], None], kinds: tuple[str, ...], count: int,
            seconds: float = 1e9) -> Counter[str]:  # fmt: skip
        """How many mutants ended how; whatever is no UserError, by its name and its text."""
        ended: Counter[str] = Counter()
        until = time.monotonic() + seconds
        for number in range(count):
            if number % 64 == 0 and time.monotonic() > until:
                break
            kind = self.rng.choice(kinds)
            mutant: bytes = getattr(self, kind)()
            self.path.write_bytes(mutant)
            try:
                reads(self.path)
                ended["read"] += 1
            except UserError:
                ended["refused"] += 1
            except Exception as error:
                ended[f"{kind}: {type(error).__name__}: {error}"[:200]] += 1
        return ended


ANY = ("of_bytes", "of_table", "of_header", "of_state")
OF_MODELS = ("of_header", "of_header", "of_table", "of_bytes")


def strange(ended: Counter[str]) -> dict[str, int]:
    """The errors that are not ours."""
    return {name: count for name, count in ended.items() if name not in ("read", "refused")}
