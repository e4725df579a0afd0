"""torchrun on one machine, and on two hosts: network namespaces with a link between them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
HOSTS = (f"vv{os.getpid()}a", f"vv{os.getpid()}b")
LINKS = (f"vv{os.getpid()}0", f"vv{os.getpid()}1")
ADDRESSES = ("10.77.0.1", "10.77.0.2")
Launchers = list[subprocess.Popen[bytes]]


@contextmanager
def joined() -> Iterator[None]:
    """The two hosts, for as long as it lasts. Raises OSError where there can be none."""
    if os.geteuid() or not shutil.which("ip"):
        raise OSError("network namespaces need root, and ip")
    try:
        for host in HOSTS:
            _ip("netns", "add", host)
        _ip("link", "add", LINKS[0], "netns", HOSTS[0], "type", "veth", "peer", "name", LINKS[1],
            "netns", HOSTS[1])  # fmt: skip
        for host, link, address in zip(HOSTS, LINKS, ADDRESSES, strict=True):
            _ip("-n", host, "addr", "add", f"{address}/24", "dev", link)
            _ip("-n", host, "link", "set", "lo", "up")
            _ip("-n", host, "link", "set", link, "up")
        yield
    finally:
        for host in HOSTS:
            subprocess.run(["ip", "netns", "del", host], check=False, capture_output=True)


def switch(state: str) -> None:
    """The link between them: `up` or `down`."""
    _ip("-n", HOSTS[0], "link", "set", LINKS[0], state)


def one_machine(path: Path, log: Path, restarts: int = 0) -> Launchers:
    """torchrun for two processes that train by a recipe."""
    return [_begin([*TORCHRUN, "--standalone", "--nproc_per_node", "2", "--max-restarts",
                    str(restarts), "-m", "viceversa", "train", str(path)], log)]  # fmt: skip


def two_machines(path: Path, log: Path, restarts: int = 0) -> Launchers:
    """torchrun on each of two hosts that are `joined`, for one process each."""
    return [
        _begin(["ip", "netns", "exec", host, *TORCHRUN, "--nnodes", "2", "--nproc_per_node", "1",
                "--max-restarts", str(restarts), "--rdzv-id", "run", "--rdzv-backend", "c10d",
                "--rdzv-endpoint", f"{ADDRESSES[0]}:29511", "--rdzv-conf", f"is_host={1 - number}",
                "--local-addr", ADDRESSES[number], "-m", "viceversa", "train", str(path)],
               log, GLOO_SOCKET_IFNAME=LINKS[number])
        for number, host in enumerate(HOSTS)
    ]  # fmt: skip


def _begin(words: list[str], log: Path, **environment: str) -> subprocess.Popen[bytes]:
    environment["OMP_NUM_THREADS"] = "1"  # torchrun sets it for several on a host, and not for one
    with log.open("ab") as out:
        return subprocess.Popen(
            words, stdout=out, stderr=out, env=os.environ | environment, start_new_session=True
        )


def _ip(*words: str) -> None:
    made = subprocess.run(["ip", *words], check=False, capture_output=True, text=True)
    if made.returncode:
        raise OSError(f"ip {' '.join(words)}: {made.stderr.strip()}")
