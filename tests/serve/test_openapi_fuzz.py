"""Send requests generated from the OpenAPI description: answers are as described, never 500."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from support import small_model

from viceversa.images.domain import Domain
from viceversa.serve.settings import ServeSettings

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("schemathesis")

import hypothesis
import schemathesis
from hypothesis import strategies
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks
from serving import Client, noise, running

IMAGES = {f"image/{kind.lower()}": noise(kind) for kind in ("PNG", "JPEG", "WEBP", "TIFF")}
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.allow_header_conformance,
    checks.ignored_auth,
]
TOKEN = "a token"


@schemathesis.serializer(*IMAGES)
def serialize(context: object, value: bytes) -> bytes:
    return value


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    models = {"m": small_model(tmp_path_factory.mktemp("model"), Domain(), Domain())}
    settings = ServeSettings(port=0, decoders=1, max_megapixels=1)
    with running(models, settings, token=TOKEN) as client:
        yield client


def fuzz(client: Client, count: int) -> Counter[int]:
    """Send generated requests; return the number of answers by status.

    Args:
        client: The server.
        count: Number of requests; 4 of 5 are translation requests.
    """
    torch.set_flush_denormal(False)  # hypothesis needs denormals; training disables them
    headers = {"Authorization": f"Bearer {TOKEN}"}
    schema = schemathesis.openapi.from_url(f"{client.address}/openapi.json")
    operations = [one.ok() for one in schema.get_all_operations()]
    statuses: Counter[int] = Counter()
    for operation in operations:
        translates = operation.method == "post"
        share = count * 4 // 5 if translates else count // 5 // (len(operations) - 1)
        modes = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]
        fixed = {"body": IMAGES["image/png"], "media_type": "image/png"} if translates else {}
        cases = [operation.as_strategy(mode, **fixed) for mode in modes[: 2 if translates else 1]]

        @hypothesis.settings(
            max_examples=share,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(strategies.one_of(cases), strategies.data())
        def send(case: Any, data: Any) -> None:
            if data.draw(strategies.booleans()) and "name" in case.path_parameters:
                case.path_parameters["name"] = "m"
            if case.operation.method == "post":
                case.media_type = data.draw(strategies.sampled_from([*IMAGES]))
                case.body = data.draw(
                    strategies.just(IMAGES[case.media_type]) | strategies.binary()
                )
            answer = case.call(headers=headers)
            statuses[answer.status_code] += 1
            case.validate_response(answer, checks=CHECKS, headers=headers)

        send()
    return statuses


@pytest.mark.slow
def test_generated_requests_are_answered_as_described(client: Client) -> None:
    """Only few requests, since 500 requests take 15 s of processor time."""
    assert {200, 404, 415, 422} <= fuzz(client, 100).keys()


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_thousands_of_generated_requests_are_answered_as_described(client: Client) -> None:
    assert {200, 404, 415, 422} <= fuzz(client, 5000).keys()
