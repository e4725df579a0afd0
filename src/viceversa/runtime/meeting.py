"""How the processes of one attempt find each other, and no one of an attempt that is over.

torchrun keeps one store for all attempts of a run. What those that died have left in it looks like
the living: whoever begins anew waits for an address at which no one is. So the processes agree on a
word first, which only the living can know, and put it before all their keys.
"""

from __future__ import annotations

import json
import time
import uuid

from torch.distributed.distributed_c10d import Store

PAUSE = 0.02  # seconds between two looks


def meet(store: Store, rank: int, count: int, seconds: float) -> str:
    """A word that `count` living processes share. Raises RuntimeError where they don't meet.

    Each says who it is. The first one proposes a word together with those that it has heard; who
    finds itself among them agrees; once all have agreed to the same word, it holds.
    """
    me = uuid.uuid4().hex
    store.set(f"here/{rank}", me)
    ends = time.monotonic() + seconds
    proposed, heard = "", [""] * count
    while time.monotonic() < ends:
        if rank == 0:
            now = [_read(store, f"here/{other}") for other in range(count)]
            if now != heard and all(now):
                proposed, heard = uuid.uuid4().hex, now
                store.set("proposed", json.dumps([proposed, heard]))
            agreed = [_read(store, f"agreed/{other}") == proposed for other in range(1, count)]
            if proposed and all(agreed):
                store.set(f"holds/{proposed}", "yes")
                return proposed
        else:
            word, among = json.loads(_read(store, "proposed") or '["", []]')
            if me in among:
                store.set(f"agreed/{rank}", word)
                if _read(store, f"holds/{word}"):
                    return str(word)
        time.sleep(PAUSE)
    raise RuntimeError(f"not all {count} came within {seconds:g} s")


def _read(store: Store, key: str) -> str:
    return store.get(key).decode() if store.check([key]) else ""
