"""The living find each other, whatever the dead have left in the store."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from torch.distributed import HashStore

from viceversa.runtime.meeting import meet


def all_meet(store: HashStore, count: int) -> list[str]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda rank: meet(store, rank, count, 20.0), range(count)))


@pytest.mark.parametrize("count", [1, 2, 4])
def test_all_leave_with_the_same_word_and_each_attempt_with_another(count: int) -> None:
    store = HashStore()
    words = [all_meet(store, count) for _ in range(5)]
    assert all(len(set(attempt)) == 1 for attempt in words)
    assert len({attempt[0] for attempt in words}) == 5


def test_a_word_of_the_dead_is_not_taken_for_one_of_the_living() -> None:
    """An attempt that had met, and one whose second process died before it could agree."""
    store = HashStore()
    dead = all_meet(store, 2)[0]
    store.set("here/0", "a dead one")
    store.set("here/1", "another")
    store.set("proposed", json.dumps(["half", ["a dead one", "another"]]))
    words = all_meet(store, 2)
    assert words[0] == words[1] and words[0] not in (dead, "half")


def test_who_comes_late_is_waited_for() -> None:
    store = HashStore()
    all_meet(store, 3)
    with ThreadPoolExecutor(3) as pool:
        early = [pool.submit(meet, store, rank, 3, 20.0) for rank in (0, 1)]
        assert not any(one.done() for one in early)
        late = pool.submit(meet, store, 2, 3, 20.0)
        assert len({one.result() for one in [*early, late]}) == 1


def test_who_does_not_come_is_not_waited_for_for_ever() -> None:
    with pytest.raises(RuntimeError, match=r"not all 2 came within 0\.2 s"):
        meet(HashStore(), 0, 2, 0.2)
    with pytest.raises(RuntimeError, match="not all 2"):
        meet(HashStore(), 1, 2, 0.2)
