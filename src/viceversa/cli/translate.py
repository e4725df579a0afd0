"""The command translate."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from ..errors import RunStopped, UserError
from ..networks.config import Policy
from .app import command

if TYPE_CHECKING:
    from ..images.sources import Unread
    from ..inference import Outcome, Record

VERBS = {  # at the start of a message, for one file: for several
    "is ": "are ",
    "has ": "have ",
    "holds ": "hold ",
    "could ": "could ",
    "cannot ": "cannot ",
}


@command(
    ("translate runs/photos/ab.safetensors new-photos -o results", "all images of a folder"),
    ("translate runs/photos/ab.safetensors photo.jpg -o result.png", "one image"),
    ("translate model.safetensors 'scans/*.tif' -o out --resume", "what is not translated yet"),
)
def translate(
    model: Path,
    *inputs: str,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    policy: Policy = "image",
    size: str = "own",
    half: Literal["left", "right", "whole"] | None = None,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
    resume: Annotated[bool, Parameter(negative="")] = False,
    batch_size: int = 8,
    max_megapixels: int = 64,
    device: str = "auto",
    seed: int = 0,
    flips: Annotated[bool, Parameter(negative="")] = False,
    spread: Annotated[bool, Parameter(negative="")] = False,
    masks: Path | None = None,
) -> None:
    """Translate images: files, globs and folders.

    Parameters
    ----------
    model
        The model file of a generator, such as runs/NAME/ab.safetensors, or a run folder with one.
    inputs
        Images, globs in quotes, or folders (with their subfolders); - is standard input.
    out
        The folder or file for the results. In a folder they keep the names of their images; a file,
        such as result.png, is for a single image; - is standard output.
    policy
        image: batch norm with the statistics of each image, no dropout; running: with the running
        statistics of training, no dropout; paper: as image, with dropout (pix2pix, sec. 3.4).
    size
        own: the size of the file; trained: resized as in training, but not cropped; or pixels: 256
        for a square, 256,512 for height,width.
    half
        Half of side-by-side files to translate, or whole.
    overwrite
        Replace existing results. Input images are never replaced.
    resume
        Continue an interrupted translation: skip existing results of the same image, model and
        options.
    batch_size
        Number of images of one size translated at once.
    max_megapixels
        Size limit of images, in megapixels.
    device
        auto, or a torch device such as cpu or cuda.
    seed
        Seed of the dropout of policy paper.
    flips
        Test-time augmentation: average the outputs for each image and for its mirror images.
    spread
        Also write the spread of an ensemble or of --flips, the standard deviation of the outputs at
        each pixel: NAME.spread.png (white is a quarter of the value range or more, to compare
        images) and NAME.spread-view.png (white is the largest of the image, to look at).
    masks
        Folder of mask images with the names of the images: where a mask is 0, there is no data.
    """
    if not inputs:
        raise UserError("name the images to translate: files, globs or folders")
    if batch_size < 1:
        raise UserError(f"--batch_size must be at least 1, not {batch_size}", option="--batch_size")
    from ..checkpoint import translator_file
    from ..images.masks import MaskFiles
    from ..inference import STREAM, Translator, expand, names_image, plan, translate_files
    from ..inference.outputs import refuse_unknown_format
    from ..inference.spread import check_maps, check_spread
    from ..runtime.signals import collect_stop_signals

    if out.exists() and not (out.is_dir() or names_image(out)):
        raise UserError(
            f"-o {out} is a file; name a folder for the results", option="--out", path=out
        )
    model = translator_file(model)
    streamed = STREAM in map(Path, inputs)
    if streamed and len(inputs) > 1:
        raise UserError("- (standard input) is one image; name no others beside it")
    if streamed or (len(inputs) == 1 and Path(inputs[0]).is_file()):
        refuse_unknown_format(out)
    if streamed and masks:
        raise UserError("--masks needs images with names, not standard input", option="--masks")
    files, unread = ([(STREAM, Path("stdin"))], []) if streamed else expand(inputs)
    mask_files = MaskFiles.in_folder(masks, "--masks") if masks else None
    if masks:  # it may be in a folder of images
        inside = masks.resolve()
        files = [(path, name) for path, name in files if inside not in path.resolve().parents]
    translator = Translator.load(model, device, policy, seed, max_megapixels, size, flips)
    if spread:
        check_spread(translator.network)
    pairs = plan(files, out, translator.suffix, overwrite or resume)
    if spread:
        check_maps(pairs, overwrite or resume)
    folders = {result.parent for _, result in pairs if result != STREAM}
    _refuse_data_folders(folders, model, inputs)
    record = None
    if out != STREAM and (resume or not names_image(out)):
        options: dict[str, Any] = {"policy": policy, "seed": seed if policy == "paper" else None}
        options |= {"half": half, "size": size}
        given = {"flips": flips, "spread": spread, "masks": masks}
        options |= {name: True for name, value in given.items() if value}
        record = _open_record(out, model, options)
    with collect_stop_signals() as signals:
        outcome = translate_files(
            translator,
            pairs,
            batch_size,
            half,
            record,
            resume,
            lambda: bool(signals),
            spread,
            mask_files,
        )
    for line in _report(outcome, unread, len(pairs), out):
        print(line, file=sys.stderr if out == STREAM else sys.stdout)
    if signals:
        raise RunStopped("interrupted", 128 + signals[0], "--resume continues from here")
    if outcome.failures:
        raise UserError("; ".join(by_kind(outcome.failures)))


def _refuse_data_folders(folders: set[Path], model: Path, inputs: Sequence[str]) -> None:
    """Raise UserError if a folder of results is inside the inputs or the training data."""
    from ..checkpoint import read_header
    from ..data.readonly import refuse_output_in_data, training_data

    data = [*filter(Path.is_dir, map(Path, inputs)), training_data(read_header(model), model)]
    for folder in folders:
        for one in data:
            refuse_output_in_data(folder, one, "-o")


def _open_record(out: Path, model: Path, options: Mapping[str, Any]) -> Record:
    """Open the record of the folder that the results are written to."""
    from ..checkpoint import read_digest
    from ..inference import Record, names_image

    return Record(out.parent if names_image(out) else out, read_digest(model), options)


def _report(outcome: Outcome, unread: Sequence[Unread], images: int, out: Path) -> list[str]:
    """Return the lines that a translation prints."""
    from ..inference.spread import about_maps

    lines = [f"note: {line}" for line in by_kind(outcome.notes)]
    lines += [about_maps(outcome.spreads)] if outcome.spreads else []
    lines += [f"not read: {group}" for group in unread]
    if outcome.failures and not (outcome.written or outcome.skipped):
        return lines  # the error says what failed
    total = images + sum(len(group.names) for group in unread)
    skipped = f"; {len(outcome.skipped)} were translated before" if outcome.skipped else ""
    return [*lines, f"{len(outcome.written)} of {total} images translated to {out}{skipped}"]


def by_kind(messages: Iterable[tuple[Path, str]]) -> list[str]:
    """Return one sentence for all files with the same message, with the first three names."""
    from ..images.sources import printable

    kinds: dict[str, tuple[str, list[str]]] = {}
    for path, text in messages:
        kind = re.sub(r"[\d.]+ [kMG]B", "", text)  # the free space changes from file to file
        kinds.setdefault(kind, (text, []))[1].append(printable(str(path)))
    lines = []
    for text, names in kinds.values():
        more = f" and {len(names) - 3} more" if names[3:] else ""
        colon = "" if text.startswith(tuple(VERBS)) else ":"
        if names[1:] and not colon:
            verb, _, rest = text.partition(" ")
            text = f"{VERBS[f'{verb} ']}{rest}"
        lines.append(f"{', '.join(names[:3])}{more}{colon} {text}")
    return lines
