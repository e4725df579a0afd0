"""Write a folder to publish: a model without paths of the machine, and its model card."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..checkpoint import read_digest, read_header, read_weights, save_network
from ..errors import UserError
from ..fields import nested
from ..files import write_bytes
from ..images.sources import printable
from .show import card_rows

MODEL, CARD = "model.safetensors", "README.md"
WITH_PATHS = "trained", "members", "converted_from"  # fields of a header that contain paths
USE = f"""## Use

```sh
viceversa translate {MODEL} photos -o translated
```

```python
from viceversa import Translator

translator = Translator.load("{MODEL}")
translator.save("photo.png", "translated.png")
```
"""
OPEN = """## Licence

Not recorded in the model file: add it, and the terms of the training data.
"""


def write_folder(model: Path, folder: Path, overwrite: bool) -> None:
    """Write `model.safetensors` and `README.md`.

    Paths in the header are replaced by the name of their last folder or file. The card contains the
    metrics of `viceversa evaluate` in the folder `evaluation` next to the model if they belong to
    this file.

    Args:
        model: The model file.
        folder: The folder.
        overwrite: Whether to replace existing files.

    Raises:
        UserError: A file already exists, or cannot be read or written.
    """
    for name in (MODEL, CARD):
        if (path := folder / name).exists() and not overwrite:
            raise UserError(f"{path} exists; add --overwrite to replace it", option="-o", path=path)
    header = without_folders(read_header(model))
    save_network(folder / MODEL, read_weights(model), header)
    text = card_text(model, folder / MODEL, header, [USE], OPEN)
    write_bytes(folder / CARD, text.encode())


def card_text(
    model: Path, described: Path, header: Mapping[str, Any], use: Sequence[str], licence: str
) -> str:
    """Return a model card in Markdown.

    Args:
        model: The model file, whose metrics are in the folder `evaluation` next to it.
        described: The file that the card describes.
        header: Header of the described file, without paths of the machine.
        use: Sections about the use of the model.
        licence: The section about the licence of the model.
    """
    rows = card_rows(described, header)
    del rows["use"]
    method = method_of(header)
    direction = str(header.get("direction")).upper()
    parts = [
        _front(method),
        f"# {method}, {direction[:1]} to {direction[1:]}\n",
        _table(rows),
        *use,
        *_metrics(model, str(header.get("direction"))),
        licence,
    ]
    return "\n".join(parts)


def method_of(header: Mapping[str, Any]) -> str:
    """Return the name of the method that trained a model."""
    return str(nested(header, "trained", "method").get("name", "image translation"))


def without_folders(header: Mapping[str, Any]) -> dict[str, Any]:
    """Return a header in which each path is replaced by the name of its last folder or file."""
    paths = {key: _without_folders(header[key]) for key in WITH_PATHS if key in header}
    return {**header, **paths}


def _without_folders(value: Any) -> Any:
    """Return JSON values in which each path is replaced by the name of its last folder or file."""
    if isinstance(value, Mapping):
        return {key: _without_folders(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_folders(one) for one in value]
    return _last(value) if isinstance(value, str) else value


def _last(path: str) -> str:
    """Return the last name of a POSIX or Windows path; other text is unchanged."""
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1]


def _front(method: object) -> str:
    """Return the YAML header that model hubs read."""
    tags = f"[image-to-image, {json.dumps(str(method))}]"
    return f"---\nlibrary_name: viceversa\npipeline_tag: image-to-image\ntags: {tags}\n---\n"


def _table(rows: Mapping[str, str]) -> str:
    cells = [
        f"| {name} | {printable(value).replace('|', '/')} |"
        for name, value in rows.items()
        if value
    ]
    return "\n".join(["| | |", "|---|---|", *cells, ""])


def _metrics(model: Path, direction: str) -> list[str]:
    """Return a section with the metrics of an evaluation of this file, or an empty list."""
    path = model.parent / "evaluation" / "metrics.json"
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return []
    protocol = nested(found, "protocol")
    if nested(protocol, "models", direction).get("sha256") != read_digest(model):
        return []
    results = nested(found, "directions", direction)
    rows = {
        name: f"{one['mean']:.4g} (95 % interval: {one['low']:.4g} to {one['high']:.4g})"
        for name, one in nested(results, "means").items()
    }
    rows |= {
        name: f"{one:.4g}"
        for name, one in nested(results, "sets").items()
        if isinstance(one, int | float)
    }
    data = _last(str(protocol.get("data")))
    images = f"{results.get('translations')} images of {data}, {protocol.get('split')}"
    text = f"By `viceversa evaluate`, on {images}; {protocol.get('size')}.\n"
    return ["## Metrics\n", text, _table(rows)]
