"""Translation of videos: every frame is translated, and everything else of a video is kept."""

from __future__ import annotations

import glob
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from ..errors import UserError
from ..fields import did_you_mean
from ..files import sha256, write_atomically
from ..images import Pixels, fit_channels
from ..images.preprocessing import Part
from ..images.sources import is_hidden, is_image_name, printable
from ..images.video import Frame, VideoReader, is_video_name
from ..images.video_writing import Encoding, VideoWriter, choose_encoding, writer
from ..terminal import counter
from .files import Outcome
from .notes import notes_on
from .outputs import EXTENSION, STREAM, names_image
from .record import Record, add_if_possible
from .translator import Translator


class _Stopped(Exception):
    """The user requested to stop."""


def are_videos(inputs: Sequence[str], out: Path) -> bool:
    """Return whether inputs are videos, by their names, or by that of the result.

    Raises:
        UserError: Only some of them are, or a video is to be read from or written to a stream.
    """
    videos = [one for one in inputs if is_video_name(one)]
    others = [one for one in inputs if not is_video_name(one)]
    if not videos and (not is_video_name(out.name) or any(map(_is_image_or_folder, others))):
        return False
    if videos and others:
        raise UserError(
            f"{videos[0]} is a video and {others[0]} is not; translate them by separate commands"
        )
    if STREAM in (out, *map(Path, inputs)):
        raise UserError(
            "- (a stream) is for images; name the files of videos",
            option="--out" if out == STREAM else None,
        )
    return True


def _is_image_or_folder(name: str) -> bool:
    return is_image_name(name) or Path(name).is_dir()


def names_video(out: Path, videos: int) -> bool:
    """Whether an output path is the name of a file rather than of a folder.

    Args:
        out: The path.
        videos: Number of inputs; that of one video may end in an unknown extension, and is refused.
    """
    if out.is_dir():
        return False
    unknown = videos == 1 and EXTENSION.fullmatch(out.suffix) is not None
    return is_video_name(out.name) or names_image(out) or unknown


def expand_videos(inputs: Sequence[str]) -> list[tuple[Path, Path]]:
    """Find the videos behind files and globs; returns (file, its name).

    Raises:
        UserError: There is no file, or an input is a folder.
    """
    files: dict[tuple[Path, Path], None] = {}
    for given in inputs:
        path = Path(given)
        if path.is_dir():
            text = f"{given} is a folder; name the videos in it, such as '{given}/*.mp4'"
            raise UserError(text, path=path)
        found = [path] if path.exists() else sorted(map(Path, glob.glob(given, recursive=True)))
        found = [one for one in found if one == path or not is_hidden(one.name)]
        if not found:
            near = [str(one) for one in path.parent.iterdir()] if path.parent.is_dir() else []
            raise UserError(f"there is no video {given}{did_you_mean(given, near)}", path=path)
        files |= dict.fromkeys((one, Path(one.name)) for one in found)
    return list(files)


def check_model(translator: Translator, path: Path) -> None:
    """Raise UserError if a model does not translate 8-bit grey or RGB images."""
    for domain in (translator.source, translator.target):
        config = domain.config
        if config.kind != "image" or domain.dtype != "uint8" or config.channels not in (1, 3):
            kind = (
                f"images of {config.channels} channels" if config.kind == "image" else config.kind
            )
            raise UserError(
                f"{path} cannot translate videos: it translates from or to {kind} ({domain.dtype}),"
                " and videos need 8-bit images of 1 or 3 channels",
                path=path,
            )


def translate_videos(
    translator: Translator,
    pairs: Sequence[tuple[Path, Path]],
    batch_size: int,
    half: Part = None,
    record: Record | None = None,
    resume: bool = False,
    stop: Callable[[], object] = bool,
    codec: str | None = None,
    crf: int | None = None,
) -> Outcome:
    """Translate and write each video; a result is written completely or not at all.

    Frames are streamed: the memory contains two batches, and the frames that the decoder and the
    encoder need. A video that cannot be translated is reported, and the others are translated.

    Args:
        translator: The translator.
        pairs: (video, result), as `plan` returns them.
        batch_size: Frames translated at once.
        half: Of frames with A and B side by side, the part to translate.
        record: Record of the results, which each one is added to.
        resume: Whether to skip the results that the record has of the same video.
        stop: Checked before each frame; true ends the work, and discards the current video.
        codec: A name of `CODECS`; None: the default of the container.
        crf: Quality of the codec; None: its default.

    Raises:
        UserError: The encoding of a result is not possible; nothing was written.
    """
    encodings = [choose_encoding(result, codec, crf) for _, result in pairs]
    outcome = Outcome([], [], [], [], [])
    for (path, result), encoding in zip(pairs, encodings, strict=True):
        if stop():
            return outcome
        try:
            digest = sha256(path) if record is not None and path.is_file() else ""
            if record is not None and resume and record.has(result, digest):
                outcome.skipped.append(result)
                continue
            notes: list[str] = []
            write = partial(
                _translate, translator, path, result, encoding, batch_size, half, stop, notes
            )
            write_atomically(result, write)
        except _Stopped:
            return outcome
        except UserError as error:
            outcome.failures.append((path, _reason(error, path, result)))
            continue
        outcome.written.append(result)
        outcome.notes.extend((path, note) for note in dict.fromkeys(notes))
        add_if_possible(record, result, digest)
    return outcome


def _translate(
    translator: Translator,
    path: Path,
    result: Path,
    encoding: Encoding,
    batch_size: int,
    half: Part,
    stop: Callable[[], object],
    notes: list[str],
    temporary: Path,
) -> None:
    """Translate a video to a temporary file. Raises UserError, OSError and _Stopped."""
    channels = translator.source.config.channels
    with VideoReader(path, translator.max_megapixels * 10**6) as reader:
        first = translator.read(fit_channels(reader.first_pixels(), False, channels, path))
        pixels = translator.preprocess(first, half, path)
        notes += [*reader.notes, *notes_on(translator, first, pixels, half, path)]
        times: deque[tuple[int, int]] = deque()  # of the frames that are being translated
        with (
            writer(temporary, result, reader, pixels.shape[:2], encoding) as video,
            counter(f"translating {printable(path.name)}", "frames") as progress,
        ):
            notes += video.notes
            frames = _frames(reader, video, times, channels, stop)
            for done, output in enumerate(translator(frames, half, batch_size), 1):
                video.frame(output, *times.popleft())
                progress(done, max(done, reader.count))


def _frames(
    reader: VideoReader,
    video: VideoWriter,
    times: deque[tuple[int, int]],
    channels: int,
    stop: Callable[[], object],
) -> Iterator[Pixels]:
    """Yield frames, append their time stamps and durations, and copy the packets between them."""
    for item in reader:
        if stop():
            raise _Stopped
        if isinstance(item, Frame):
            times.append((item.pts, item.duration))
            yield fit_channels(item.pixels, False, channels, reader.path)
        else:
            video.packet(item)


def _reason(error: UserError, path: Path, result: Path) -> str:
    """Return a message without the name of its file."""
    text = str(error)
    for one in (path, result):
        text = text.removeprefix(printable(one)).removeprefix(str(one))
    return text.lstrip(": ")
