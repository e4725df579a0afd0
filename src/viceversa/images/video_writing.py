"""Write videos with PyAV (FFmpeg): encoded frames, and copied packets of the other streams."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import UserError
from .header import Pixels
from .sources import printable
from .video import PRECISE, VideoReader, import_av

FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
"""Suffix -> FFmpeg's name of the container; these store the time stamp of each frame."""
LIMITED_RANGE = 1  # AVColorRange: luma from 16 to 235
SILENCE = bytes(5760)  # a multiple of the sizes of samples of usual numbers of channels
OF_CONTAINER = ("major_brand", "minor_version", "compatible_brands", "encoder")  # metadata


class Codec(NamedTuple):
    """A video codec of FFmpeg."""

    suffixes: tuple[str, ...]
    """Containers, the preferred one first."""
    even: str
    """Pixel format of frames with even sides."""
    odd: str
    """Pixel format of frames with an odd side."""
    crf: int
    """Default quality: constant rate factor, lower is better; -1: the codec is lossless."""
    most: int
    """Largest `crf`."""
    options: Mapping[str, str]


CODECS = {
    "libx264": Codec((".mp4", ".m4v", ".mov", ".mkv"), "yuv420p", "yuv444p", 18, 51, {}),
    "libvpx-vp9": Codec(
        (".webm", ".mkv", ".mp4"), "yuv420p", "yuv420p", 24, 63, {"row-mt": "1", "cpu-used": "4"}
    ),
    "ffv1": Codec((".mkv",), "bgr0", "bgr0", -1, -1, {}),
}
"""The first codec with a suffix is the default of that suffix."""


class Encoding(NamedTuple):
    """Codec and quality of a video."""

    codec: str
    crf: int


def suffix_of_result(suffix: str, codec: str | None) -> str:
    """Return the suffix of a result: that of its video if it can be written with the codec."""
    suffixes = CODECS[codec].suffixes if codec else tuple(FORMATS)
    return suffix if suffix.lower() in suffixes else suffixes[0]


