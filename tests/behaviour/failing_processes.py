"""Train in one of several processes, of which one fails: `failing_processes.py FAULT RUN`."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any

import torch
from torch import Tensor

RANK = int(os.environ.get("RANK", "0"))
AT = 8  # images after which on_step and on_validation fail
ITEMS = 6  # loads before a dataset fails: more than preparation needs, fewer than an epoch
BATCH = 4


class Failing:
    """Pairs of noise; after `limit` loads it raises an exception."""

    def __init__(self, limit: int | None = None) -> None:
        self.limit, self.loads = limit, 0

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        self.loads += 1
        if self.limit is not None and self.loads > self.limit:
            raise LookupError("of the user")
        generator = torch.Generator().manual_seed(index)
        a, b = torch.rand(2, 3, 16, 16, generator=generator) * 2 - 1
        return a, b


def fail(info: Any) -> None:
    if info.images >= AT:
        raise LookupError("of the user")


def main(fault: str, run: str) -> None:
    import viceversa

    torch.set_num_threads(1)
    viceversa.train(
        "pix2pix",
        Failing(ITEMS if fault == f"dataset {RANK}" else None),
        val_data=Failing(ITEMS if fault == "validation" else None),
        run=run,
        epochs=2,
        batch_size=BATCH,
        device="cpu",
        precision="fp32",
        quiet=True,
        generator={"width": 4, "depth": 3, "norm": "instance"},
        discriminator={"width": 4, "layers": 1, "norm": "instance"},
        train={"samples": 0, "rank_timeout": 60.0},
        validate={"every": AT, "health": 0},
        on_step=fail if fault == "on_step" else None,
        on_validation=fail if fault == "on_validation" else None,
    )


if __name__ == "__main__":
    code = 0
    try:
        main(*sys.argv[1:])
    except Exception:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    os._exit(code)  # threads of torch may abort an exiting process
