"""Folders of evaluated runs that no training wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PROTOCOL = {
    "viceversa": "0.1.0",
    "torch": "2.13.0",
    "split": "test",
    "pairs": True,
    "size": "resized to 256x256",
    "policy": "image",
    "psnr": "10 log10(peak^2 / mean squared difference) of each image, with peak 2",
}
BYTES = {"low": 0, "high": 255, "peak": 255}


def evaluated_run(
    folder: Path,
    values: Mapping[str, float | None],
    *,
    groups: Mapping[str, str] | None = None,
    study: tuple[str, int, int] | None = None,
    fid: float | None = None,
    ranges: Mapping[str, Any] | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    **protocol: Any,
) -> Path:
    """Write a run whose images have these L1.

    Args:
        folder: The run folder.
        values: L1 by the name of an image.
        groups: Group by the name of an image.
        study: Variant, fold and seed, if the run belongs to a study.
        fid: A metric of sets.
        ranges: Range and peak of the values.
        settings: Sections of config.json.
        protocol: Changes of the protocol.
    """
    (folder / "evaluation").mkdir(parents=True)
    fold = study[1] if study else 0
    rows = [
        {"name": name, "source": f"{name}.png", "group": (groups or {}).get(name, ""), "l1": value}
        for name, value in values.items()
    ]
    direction = {
        "means": {"l1": {}},
        "sets": {} if fid is None else {"fid": fid},
        "images": rows,
        "values": ranges or BYTES,
    }
    metrics = {
        "protocol": {**PROTOCOL, "data": f"folds/fold-{fold}.csv", **protocol},
        "directions": {"ab": direction},
    }
    (folder / "evaluation" / "metrics.json").write_text(json.dumps(metrics))
    (folder / "config.json").write_text(json.dumps(settings or {}))
    if study:
        marker = dict(zip(("variant", "fold", "seed"), study, strict=True))
        (folder / "study.json").write_text(json.dumps(marker))
    return folder
