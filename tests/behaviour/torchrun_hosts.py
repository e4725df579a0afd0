"""torchrun on one machine, and on two hosts: linked network namespaces."""

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
def linked_hosts() -> Iterator[None]:
    """Create the two hosts and remove them at the end. Raises OSError if that is not possible."""
    if os.geteuid() or not shutil.which("ip"):
        raise OSError("network namespaces need root, and ip")
    try:
        for host in HOSTS:
            _ip("netns", "add", host)
        first, second = ([link, "netns", host] for link, host in zip(LINKS, HOSTS, strict=True))
        _ip("link", "add", *first, "type", "veth", "peer", "name", *second)
        for host, link, address in zip(HOSTS, LINKS, ADDRESSES, strict=True):
            _ip("-n", host, "addr", "add", f"{address}/24", "dev", link)
            _ip("-n", host, "link", "set", "lo", "up")
            _ip("-n", host, "link", "set", link, "up")
        yield
    finally:
        for host in HOSTS:
            subprocess.run(["ip", "netns", "del", host], check=False, capture_output=True)


def set_link(state: str) -> None:
    """Set the link between the hosts to `up` or `down`."""
    _ip("-n", HOSTS[0], "link", "set", LINKS[0], state)


def launch_on_one_machine(path: Path, log: Path, restarts: int = 0) -> Launchers:
    """Start torchrun with two processes that train with the settings in `path`."""
    options = {"--nproc_per_node": "2", "--max-restarts": str(restarts)}
    return [_launch([*TORCHRUN, "--standalone", *_flat(options), *_train(path)], log)]


def launch_on_two_hosts(path: Path, log: Path, restarts: int = 0) -> Launchers:
    """Start torchrun with one process on each of two `linked_hosts`."""
    launchers = []
    for number, host in enumerate(HOSTS):
        options = {
            "--nnodes": "2",
            "--nproc_per_node": "1",
            "--max-restarts": str(restarts),
            "--rdzv-id": "run",
            "--rdzv-backend": "c10d",
            "--rdzv-endpoint": f"{ADDRESSES[0]}:29511",
            "--rdzv-conf": f"is_host={1 - number}",
            "--local-addr": ADDRESSES[number],
        }
        arguments = ["ip", "netns", "exec", host, *TORCHRUN, *_flat(options), *_train(path)]
        launchers.append(_launch(arguments, log, GLOO_SOCKET_IFNAME=LINKS[number]))
    return launchers


def _flat(options: dict[str, str]) -> list[str]:
    return [word for option in options.items() for word in option]


def _train(path: Path) -> list[str]:
    return ["-m", "viceversa", "train", str(path)]


def _launch(arguments: list[str], log: Path, **environment: str) -> subprocess.Popen[bytes]:
    environment["OMP_NUM_THREADS"] = "1"  # torchrun sets it only for several processes per host
    with log.open("ab") as out:
        return subprocess.Popen(
            arguments, stdout=out, stderr=out, env=os.environ | environment, start_new_session=True
        )


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
