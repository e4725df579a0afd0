"""Read OME-Zarr (OME-NGFF 0.4 and 0.5), folders with an image in chunks, at full resolution.

The metadata is checked before the package zarr reads it. Some codecs of Zarr load pickles, so only
codecs that compress or reorder bytes are allowed.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import UserError
from ...extras import import_extra
from ..header import DAMAGED, Header, ImageFile, Refused, Resolution, Tags, Window, mode_name
from .blocks import Blocks
from .resolution import of_ngff
from .zarr_paths import inside

SUFFIX = ".zarr"
METADATA = ("zarr.json", ".zattrs")  # of Zarr 3 and Zarr 2
MOST_METADATA = 2**24  # bytes
MOST_CHUNKS = 2**22
ROWS = 128  # decoded together, or those of a chunk
DTYPE_2 = re.compile(r"[<>|](b1|[iu][1248]|f[248])")
DTYPES_3 = {"bool", *(f"{kind}int{bits}" for kind in ("", "u") for bits in (8, 16, 32, 64))}
DTYPES_3 |= {"float16", "float32", "float64"}
CODECS_2 = {"blosc", "bz2", "gzip", "lz4", "lzma", "shuffle", "zlib", "zstd"}
CODECS_3 = {"blosc", "bytes", "crc32c", "gzip", "transpose", "zstd"}
SHARDING = "sharding_indexed"


class FullSize(NamedTuple):
    """Array with the full resolution of an image."""

    path: str
    """Folder of the array, relative to the folder of the image."""
    axes: tuple[str, ...]
    resolution: Resolution


def names_zarr(path: Path) -> bool:
    """Return whether a path has the suffix of a Zarr folder."""
    return path.suffix.lower() == SUFFIX


def is_zarr(path: Path) -> bool:
    """Return whether a path is a Zarr folder, by its name or contents."""
    return path.is_dir() and (names_zarr(path) or _has_metadata(path))


def refuse_other_folder(path: Path) -> None:
    """Raise UserError if a path exists and is not a Zarr folder; other paths are never replaced."""
    if path.exists() and not _has_metadata(path):
        raise UserError(
            f"{path} already exists and is not an OME-Zarr; choose another path", path=path
        )


def _has_metadata(path: Path) -> bool:
    return any((path / name).is_file() for name in METADATA)


def metadata_file(folder: Path) -> Path:
    """Return the metadata file of a Zarr folder. Raises Refused if there is none."""
    for name in METADATA:
        if (folder / name).is_file():
            return folder / name
    raise Refused(f"is not an OME-Zarr: it contains no {' or '.join(METADATA)}")


def open_zarr(folder: Path) -> ImageFile:
    """Open an image. Raises UserError if the extra `zarr` is missing."""
    import_extra("zarr", "zarr", "an OME-Zarr")
    from .zarr_store import open_array

    three = metadata_file(folder).name == METADATA[0]
    try:
        attributes = _load(folder, METADATA[0] if three else METADATA[1])
        if three:
            attributes = attributes.get("attributes", {}).get("ome", {})
        level = _full_size(attributes)
        described = _load(folder, f"{level.path}/{METADATA[0] if three else '.zarray'}")
        (_check_array_3 if three else _check_array_2)(described)
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError):
        raise Refused(f"{DAMAGED}: its metadata is not that of OME-NGFF 0.4 or 0.5") from None
    array = open_array(folder, level.path, 3 if three else 2)
    return _opened(array, level)


def _opened(array: Any, level: FullSize) -> ImageFile:
    """Return the image in an array of zarr."""
    if len(level.axes) != len(array.shape):
        raise Refused(f"{DAMAGED}: it has {len(level.axes)} axes for an array of {array.shape}")
    sizes = dict(zip(level.axes, array.shape, strict=True))
    for axis in ("t", "z"):
        if sizes.get(axis, 1) != 1:
            raise Refused(
                f"has {sizes[axis]} positions on the axis {axis}; only one is supported: "
                "save each as a separate OME-Zarr"
            )
    height, width, channels = sizes["y"], sizes["x"], sizes.get("c", 1)
    _check_chunks(array.shape, array.chunks)
    high = max(array.chunks[level.axes.index("y")], 1)
    together = max(min(math.ceil(ROWS / high) * high, height), 1)
    kept = [axis for axis in level.axes if axis in "yxc"]
    order = [kept.index(axis) for axis in "yxc" if axis in kept]

    def decode(number: int) -> NDArray[Any]:
        rows = slice(number * together, min((number + 1) * together, height))
        index = tuple(
            rows if axis == "y" else slice(None) if axis in "xc" else 0 for axis in level.axes
        )
        values = np.asarray(array[index]).transpose(order)
        return values if values.ndim == 3 else values[:, :, None]

    blocks = Blocks(together, decode)
    window = Window(lambda start, end, indices: blocks.read(start, end), together)
    mode = mode_name("RGB" if channels == 3 else "grey", channels)
    header = Header(height, width, channels, array.dtype.name, mode)
    return ImageFile(
        lambda page: header,
        lambda page, indices: blocks.read(0, height),
        lambda page: Tags(resolution=level.resolution),
        window=lambda page: window if together < height else None,
    )


def _load(folder: Path, name: str) -> Any:
    """Read a file of metadata."""
    path = inside(folder, name)
    if not path.is_file():
        raise Refused(f"{DAMAGED}: it has no file {name}")
    if path.stat().st_size > MOST_METADATA:
        raise Refused(f"{DAMAGED}: {name} is too large for metadata")
    try:
        return json.loads(path.read_bytes())
    except ValueError:
        raise Refused(f"{DAMAGED}: {name} is not JSON") from None


def _full_size(attributes: Any) -> FullSize:
    """Return the level of full resolution, the first one of the first multiscale image."""
    if not attributes.get("multiscales"):
        raise Refused(
            "is not an OME-Zarr image, but may contain images (a plate or a collection); name the "
            "folder of one of them"
        )
    image = attributes["multiscales"][0]
    if not isinstance(image.get("axes", ""), list) or not isinstance(image["axes"][0], dict):
        raise Refused("is OME-NGFF before 0.4, which is not supported; convert it to 0.4 or 0.5")
    axes = tuple(str(axis["name"]) for axis in image["axes"])
    if not {"y", "x"} <= set(axes) <= set("tczyx") or len(set(axes)) < len(axes):
        raise Refused(
            f"has the axes {', '.join(axes)}; supported are y and x, with c, and t or z of size 1"
        )
    dataset = image["datasets"][0]
    scales = [1.0] * len(axes)
    for one in (*dataset["coordinateTransformations"], *image.get("coordinateTransformations", ())):
        if one.get("type") == "scale" and "scale" in one:
            scales = [a * float(b) for a, b in zip(scales, one["scale"], strict=True)]
    x, y = axes.index("x"), axes.index("y")
    units = image["axes"][x].get("unit"), image["axes"][y].get("unit")
    return FullSize(str(dataset["path"]), axes, of_ngff((scales[x], scales[y]), units))


def _check_array_2(described: Any) -> None:
    """Raise Refused for an unsupported array of Zarr 2."""
    dtype, codecs = described["dtype"], [described["compressor"], *(described["filters"] or ())]
    if not isinstance(dtype, str) or not DTYPE_2.fullmatch(dtype):
        raise Refused(f"contains {dtype} values, not real numbers")
    _check_codecs([codec["id"] for codec in codecs if codec is not None], CODECS_2)


def _check_array_3(described: Any) -> None:
    """Raise Refused for an unsupported array of Zarr 3."""
    if described["node_type"] != "array" or described.get("storage_transformers"):
        raise Refused(f"{DAMAGED}: its level of full resolution is not a supported array")
    if described["data_type"] not in DTYPES_3:
        raise Refused(f"contains {described['data_type']} values, not real numbers")
    codecs = described["codecs"]
    for codec in [one for one in codecs if isinstance(one, dict) and one["name"] == SHARDING]:
        configuration = codec["configuration"]
        codecs = [one for one in codecs if one is not codec]
        codecs += [*configuration["codecs"], *configuration.get("index_codecs", ())]
    _check_codecs([one if isinstance(one, str) else one["name"] for one in codecs], CODECS_3)


def _check_codecs(names: list[str], known: set[str]) -> None:
    for name in names:
        if name not in known:
            listed = ", ".join(sorted(known))
            raise Refused(f"uses the codec {name}, which is not supported; supported are {listed}")


def _check_chunks(shape: tuple[int, ...], chunks: tuple[int, ...]) -> None:
    """Raise Refused for chunks that are far larger than the image, or far too many."""
    size = "x".join(map(str, chunks))
    if math.prod(chunks) > max(4 * math.prod(shape), 2**22):
        raise Refused(f"has chunks of {size}, far larger than its image")
    if (
        math.prod(math.ceil(a / max(b, 1)) for a, b in zip(shape, chunks, strict=True))
        > MOST_CHUNKS
    ):
        raise Refused(f"has chunks of {size}, far too small for its image")
