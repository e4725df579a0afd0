"""Convert the options of `viceversa translate`: options of files, records, and messages."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..checkpoint import read_digest
from ..environment import Launched
from ..errors import UserError
from ..images.masks import MaskFiles
from ..inference import STREAM, FileOptions, Record, Translator
from ..inference.large_images import LargeImages, shared_norms
from ..inference.memory import MemoryLimit
from ..inference.outputs import Input
from .translate_options import TranslateOptions
from .translation_paths import place_of


def file_options(
    translator: Translator,
    out: Path,
    options: TranslateOptions,
    processes: int,
    masks: MaskFiles | None,
    images: Sequence[Input],
) -> FileOptions:
    """Return the options of files for one of several processes on a machine.

    Args:
        translator: The translator.
        out: The folder or file for the results.
        options: The options of the command.
        processes: Number of processes on this machine.
        masks: The mask files.
        images: All images to translate.

    Raises:
        UserError: The options for norms cannot be used.
    """
    limit = None if options.memory is None else round(options.memory * 1e9)
    memory = MemoryLimit(translator, limit, processes)
    large_images = LargeImages(memory, options.scratch, printer(out), options.statistics)
    if options.statistics_from is not None:
        if options.statistics != "exact":
            raise UserError(
                f"--statistics {options.statistics} and --statistics_from cannot be combined",
                option="--statistics_from",
            )
        norms = shared_norms(translator, memory, options.statistics_from, masks, images)
        printer(out)(f"norms use the statistics of {norms.source} of other images")
        large_images = large_images._replace(norms=norms)
    if large_images.own_option:
        large_images.check(translator, options.half, options.spread)
    return FileOptions(
        options.batch_size, options.half, options.spread, options.alpha, masks, large_images
    )


def mask_files(options: TranslateOptions) -> MaskFiles | None:
    """Return the mask files of the images, if there are any."""
    return MaskFiles.in_folder(options.masks, "--masks") if options.masks else None


def record_of(
    out: Path,
    named: bool,
    model: Path,
    options: TranslateOptions,
    process: Launched,
    precision: str,
    more: Mapping[str, object] | None = None,
) -> Record | None:
    """Return the record of the results; None for one file without `resume`.

    Args:
        out: The folder or file for the results.
        named: Whether `out` is the path of one result, not a folder.
        model: The model file.
        options: The options of the command.
        process: Rank of this process, and the number of processes.
        precision: The precision of the network.
        more: Further settings: the encoding of videos, or the SHA-256 of shared statistics.
    """
    if named and not options.resume:
        return None
    folder = out.parent if named else place_of(out)
    settings = {**_settings(options, precision), **(more or {})}
    return Record(folder, read_digest(model), settings, process.rank)


def statistics_of(how: FileOptions) -> dict[str, str]:
    """Return the SHA-256 of the statistics that all images share, for the record."""
    norms = how.large_images.norms if how.large_images else None
    return {"statistics_from": norms.digest} if norms else {}


def printer(out: Path) -> Callable[[str], None]:
    """Return a function that prints a line: to stderr if a result is written to stdout."""
    return partial(print, file=sys.stderr if out == STREAM else sys.stdout, flush=True)


def _settings(options: TranslateOptions, precision: str) -> dict[str, Any]:
    """Return the options and the precision that a result depends on, for the record.

    Switches and newer options are only included if they are given, so that records of earlier
    versions remain valid.
    """
    settings: dict[str, Any] = {
        "policy": options.policy,
        "seed": options.seed if options.policy == "paper" else None,
        "half": options.half,
        "size": options.size,
    }
    added: dict[str, object] = {
        "flips": options.flips,
        "spread": options.spread,
        "masks": options.masks,
        "alpha": options.alpha,
        options.statistics: options.statistics != "exact",
    }
    settings |= {name: True for name, value in added.items() if value}
    if precision != "fp32":
        settings["precision"] = precision
    return settings | ({} if options.runtime in (None, "torch") else {"runtime": options.runtime})
