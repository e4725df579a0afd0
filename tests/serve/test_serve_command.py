"""The command serve: its arguments, names of models, tokens and hosts."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from support import command_error, small_discriminator, small_model

from viceversa.checkpoint import read_header, read_weights, save_network
from viceversa.cli.serve import TOKEN, read_token
from viceversa.errors import UserError
from viceversa.images.domain import Domain, DomainConfig
from viceversa.serve.settings import ServeSettings

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from viceversa.page.models import default_name
from viceversa.serve.app import create_app
from viceversa.serve.guard import Guard
from viceversa.serve.metrics import BUCKETS, Metrics
from viceversa.serve.models import load_models
from viceversa.serve.service import Service

GREY = Domain(DomainConfig(channels=1), "uint8", (0.0,), (255.0,))
SETTINGS = ServeSettings(device="cpu")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "my run"
    folder.mkdir()
    return small_model(folder, Domain(), Domain())


@pytest.mark.parametrize(
    "arguments, word",
    [
        ([], "name the models"),
        (["none.safetensors", "--port", "0"], "none.safetensors"),
        (["none.safetensors", "--port", "65536"], "--port"),
        (["none.safetensors", "--queue", "0"], "--queue"),
        (["none.safetensors", "--timeout", "nan"], "--timeout"),
        (["none.safetensors", "--host", "256.0.0.1"], "256.0.0.1"),
        (["none.safetensors", "--token_file", "none.txt"], "none.txt"),
        (["a/b=none.safetensors", "--port", "0"], "a/b"),
    ],
)
def test_invalid_arguments_are_refused(
    capsys: pytest.CaptureFixture[str], arguments: list[str], word: str
) -> None:
    assert word in command_error(capsys, "serve", *arguments)


@pytest.mark.slow
def test_examples_may_be_repeated(capsys: pytest.CaptureFixture[str], model: Path) -> None:
    words = ["serve", str(model), "--port", "0", "--examples", "a", "--examples", "other=b"]
    assert "there is no model other; the models are my-run-ab" in command_error(capsys, *words)
    assert "there is no image a" in command_error(capsys, *words[:-2])


def test_the_token_is_read_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    file.write_text("from file\n")
    assert read_token(None) == ""
    monkeypatch.setenv(TOKEN, "from variable")
    assert read_token(None) == "from variable"
    assert read_token(file) == "from file"
    file.write_text("\n")
    with pytest.raises(UserError) as caught:
        read_token(file)
    assert (caught.value.option, caught.value.path) == ("--token_file", file)


@pytest.mark.parametrize(
    "domain, options, offered, warned",
    [
        (Domain(), {}, True, ""),
        (Domain(), {"whole_image": True}, False, ""),  # one score for the image
        (GREY, {}, False, "use files of the same run"),
    ],
)
def test_patch_maps_need_the_discriminator_of_the_run(
    domain: Domain,
    options: dict[str, Any],
    offered: bool,
    warned: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = small_model(tmp_path, Domain(), Domain())
    assert not load_models([str(path)], SETTINGS).popitem()[1].about["patch_map"]
    small_discriminator(tmp_path, None, domain, **options)
    (model,) = load_models([str(path)], SETTINGS).values()
    assert model.about["patch_map"] is (model.scorer is not None) is offered
    assert warned in caplog.text and bool(warned) == bool(caplog.records)


def test_models_have_names(model: Path) -> None:
    assert default_name(model) == "my-run-ab"
    given = load_models([str(model), str(model), f"mine={model}"], SETTINGS)
    assert list(given) == ["my-run-ab", "my-run-ab-2", "mine"]
    assert [one.about["name"] for one in given.values()] == list(given)
    with pytest.raises(UserError, match="two models have the name x"):
        load_models([f"x={model}", f"x={model}"], SETTINGS)


def test_a_run_folder_is_two_models(model: Path, tmp_path: Path) -> None:
    for name in ("ab", "ba"):
        weights, header = read_weights(model), read_header(model)
        save_network(tmp_path / f"{name}.safetensors", weights, {**header, "direction": name})
    both = load_models([f"cycle={tmp_path}"], SETTINGS)
    others = {name: one.about["other"] for name, one in both.items()}
    assert others == {"cycle-ab": "cycle-ba", "cycle-ba": "cycle-ab"}


# -- hosts and tokens


def status(
    host: str,
    bound: str = "127.0.0.1",
    allowed: tuple[str, ...] = (),
    path: str = "/livez",
    authorization: str = "",
) -> int:
    """Return the status of a request with a Host header, to a server bound to an address."""
    statuses: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])
        else:
            assert json.loads(message["body"])["error"]["code"]

    guard = Guard(app, bound, allowed, "a token", Metrics())
    headers = [(b"host", host.encode()), (b"authorization", authorization.encode())]
    scope = {"type": "http", "method": "GET", "path": path, "headers": headers}
    asyncio.run(guard(scope, app, send))
    return statuses[0]


@pytest.mark.parametrize("authorization", ["", "Bearer other", "Basic a token", "a token"])
def test_the_token_is_required(authorization: str) -> None:
    for path in ("/v1/models", "/v1/models/x/translate", "/metrics"):
        assert status("localhost", path=path, authorization=authorization) == 401
        assert status("localhost", path=path, authorization="Bearer a token") == 200
    assert status("localhost", authorization=authorization) == 200


@pytest.mark.parametrize(
    "host, bound, allowed, accepted",
    [
        ("localhost:8000", "127.0.0.1", (), True),
        ("LOCALHOST", "127.0.0.1", (), True),
        ("[::1]:8000", "::1", (), True),
        ("10.0.0.1", "127.0.0.1", (), False),
        ("10.0.0.1:80", "0.0.0.0", (), True),
        ("10.0.0.1:80", "10.0.0.1", (), True),
        ("localhost", "10.0.0.1", (), False),
        ("evil.example", "0.0.0.0", (), False),
        ("10.0.0.1.evil.example", "0.0.0.0", (), False),
        ("images.example.org", "127.0.0.1", ("images.example.org",), True),
        ("images.example.org", "127.0.0.1", ("", "Images.example.org:443"), True),
        ("other.example.org", "127.0.0.1", ("images.example.org",), False),
        ("", "127.0.0.1", (), False),
    ],
)
def test_only_names_of_the_server_are_accepted(
    host: str, bound: str, allowed: tuple[str, ...], accepted: bool
) -> None:
    assert status(host, bound, allowed) == (200 if accepted else 421)


def answered(app: Any, path: str, method: str = "GET") -> tuple[int, str]:
    """Return the status and the body of an application's answer, without a server."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": [(b"host", b"localhost")]}
    asyncio.run(app(scope | {"query_string": b""}, receive, send))
    return sent[0]["status"], sent[1]["body"].decode()


def test_a_server_is_not_ready_until_its_models_are_loaded() -> None:
    service = Service(dict, SETTINGS)
    app = create_app(service)
    for path, method in (
        ("/readyz", "GET"),
        ("/v1/models", "GET"),
        ("/v1/models/m/translate", "POST"),
    ):
        status, body = answered(app, path, method)
        assert status == 503 and '"loading"' in body
    assert answered(app, "/livez")[0] == 200
    service.loaded.set()
    assert answered(app, "/readyz")[0] == answered(app, "/v1/models")[0] == 200
    service.stop()
    assert '"stopping"' in answered(app, "/readyz")[1]


def test_times_are_counted_in_buckets() -> None:
    metrics = Metrics()
    for seconds in (0.01, 0.02, 100.0):
        metrics.observe(seconds)
    counts = re.findall(r"_bucket.* (\d+)", metrics.text())
    assert counts == ["1", *["2"] * (len(BUCKETS) - 1), "3"]
    assert "viceversa_request_seconds_count 3\n" in metrics.text()
