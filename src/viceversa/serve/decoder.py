"""Decode images: the process that the server starts as `python -m viceversa.serve.decoder`.

It reads frames from standard input and writes frames to standard output. A frame is a JSON object
and bytes. The first frame describes the models; each other one is an image, and its answer. An
image that makes a decoder crash, or use too much memory, ends this process only.
"""

from __future__ import annotations

import json
import signal
import struct
import sys
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from ..errors import UserError
from ..fields import fill
from ..images.domain import Domain
from ..images.header import Pixels
from ..images.loading import to_domain_pixels
from ..images.preprocessing import Preprocessing

LENGTHS = struct.Struct(">IQ")  # of the JSON and of the bytes


class Preparation(NamedTuple):
    """Preprocessing of the input images of a model."""

    source: Domain
    preprocessing: Preprocessing


def frame(header: dict[str, Any], *parts: bytes) -> bytes:
    """Return a frame."""
    text = json.dumps(header).encode()
    return b"".join([LENGTHS.pack(len(text), sum(map(len, parts))), text, *parts])


def read_frame(file: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    """Read a frame; None at the end of the file."""
    lengths = file.read(LENGTHS.size)
    if len(lengths) < LENGTHS.size:
        return None
    text, data = LENGTHS.unpack(lengths)
    return json.loads(file.read(text)), file.read(data)


def from_frame(header: dict[str, Any], data: bytes) -> Pixels:
    """Return the pixels of an answer; masked if some have no data."""
    shape, dtype = tuple(header["shape"]), np.dtype(header["dtype"])
    count = dtype.itemsize * int(np.prod(shape))
    pixels = np.frombuffer(data[:count], dtype).reshape(shape)
    if not header["masked"]:
        return pixels
    return np.ma.masked_array(pixels, np.frombuffer(data[count:], bool).reshape(shape))


def to_frame(pixels: Pixels) -> bytes:
    """Return an answer."""
    masked = isinstance(pixels, np.ma.MaskedArray)
    header = {"shape": pixels.shape, "dtype": pixels.dtype.name, "masked": masked}
    values = np.ascontiguousarray(np.ma.getdata(pixels)).tobytes()
    return frame(header, values, np.ma.getmaskarray(pixels).tobytes() if masked else b"")


def limit_process(memory: int) -> None:
    """Limit the memory of this process, and prevent it from writing files."""
    for kind in (signal.SIGINT, signal.SIGTERM):  # sent to the whole group; the server ends it
        signal.signal(kind, signal.SIG_IGN)
    try:
        import resource
    except ImportError:  # not on Windows
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def decode(model: Preparation, size: str, max_pixels: int, data: bytes) -> Pixels:
    """Decode and resize an image for a model. Raises UserError."""
    source = model.source
    pixels = to_domain_pixels(data, source.config, max_pixels, source.nodata_value)
    return model.preprocessing.resized(pixels, size, source.config)


def main() -> None:
    """Decode images until standard input ends."""
    import imagecodecs  # noqa: F401  # loaded before memory is limited
    import tifffile  # noqa: F401

    first = read_frame(sys.stdin.buffer)
    if first is None:
        return
    settings = first[0]
    models = [
        Preparation(fill(Domain, one["source"], "source"), Preprocessing(**one["preprocessing"]))
        for one in settings["models"]
    ]
    limit_process(settings["memory"])
    sys.stdout.buffer.write(frame({}))
    sys.stdout.buffer.flush()
    while (received := read_frame(sys.stdin.buffer)) is not None:
        header, data = received
        try:
            model = models[header["model"]]
            answer = to_frame(decode(model, header["size"], settings["max_pixels"], data))
        except UserError as error:
            answer = frame({"error": str(error)})
        except MemoryError:
            answer = frame({"error": "the image does not fit into the memory"})
        sys.stdout.buffer.write(answer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
