"""The command translate."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from ..errors import UserError
from ..networks.config import Policy
from .app import command
from .outcome import raise_end, report

if TYPE_CHECKING:
    from ..inference import Record


@command(
    ("translate runs/photos/ab.safetensors new-photos -o results", "all images of a folder"),
    ("translate runs/photos/ab.safetensors photo.jpg -o result.png", "one image"),
    ("translate model.safetensors 'scans/*.tif' -o out --resume", "what is not translated yet"),
    ("translate model.safetensors clip.mp4 -o result.mp4", "each frame of a video"),
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
    format: str | None = None,
    codec: Literal["libx264", "libvpx-vp9", "ffv1"] | None = None,
    crf: int | None = None,
) -> None:
    """Translate images: files, globs and folders; or videos: files and globs.

    Parameters
    ----------
    model
        The model file of a generator, such as runs/NAME/ab.safetensors, or a run folder with one.
    inputs
        Images, globs in quotes, or folders (with their subfolders); - is standard input. Or videos,
        such as .mp4, .mov, .mkv and .webm; globs in quotes.
    out
        The folder or file for the results. In a folder they keep the names of their images; a file,
        such as result.png, is for a single image or video; - is standard output.
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
        Number of images of one size, or of frames, translated at once.
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
    format
        Format of the results in a folder, such as png, jpg, webp or tif; by default, that of each
        image if it can store the result.
    codec
        Codec of videos: libx264 (H.264; default for .mp4, .mov and .mkv), libvpx-vp9 (VP9; default
        for .webm) or ffv1 (lossless, .mkv).
    crf
        Quality of videos, lower is better: 0 to 51 for libx264 (default 18), 0 to 63 for libvpx-vp9
        (default 24).
    """
    if not inputs:
        raise UserError("name the images to translate: files, globs or folders")
    if batch_size < 1:
        raise UserError(f"--batch_size must be at least 1, not {batch_size}", option="--batch_size")
    from ..checkpoint import translator_file
    from ..inference.video import are_videos

    loading = device, policy, seed, max_megapixels, size, flips
    options: dict[str, Any] = {"policy": policy, "seed": seed if policy == "paper" else None}
    options |= {"half": half, "size": size}
    given = {"flips": flips, "spread": spread, "masks": masks}
    options |= {name: True for name, value in given.items() if value}
    if are_videos(inputs, out):
        for_images = {"--spread": spread, "--masks": masks, "--format": format}
        _refuse_options(for_images, "images, not for videos")
        encoding = {"codec": codec, "crf": crf}
        return _translate_videos(
            model, inputs, out, loading, options, encoding, batch_size, overwrite, resume
        )
    _refuse_options({"--codec": codec, "--crf": crf}, "videos, not for images")
    from ..images.masks import MaskFiles
    from ..inference import STREAM, Translator, expand, names_image, plan, translate_files
    from ..inference.outputs import of_format, refuse_unknown_format
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
    translator = Translator.load(model, *loading)
    if spread:
        check_spread(translator.network)
    suffix: Callable[[str], str] = translator.suffix
    if format is not None:
        if out == STREAM or names_image(out):
            raise UserError("--format is for results in a folder; leave it out", option="--format")
        suffix = of_format(format, suffix)
    pairs = plan(files, out, suffix, overwrite or resume)
    if spread:
        check_maps(pairs, overwrite or resume)
    folders = {result.parent for _, result in pairs if result != STREAM}
    _refuse_data_folders(folders, model, inputs)
    record = None
    if out != STREAM and (resume or not names_image(out)):
        folder = out.parent if names_image(out) else out
        record = _open_record(folder, model, options)
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
    for line in report(outcome, unread, len(pairs), out):
        print(line, file=sys.stderr if out == STREAM else sys.stdout)
    raise_end(outcome, signals, "--resume continues from here")


def _translate_videos(
    model: Path,
    inputs: Sequence[str],
    out: Path,
    loading: tuple[Any, ...],
    options: Mapping[str, Any],
    encoding: Mapping[str, Any],
    batch_size: int,
    overwrite: bool,
    resume: bool,
) -> None:
    """Translate videos.

    Args:
        model: The model file or run folder.
        inputs: Files and globs.
        out: The file or folder for the results.
        loading: Arguments of `Translator.load`.
        options: The options that decide what a result is, for the record.
        encoding: The options `codec` and `crf`.
        batch_size: Frames translated at once.
        overwrite: Whether to replace existing results.
        resume: Whether to skip existing results.
    """
    from ..checkpoint import translator_file
    from ..images.video import import_av
    from ..images.video_writing import choose_encoding, suffix_of_result
    from ..inference import Translator, plan
    from ..inference.video import check_model, expand_videos, names_video, translate_videos
    from ..runtime.signals import collect_stop_signals

    import_av()
    named = names_video(out, len(inputs))
    if named:
        choose_encoding(out, **encoding)
    elif out.exists() and not out.is_dir():
        raise UserError(f"-o {out} is a file; name a folder or a video", option="--out", path=out)
    pairs = plan(
        expand_videos(inputs),
        out,
        lambda suffix: suffix_of_result(suffix, encoding["codec"]),
        overwrite or resume,
        lambda _: named,
    )
    model = translator_file(model)
    translator = Translator.load(model, *loading)
    check_model(translator, model)
    _refuse_data_folders({result.parent for _, result in pairs}, model, inputs)
    record = None
    if resume or not named:
        folder = out.parent if named else out
        record = _open_record(folder, model, {**options, **encoding})
    with collect_stop_signals() as signals:
        outcome = translate_videos(
            translator,
            pairs,
            batch_size,
            options["half"],
            record,
            resume,
            lambda: bool(signals),
            **encoding,
        )
    for line in report(outcome, [], len(pairs), out, "videos"):
        print(line)
    advice = "the current video was not written; --resume skips complete videos"
    raise_end(outcome, signals, advice)


def _refuse_options(given: Mapping[str, object], kind: str) -> None:
    """Raise UserError for an option of the other kind of inputs that is given."""
    for option, value in given.items():
        if value not in (None, False):
            raise UserError(f"{option} is for {kind}; remove it", option=option)


def _refuse_data_folders(folders: set[Path], model: Path, inputs: Sequence[str]) -> None:
    """Raise UserError if a folder of results is inside the inputs or the training data."""
    from ..checkpoint import read_header
    from ..data.readonly import refuse_output_in_data, training_data

    data = [*filter(Path.is_dir, map(Path, inputs)), training_data(read_header(model), model)]
    for folder in folders:
        for one in data:
            refuse_output_in_data(folder, one, "-o")


def _open_record(folder: Path, model: Path, options: Mapping[str, Any]) -> Record:
    """Open the record of the folder that the results are written to."""
    from ..checkpoint import read_digest
    from ..inference import Record

    return Record(folder, read_digest(model), options)
