"""The command show."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from ..checkpoint.exported import SUFFIXES, is_exported
from ..config.recipes import read_recipe, recipes
from ..config.toml import toml_value
from ..fields import as_typed, nested
from ..files import format_bytes
from .app import command

CHANNELS = {1: "grey image", 3: "RGB image", 4: "RGBA image"}
NAMES = 12  # maximum number of class names that are listed


@command(
    ("show", "list the recipes"),
    ("show pix2pix", "all settings of a recipe"),
    ("show runs/photos/ab.safetensors", "the model card of a model file"),
    ("show runs/photos/ab.safetensors --json", "everything in its header"),
)
def show(
    name: str = "", *, as_json: Annotated[bool, Parameter(name="--json", negative="")] = False
) -> None:
    """Show a model file or a recipe; without a name, list the recipes.

    Parameters
    ----------
    name
        A .safetensors file, a run folder with one generator, a packaged recipe, a TOML file or the
        config.json of a run.
    as_json
        Print the whole header of a model file, or all settings of a recipe, as JSON.
    """
    if not name:
        texts = {key: text.splitlines()[0].lstrip("# ") for key, text in recipes().items()}
        lines = [f"{key:20} {text}" for key, text in texts.items()]
        print(json.dumps(texts, indent=2) if as_json else "\n".join(lines))
    elif name.endswith((".safetensors", *SUFFIXES)) or Path(name).is_dir():
        from ..checkpoint import read_header, translator_file

        path = translator_file(Path(name))
        header = read_header(path)
        print(json.dumps(header, indent=2) if as_json else "\n".join(card(path, header)))
    else:
        from ..config.run import resolve

        sections = resolve(read_recipe(name)).sections
        if as_json:
            print(json.dumps(sections, indent=2))
            return
        for section, values in sections.items():
            print(f"[{section}]")
            for key, value in values.items():
                print(f"{key} = {toml_value(value)}")
            print("")


def card(path: Path, header: Mapping[str, Any]) -> list[str]:
    """Return the lines of a model card.

    Args:
        path: A model file.
        header: Its header. Fields may be missing or have any type: the file may be invalid.

    Returns:
        Lines for a terminal, without control characters.
    """
    from ..images.sources import printable

    rows = card_rows(path, header)
    return [str(path), *(printable(f"  {key:11} {value}") for key, value in rows.items() if value)]


def card_rows(path: Path, header: Mapping[str, Any]) -> dict[str, str]:
    """Return the rows that describe a model file, by name."""
    from ..checkpoint.header import read_digest, shapes

    sizes = [] if is_exported(path) else [math.prod(shape) for shape in shapes(path).values()]
    kind = str(header.get("kind"))
    network = nested(header, "discriminator" if kind == "discriminator" else "generator")
    options = [f"{key} {value}" for key, value in network.items() if key != "name"]
    method = nested(header, "trained", "method").get("name", "an unknown method")
    size = format_bytes(path.stat().st_size)
    return {
        "model": _model(kind, header, method),
        "network": ", ".join([str(network.get("name", "unknown")), *options[:4]]),
        "parameters": f"{sum(sizes):,} in {len(sizes)} tensors, {size}" if sizes else "",
        "exported": _exported(header, size) if is_exported(path) else "",
        "source": _domain(nested(header, "source")),
        "target": _domain(nested(header, "target")),
        **_training(header),
        "weights": f"{header.get('weights', 'raw')}; SHA-256 {read_digest(path)[:16]}...",
        "written by": f"viceversa {header.get('version')}, format {header.get('format')}",
        "use": _use(kind, path),
    }


def _exported(header: Mapping[str, Any], size: str) -> str:
    psnr = nested(header, "int8").get("psnr")
    precision = "" if psnr is None else f", INT8 with a PSNR of {psnr} dB relative to fp32"
    return f"policy {header.get('policy')}{precision}, {size}"


def _training(header: Mapping[str, Any]) -> dict[str, str]:
    data, train = nested(header, "trained", "data"), nested(header, "trained", "train")
    if not data:
        return {}
    members = header.get("members")
    if header.get("kind") == "ensemble" and isinstance(members, list):
        files = [f"{nested({'': one}, '').get('file')}" for one in members]
        more = f", and {len(files) - 2} more" if files[2:] else ""
        return {"members": ", ".join(files[:2]) + more}
    load, crop = (as_typed(data.get(name)) for name in ("load_size", "crop_size"))
    sizes = f"{data.get('preprocess')}, load_size {load}, crop_size {crop}"
    if file := nested(header, "converted_from").get("file"):
        return {"data": sizes, "training": f"unknown; converted from {file}"}
    order = " (height width)" if " " in load + crop else ""
    images = header.get("images_processed")
    precision = f", precision {train['precision']}" if "precision" in train else ""
    return {
        "data": f"{data.get('path')}; {sizes}{order}",
        "training": f"{images} images processed, {train.get('epochs')} epochs in total, "
        f"lr {train.get('lr')}, seed {train.get('seed')}{precision}",
    }


def _model(kind: str, header: Mapping[str, Any], method: object) -> str:
    if kind in ("translator", "ensemble"):
        paired = header.get("paired")
        images = "" if paired is None else " (paired images)" if paired else " (unpaired images)"
        members = header.get("members")
        count = len(members) if isinstance(members, list) else 1
        what = f"ensemble of {count} generators" if kind == "ensemble" else "generator"
        return f"{what} {header.get('direction')} of {method}{images}"
    if kind == "discriminator":
        inputs = "pairs" if header.get("pair") else "images"
        return f"discriminator of {inputs} in domain {header.get('domain')}, of {method}"
    return kind


def _domain(domain: Mapping[str, Any]) -> str:
    config = nested(domain, "config")
    if not config:
        return ""
    kind, channels = config.get("kind"), config.get("channels")
    if kind == "labels":
        names, classes = _words(config.get("class_names")), _words(config.get("classes"))
        more = [f"and {len(names) - NAMES} more"] if names[NAMES:] else []
        listed = ", ".join([*names[:NAMES], *more])
        count = len(classes) or config.get("ids")
        return f"label map of {count} classes{f': {listed}' if listed else ''}"
    name = str(kind) if kind != "image" else f"image of {channels} channels"
    if kind == "image" and channels in (1, 3, 4):
        name = CHANNELS[channels]
    low, high = (_first(domain.get(end)) for end in ("low", "high"))
    return f"{name}, {domain.get('dtype')}, {low} to {high} map to -1 to 1"


def _words(values: Any) -> list[str]:
    """Return the words of a list; an entry may contain several words, separated by commas."""
    texts = values if isinstance(values, list) else []
    return [word.strip() for text in texts for word in str(text).split(",")]


def _first(values: Any) -> str:
    """The first of a list of numbers, as text."""
    value = values[0] if isinstance(values, list) and values else None
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _use(kind: str, path: Path) -> str:
    if kind == "discriminator":
        return f"viceversa explain {path} IMAGE -o MAP.png"
    return (
        f"viceversa translate {path} IMAGE -o RESULT" if kind in ("translator", "ensemble") else ""
    )
