"""Read videos with PyAV (FFmpeg): RGB frames as they are displayed, packets of the other streams.

`av` is an optional package and is imported inside of functions only.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from ..extras import import_extra
from .header import Pixels, check_size
from .io import reading_errors
from .sources import printable

VIDEO_SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts")
) | frozenset((".ogv", ".wmv", ".flv", ".3gp", ".mxf", ".y4m"))
HD_LINES = 720  # from here on, players assume BT.709 if a file does not state its colour matrix
BT709, BT601, UNSPECIFIED = 1, 5, (0, 2)  # FFmpeg's AVColorSpace
HDR = {16: "PQ", 18: "HLG"}  # AVColorTransferCharacteristic
HAS_DURATION = ("mp4", "matroska", "avi")  # formats whose header has the duration of the streams
ROUNDING = 0.1  # seconds; durations in headers are rounded
# Interpolated chroma in full precision: SWS_BILINEAR | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT.
PRECISE = 0x2 | 0x40000 | 0x2000


class Frame(NamedTuple):
    """A frame as it is displayed."""

    pixels: Pixels
    """(h, w, 3), uint8 RGB."""
    pts: int
    """Time stamp in units of the stream's `time_base`."""
    duration: int
    """Duration in the same units; 0 if it is not known."""


def is_video_name(name: str) -> bool:
    """Return whether a file of this name is read as a video."""
    return os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES


def import_av() -> Any:
    """Import the optional package `av`. Raises UserError if it is missing."""
    return import_extra("av", "video", "a video")


