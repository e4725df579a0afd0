"""The OpenAPI description of the service."""

from __future__ import annotations

from typing import Any

from .. import __version__
from .formats import SUFFIXES
from .settings import ServeSettings

STATUSES = {
    "400": "The request is not valid HTTP.",
    "401": "The token is missing or wrong.",
    "403": "A POST request comes from a web page of another origin.",
    "404": "There is no model or example with this name, or no patch map.",
    "405": "The method is not allowed.",
    "406": "No accepted type can store the results.",
    "408": "The body was not complete in time.",
    "411": "The body is missing.",
    "413": "The body is too large.",
    "415": "The body is not an image of a supported format, or has a Content-Encoding.",
    "421": "The Host header is not a name of this server.",
    "422": "The image cannot be translated, or the size is invalid.",
    "429": "The queue is full; Retry-After is the number of seconds to wait.",
    "500": "The translation failed.",
    "503": "The server is loading models or stopping, a batch takes too long, or memory is low.",
    "504": "There was no result in time.",
}


def description(settings: ServeSettings, token: bool) -> dict[str, Any]:
    """Return the description.

    Args:
        settings: Options of the service.
        token: Whether clients must send a token.
    """
    paths = _paths()
    components: dict[str, Any] = {"schemas": {"Error": _ERROR}}
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "viceversa",
            "version": __version__,
            "description": (
                f"Image-to-image translation. Bodies have at most {settings.max_body:g} MB, images "
                f"at most {settings.max_megapixels} megapixels."
            ),
        },
        "paths": paths,
        "components": components,
    }
    if token:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        for operation in (one for path in paths for one in paths[path].values()):
            if "401" in operation["responses"]:
                operation["security"] = [{"token": []}]
    return found


def _paths() -> dict[str, Any]:
    """Return the operations of each path."""
    failure = {"$ref": "#/components/schemas/Error"}
    errors = {
        status: {"description": text, "content": {"application/json": {"schema": failure}}}
        for status, text in STATUSES.items()
    }
    paths = _of_models(errors)
    plain = {"200": {"description": "As text.", "content": {"text/plain": {}}}}
    for path, text in (
        ("/livez", "Whether the server answers."),
        ("/readyz", "Whether the server accepts images."),
        ("/metrics", "Counters in the text format of Prometheus."),
    ):
        status = "401" if path == "/metrics" else "503"
        responses = {**plain, "421": errors["421"], status: errors[status]}
        paths[path] = {"get": {"summary": text, "responses": responses}}
    return paths


def _of_models(errors: dict[str, Any]) -> dict[str, Any]:
    """Return the operations of the paths of models.

    Args:
        errors: Descriptions of error responses by status.
    """
    image = _images(*SUFFIXES)
    of_image: dict[str, Any] = {
        "parameters": [
            _path("name"),
            {
                "name": "size",
                "in": "query",
                "description": "own, trained, or pixels as 256 or 256,512 (height,width)",
                "schema": {"type": "string", "default": "own"},
            },
        ],
        "requestBody": {"required": True, "content": image},
    }
    translate = {
        "operationId": "translate",
        "summary": "Translate an image.",
        **of_image,
        "responses": {"200": {"description": "The result.", "content": image}, **errors},
    }
    patch_map = {
        "operationId": "patch_map",
        "summary": "Translate an image, and score the result with the discriminator of the run.",
        **of_image,
        "responses": {"200": _json("The patch scores.", _PATCH_MAP), **errors},
    }
    example = {
        "operationId": "example",
        "summary": "Return an example input of a model.",
        "parameters": [_path("name"), _path("example")],
        "responses": {
            "200": {"description": "The image.", "content": _images("image/png", "image/tiff")},
            **{status: errors[status] for status in ("401", "404", "421", "503")},
        },
    }
    listed = {
        "operationId": "models",
        "summary": "List the models.",
        "responses": {
            "200": _json("The models.", {"type": "array", "items": _MODEL}),
            **{status: errors[status] for status in ("401", "421", "503")},
        },
    }
    return {
        "/v1/models": {"get": listed},
        "/v1/models/{name}/translate": {"post": translate},
        "/v1/models/{name}/patch_map": {"post": patch_map},
        "/v1/models/{name}/examples/{example}": {"get": example},
    }


def _path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": _TEXT}


def _images(*kinds: str) -> dict[str, Any]:
    return {kind: {"schema": {"type": "string", "format": "binary"}} for kind in kinds}


def _json(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


_TEXT = {"type": "string"}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {"code": _TEXT, "message": _TEXT},
        }
    },
}
_DOMAIN = {
    "type": "object",
    "properties": {
        "kind": _TEXT,
        "channels": {"type": "integer"},
        "dtype": _TEXT,
        "classes": {"type": "array", "items": _TEXT},
        "class_names": {"type": "array", "items": _TEXT},
        "ids": {"type": "integer"},
        "unit": _TEXT,
    },
}
_MODEL = {
    "type": "object",
    "properties": {
        "name": _TEXT,
        "description": _TEXT,
        "direction": _TEXT,
        "source": _DOMAIN,
        "target": _DOMAIN,
        "multiple": {"type": "integer"},
        "trained_size": {"type": ["array", "null"], "items": {"type": "integer"}},
        "other": {"type": ["string", "null"]},
        "examples": {"type": "array", "items": _TEXT},
        "patch_map": {"type": "boolean"},
    },
}
_NUMBER = {"type": "number"}
_INTEGER = {"type": "integer"}
_PATCH_MAP = {
    "type": "object",
    "properties": {
        "objective": _TEXT,
        "meaning": _TEXT,
        "mean_value": _NUMBER,
        "mean_score": _NUMBER,
        "real_fraction": {"type": ["number", "null"]},
        "map": {"type": "array", "items": _INTEGER},
        "patch": {
            "type": ["object", "null"],
            "properties": {"size": _INTEGER, "stride": _INTEGER},
        },
        "values": {"type": "array", "items": {"type": "array", "items": _NUMBER}},
        "image": {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/png"},
    },
}
