"""Limits of the HTTP service: slow clients, full queues, deadlines, signals, failing decoders."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import struct
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from support import small_model

from viceversa.errors import UserError
from viceversa.images.domain import Domain
from viceversa.serve.settings import ServeSettings

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from serving import Answer, Client, noise, running, wait_for

from viceversa.serve.address import bind
from viceversa.serve.app import create_app
from viceversa.serve.models import load_models
from viceversa.serve.protocol import DeadlineProtocol
from viceversa.serve.server import ServiceServer
from viceversa.serve.service import Service

SETTINGS = ServeSettings(port=0, decoders=1, queue=5, max_megapixels=1)
SHORT = 0.4  # seconds


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {"photos": small_model(tmp_path_factory.mktemp("model"), Domain(), Domain())}


@pytest.fixture(scope="module")
def client(models: dict[str, Path]) -> Iterator[Client]:
    with running(models, SETTINGS) as client:
        yield client


@pytest.fixture(scope="module")
def impatient(models: dict[str, Path]) -> Iterator[Client]:
    settings = ServeSettings(port=0, decoders=1, timeout=SHORT)
    with running(models, settings, body_seconds=SHORT) as client:
        yield client


@contextmanager
def held(service: Service) -> Iterator[None]:
    """Keep the thread of the networks busy."""
    release = threading.Event()
    service.batcher._thread.submit(release.wait, 60)
    try:
        yield
    finally:
        release.set()


def connect(client: Client) -> socket.socket:
    return socket.create_connection(("127.0.0.1", client.port), timeout=30)


def transports(client: Client, connection: socket.socket) -> list[asyncio.Transport]:
    """Return the transport of a connection in the server, if the connection was accepted."""
    port = connection.getsockname()[1]
    known = [one.transport for one in list(client.server.server_state.connections)]
    return [one for one in known if one.get_extra_info("peername")[1] == port]


def received(connection: socket.socket) -> bytes:
    """Return everything until the server closes the connection."""
    parts = []
    try:
        while part := connection.recv(1 << 16):
            parts.append(part)
    except ConnectionResetError:
        pass
    connection.close()
    return b"".join(parts)


# -- slow clients

REQUEST = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


def first_request(connection: socket.socket) -> None:
    connection.sendall(REQUEST)
    answer = b""
    while not answer.endswith(b"ok\n"):
        answer += connection.recv(1 << 16)


@pytest.mark.parametrize("kept", [False, True], ids=["first request", "second request"])
def test_a_header_that_is_not_complete_in_time_closes_the_connection(
    client: Client, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect(client) as control:
        if kept:
            first_request(control)
        control.sendall(REQUEST[:-4])
        wait_for(lambda: bool(transports(client, control)))
        time.sleep(SHORT / 4)  # until the server has read it, with its deadline of 8 s
        monkeypatch.setattr(DeadlineProtocol, "header_seconds", SHORT)
        with connect(client) as slow:
            if kept:
                first_request(slow)
            slow.sendall(REQUEST[:-4])
            assert received(slow) == b""
        control.sendall(REQUEST[-4:])
        assert control.recv(1 << 16).startswith(b"HTTP/1.1 200")


def test_a_body_that_is_not_complete_in_time_is_refused(
    impatient: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DeadlineProtocol, "linger_seconds", SHORT)
    post = b"POST /v1/models/photos/translate HTTP/1.1\r\nHost: localhost\r\n"
    for kind in (b"Content-Length: 9\r\n\r\nx", b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"):
        connection = connect(impatient)
        connection.sendall(post + kind)
        answer = received(connection)  # ends, since the rest of the body does not come
        assert answer.startswith(b"HTTP/1.1 408") and b"body_timeout" in answer
    assert impatient.metric("body_bytes") == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "seconds, error", [(SHORT, ConnectionError), (30.0, TimeoutError)], ids=["guard", "control"]
)
def test_an_answer_that_is_not_read_is_dropped(
    client: Client, monkeypatch: pytest.MonkeyPatch, seconds: float, error: type[OSError]
) -> None:
    """The client sends requests, and reads no answer, until sockets buffer no more of them."""
    monkeypatch.setattr(DeadlineProtocol, "answer_seconds", seconds)
    requests = REQUEST.replace(b"/livez", b"/openapi.json") * 100
    with connect(client) as connection:
        connection.settimeout(2 if error is TimeoutError else 20)
        with pytest.raises(error):
            while True:
                connection.sendall(requests)


def test_the_body_of_an_answer_does_not_wait_for_the_acknowledgement_of_its_header(
    client: Client,
) -> None:
    with connect(client) as connection:
        first_request(connection)
        (served,) = transports(client, connection)
        option = socket.IPPROTO_TCP, socket.TCP_NODELAY
        assert served.get_extra_info("socket").getsockopt(*option)


def test_what_is_not_http_is_refused(client: Client) -> None:
    for text in (
        b"nothing\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n"
        b"Connection: close\r\n\r\n0\r\n\r\n",
    ):
        connection = connect(client)
        connection.sendall(text)
        answer = received(connection)
        assert answer.startswith(b"HTTP/1.1 400") and b"invalid_request" in answer


# -- queue


def test_waiting_images_of_one_size_share_a_batch(client: Client) -> None:
    batcher = client.service.batcher
    sizes = [(24, 40), (24, 48), (24, 40), (24, 40)]
    alone = [np.asarray(client.translate(noise(size=size)).image, np.int16) for size in sizes]
    before = client.metric("batches_total")
    answers = []
    with ThreadPoolExecutor(5) as pool:
        with held(client.service):
            answers.append(pool.submit(client.translate, noise(size=sizes[0])))
            wait_for(lambda: batcher._thread._work_queue.qsize() == 1)  # it is a batch by itself
            for count, size in enumerate(sizes[1:], 1):
                answers.append(pool.submit(client.translate, noise(size=size)))
                wait_for(lambda count=count: len(batcher._jobs) == count)
        for answer, image in zip(answers, alone, strict=True):
            assert np.abs(np.asarray(answer.result().image, np.int16) - image).max() <= 1
    assert client.metric("batches_total") == before + 3  # the second size, and the two others


def test_a_full_queue_refuses_further_requests(client: Client) -> None:
    with ThreadPoolExecutor(5) as pool:
        with held(client.service):
            answers = [pool.submit(client.translate, noise()) for _ in range(SETTINGS.queue)]
            wait_for(lambda: client.metric("requests_in_progress") == SETTINGS.queue)
            refused = client.translate(noise())
            assert refused.failure == (429, "busy") and int(refused.headers["retry-after"]) >= 1
            assert client.ask("/livez").status == 200
        assert [answer.result().status for answer in answers] == [200] * SETTINGS.queue
    assert client.translate(noise()).status == 200


def test_cancelled_requests_are_not_translated(client: Client) -> None:
    counted = ('images_total{model="photos"}', "cancelled_total", "requests_in_progress")
    images, cancelled, _ = map(client.metric, counted)
    data = noise()
    head = "POST /v1/models/photos/translate HTTP/1.1\r\nHost: localhost\r\n"
    request = f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data
    with ThreadPoolExecutor(1) as pool, held(client.service):
        first = pool.submit(client.translate, data)
        wait_for(lambda: client.service.batcher._thread._work_queue.qsize() == 1)
        for count in range(1, 4):
            connection = connect(client)
            connection.sendall(request)
            wait_for(lambda count=count: len(client.service.batcher._jobs) == count)
            connection.close()
            wait_for(lambda: client.metric("requests_in_progress") == 1)
    assert first.result().status == client.translate(data).status == 200
    assert list(map(client.metric, counted)) == [images + 2, cancelled + 3, 0]


def test_a_request_has_a_deadline(impatient: Client) -> None:
    (process,) = impatient.service.decoders.processes
    os.kill(process, signal.SIGSTOP)
    assert impatient.translate(noise()).failure == (504, "timeout")
    os.kill(process, signal.SIGCONT)
    wait_for(lambda: impatient.metric("requests_in_progress") == 0)


def test_a_batch_that_takes_too_long_makes_the_service_unavailable(impatient: Client) -> None:
    with held(impatient.service):
        assert impatient.translate(noise()).failure == (504, "timeout")
        wait_for(lambda: impatient.ask("/livez").status == 503)
        for path in ("/livez", "/readyz"):
            assert impatient.ask(path).failure == (503, "stalled")
        assert impatient.translate(noise()).failure == (503, "stalled")
        assert impatient.ask("/metrics").status == 200
    wait_for(lambda: impatient.ask("/readyz").status == 200)
    assert impatient.translate(noise()).status == 200


# -- decoders


def header_of_png(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IEND\xaeB`\x82"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_decoders_have_little_memory_and_write_no_files(client: Client) -> None:
    (process,) = client.service.decoders.processes
    text = Path(f"/proc/{process}/limits").read_text()
    limits = {line[:26].strip(): line[26:].split()[0] for line in text.splitlines()}
    assert limits["Max file size"] == limits["Max core file size"] == "0"
    assert int(limits["Max address space"]) < 3 * 10**9


@pytest.mark.slow
def test_a_decoder_that_ends_costs_one_request(client: Client) -> None:
    failures = client.metric("decoder_failures_total")
    (process,) = client.service.decoders.processes
    os.kill(process, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.translate, noise())
        wait_for(lambda: client.metric("requests_in_progress") == 1)
        os.kill(process, signal.SIGKILL)
        assert answer.result().failure == (422, "invalid_image")
    assert client.metric("decoder_failures_total") == failures + 1
    assert client.translate(noise()).status == 200
    assert client.service.decoders.processes != [process]


@pytest.mark.slow
def test_an_image_that_takes_too_long_is_refused(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client.service.decoders, "_seconds", SHORT)
    (process,) = client.service.decoders.processes
    os.kill(process, signal.SIGSTOP)
    assert client.translate(noise()).failure == (422, "invalid_image")
    monkeypatch.undo()
    assert client.translate(noise()).status == 200


@pytest.mark.slow
def test_damaged_images_are_refused_and_end_no_decoder(client: Client) -> None:
    failures, rng = client.metric("decoder_failures_total"), np.random.default_rng(0)
    assert client.translate(header_of_png(20_000, 20_000)).failure == (422, "invalid_image")
    for kind in ("PNG", "JPEG", "WEBP", "TIFF"):
        data = np.frombuffer(noise(kind), np.uint8)
        for _ in range(12):
            damaged = data.copy()
            damaged[rng.integers(12, len(data), 8)] ^= rng.integers(1, 256, 8, dtype=np.uint8)
            answer = client.translate(damaged[: rng.integers(12, len(data) + 1)].tobytes())
            assert answer.status == 200 or answer.failure == (422, "invalid_image")
    assert client.metric("decoder_failures_total") == failures


@pytest.mark.slow
def test_random_requests_are_never_errors_of_the_server(client: Client) -> None:
    """Each part of a request is valid or invalid at random."""
    rng = random.Random(0)
    sizes = ("own", "trained", "16", "16,32", "-1", "a", "1e9", "%ff", "0,0", "%00", "9" * 30)
    names = ("photos", "photos", "photos", "..", "%2e%2e", "x", "photos/", "%00")
    values = ("*/*", "image/tiff;q=x", "image/jpeg;q=1e400", "image/png; q=-1", "\xff", ";;,,")
    keys = ("Accept", "Content-Type", "Content-Encoding", "Range", "Authorization")
    bodies = (noise(), noise()[:500], b"", b"x", noise("TIFF")[:100] + bytes(500))
    found = set()
    for _ in range(200):
        path = f"/v1/models/{rng.choice(names)}/translate?size={rng.choice(sizes)}"
        method = rng.choice(("POST",) * 6 + ("GET", "PUT", "OPTIONS"))
        headers = {rng.choice(keys): rng.choice(values)}
        answer = client.ask(path, method, rng.choice(bodies), **headers)
        assert answer.status == 200 or answer.failure[0] < 500, (path, method, headers)
        found.add(answer.status)
    assert {200, 404, 405, 415, 422} <= found


# -- the end


@pytest.mark.slow
def test_sigterm_finishes_the_requests_in_progress(models: dict[str, Path]) -> None:
    service = Service(lambda: load_models([f"photos={models['photos']}"], SETTINGS), SETTINGS)
    answers: list[Answer] = []

    def use(address: str) -> None:
        client = Client(server, service, int(address.rpartition(":")[2]))
        with ThreadPoolExecutor(1) as pool, connect(client) as kept:
            first_request(kept)
            with held(service):
                answer = pool.submit(client.translate, noise())
                wait_for(lambda: service.metrics.value("requests_in_progress") == 1)
                os.kill(os.getpid(), signal.SIGTERM)
                wait_for(lambda: service.stopping)
            answers.append(answer.result())

    threads: list[threading.Thread] = []

    def ready(address: str) -> None:
        threads.append(threading.Thread(target=use, args=(address,)))
        threads[0].start()

    before = signal.getsignal(signal.SIGTERM)
    server = ServiceServer(create_app(service), service, ready)
    server.run([bind(SETTINGS)])  # returns, so that the exit status is 0
    threads[0].join(60)
    assert [answer.status for answer in answers] == [200]
    assert signal.getsignal(signal.SIGTERM) is before
    assert service.decoders.processes == []


@pytest.mark.slow
def test_requests_that_take_longer_than_the_end_are_refused(models: dict[str, Path]) -> None:
    with running(models, SETTINGS) as client, ThreadPoolExecutor(1) as pool, held(client.service):
        answer = pool.submit(client.translate, noise())
        wait_for(lambda: client.service.metrics.value("requests_in_progress") == 1)
        client.server.config.timeout_graceful_shutdown = 0
        client.server.should_exit = True
        assert answer.result().failure == (503, "stopping")
        assert answer.result().headers["connection"] == "close"


def test_a_port_in_use_is_refused(client: Client) -> None:
    with pytest.raises(UserError, match=str(client.port)) as caught:
        bind(ServeSettings(port=client.port))
    assert caught.value.option == "--port"
