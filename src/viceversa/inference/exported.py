"""Use files that `viceversa export` wrote for other runtimes as networks of translators."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..checkpoint.exported import is_exported
from ..config.speed import InferencePrecision
from ..errors import UserError
from ..extras import import_extra, openvino_core
from ..images.domain import Domain
from ..images.labels import to_classes
from ..images.values import to_pixels, to_values

INPUT, OUTPUT = "images", "translated"  # of a graph
LARGEST_SIDE = 2**16
LONGEST = 200  # characters of an error
Arrays = NDArray[Any]
Run = Callable[[Arrays], Arrays]


def _open_onnx(path: Path) -> Run:
    runtime = import_extra("onnxruntime", "export", "an ONNX file")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {INPUT: images})[0]


def _open_openvino(path: Path) -> Run:
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",  # by default it is bf16 where the processor has that
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "ENABLE_CPU_PINNING": False,  # all processes would be pinned to the same cores
    }
    compiled = openvino_core().compile_model(path, "CPU", settings)
    # A separate request for each call, since threads may share a translator.
    return lambda images: compiled.create_infer_request().infer([images])[0]


class ExportFormat(NamedTuple):
    """Format of exported files."""

    name: str
    runtime: str
    """Name of the runtime."""
    suffix: str
    open: Callable[[Path], Run]
    """Function that loads a file, and returns a function of pixels (n, h, w, channels)."""


EXPORT_FORMATS = (
    ExportFormat("onnx", "ONNX Runtime", ".onnx", _open_onnx),
    ExportFormat("openvino", "OpenVINO", ".xml", _open_openvino),
)


def format_of(path: Path) -> ExportFormat:
    """Return the format of an exported file, by its name."""
    (found,) = (one for one in EXPORT_FORMATS if one.suffix == path.suffix.lower())
    return found


def open_exported(path: Path) -> Run:
    """Return a function that translates pixels (n, h, w, channels) on the CPU.

    Raises:
        UserError: The file is damaged, or a package is missing. The returned function raises
            UserError if the runtime fails.
    """
    kind = format_of(path)
    with _reporting(f"{kind.runtime} cannot load {path}"):
        call = kind.open(path)

    def run(images: Arrays) -> Arrays:
        with _reporting(f"{kind.runtime} failed"):
            return call(images)

    return run


@contextmanager
def _reporting(what: str) -> Iterator[None]:
    """Convert the errors of a runtime, which have different types, to UserError."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        lines = [line for line in str(error).splitlines() if not line.startswith("Exception from")]
        raise UserError(f"{what}: {' '.join(lines).strip()[:LONGEST]}") from None


class ExportedNetwork(nn.Module):
    """Generator that runs an exported file: (n, channels, h, w) in [-1, 1] -> the same.

    The file takes and returns pixels; inputs are rounded to pixel values.

    Args:
        run: Function that translates pixels (n, h, w, channels).
        source: Domain of the images.
        target: Domain of the results.
        multiple: Height and width must be multiples of this.
        smallest: Smallest height and width.
        receptive_field: Number of pixels at an edge of a tile that depend on pixels outside of the
            tile; None if it is unknown, or if it is the whole image.
        image_statistics: Whether norms use statistics of each image.
    """

    def __init__(
        self,
        run: Run,
        source: Domain,
        target: Domain,
        multiple: int,
        smallest: int,
        receptive_field: int | None = None,
        image_statistics: bool = True,
    ):
        super().__init__()
        self.run, self.source, self.target = run, source, target
        self.multiple, self.smallest = multiple, smallest
        self.receptive_field, self.image_statistics = receptive_field, image_statistics

    def forward(self, x: Tensor) -> Tensor:
        result = self.run(np.stack(to_pixels(x, self.source)))
        expected = (len(x), *x.shape[2:], self.target.config.file_channels)
        if result.shape != expected or str(result.dtype) != self.target.dtype:
            raise UserError(
                f"the exported file returned {result.dtype} images of shape {result.shape}, not "
                f"{self.target.dtype} of {expected}"
            )
        if self.target.config.kind == "labels":
            result = np.stack([to_classes(one, self.target.config, "the result") for one in result])
        return to_values(torch.from_numpy(result).movedim(-1, 1), self.target, torch.float32)


def load_exported(
    header: Mapping[str, Any], domains: tuple[Domain, Domain], path: Path, flips: bool
) -> ExportedNetwork:
    """Open an exported file as a network.

    Args:
        header: Header of the file.
        domains: Domains of the images and of the results.
        path: The file.
        flips: Whether the translator averages outputs for mirrored images.

    Raises:
        UserError: The file is damaged, a package is missing, or `flips` is set for a file that
            already averages over mirrored images.
    """
    if flips and header.get("flips"):
        raise UserError(f"{path} was exported with --flips; leave it out here", option="--flips")
    sizes = [header.get(name) for name in ("multiple", "smallest")]
    for size in sizes:
        if type(size) is not int or not 1 <= size <= LARGEST_SIDE:
            raise UserError(f"{path} has an invalid `multiple` or `smallest`: {size!r}", path=path)
    multiple, smallest = sizes
    assert multiple is not None and smallest is not None
    reach, statistics = header.get("receptive_field"), header.get("image_statistics", True)
    if not (reach is None or (type(reach) is int and 0 <= reach <= LARGEST_SIDE)):
        raise UserError(f"{path} has an invalid `receptive_field`: {reach!r}", path=path)
    run = open_exported(path)
    return ExportedNetwork(run, *domains, multiple, smallest, reach, statistics is not False)


def checked_device(
    device: str,
    header: Mapping[str, Any],
    path: Path,
    policy: str,
    precision: InferencePrecision,
) -> tuple[str, InferencePrecision]:
    """Return the device and the precision for a model file; for an exported file, CPU and fp32.

    Raises:
        UserError: For an exported file, another policy, a GPU or a precision is requested.
    """
    if not is_exported(path):
        return device, precision
    if precision not in ("auto", "fp32"):
        raise UserError(
            f"{path} has a fixed precision, chosen at export; leave out --precision",
            option="--precision",
            path=path,
        )
    if policy != (own := header.get("policy")):
        raise UserError(
            f"{path} was exported with policy {own}; add --policy {own}, or export it with "
            f"--policy {policy}",
            option="--policy",
            path=path,
        )
    if device not in ("auto", "cpu"):
        raise UserError(
            f"{path} is used on the CPU; leave out --device", option="--device", path=path
        )
    return "cpu", "fp32"
