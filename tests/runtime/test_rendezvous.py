"""After a restart by torchrun, processes connect to each other and to no earlier attempt."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from torch.distributed import Store, TCPStore

from viceversa.runtime.distributed import attempt_store

HOST = "127.0.0.1"
TIMEOUT = timedelta(seconds=20)


def launcher() -> TCPStore:
    """Return a store like that of torchrun, which all attempts share."""
    return TCPStore(HOST, 0, is_master=True, wait_for_workers=False)


def client(store: TCPStore) -> TCPStore:
    """Return a connection of a process to that store."""
    return TCPStore(HOST, store.port)


def attempt(store: TCPStore, count: int) -> list[Store]:
    """Return the stores that the processes of one attempt use."""
    with ThreadPoolExecutor(count) as pool:
        clients = [client(store) for _ in range(count)]
        return list(
            pool.map(lambda rank: attempt_store(clients[rank], rank, HOST, TIMEOUT), range(count))
        )


@pytest.mark.parametrize("count", [1, 2, 4])
def test_all_processes_of_an_attempt_share_a_store_and_each_attempt_has_another(count: int) -> None:
    store = launcher()
    for number in range(3):
        stores = attempt(store, count)
        assert not any(one.check(["key"]) for one in stores)  # no data of the earlier attempt
        stores[-1].set("key", str(number))
        assert all(one.get("key") == str(number).encode() for one in stores)
        stores.clear()  # the processes of an attempt end before the next one starts


@pytest.mark.parametrize("dead_port", [False, True])
def test_rank_1_waits_for_rank_0(dead_port: bool) -> None:
    """Also if it finds the port of a server that ended with an earlier attempt."""
    store = launcher()
    if dead_port:
        dead = TCPStore(HOST, 0, is_master=True, wait_for_workers=False)
        store.set("viceversa/port", str(dead.port))
        del dead
    with ThreadPoolExecutor(1) as pool:
        early = pool.submit(attempt_store, client(store), 1, HOST, TIMEOUT)
        assert not early.done()
        first = attempt_store(client(store), 0, HOST, TIMEOUT)
        first.set("key", "value")
        assert early.result().get("key") == b"value"


def test_rank_0_is_not_waited_for_longer_than_the_timeout() -> None:
    store = launcher()
    store.set("viceversa/port", "1")
    with pytest.raises(RuntimeError, match=r"rank 0 did not answer within 0\.5 s"):
        attempt_store(client(store), 1, HOST, timedelta(seconds=0.5))
