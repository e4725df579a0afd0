"""The HTTP service: answers, and refusals of what clients must not send."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from browser_pages import canvas_pixels, opened
from PIL import Image
from support import small_discriminator, small_model

from viceversa import Translator
from viceversa.images.domain import Domain, DomainConfig
from viceversa.images.values import to_pixels
from viceversa.inference.patch_scores import PatchScorer, draw_patch_map
from viceversa.inference.patch_scores.patch_map import COLOURS
from viceversa.inference.pixels import to_network
from viceversa.serve.settings import ServeSettings

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from serving import Client, noise, plain_png, running

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SETTINGS = ServeSettings(port=0, decoders=1, max_body=0.1, max_megapixels=1)
LABELS = DomainConfig(kind="labels", classes=("#ff0000,#0000ff",), class_names=("roof,sea",))
WIDE = Domain(DomainConfig(channels=1), "uint16", (0.0,), (65535.0,))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    domains = {
        "photos": (Domain(), Domain()),
        "labels": (Domain(LABELS), Domain()),
        "depths": (Domain(), WIDE),
    }
    for name in domains:
        (root / name).mkdir()
    small_discriminator(root / "photos", Domain(), Domain())
    small_discriminator(root / "labels", None, Domain())
    return {name: small_model(root / name, *pair) for name, pair in domains.items()}


@pytest.fixture(scope="module")
def client(models: dict[str, Path]) -> Iterator[Client]:
    example = models["photos"].with_name("example.png")
    example.write_bytes(noise())
    with running(models, replace(SETTINGS, examples=(f"photos={example}",))) as client:
        yield client


# -- answers


def test_the_answer_is_that_of_the_translator(client: Client, models: dict[str, Path]) -> None:
    translator = Translator.load(models["photos"])
    for kind in ("PNG", "TIFF", "WEBP", "JPEG"):
        data = noise(kind)
        answer = client.translate(data)
        assert answer.headers["content-type"] == "image/png"
        assert np.array_equal(answer.image, translator(data))


@pytest.mark.parametrize(
    "accept, kind",
    [
        ("image/jpeg", "JPEG"),
        ("image/webp;q=0.5, image/tiff", "TIFF"),
        ("text/html, image/*;q=0.1", "PNG"),
        ("*/*", "PNG"),
    ],
)
def test_accept_chooses_the_type(client: Client, accept: str, kind: str) -> None:
    answer = client.translate(noise(), accept=accept)
    assert answer.image.format == kind
    assert answer.headers["content-type"] == f"image/{kind.lower()}"


def test_a_result_of_16_bits_keeps_them(client: Client) -> None:
    assert client.translate(noise(), "depths").image.mode == "I;16"
    refused = client.translate(noise(), "depths", accept="image/jpeg")
    assert refused.failure == (406, "not_acceptable")


def test_size_resizes_the_image(client: Client) -> None:
    assert client.translate(noise(), query="?size=16,32").image.size == (32, 16)


@pytest.mark.parametrize("size", ["trained", "0", "x", "5000", "16,32,64", "-1"])
def test_an_invalid_size_is_refused(client: Client, size: str) -> None:
    """The model does not know the size in training; 5000 x 5000 is over the limit."""
    assert client.translate(noise(), query=f"?size={size}").failure == (422, "invalid_size")


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "TIFF", "PNG"])
def test_answers_contain_no_metadata_of_the_upload(client: Client, kind: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = "secret"
    data = noise("TIFF" if kind == "TIFF" else "JPEG", exif=exif)
    assert b"secret" in data
    answer = client.translate(data, accept=f"image/{kind.lower()}")
    assert answer.status == 200 and b"secret" not in answer.content


def test_models_are_described_without_their_paths(client: Client, models: dict[str, Path]) -> None:
    answer = client.ask("/v1/models")
    assert str(models["photos"].parents[1]) not in answer.text
    photos, labels, depths = answer.json()
    assert (photos["name"], photos["direction"], photos["multiple"]) == ("photos", "ab", 8)
    assert labels["source"]["classes"] == ["#ff0000", "#0000ff"]
    assert labels["source"]["class_names"] == ["roof", "sea"]
    assert photos["source"]["class_names"] == []
    assert (depths["target"]["dtype"], depths["target"]["channels"]) == ("uint16", 1)
    assert photos["trained_size"] is None and photos["other"] is None


def test_examples_are_inputs_of_the_model(client: Client) -> None:
    photos, labels, _ = client.ask("/v1/models").json()
    assert (photos["examples"], labels["examples"]) == (["1"], [])
    example = client.ask("/v1/models/photos/examples/1")
    assert np.array_equal(example.image, Image.open(io.BytesIO(noise())))
    assert client.translate(example.content).status == 200
    for name in ("2", "0", "example.png", "..%2Fab.safetensors", "%2e%2e/ab.safetensors"):
        assert client.ask(f"/v1/models/photos/examples/{name}").status == 404
    assert client.ask("/v1/models/photos/examples/2").failure == (404, "unknown_example")
    assert client.ask("/v1/models/none/examples/1").failure == (404, "unknown_model")
    counted = 'requests_total{route="/v1/models/{name}/examples/{example}",status="404"}'
    assert client.metric(counted) == 7


@pytest.mark.parametrize("name", ["photos", "labels"])
def test_the_patch_map_is_that_of_the_discriminator(
    name: str, client: Client, models: dict[str, Path]
) -> None:
    """The discriminator of `photos` scores pairs; the one of `labels` scores translations."""
    data = noise() if name == "photos" else plain_png()
    answer = client.ask(f"/v1/models/{name}/patch_map?size=16,32", "POST", data)
    content = answer.json()
    translator = Translator.load(models[name], size="16,32")
    scorer = PatchScorer.load(models[name].with_name("d_b.safetensors"))
    source = to_network([translator.preprocess(translator.read(data))], translator.source)
    output = translator.tensor(source)[0]
    scores = scorer(output, source[0])
    assert np.allclose(content["values"], scores.values, atol=1e-3)
    assert content["mean_score"] == pytest.approx(scores.mean_score, abs=1e-4)
    assert content["map"] == [scores.grid.rows, scores.grid.columns]
    assert content["patch"] == {"size": scores.grid.size, "stride": scores.grid.stride}
    drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(content["image"]))))
    pixels = to_pixels(output[None], Domain())[0]
    assert np.abs(drawn - draw_patch_map(pixels, scores, (128, 256)).astype(int)).max() <= 1
    assert answer.headers["cache-control"] == "no-store"


def test_the_scale_of_the_page_has_the_colours_of_patch_maps(client: Client) -> None:
    style = client.ask("/page/page.css").text
    assert ", ".join(f"#{bytes(colour).hex()}" for colour in COLOURS) in style


def test_a_patch_map_needs_a_discriminator_and_a_valid_image(client: Client) -> None:
    assert [one["patch_map"] for one in client.ask("/v1/models").json()] == [True, True, False]
    before = client.metric('images_total{model="photos"}')

    def failure(data: bytes, name: str = "photos", **headers: str) -> tuple[int, str]:
        return client.ask(f"/v1/models/{name}/patch_map", "POST", data, **headers).failure

    assert failure(noise(), "depths") == (404, "no_patch_map")
    assert failure(noise(), "none") == (404, "unknown_model")
    assert failure(noise()[:500]) == failure(plain_png(1100, 1100)) == (422, "invalid_image")
    assert failure(plain_png(1, 1)) == (422, "invalid_image")  # smaller than a patch
    assert failure(b"x" * (SETTINGS.body_bytes + 1)) == (413, "too_large")
    assert failure(b"<svg/>") == (415, "unsupported_type")
    assert failure(noise(), origin="http://evil.example") == (403, "cross_origin")
    assert client.ask("/v1/models/photos/patch_map").failure == (405, "method_not_allowed")
    assert client.metric('images_total{model="photos"}') == before
    assert client.metric("requests_in_progress") == client.metric("body_bytes") == 0


def test_health_metrics_and_the_description(client: Client) -> None:
    assert client.ask("/livez").status == client.ask("/readyz").status == 200
    before = client.metric('images_total{model="photos"}')
    client.translate(noise())
    assert client.metric('images_total{model="photos"}') == before + 1
    assert client.metric("requests_in_progress") == client.metric("body_bytes") == 0
    paths = {"/v1/models", "/livez", "/readyz", "/metrics"}
    parts = "translate", "patch_map", "examples/{example}"
    paths |= {f"/v1/models/{{name}}/{part}" for part in parts}
    assert client.ask("/openapi.json").json()["paths"].keys() == paths


# -- refusals


def test_bad_images_are_refused(client: Client) -> None:
    whole, invalid, unsupported = noise(), (422, "invalid_image"), (415, "unsupported_type")
    assert client.translate(whole[: len(whole) // 2]).failure == invalid
    assert client.translate(plain_png(1100, 1100)).failure == invalid  # more than a megapixel
    assert client.translate(plain_png(color="#00ff00"), "labels").failure == invalid
    assert client.translate(plain_png(), "labels").status == 200
    assert client.translate(b"<svg/>").failure == unsupported
    assert client.translate(b"GIF89a" + whole).failure == unsupported
    assert client.translate(whole, content_type="text/html").failure == unsupported
    compressed = client.translate(whole, content_encoding="gzip")
    assert compressed.failure == (415, "unsupported_encoding")


def test_bodies_are_limited(client: Client) -> None:
    most = SETTINGS.body_bytes
    assert client.translate(b"x" * (most + 1)).failure == (413, "too_large")
    assert client.translate(iter([b"x" * most, b"x"])).failure == (413, "too_large")
    for fits in (b"x" * most, iter([b"x" * most])):
        assert client.translate(fits).failure == (415, "unsupported_type")


def test_a_body_is_required(client: Client) -> None:
    connection = HTTPConnection("127.0.0.1", client.port, timeout=60)
    connection.putrequest("POST", "/v1/models/photos/translate")
    connection.endheaders()
    assert connection.getresponse().status == 411
    connection.close()


def test_unknown_pages_models_and_methods_are_refused(client: Client) -> None:
    assert client.translate(noise(), "none").failure == (404, "unknown_model")
    for path in ("/page/../app.py", "/page/%2e%2e/app.py", "/page//etc/passwd", "/none"):
        assert client.ask(path).failure == (404, "not_found")
    refused = client.ask("/v1/models/photos/translate")
    assert refused.failure == (405, "method_not_allowed") and refused.headers["allow"] == "POST"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example"])
def test_other_hosts_are_refused(client: Client, host: str) -> None:
    assert client.ask("/v1/models", host=host).failure == (421, "unknown_host")
    assert client.ask("/v1/models", host="localhost:8000").status == 200


def test_posts_of_other_pages_are_refused(client: Client) -> None:
    for origin in ("http://evil.example", "null", "http://127.0.0.1:9"):
        assert client.translate(noise(), origin=origin).failure == (403, "cross_origin")
    assert client.translate(noise(), origin=client.address).status == 200


def test_every_answer_has_the_security_headers(client: Client) -> None:
    for answer in (client.ask("/livez"), client.ask("/none"), client.translate(b"x")):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in answer.headers


def test_image_of_the_answer_is_not_a_page(client: Client) -> None:
    """An upload is never sent back: what returns was encoded from pixels."""
    data = noise() + b"<script>alert(1)</script>"
    answer = client.translate(data)
    assert answer.status in (200, 422) and b"<script>" not in answer.content
    assert Image.open(io.BytesIO(client.translate(noise()).content)).format == "PNG"


# -- the page (tests/serve/test_draw_page.py tests the rest of it)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_page_shows_the_result_of_the_translator(
    client: Client, models: dict[str, Path], browser: Browser
) -> None:
    with opened(browser, f"{client.address}/#labels") as opened_page:
        page = opened_page.page
        page.get_by_label("sea").check(force=True)
        page.locator("#input").click()
        page.get_by_text("pixels in").wait_for()
        drawn, result = (canvas_pixels(page.locator(f"#{name}")) for name in ("input", "output"))
    assert {tuple(colour) for colour in drawn.reshape(-1, 3)} == {(255, 0, 0), (0, 0, 255)}
    assert np.array_equal(result, Translator.load(models["labels"])(drawn))
    assert opened_page.messages == []  # also none about a policy
