"""Measure `viceversa serve`: throughput, latency, and its limits under overload and slow clients.

python benchmarks/serving.py [--model FILE] [--turns 7] [--seconds 4] [--count 200]
Without --model, the model is the generator of the paired demo with random weights (the times do not
depend on the weights). All servers, the clients and the network alone run on this machine, and each
server has one thread for the network. Every turn measures, for images of 64 and 128 px, the
images/s of 32 clients with --batch_size 1 and 8, and of the network alone in batches of 8 in this
process: one thread, no files, no HTTP. Ratios are computed within each turn; their
median, smallest and largest value are reported. Further parts: the latency of one client, 256
requests at once with --queue 8, clients that send one byte per second, requests that are aborted,
images above the pixel limit, and SIGTERM under load. Writes benchmarks/results/DATE-serving.json.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine_peak import machine
from PIL import Image
from serving_load import (
    LIVEZ,
    SLOW_BODIES,
    Server,
    abort,
    ask,
    burst,
    counters,
    drawing,
    translation,
    trickle,
    use,
)
from torch import nn

from viceversa.checkpoint import save_network
from viceversa.config.recipes import merge, read_recipe
from viceversa.config.run import resolve
from viceversa.fields import plain
from viceversa.files import write_json
from viceversa.images.domain import Domain
from viceversa.inference import Translator
from viceversa.networks import GENERATORS

SIDES, CLIENTS, BATCH = (64, 128), 32, 8
BURST, QUEUE = 256, 8
TOGETHER = 8  # aborted requests at a time
LARGE = 13_000  # height and width of images above the pixel limit
FORMATS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "JPEG": {},
    "WEBP": {"method": 0},
    "TIFF": {"compression": "tiff_deflate"},
}


def write_demo_model(path: Path) -> Path:
    """Write the generator of the paired demo with random weights."""
    torch.manual_seed(0)
    settings = resolve(merge(read_recipe("demo"), {"data": {"path": "."}}))
    make, _ = GENERATORS[settings.name("generator")]
    header = {
        "kind": "translator",
        "direction": "ab",
        "source": plain(Domain()),
        "target": plain(Domain()),
        "generator": settings.sections["generator"],
    }
    save_network(path, make(settings.generator, 3, 3).state_dict(), header)
    return path


def spread(values: Sequence[float], unit: float = 1.0) -> dict[str, float]:
    """Return the median, the 99th percentile, the smallest and the largest value."""
    points = {"p50": 50, "p99": 99, "min": 0, "max": 100}
    return {k: round(float(np.percentile(values, q)) * unit, 3) for k, q in points.items()}


def served_rate(port: int, side: int, seconds: float) -> float:
    """Return the images/s of the clients, after a warm-up of one second."""
    start = time.perf_counter() + 1
    done = asyncio.run(use(port, drawing(side), CLIENTS, seconds + 1))
    assert {status for _, _, status in done} == {200}
    return sum(start <= ended < start + seconds for _, ended, _ in done) / seconds


@torch.inference_mode()
def network_rate(network: nn.Module, side: int, seconds: float) -> float:
    """Return the images/s of the network alone, in batches."""
    batch = torch.rand(BATCH, 3, side, side) * 2 - 1
    network(batch)
    count, began = 0, time.perf_counter()
    while (passed := time.perf_counter() - began) < seconds:
        network(batch)
        count += BATCH
    return count / passed


def throughput(network: nn.Module, ports: Sequence[int], turns: int, seconds: float) -> Any:
    """Compare one image at a time, batches, and the network alone, in turns."""
    result: dict[str, Any] = {}
    for side in SIDES:
        rates = np.array(
            [
                [
                    *(served_rate(port, side, seconds) for port in ports),
                    network_rate(network, side, seconds),
                ]
                for _ in range(turns)
            ]
        )
        single, batched, alone = rates.T
        named = {"batch_size_1": single, f"batch_size_{BATCH}": batched, "network": alone}
        result[str(side)] = {
            "images_per_second": {name: spread(values) for name, values in named.items()},
            "batching": spread(batched / single),
            "of_the_network": spread(batched / alone),
        }
    return result


def latency(port: int, seconds: float) -> dict[str, Any]:
    """Measure the requests of one client, in ms, by the side of the image."""
    found = {}
    for side in SIDES:
        done = asyncio.run(use(port, drawing(side), 1, seconds))
        times = spread([ended - began for began, ended, _ in done], 1e3)
        found[str(side)] = {"requests": len(done), **times}
    return found


def overload(port: int, turns: int) -> dict[str, Any]:
    """Send more requests at once than the queue accepts."""
    bursts = [asyncio.run(burst(port, drawing(SIDES[-1]), BURST)) for _ in range(turns)]
    return {
        "requests": BURST,
        "queue": QUEUE,
        "statuses": [dict(Counter(str(status) for _, status in one)) for one in bursts],
        "refused_ms": spread([s for one in bursts for s, code in one if code == 429], 1e3),
    }


async def slow_clients(port: int, count: int) -> dict[str, Any]:
    """Send headers and bodies at one byte per second, and request /livez during this time."""
    idle = [(await ask(port, LIVEZ))[0] for _ in range(count)]
    parts = [bytes([byte]) for byte in LIVEZ]
    headers = asyncio.gather(*(trickle(port, b"", parts, bool(i % 2)) for i in range(count)))
    bodies = asyncio.gather(*(trickle(port, *SLOW_BODIES[i % 2]) for i in range(count)))
    meanwhile = []
    while not (headers.done() and bodies.done()):
        meanwhile.append((await ask(port, LIVEZ))[0])
        await asyncio.sleep(0.05)
    return {
        "count": count,
        "headers_closed_s": spread(await headers),
        "bodies_closed_s": spread(await bodies),
        "livez_ms": {"idle": spread(idle, 1e3), "meanwhile": spread(meanwhile, 1e3)},
    }


async def aborted(port: int, count: int) -> dict[str, float]:
    """Abort requests; return the counters of the server when no request is in progress."""
    before = await counters(port)
    await abort(port, drawing(SIDES[0]), count, TOGETHER)
    end = time.perf_counter() + 30
    while (after := await counters(port))["requests_in_progress"] or after["body_bytes"]:
        assert time.perf_counter() < end, after
        await asyncio.sleep(0.01)
    counted = {name: after[name] - before[name] for name in ("cancelled_total", "batches_total")}
    gauges = {name: after[name] for name in ("requests_in_progress", "body_bytes")}
    return {"requests": count, **counted, **gauges}


async def refusals(port: int, turns: int) -> dict[str, Any]:
    """Send images above the pixel limit; return the time of the answers in ms, by format."""
    found = {}
    for kind, options in FORMATS.items():
        file = io.BytesIO()
        Image.new("L", (LARGE, LARGE), 200).save(file, kind, **options)
        answers = [await ask(port, translation(file.getvalue())) for _ in range(turns)]
        assert {status for _, status, _ in answers} == {422}
        found[kind] = spread([seconds for seconds, _, _ in answers], 1e3)
    return {"megapixels": LARGE**2 / 1e6, "ms": found}


async def terminated(server: Server) -> dict[str, Any]:
    """Send SIGTERM under load; return the exit status, the time, and the status of requests."""
    load = asyncio.create_task(use(server.port, drawing(SIDES[-1]), CLIENTS, 30))
    await asyncio.sleep(2)
    server.process.terminate()
    at = time.perf_counter()
    status = await asyncio.to_thread(server.process.wait, 60)
    seconds = time.perf_counter() - at
    statuses = Counter(str(code) for began, ended, code in await load if began < at < ended)
    return {"exit_status": status, "seconds": round(seconds, 2), "in_progress": dict(statuses)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each throughput")
    parser.add_argument("--count", type=int, default=200, help="slow, and aborted requests")
    options = parser.parse_args()
    turns, seconds, count = options.turns, options.seconds, options.count
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    result: dict[str, Any] = {
        "date": date.today().isoformat(),
        "machine": machine("cpu"),
        "versions": {one: metadata.version(one) for one in ("torch", "uvicorn", "starlette")},
        "load": os.getloadavg()[0],
        "turns": turns,
        "clients": CLIENTS,
    }
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        model = options.model or write_demo_model(folder / "ab.safetensors")
        single, server, short = (
            stack.enter_context(Server(model, *words))
            for words in (
                ["--batch_size", "1"],
                ["--batch_size", f"{BATCH}"],
                ["--queue", f"{QUEUE}"],
            )
        )
        network, port = Translator.load(model, "cpu").network, server.port
        parts: dict[str, Callable[[], Any]] = {
            "throughput": lambda: throughput(network, (single.port, port), turns, seconds),
            "latency_ms": lambda: latency(port, 3 * seconds),
            "overload": lambda: overload(short.port, turns),
            "slow_clients": lambda: asyncio.run(slow_clients(port, count)),
            "aborted": lambda: asyncio.run(aborted(port, count)),
            "too_large": lambda: asyncio.run(refusals(port, 3 * turns)),
            "sigterm": lambda: asyncio.run(terminated(server)),
        }
        for name, measure in parts.items():
            result[name] = measure()
            print(name, json.dumps(result[name]), flush=True)
    path = Path(__file__).parent / "results" / f"{date.today().isoformat()}-serving.json"
    write_json(path, result)
    print(path)


if __name__ == "__main__":
    main()
