"""Files of earlier versions: settings, and headers of models, as this version reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

REMOVED = {("speed", "together")}  # options of earlier versions that changed no result
PAIRED_BY_NAME = {"pix2pix": True, "cyclegan": False}


def without_removed(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sections of a config.json or recipe without options that no longer exist."""
    return {
        section: {key: value for key, value in values.items() if (section, key) not in REMOVED}
        if isinstance(values, Mapping)
        else values
        for section, values in table.items()
    }


def removed(table: Mapping[str, Any]) -> list[str]:
    """Return the options of a table that no longer exist."""
    return [f"{section}.{key}" for section, key in sorted(REMOVED) if key in table.get(section, {})]


def trained_on_pairs(header: Mapping[str, Any]) -> bool | None:
    """Return whether the method of a model trained on pairs; None if that is not known.

    Headers without the field `paired` are read by the name of the method.
    """
    if isinstance(header.get("paired"), bool):
        return bool(header["paired"])
    name = _method(header).get("name")
    return PAIRED_BY_NAME.get(name) if isinstance(name, str) else None


def objective_of(header: Mapping[str, Any]) -> str | None:
    """Return the name of the adversarial objective of a discriminator; None if it was not trained.

    Headers without the field `objective` are read by the options of the method.
    """
    method = _method(header)
    trained = method.get("lambda_gan", 1.0)
    objective = header.get("objective", method.get("gan_loss") if trained else None)
    return objective if isinstance(objective, str) else None


def sample_columns(settings: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the column titles of the sample grids of a run whose machine.json lacks them."""
    name = settings.get("method", {}).get("name")
    if not isinstance(name, str) or name not in PAIRED_BY_NAME:
        return []
    if PAIRED_BY_NAME[name]:
        return ["source", "translation", "target"]
    a, b = "BA" if settings.get("data", {}).get("direction") == "ba" else "AB"
    return [a, f"to {b}", "and back", b, f"to {a}", "and back"]


def _method(header: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings of the method in the header of a model."""
    trained = header.get("trained")
    method = trained.get("method") if isinstance(trained, Mapping) else None
    return method if isinstance(method, Mapping) else {}
