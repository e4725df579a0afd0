"""Translation of images and of videos as the options of `viceversa translate` request it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from ..checkpoint import translator_file
from ..environment import Launched, launched
from ..errors import UserError
from ..images.video import import_av
from ..images.video_writing import choose_encoding, suffix_of_result
from ..inference import (
    STREAM,
    Inputs,
    Outcome,
    expand,
    names_image,
    translate_files,
)
from ..inference.alpha import check_alpha
from ..inference.outputs import (
    Input,
    file_of,
)
from ..inference.spread import check_spread
from ..inference.video import check_model, expand_videos, names_video, translate_videos
from ..inference.zipped import names_zip, pack
from ..runtime.signals import collect_stop_signals
from ..terminal import counter, quiet
from .loading import load_translator
from .outcome import raise_end, report
from .ray_workers import check_ray, own_options, translate_on_ray
from .translate_options import TranslateOptions
from .translation_paths import (
    check_paths,
    choose_suffix,
    fixed_suffix,
    place_of,
    plan_share,
    prepare_folders,
)
from .translation_work import file_options, mask_files, printer, record_of, statistics_of

T = TypeVar("T", bound=Input)


def run_on_images(model: Path, inputs: Sequence[str], out: Path, options: TranslateOptions) -> None:
    """Translate images, print what was done, and raise UserError or RunStopped as `raise_end`.

    Args:
        model: The model file or run folder.
        inputs: Files, globs and folders, or `-`.
        out: The folder or file for the results, or `-`.
        options: The options of the command.
    """
    _refuse_options({"--codec": options.codec, "--crf": options.crf}, "videos, not for images")
    model = check_paths(model, inputs, out, options)
    streamed = STREAM in map(Path, inputs)
    found = Inputs([(STREAM, Path("stdin"))], [], []) if streamed else expand(inputs)
    files = found.files
    masks = mask_files(options)
    if options.masks:  # it may be in a folder of images
        inside = options.masks.resolve()
        files = [one for one in files if inside not in file_of(one[0]).resolve().parents]
    process = launched()
    named = out == STREAM or names_image(out)
    if options.ray:
        check_ray(options.ray, inputs, out, named, process)
    translator = load_translator(model, own_options(options))
    if reason := translator.precision_reason:
        printer(out)(f"--precision auto: {translator.precision.name}, since {reason}")
    if options.spread:
        check_spread(translator.network)
    suffix = choose_suffix(translator, out, options.format)
    if options.alpha:
        check_alpha(translator.target, fixed_suffix(out, options.format))
    pairs = plan_share(files, out, suffix, options, process, named)
    prepare_folders(pairs, out, model, inputs, options)
    images = [path for path, _ in files]
    how = file_options(translator, out, options, process.size, masks, images)
    record = None
    if out != STREAM:
        precision, statistics = translator.precision.name, statistics_of(how)
        record = record_of(out, named, model, options, process, precision, statistics)
    with (
        quiet(process.rank > 0),
        collect_stop_signals() as signals,
        counter("translating", "images") as progress,
    ):
        if options.ray:
            outcome = translate_on_ray(
                pairs, model, out, options, printer(out), lambda: bool(signals), progress
            )
        else:
            outcome = translate_files(
                translator, pairs, how, record, options.resume, lambda: bool(signals), progress
            )
    unread = []
    if process.rank == 0:
        outcome.failures.extend(found.skipped)
        unread = found.unread
    _pack(out, signals)
    lines = report(outcome, unread, len(pairs), _target(out, process, signals))
    _end(outcome, signals, lines, "--resume continues from here", process, out)


def run_on_videos(model: Path, inputs: Sequence[str], out: Path, options: TranslateOptions) -> None:
    """Translate videos, print what was done, and raise UserError or RunStopped as `raise_end`.

    Args:
        model: The model file or run folder.
        inputs: Files and globs.
        out: The file or folder for the results.
        options: The options of the command.
    """
    for_images: dict[str, object] = {
        "--spread": options.spread,
        "--masks": options.masks,
        "--format": options.format,
        "--alpha": options.alpha,
        "--memory": options.memory,
        "--scratch": options.scratch,
        "--statistics_from": options.statistics_from,
        "--statistics": options.statistics != "exact",
        "--ray": options.ray,
    }
    _refuse_options(for_images, "images, not for videos")
    import_av()
    encoding = {"codec": options.codec, "crf": options.crf}
    zipped = names_zip(out)
    named = not zipped and names_video(out, len(inputs))
    if named:
        choose_encoding(out, options.codec, options.crf)
    elif out.exists() and not (zipped or out.is_dir()):
        raise UserError(f"-o {out} is a file; name a folder or a video", option="--out", path=out)
    process = launched()

    def suffix(own: str) -> str:
        return suffix_of_result(own, options.codec)

    pairs = plan_share(expand_videos(inputs), out, suffix, options, process, named)
    model = translator_file(model)
    translator = load_translator(model, options)
    if reason := translator.precision_reason:
        printer(out)(f"--precision auto: {translator.precision.name}, since {reason}")
    check_model(translator, model)
    prepare_folders(pairs, out, model, inputs, options)
    precision = translator.precision.name
    record = record_of(out, named, model, options, process, precision, encoding)
    with quiet(process.rank > 0), collect_stop_signals() as signals:
        outcome = translate_videos(
            translator,
            pairs,
            options.batch_size,
            options.half,
            record,
            options.resume,
            lambda: bool(signals),
            options.codec,
            options.crf,
        )
    _pack(out, signals)
    lines = report(outcome, [], len(pairs), _target(out, process, signals), "videos")
    advice = "the current video was not written; --resume skips complete videos"
    _end(outcome, signals, lines, advice, process, out)


def _pack(out: Path, signals: Sequence[int]) -> None:
    """Pack the results of a .zip, unless the translation was interrupted. Raises UserError."""
    if names_zip(out) and place_of(out).exists() and not signals:
        pack(out)


def _target(out: Path, process: Launched, signals: Sequence[int]) -> str:
    """Return where the results are and, of several processes, this one."""
    place = place_of(out) if signals else out
    return f"{place} (process {process.rank} of {process.size})" if process.size > 1 else str(place)


def _end(
    outcome: Outcome,
    signals: Sequence[int],
    lines: Sequence[str],
    advice: str,
    process: Launched,
    out: Path,
) -> None:
    """Print the lines, wait for the other processes, and raise as `raise_end`."""
    for line in lines:
        printer(out)(line)
    if process.size > 1 and not signals:
        from ..runtime.distributed import wait_for_all

        wait_for_all()
    raise_end(outcome, signals, advice)


def _refuse_options(given: Mapping[str, object], kind: str) -> None:
    """Raise UserError for an option of the other kind of inputs that is given."""
    for option, value in given.items():
        if value not in (None, False):
            raise UserError(f"{option} is for {kind}; remove it", option=option)