def choose_encoding(path: Path, codec: str | None = None, crf: int | None = None) -> Encoding:
    """Return the encoding of a file.

    Args:
        path: The file to write.
        codec: A name of CODECS; None: the default of the container.
        crf: The quality; None: the default of the codec.

    Raises:
        UserError: The container is not supported or not with this codec, or `crf` is invalid.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise UserError(
            f"-o {printable(path)}: {suffix or 'a name without an extension'} is no video format "
            f"that can be written; use {', '.join(FORMATS)}",
            option="--out",
            path=path,
        )
    codec = codec or next(name for name, one in CODECS.items() if suffix in one.suffixes)
    given = CODECS[codec]
    if suffix not in given.suffixes:
        raise UserError(
            f"--codec {codec} is written to {' or '.join(given.suffixes)} files, not to "
            f"{printable(path.name)}; change -o or --codec",
            option="--codec",
        )
    if crf is not None and given.crf < 0:
        raise UserError(f"--codec {codec} is lossless and has no --crf; remove it", option="--crf")
    if crf is not None and not 0 <= crf <= given.most:
        text = f"--crf of {codec} must be from 0 (best) to {given.most}, not {crf}"
        raise UserError(text, option="--crf")
    return Encoding(codec, given.crf if crf is None else crf)


class VideoWriter:
    """Writes the frames of a video in another form, with everything else copied; see `writer`."""

    def __init__(self, container: Any, path: Path, stream: Any, matrix: int) -> None:
        self.container, self.path, self.stream = container, path, stream
        self.copies: dict[int, Any] = {}
        self.notes: list[str] = []
        """Streams and properties of the video that the result does not have."""
        self._matrix, self._av = matrix, import_av()

    def frame(self, pixels: Pixels, pts: int, duration: int) -> None:
        """Encode a frame.

        Args:
            pixels: (h, w, 3) or (h, w, 1), uint8.
            pts: Time stamp in units of the stream's `time_base`.
            duration: Duration in the same units; 0 if it is not known.
        """
        rgb = np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))
        with _errors(self._av, self.path):
            frame = self._av.VideoFrame.from_ndarray(rgb, "rgb24")
            if self.stream.pix_fmt.startswith("yuv"):
                options = {"dst_colorspace": self._matrix, "dst_color_range": LIMITED_RANGE}
                frame = frame.reformat(format=self.stream.pix_fmt, interpolation=PRECISE, **options)
            frame.pts, frame.time_base = pts, self.stream.codec_context.time_base
            frame.duration = duration
            self.container.mux(self.stream.encode(frame))

    def packet(self, packet: Any) -> None:
        """Copy a packet of another stream; those at the end of a stream are empty."""
        copy = self.copies.get(packet.stream_index)
        if copy is None or not packet.size:
            return
        if packet.dts is None:  # only video has frames whose order differs
            packet.dts = packet.pts
        packet.stream = copy
        with _errors(self._av, self.path):
            self.container.mux(packet)

    def finish(self) -> None:
        """Write the frames that the encoder still has."""
        with _errors(self._av, self.path):
            self.container.mux(self.stream.encode(None))


@contextmanager
def writer(
    temporary: Path, path: Path, reader: VideoReader, size: tuple[int, int], encoding: Encoding
) -> Iterator[VideoWriter]:
    """Open a video for writing; it is complete when the context ends.

    Args:
        temporary: The file to write.
        path: Its final name, whose suffix chooses the container.
        reader: The video whose frame rate, time base, metadata and other streams are copied.
        size: (height, width) of the frames.
        encoding: Codec and quality.

    Raises:
        UserError: The container cannot store the sound, or FFmpeg reports an error.
        OSError: The file could not be written.
    """
    av, kind = import_av(), FORMATS[path.suffix.lower()]
    # Sound often begins before 0; Matroska would shift all time stamps so that it begins at 0.
    options = {"avoid_negative_ts": "disabled"} if kind in ("matroska", "webm") else {}
    with _errors(av, path):
        container = av.open(f"file:{temporary}", "w", format=kind, options=options)
    try:
        with _errors(av, path):
            result = _configure(container, path, reader, size, encoding)
            container.start_encoding()
        yield result
        result.finish()
    except BaseException:
        with suppress(Exception):  # the file is removed
            container.close()
        raise
    with _errors(av, path):
        container.close()


def _configure(
    container: Any, path: Path, reader: VideoReader, size: tuple[int, int], encoding: Encoding
) -> VideoWriter:
    """Add all streams, in the order of the source."""
    source = reader.container
    for key, value in source.metadata.items():
        if key not in OF_CONTAINER:
            container.metadata[key] = value
    container.set_chapters(source.chapters())
    result: VideoWriter | None = None
    copies, lost = {}, []
    for one in source.streams:
        if one.index == reader.stream.index:
            result = _add_video(container, path, reader, size, encoding)
        elif one.type != "video" and _is_accepted(container.format.name, one):
            copies[one.index] = _add_copy(container, one)
        elif one.type == "audio":
            raise UserError(
                f"{printable(path)}: a {path.suffix} file cannot store the sound of "
                f"{printable(reader.path)} ({_codec_name(one)}); name the result "
                f"{printable(path.with_suffix('.mkv').name)}",
                path=path,
            )
        else:
            lost.append(f"{one.type} ({_codec_name(one)})")
    assert result is not None
    result.copies = copies
    if lost:
        result.notes.append(
            f"has streams that are left out of the {path.suffix} file: {', '.join(lost)}"
        )
    if "444" in result.stream.pix_fmt:
        result.notes.append(
            f"is {size[1]}x{size[0]}: with an odd side, H.264 is written as yuv444p, which some "
            "players do not support"
        )
    return result


def _add_video(
    container: Any, path: Path, reader: VideoReader, size: tuple[int, int], encoding: Encoding
) -> VideoWriter:
    codec, (height, width) = CODECS[encoding.codec], size
    source, first = reader.stream, reader.first
    options = dict(codec.options)
    if codec.crf >= 0:
        options["crf"] = str(encoding.crf)
    stream = container.add_stream(
        encoding.codec,
        rate=reader.rate,
        options=options,
        width=width,
        height=height,
        time_base=source.time_base,
        pix_fmt=codec.odd if height % 2 or width % 2 else codec.even,
    )
    stream.metadata.update(source.metadata)
    stream.disposition = source.disposition
    context = stream.codec_context
    context.thread_type = "AUTO"
    video = VideoWriter(container, path, stream, reader.matrix)
    ratio = reader.sample_aspect_ratio
    if ratio not in (None, 1) and reader.first_pixels().shape[:2] == size:
        context.sample_aspect_ratio = ratio
        if encoding.codec != "libx264" and path.suffix.lower() in (".mkv", ".webm"):
            video.notes.append(  # PyAV sets it in the codec only, and only H.264 stores it there
                f"has pixels of the aspect ratio {ratio}, which the result does not have; write it "
                "with --codec libx264"
            )
    if stream.pix_fmt.startswith("yuv"):
        context.colorspace, context.color_range = reader.matrix, LIMITED_RANGE
    context.color_primaries, context.color_trc = first.color_primaries, first.color_trc
    return video


def _add_copy(container: Any, source: Any) -> Any:
    copy = container.add_stream_from_template(source)
    copy.metadata.update(source.metadata)
    copy.disposition = source.disposition
    return copy


def _is_accepted(kind: str, source: Any) -> bool:
    """Return whether a container can store a stream, by writing one to memory."""
    av = import_av()
    try:
        with av.open(io.BytesIO(), "w", format=kind) as container:
            stream = container.add_stream_from_template(source)
            container.start_encoding()
            if _codec_name(source).startswith("pcm_"):  # MP4 checks its channels at the end
                packet = av.Packet(SILENCE)
                packet.pts = packet.dts = 0
                packet.stream, packet.time_base = stream, source.time_base
                container.mux(packet)
    except (av.FFmpegError, ValueError):
        return False
    return True


def _codec_name(stream: Any) -> str:
    context = stream.codec_context
    return str(context.name) if context else "unknown"


@contextmanager
def _errors(av: Any, path: Path) -> Iterator[None]:
    """Turn errors of FFmpeg, except those of the file system, into UserErrors."""
    try:
        yield
    except OSError:
        raise
    except (av.FFmpegError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        why = getattr(error, "strerror", None) or str(error)
        text = f"{printable(path)} could not be written: FFmpeg reports: {why}"
        raise UserError(text, path=path) from None
