"""Paths of a translation: check names, select the results of each process, prepare folders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from ..checkpoint import read_header, translator_file
from ..data.readonly import refuse_output_in_data, training_data
from ..environment import Launched
from ..errors import UserError
from ..files import remove_temporary_of
from ..images.archives import ARCHIVES
from ..images.formats.ome_zarr import is_zarr
from ..inference import STREAM, Translator, expand, names_image, plan
from ..inference.outputs import (
    File,
    Input,
    file_of,
    of_format,
    refuse_existing,
    refuse_unknown_format,
    share,
)
from ..inference.spread import check_maps, spread_path, view_path
from ..inference.zipped import collect, collecting_folder, names_zip, refuse_existing_zip
from .translate_options import TranslateOptions

T = TypeVar("T", bound=Input)


def check_paths(model: Path, inputs: Sequence[str], out: Path, options: TranslateOptions) -> Path:
    """Check the paths of input and output images; return the model file. Raises UserError."""
    if out.exists() and not (out.is_dir() or names_image(out) or names_zip(out)):
        raise UserError(
            f"-o {out} is a file; name a folder for the results", option="--out", path=out
        )
    if options.scratch and options.scratch.exists() and not options.scratch.is_dir():
        raise UserError(
            f"--scratch {options.scratch} is a file; name a folder",
            option="--scratch",
            path=options.scratch,
        )
    model = translator_file(model)
    streamed = STREAM in map(Path, inputs)
    if streamed and len(inputs) > 1:
        raise UserError("- (standard input) is one image; remove the other inputs")
    one_file = len(inputs) == 1 and (Path(inputs[0]).is_file() or is_zarr(Path(inputs[0])))
    one_file = one_file and not inputs[0].lower().endswith(ARCHIVES)
    if (streamed or one_file) and not names_zip(out):
        refuse_unknown_format(out)
    if streamed and options.masks:
        raise UserError("--masks needs images with names, not standard input", option="--masks")
    return model


def choose_suffix(translator: Translator, out: Path, format: str | None) -> Callable[[str], str]:
    """Return a function that maps the suffix of an image to the suffix of its result."""
    if format is None:
        return translator.suffix
    if out == STREAM or names_image(out):
        raise UserError("--format is for results in a folder; leave it out", option="--format")
    return of_format(format, translator.suffix)


def fixed_suffix(out: Path, format: str | None) -> str | None:
    """Return the suffix of all results; None: each result has the suffix of its image."""
    if format is not None:
        return f".{format.lower().lstrip('.')}"
    return out.suffix if names_image(out) else None


def plan_share(
    files: Sequence[tuple[T, Path]],
    out: Path,
    suffix: Callable[[str], str],
    options: TranslateOptions,
    process: Launched,
    named: bool,
) -> list[tuple[T, Path]]:
    """Return pairs (input, result), see `plan`, for the inputs that this process translates.

    Args:
        files: Inputs and their names.
        out: The folder or file for the results, or `-`.
        suffix: Maps the suffix of an input to the suffix of its result.
        options: The options of the command.
        process: Rank of this process, and the number of processes that share the work.
        named: Whether `out` is the path of one result, not a folder.
    """
    zipped, replace = names_zip(out), options.overwrite or options.resume
    if (named or zipped) and process.size > 1:
        raise UserError(
            f"-o {out} is one file, which {process.size} processes cannot share; name a folder, "
            "or start one process",
            option="--out",
        )
    if zipped and out.resolve() in (file_of(path).resolve() for path, _ in files):
        raise UserError(
            f"{out} would overwrite a file to translate; choose another -o",
            option="--out",
            path=out,
        )
    if zipped and not replace:
        refuse_existing_zip(out)
    alone = process.size == 1  # else the other processes may have written results already
    place = place_of(out)
    pairs = plan(files, place, suffix, replace or not alone, lambda _: named)
    if options.spread:
        check_maps(pairs, replace or not alone)
    pairs = share(pairs, process.rank, process.size)
    if not replace:
        refuse_existing(pairs)
    return pairs


def place_of(out: Path) -> Path:
    """Return the path to write results to; results in a .zip are first collected in a folder."""
    return collecting_folder(out) if names_zip(out) else out


def prepare_folders(
    pairs: Sequence[File], out: Path, model: Path, inputs: Sequence[str], options: TranslateOptions
) -> None:
    """Remove temporary files of killed processes, and extract the results of an existing .zip.

    Raises UserError if a folder of results is inside the inputs or the training data.
    """
    results = [result for _, result in pairs if result != STREAM]
    read = [Path(one) for one in (*inputs, options.masks, options.statistics_from) if one]
    data = [*filter(Path.is_dir, read), training_data(read_header(model), model)]
    if options.statistics_from:
        files = {file_of(path) for path, _ in expand([str(options.statistics_from)]).files}
        used = {path.resolve() for path in files}
        for result in (*results, *([out] if names_zip(out) else [])):
            if result.resolve() in used:
                raise UserError(
                    f"{result} would overwrite an image of --statistics_from; choose another -o",
                    option="--out",
                    path=result,
                )
    for folder in {result.parent for result in results}:
        for one in data:
            refuse_output_in_data(folder, one, "-o")
    if options.spread:
        results += [path for one in results for path in (spread_path(one), view_path(one))]
    if names_zip(out):
        results.append(out)
        collect(out, options.resume)
    remove_temporary_of(results)
