"""Run `viceversa serve` for a long time, and stop it and its workers often; fail on any loss.

python benchmarks/serving_soak.py [--minutes 30] [--signals 100] [--aborted 1000] [--kills 20]
The model is that of benchmarks/serving.py, and everything runs on this machine. Parts:
aborted: requests whose connection is closed within 20 ms; counters must return to zero.
workers: two workers under load; one of them is killed repeatedly. Then requests whose computation
takes longer than --timeout, so that the worker is replaced. The results are the time until two
workers accept images again, and the statuses of the requests of 4 clients during this time.
signals: SIGTERM to a server under load, alternately with one and two workers; no answer may be
truncated, and the exit status must be 0.
mixed: valid, invalid, aborted and slow requests for some minutes; from the second quarter to the
last, the memory, threads and file descriptors of all processes must not grow.
Writes benchmarks/results/DATE-serving-soak.json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import torch
from machine_peak import machine
from serving import spread, write_demo_model
from serving_load import (
    CLOSED,
    LIVEZ,
    SLOW_BODIES,
    Server,
    abort,
    ask,
    counters,
    drawing,
    translation,
    trickle,
    use,
)

from viceversa.files import write_json

CLIENTS = 4
STALLS = 3
SAMPLES = 40  # measurements of the resources in the part `mixed`
# Allowed growth: a factor, and a constant. Each worker starts up to 6 threads on demand, and file
# descriptors are mostly sockets.
GROWTH = {"memory_mb": (1.05, 2), "threads": (1.0, 12), "files": (1.05, 2)}


def descendants(process: int) -> list[int]:
    """Return the IDs of a process and its descendants."""
    found = [process]
    for one in found:
        with suppress(OSError):  # the process has ended
            found += map(int, Path(f"/proc/{one}/task/{one}/children").read_text().split())
    return found


def resources(process: int) -> dict[str, float]:
    """Return the anonymous memory, threads and file descriptors of a process tree."""
    total = {"memory_mb": 0.0, "threads": 0.0, "files": 0.0}
    for one in descendants(process):
        with suppress(OSError):
            text = Path(f"/proc/{one}/status").read_text()
            values = dict(line.split(":", 1) for line in text.splitlines())
            total["memory_mb"] += int(values["RssAnon"].split()[0]) / 1024
            total["threads"] += int(values["Threads"])
            total["files"] += len(os.listdir(f"/proc/{one}/fd"))
    return total


async def wait_for(port: int, condition: Callable[[dict[str, float]], bool]) -> float:
    """Wait until the counters fulfil a condition; return the seconds."""
    began = time.perf_counter()
    while True:
        with suppress(*CLOSED):
            if condition(await counters(port)):
                return time.perf_counter() - began
        assert time.perf_counter() - began < 60, await counters(port)
        await asyncio.sleep(0.02)


def at_rest(values: dict[str, float]) -> bool:
    return values["requests_in_progress"] == values["body_bytes"] == 0


async def aborted(server: Server, count: int) -> dict[str, float]:
    """Abort requests; return the counters when no request is in progress."""
    await abort(server.port, drawing(64), count, 8)
    await wait_for(server.port, at_rest)
    values = await counters(server.port)
    status = (await ask(server.port, drawing(64)))[1]
    assert status == 200
    names = ("requests_in_progress", "body_bytes", "cancelled_total", "batches_total")
    return {"requests": count} | {name: values[name] for name in names}


async def repeat(port: int, request: bytes, until: asyncio.Event, statuses: Counter[str]) -> None:
    """Send a request repeatedly, each time on a new connection."""
    while not until.is_set():
        try:
            status = (await ask(port, request))[1]
        except CLOSED:
            status = 0
        statuses[str(status)] += 1


async def replaced(server: Server, kills: int) -> dict[str, Any]:
    """Kill workers, and stall workers; return the seconds until two workers accept images again."""
    port, until = server.port, asyncio.Event()
    statuses: Counter[str] = Counter()
    clients = [
        asyncio.create_task(repeat(port, drawing(64), until, statuses)) for _ in range(CLIENTS)
    ]

    async def restarted(count: int) -> float:
        return await wait_for(
            port, lambda now: now["workers"] == 2 and now["worker_restarts_total"] == count
        )

    fork_server = next(
        one for one in descendants(server.process.pid)[1:] if len(descendants(one)) > 1
    )
    killed = []
    for number in range(kills):
        worker = descendants(fork_server)[1]
        os.kill(worker, signal.SIGKILL)
        killed.append(await restarted(number + 1))
    with_kills = dict(statuses)
    statuses.clear()
    stalled = []
    for number in range(STALLS):
        _, status, _ = await ask(port, drawing(64, "1984,1984"))
        assert status == 504
        stalled.append(await restarted(kills + number + 1))
    until.set()
    await asyncio.gather(*clients)
    return {
        "kills": kills,
        "seconds_after_kill": spread(killed),
        "answers_with_kills": with_kills,
        "stalls": STALLS,
        "seconds_after_504": spread(stalled),
        "answers_with_stalls": dict(statuses),
    }


async def terminated(model: Path, count: int) -> dict[str, Any]:
    """Send SIGTERM under load to servers; return the statuses of all requests."""
    rng, statuses, seconds = random.Random(0), Counter[str](), []
    for number in range(count):
        with Server(model, "--workers", f"{1 + number % 2}", "--decoders", "1") as server:
            load = asyncio.create_task(use(server.port, drawing(64), CLIENTS, 60))
            await asyncio.sleep(rng.uniform(0.2, 1.0))
            began = time.perf_counter()
            server.process.terminate()
            status = await asyncio.to_thread(server.process.wait, 60)
            seconds.append(time.perf_counter() - began)
            assert status == 0, status
            statuses.update(str(status) for *_, status in await load)
    assert set(statuses) <= {"200", "503", "0"}, statuses
    return {"signals": count, "statuses": dict(statuses), "seconds": spread(seconds)}


async def mixed(server: Server, minutes: float) -> dict[str, Any]:
    """Send valid, invalid, aborted and slow requests; return the resources over time."""
    port, until = server.port, asyncio.Event()
    statuses: Counter[str] = Counter()
    good = drawing(128)
    requests = {
        "good": good,
        "damaged": translation(good[-500:]),
        "truncated": translation(good.partition(b"\r\n\r\n")[2][:600]),
        "unknown": good.replace(b"models/model", b"models/other"),
        "livez": LIVEZ,
    }

    async def loop(action: Callable[[], Awaitable[object]]) -> None:
        while not until.is_set():
            await action()

    tasks = [repeat(port, request, until, statuses) for request in requests.values()]
    tasks += [loop(lambda: use(port, drawing(64), CLIENTS, 5))]
    tasks += [loop(partial(abort, port, drawing(64), 8, 8))]
    tasks += [loop(partial(trickle, port, *one)) for one in SLOW_BODIES]
    load = [asyncio.create_task(task) for task in tasks]
    samples = []
    for _ in range(SAMPLES):
        await asyncio.sleep(minutes * 60 / SAMPLES)
        samples.append(resources(server.process.pid))
    until.set()
    await asyncio.gather(*load)
    await wait_for(port, at_rest)
    quarter = SAMPLES // 4
    found: dict[str, Any] = {"minutes": minutes, "statuses": dict(statuses)}
    for name, (factor, number) in GROWTH.items():
        values = [one[name] for one in samples]
        early = statistics.median(values[quarter : 2 * quarter])
        late = statistics.median(values[-quarter:])
        found[name] = {"second_quarter": round(early, 1), "last_quarter": round(late, 1)}
        assert late <= early * factor + number, (name, values)
    assert not {"500", "-1"} & set(statuses), statuses
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--signals", type=int, default=100)
    parser.add_argument("--aborted", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, Any] = {
        "date": date.today().isoformat(),
        "machine": machine("cpu"),
        "load": os.getloadavg()[0],
    }
    with tempfile.TemporaryDirectory() as folder:
        model = write_demo_model(Path(folder) / "ab.safetensors")

        def served(part: Callable[[Server], Awaitable[Any]], *words: str) -> Any:
            with Server(model, *words) as server:
                return asyncio.run(part(server))  # type: ignore[arg-type]

        two = ("--workers", "2", "--decoders", "1")
        parts: dict[str, Callable[[], Any]] = {
            "aborted": lambda: served(lambda one: aborted(one, options.aborted)),
            "workers": lambda: served(
                lambda one: replaced(one, options.kills), *two, "--timeout", "2"
            ),
            "signals": lambda: asyncio.run(terminated(model, options.signals)),
            "mixed": lambda: served(lambda one: mixed(one, options.minutes), *two),
        }
        for name, run in parts.items():
            result[name] = run()
            print(name, json.dumps(result[name]), flush=True)
    path = Path(__file__).parent / "results" / f"{date.today().isoformat()}-serving-soak.json"
    write_json(path, result)
    print(path)


if __name__ == "__main__":
    main()
