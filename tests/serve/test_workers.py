"""Test several workers: they share a port and their counts, and are replaced if they fail."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest
from support import SMALL_GENERATORS, command_error, small_model

from viceversa.images.domain import Domain

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from serving import Command, children, noise, wait_for

from viceversa.serve.metrics import Metrics

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

STALLED = "1024,1024"  # with this size, the second model needs several times --timeout
IMAGES = 'images_total{model="fast"}'
OPTIONS = "--workers", "2", "--decoders", "1", "--timeout", "2"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    (root / "fast").mkdir()
    (root / "slow").mkdir()
    fast = small_model(root / "fast", Domain(), Domain())
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SMALL_GENERATORS, "resnet", {"width": 32, "blocks": 30})
        return {"fast": fast, "slow": small_model(root / "slow", Domain(), Domain(), "resnet")}


class Load:
    """Clients that send translation requests until the server closes the connection."""

    def __init__(self, port: int, clients: int) -> None:
        self.counts: Counter[str] = Counter()
        self._port, self._lock = port, threading.Lock()
        self._threads = [threading.Thread(target=self._client) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def join(self) -> Counter[str]:
        """Wait for the end of all clients; return the number of answers by kind."""
        for thread in self._threads:
            thread.join(60)
        return self.counts

    def _client(self) -> None:
        connection, data = HTTPConnection("127.0.0.1", self._port, timeout=60), noise()
        kind = "200"
        while kind == "200":
            kind = self._request(connection, data)
            with self._lock:
                self.counts[kind] += 1
        connection.close()

    def _request(self, connection: HTTPConnection, data: bytes) -> str:
        try:
            connection.request("POST", "/v1/models/fast/translate", data)
            answer = connection.getresponse()
        except ConnectionError:  # also RemoteDisconnected: closed before the answer
            return "closed"
        try:
            answer.read()
        except (HTTPException, ConnectionError):
            return "truncated"
        return str(answer.status)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_failing_workers_are_replaced_and_the_end_is_graceful(models: dict[str, Path]) -> None:
    """All steps use one server, since a start takes seconds."""
    with Command(models, *OPTIONS) as server:
        fork_server = next(one for one in children(server.process.pid) if children(one))
        workers = set(children(fork_server))
        assert len(workers) == 2

        for _ in range(8):
            assert server.translate(noise(), "fast").status == 200
        # each worker answers some of these requests, so each has received the counts of the other
        wait_for(lambda: {server.metric(IMAGES) for _ in range(12)} == {8})

        decoders = [one for worker in workers for one in children(worker)]
        killed = workers.pop()
        os.kill(killed, signal.SIGKILL)
        wait_for(lambda: len(set(children(fork_server)) - {killed}) == 2)
        assert server.translate(noise(), "fast").status == 200  # the other worker answers
        wait_for(lambda: server.metric("worker_restarts_total") == 1)
        assert server.metric(IMAGES) >= 8  # including the counts of the killed worker
        wait_for(lambda: sum(Path(f"/proc/{one}").exists() for one in decoders) == 1)

        stalled = server.translate(noise(), "slow", f"?size={STALLED}")
        assert stalled.failure == (504, "timeout")
        assert server.translate(noise(), "fast").status in (200, 503, 504)
        wait_for(lambda: server.metric("worker_restarts_total") == 2)
        wait_for(lambda: server.metric("workers") == 2)
        wait_for(lambda: server.translate(noise(), "fast").status == 200)
        wait_for(lambda: server.metric("requests_in_progress") == 0)

        load = Load(server.port, 4)
        wait_for(lambda: load.counts["200"] > 20)
        os.kill(fork_server, signal.SIGTERM)  # systemd sends it to all processes
        for worker in children(fork_server):
            os.kill(worker, signal.SIGTERM)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0
        answers = load.join()
        assert set(answers) <= {"200", "503", "closed"}
        left = {*workers, *children(fork_server), fork_server}
        wait_for(lambda: not any(Path(f"/proc/{one}").exists() for one in left))


def test_counts_of_workers_are_summed() -> None:
    """A worker reports the sums over all workers, without gauges of ended workers."""
    first, second = Metrics(), Metrics()
    for metrics, seconds in ((first, 0.02), (second, 100.0)):
        metrics.add("images_total", model="m")
        metrics.add("body_bytes", 5)
        metrics.observe(seconds)
    first.others = pickle.loads(pickle.dumps(second.own))
    text = first.text()
    for line in ('images_total{model="m"} 2', "body_bytes 10", "request_seconds_sum 100.02"):
        assert f"viceversa_{line}\n" in text
    first.others = second.own.without_gauges()
    text = first.text()
    for line in ('images_total{model="m"} 2', "body_bytes 5", "request_seconds_count 2"):
        assert f"viceversa_{line}\n" in text
    assert first.value("images_total", model="m") == 1


@pytest.mark.soak
def test_the_end_does_not_wait_for_a_computation_that_takes_too_long(
    models: dict[str, Path],
) -> None:
    with ThreadPoolExecutor(1) as pool, Command(models, "--timeout", "3") as server:
        answer = pool.submit(server.translate, noise(), "slow", f"?size={STALLED}")
        wait_for(lambda: server.ask("/livez").status == 503)
        assert answer.result().failure == (504, "timeout")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(5) == 0


@pytest.mark.soak
def test_workers_are_replaced_if_the_process_that_forks_them_is_killed(
    models: dict[str, Path],
) -> None:
    with Command(models, *OPTIONS) as server:
        fork_server = next(one for one in children(server.process.pid) if children(one))
        workers = children(fork_server)
        os.kill(fork_server, signal.SIGKILL)
        wait_for(lambda: not any(Path(f"/proc/{one}").exists() for one in workers))
        wait_for(lambda: server.metric("workers") == 2)
        assert server.translate(noise(), "fast").status == 200
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0


@pytest.mark.soak
def test_a_model_that_cannot_be_loaded_ends_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("none.safetensors", "--port", "0", "--workers", "2")
    assert "none.safetensors" in command_error(capsys, "serve", *words)