class VideoReader:
    """Reads a video: iterate over its frames and the packets of its other streams.

    Args:
        path: The file.
        max_pixels: Maximum size of a frame.

    Raises:
        UserError: The file is missing, damaged or truncated, has no video stream, or frames that
            are too large, transparent, HDR, of several sizes, or displayed at an angle; also while
            frames are read.
    """

    def __init__(self, path: Path, max_pixels: int) -> None:
        self.path, self._max_pixels, self._av = path, max_pixels, import_av()
        if not path.is_file():
            raise UserError(f"there is no file {printable(path)}", path=path)
        self._open()
        try:
            self.rate = Fraction(self.stream.average_rate or self.stream.guessed_rate or 25)
            self.count = self._count()
            self.first = self._first()
            self.container.close()  # seeking does not return to the start of every format
            self._open()
        except BaseException:
            self.container.close()
            raise

    def __enter__(self) -> VideoReader:
        """Return the reader; the file is open."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.container.close()

    @property
    def notes(self) -> list[str]:
        """Properties of the frames that the result does not have."""
        notes = []
        bits = max(component.bits for component in self.first.format.components)
        if bits > 8:
            notes.append(f"has {bits} bits per channel; the model and the result have 8")
        if self.first.interlaced_frame:
            notes.append("is interlaced; its frames are translated as whole, progressive frames")
        return notes

    @property
    def sample_aspect_ratio(self) -> Fraction | None:
        """Width / height of a displayed pixel; None if it is not known."""
        ratio: Fraction | None = self.stream.sample_aspect_ratio
        return 1 / ratio if ratio and self._transposed else ratio

    @property
    def matrix(self) -> int:
        """Matrix between RGB and YUV (AVColorSpace) of the file, or the one that players assume."""
        if self.first.format.is_rgb or self.first.colorspace in UNSPECIFIED:
            return BT709 if self.first.height >= HD_LINES else BT601
        return int(self.first.colorspace)

    def first_pixels(self) -> Pixels:
        """Return the first frame, (h, w, 3)."""
        return self._pixels(self.first)

    def __iter__(self) -> Iterator[Any]:
        """Yield a `Frame` for each frame, and the packets of all other streams, as in the file.

        Raises:
            UserError: The file is damaged or truncated.
        """
        number, last, end, longest = 0, None, Fraction(0), Fraction(0)
        for packet in self._packets():
            if packet.pts is not None:
                end = max(end, (packet.pts + (packet.duration or 0)) * packet.time_base)
            if packet.stream_index != self.stream.index:
                yield packet
                continue
            for frame in self._decode(packet):
                pts = frame.pts if frame.pts is not None else frame.dts
                if pts is None:  # a raw stream
                    pts = 0 if last is None else last + round(1 / (self.rate * frame.time_base))
                number += 1
                if last is not None and pts <= last:
                    raise self._refused(f"has time stamps that do not increase (frame {number})")
                longest = max(longest, (pts - (pts if last is None else last)) * frame.time_base)
                last = pts
                yield Frame(self._pixels(frame), pts, frame.duration or 0)
        self._check_end(end, longest)

    def _open(self) -> None:
        """Open the file and its main video stream."""
        with self._errors():
            # "file:", since a colon in a name would separate a protocol.
            self.container = self._av.open(f"file:{self.path}", metadata_errors="replace")
        cover = self._av.stream.Disposition.attached_pic
        streams = [one for one in self.container.streams.video if not one.disposition & cover]
        if not streams:
            self.container.close()
            raise self._refused("has no video stream")
        best = self.container.streams.best("video")
        self.stream = best if best in streams else streams[0]
        if self.stream.codec_context is None:
            raise self._refused("has a video stream of a codec that cannot be decoded")
        self.stream.thread_type = "AUTO"
        self.stream.codec_context.options = {"err_detect": "explode"}  # do not conceal damage

    def _count(self) -> int:
        """Return the number of frames, or an estimate; 0 if the file has no duration."""
        stream, container = self.stream, self.container
        if stream.frames:
            return int(stream.frames)
        if stream.duration:
            return round(Fraction(stream.duration * stream.time_base) * self.rate)
        seconds = Fraction(container.duration or 0, self._av.time_base)
        return round(seconds * self.rate)

    def _first(self) -> Any:
        """Decode and check the first frame."""
        for packet in self._packets():
            if packet.stream_index != self.stream.index:
                continue
            for frame in self._decode(packet):
                with reading_errors(self.path):
                    check_size(frame.height, frame.width, self._max_pixels)
                if any(component.is_alpha for component in frame.format.components):
                    raise self._refused("has an alpha channel; only opaque videos are supported")
                if kind := HDR.get(int(frame.color_trc)):
                    raise self._refused(f"is an HDR video ({kind}); convert it to SDR first")
                self._orientation = _orientation(frame)
                if self._orientation is None:
                    raise self._refused(
                        "is displayed at an angle; only rotations by multiples of 90 degrees are "
                        "supported"
                    )
                return frame
        raise self._refused("has no frames")

    @property
    def _transposed(self) -> bool:
        return bool(self._orientation and self._orientation[0])

    def _packets(self) -> Iterator[Any]:
        packets = self.container.demux()
        while True:
            with self._errors():
                packet = next(packets, None)
                if packet is None:
                    return
                if packet.is_corrupt:
                    raise self._refused("is damaged or truncated: a packet is incomplete")
            yield packet

    def _decode(self, packet: Any) -> list[Any]:
        with self._errors():
            frames = packet.decode()
        if any(frame.is_corrupt for frame in frames):
            raise self._refused("is damaged: a frame is incomplete")
        return list(frames)

    def _pixels(self, frame: Any) -> Pixels:
        first = self.first
        if (frame.width, frame.height) != (first.width, first.height):
            raise self._refused(
                f"has frames of several sizes ({first.width}x{first.height}, "
                f"{frame.width}x{frame.height})"
            )
        matrix = None if frame.format.is_rgb else self.matrix
        with self._errors():
            array = frame.to_ndarray(format="rgb24", src_colorspace=matrix, interpolation=PRECISE)
        transposed, mirrored, flipped = self._orientation or (False, False, False)
        array = array.swapaxes(0, 1) if transposed else array
        array = array[:: -1 if flipped else 1, :: -1 if mirrored else 1]
        return np.ascontiguousarray(array)

    def _check_end(self, end: Fraction, longest: Fraction) -> None:
        """Raise UserError if the packets end before the duration in the header of the file.

        Args:
            end: End of the last packet of any stream, in seconds.
            longest: Longest interval between frames, in seconds: some files have no duration of
                the last frame.
        """
        container = self.container
        if not container.duration or not any(one in container.format.name for one in HAS_DURATION):
            return
        expected = ((container.start_time or 0) + container.duration) / self._av.time_base
        if end < expected - max(ROUNDING, longest):
            raise self._refused(
                f"is truncated: it ends after {float(end):.1f} of {expected:.1f} seconds"
            )

    def _refused(self, text: str) -> UserError:
        return UserError(f"{printable(self.path)} {text}", path=self.path)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn errors of FFmpeg into UserErrors that name the file."""
        try:
            yield
        except (self._av.FFmpegError, OSError, ValueError) as error:
            if isinstance(error, UserError):
                raise
            why = getattr(error, "strerror", None) or str(error)
            raise self._refused(f"cannot be read as a video, or is damaged: {why}") from None


def _orientation(frame: Any) -> tuple[bool, bool, bool] | None:
    """Return whether to transpose, then mirror and flip a frame; None for another angle.

    The display matrix (a b u; c d v; x y w) maps a stored point (p, q) to the displayed point
    (a p + c q + x, b p + d q + y).
    """
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return False, False, False
    matrix: NDArray[np.int32] = np.frombuffer(bytes(data), np.int32)
    a, b, c, d = (int(matrix[i]) for i in (0, 1, 3, 4))
    if a and d and not (b or c):
        return False, a < 0, d < 0
    if b and c and not (a or d):
        return True, c < 0, b < 0
    return None
