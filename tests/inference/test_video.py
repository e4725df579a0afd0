"""Translation of videos: frames, time stamps, sound, sizes, rotation, colours, codecs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from support import small_model
from test_translate_files import run
from test_translator import eight_bit, model

from viceversa.images import Pixels
from viceversa.images.domain import Domain, DomainConfig
from viceversa.images.video import PRECISE
from viceversa.images.video_writing import VideoWriter
from viceversa.inference import FileOptions, Translator, translate_files, video
from viceversa.inference.video import translate_videos

av = pytest.importorskip("av", reason="PyAV is not installed")

FRAMES, SIZE = 10, (32, 48)


def pattern(number: int, height: int = SIZE[0], width: int = SIZE[1]) -> Pixels:
    """Return a frame of a moving pattern without symmetry, smooth enough for a codec."""
    y, x = np.mgrid[:height, :width]
    frame = np.stack([x * 4 + number * 6, y * 6, 255 - x - y], axis=2) % 256
    frame[: height // 3, : width // 4] = (230, 30, 30)
    return frame.astype(np.uint8)


def make_video(
    path: Path,
    frames: Sequence[Pixels] | None = None,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    rate: Fraction | int = 25,
    times: Sequence[int] | None = None,
    sound: str = "aac",
    rotation: tuple[float, bool, bool] = (0, False, False),
    more: Mapping[str, str] | None = None,
    **properties: Any,
) -> Path:
    """Write a video.

    Args:
        path: The file.
        frames: Its frames; None: those of `pattern`.
        codec: The codec.
        pix_fmt: Its pixel format.
        rate: Frames per second.
        times: Time stamps in 1/1000 s; None: at the constant rate.
        sound: Codec of the sound; empty: no sound.
        rotation: Display matrix: degrees, mirrored, flipped.
        more: Further options of the codec.
        properties: Attributes of its context.
    """
    frames = [pattern(i) for i in range(FRAMES)] if frames is None else frames
    height, width = frames[0].shape[:2]
    base = Fraction(1, 1000) if times is not None else 1 / Fraction(rate)
    path.parent.mkdir(parents=True, exist_ok=True)
    options = ({"crf": "10"} if codec == "libx264" else {}) | dict(more or {})
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            codec, rate, options, width=width, height=height, pix_fmt=pix_fmt, time_base=base
        )
        for name, value in properties.items():
            setattr(stream.codec_context, name, value)
        if rotation != (0, False, False):
            stream.set_display_rotation(*rotation)
        audio = container.add_stream(sound, rate=48000) if sound else None
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24").reformat(
                format=pix_fmt, dst_colorspace=properties.get("colorspace")
            )
            frame.pts, frame.time_base = number if times is None else times[number], base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if audio:
            wave = np.sin(np.arange(19200) / 20, dtype=np.float32) / 3
            packed = np.tile(wave, (2, 1))
            if audio.codec_context.format.name.startswith("s16"):
                packed = (packed.T.reshape(1, -1) * 32000).astype(np.int16)
            samples = av.AudioFrame.from_ndarray(packed, audio.codec_context.format.name, "stereo")
            samples.sample_rate, samples.pts = 48000, 0
            container.mux(audio.encode(samples))
            container.mux(audio.encode())
    return path


class Contents(NamedTuple):
    """Contents of a video."""

    frames: list[Pixels]
    pts: list[int]
    seconds: list[float]
    time_base: Fraction
    rate: Fraction
    codec: str
    pix_fmt: str
    matrix: int
    shape: Fraction | None
    rotation: int
    sound: list[tuple[int, int, bytes]]
    """Time stamp, duration and data of each packet."""
    others: list[str]
    """Types of all other streams."""


def contents(path: Path) -> Contents:
    """Decode a video."""
    with av.open(str(path)) as container:
        packets = [
            (packet.pts, packet.duration, bytes(packet))
            for packet in container.demux()
            if packet.stream.type == "audio" and packet.size
        ]
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        return Contents(
            [frame.to_ndarray(format="rgb24", interpolation=PRECISE) for frame in frames],
            [frame.pts for frame in frames],
            [round(float(frame.pts * frame.time_base), 3) for frame in frames],
            stream.time_base,
            stream.average_rate,
            stream.codec_context.name,
            stream.pix_fmt,
            int(frames[0].colorspace),
            stream.sample_aspect_ratio,
            frames[0].rotation,
            packets,
            [one.type for one in container.streams if one.type not in ("video", "audio")],
        )


def difference(one: Sequence[Pixels], other: Sequence[Pixels]) -> float:
    """Return the mean absolute difference of frames."""
    return float(np.abs(np.stack(one).astype(float) - np.stack(other)).mean())


def blocks(frames: Sequence[Pixels]) -> list[Pixels]:
    """Return the means of 2x2 pixels of each frame."""
    return [frame.reshape(SIZE[0] // 2, 2, SIZE[1] // 2, 2, 3).mean((1, 3)) for frame in frames]


def identity() -> Translator:
    """Return a translator whose results are its images."""
    return Translator(torch.nn.Identity(), eight_bit(3), eight_bit(3), "cpu")


@pytest.fixture
def unet(tmp_path: Path) -> Path:
    return model(tmp_path / "model")


def test_frames_times_and_sound_are_those_of_the_video(
    unet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = make_video(tmp_path / "clip.mp4", rate=Fraction(30000, 1001))
    out = tmp_path / "new" / "out.mp4"
    printed = run(capsys, unet, clip, "-o", out, "--batch_size", "4")
    assert f"1 of 1 videos translated to {out}" in printed and "note" not in printed
    before, after = contents(clip), contents(out)
    assert len(before.pts) == FRAMES and len(before.sound) > 15
    assert after.pts == before.pts and after.time_base == before.time_base
    assert after.rate == before.rate == Fraction(30000, 1001)
    assert after.sound == before.sound and after.others == []
    assert after.frames[0].shape == before.frames[0].shape
    assert after.codec == "h264" and after.pix_fmt == "yuv420p"
    expected = blocks(Translator.load(unet, "cpu")(before.frames))  # chroma has a quarter
    assert difference(blocks(after.frames), expected) < 14
    assert difference(blocks(before.frames), expected) > 28  # the control
    assert [path.name for path in out.parent.iterdir()] == ["out.mp4"]


def test_lossless_frames_are_those_of_the_translator(
    unet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = make_video(tmp_path / "clip.mkv", codec="ffv1", pix_fmt="bgr0")
    run(capsys, unet, clip, "-o", tmp_path / "o.mkv", "--codec", "ffv1", "--batch_size", "3")
    before, after = contents(clip), contents(tmp_path / "o.mkv")
    assert difference(before.frames, [pattern(i) for i in range(FRAMES)]) == 0
    translate = Translator.load(unet, "cpu")
    expected = [translate(frame) for frame in before.frames]
    assert (
        max(
            int(np.abs(np.subtract(x, y, dtype=int)).max())
            for x, y in zip(expected, after.frames, strict=True)
        )
        <= 1
    )
    assert after.codec == "ffv1" and after.pts == before.pts and after.sound == before.sound


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_time_stamps_of_a_variable_frame_rate_are_kept(tmp_path: Path, suffix: str) -> None:
    times = [0, 40, 80, 300, 310, 1000, 1040, 1777, 1800, 2500]
    clip = make_video(tmp_path / "clip.mp4", times=times, sound="")
    out = tmp_path / f"out{suffix}"
    outcome = translate_videos(identity(), [(clip, out)], 4)
    assert outcome.written == [out] and not outcome.failures
    after, before = contents(out), contents(clip)
    assert after.seconds == before.seconds == [time / 1000 for time in times]
    if suffix in (".mp4", ".mov"):  # Matroska stores milliseconds
        assert (after.pts, after.time_base) == (before.pts, before.time_base)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "pix_fmt"),
    [("o.mp4", "yuv444p"), ("o.mov", "yuv444p"), ("o.webm", "yuv420p"), ("o.mkv", "yuv444p")],
)
@pytest.mark.parametrize("size", [(31, 48), (32, 47), (31, 47)])
def test_odd_sizes_are_kept(tmp_path: Path, name: str, pix_fmt: str, size: tuple[int, int]) -> None:
    frames = [pattern(i, *size) for i in range(4)]
    clip = make_video(tmp_path / "c.mp4", frames, pix_fmt="yuv444p", sound="")
    outcome = translate_videos(identity(), [(clip, tmp_path / name)], 2)
    after = contents(tmp_path / name)
    assert after.pix_fmt == pix_fmt and after.frames[0].shape == (*size, 3)
    assert difference(after.frames, frames) < 12
    assert any("yuv444p" in note for _, note in outcome.notes) == (pix_fmt == "yuv444p")


ROTATIONS = {
    (90, False, False): lambda frame: np.rot90(frame),
    (-90, False, False): lambda frame: np.rot90(frame, -1),
    (180, False, False): lambda frame: np.rot90(frame, 2),
    (0, True, False): lambda frame: frame[:, ::-1],
    (0, False, True): lambda frame: frame[::-1],
}


@pytest.mark.slow
@pytest.mark.parametrize("rotation", ROTATIONS)
def test_frames_are_translated_as_they_are_displayed(
    tmp_path: Path, rotation: tuple[float, bool, bool]
) -> None:
    clip = make_video(
        tmp_path / "clip.mp4", rotation=rotation, sample_aspect_ratio=Fraction(4, 3), sound=""
    )
    before = contents(clip)
    assert abs(before.rotation) == abs(rotation[0]) or any(rotation[1:])  # the control
    pairs = [(clip, tmp_path / "o.mkv"), (clip, tmp_path / "o.mp4")]
    lossless = translate_videos(identity(), pairs[:1], 4, codec="ffv1")
    outcome = translate_videos(identity(), pairs[1:], 4)
    upright = [ROTATIONS[rotation](frame) for frame in before.frames]
    for (_, out), most in zip(pairs, (0, 6), strict=True):
        after = contents(out)
        assert after.frames[0].shape == upright[0].shape and after.rotation == 0
        assert difference(after.frames, upright) <= most
    assert after.shape == (Fraction(3, 4) if abs(rotation[0]) == 90 else Fraction(4, 3))
    assert not outcome.notes and "aspect ratio" in lossless.notes[0][1]


def test_another_angle_is_refused(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "clip.mp4", rotation=(30, False, False), sound="")
    (failure,) = translate_videos(identity(), [(clip, tmp_path / "o.mp4")], 4).failures
    assert "displayed at an angle" in failure[1]


@pytest.mark.parametrize(("matrix", "written"), [(1, 1), (5, 5), (9, 9)])
def test_colours_do_not_change_with_the_colour_matrix(
    tmp_path: Path, matrix: int, written: int
) -> None:
    colour = np.broadcast_to(np.uint8([200, 40, 90]), (32, 48, 3))
    frames = [np.ascontiguousarray(colour)] * 3
    clip = make_video(tmp_path / "clip.mp4", frames, colorspace=matrix, color_range=1, sound="")
    assert contents(clip).matrix == matrix
    translate_videos(identity(), [(clip, tmp_path / "o.mp4")], 4)
    after = contents(tmp_path / "o.mp4")
    assert after.matrix == written and difference(after.frames, frames) < 4


def test_a_file_without_a_colour_matrix_is_read_as_players_do(tmp_path: Path) -> None:
    for height, matrix in ((576, 5), (720, 1)):
        colour = np.broadcast_to(np.uint8([200, 40, 90]), (height, 16, 3))
        clip = make_video(tmp_path / f"{height}.mp4", [colour], sound="")
        translate_videos(identity(), [(clip, tmp_path / f"{height}-o.mp4")], 4)
        assert contents(tmp_path / f"{height}-o.mp4").matrix == matrix


@pytest.mark.slow
def test_options_change_codec_quality_and_size(
    unet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = make_video(tmp_path / "clip.mp4", sound="")
    sizes = {}
    for crf in ("0", "18", "51"):
        run(capsys, unet, clip, "-o", tmp_path / f"{crf}.mp4", "--crf", crf)
        sizes[crf] = (tmp_path / f"{crf}.mp4").stat().st_size
    run(capsys, unet, clip, "-o", tmp_path / "default.mp4")
    assert sizes["0"] > 1.5 * sizes["18"] > 3 * sizes["51"]
    assert (tmp_path / "default.mp4").stat().st_size == sizes["18"]
    run(capsys, unet, clip, "-o", tmp_path / "vp9.mkv", "--codec", "libvpx-vp9")
    assert contents(tmp_path / "vp9.mkv").codec == "vp9"
    run(capsys, unet, clip, "-o", tmp_path / "s.mp4", "--size", "24,16", "--crf", "0")
    small = contents(tmp_path / "s.mp4")
    assert small.frames[0].shape == (24, 16, 3)
    assert small.pts == contents(clip).pts
    run(capsys, unet, clip, "-o", tmp_path / "h.mp4", "--half", "right")
    assert contents(tmp_path / "h.mp4").frames[0].shape == (32, 24, 3)


def test_policy_paper_draws_the_same_noise_for_every_frame(
    unet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from viceversa.checkpoint import read_header, read_weights, save_network

    header = read_header(unet)
    header["generator"]["dropout"] = 0.5
    path = tmp_path / "dropout" / "ab.safetensors"
    save_network(path, read_weights(unet), {k: v for k, v in header.items() if k != "format"})
    clip = make_video(tmp_path / "c.mkv", [pattern(0)] * 5, "ffv1", "bgr0", sound="")
    results = {}
    for name, words in {
        "image": (),
        "paper": ("--policy", "paper"),
        "1": ("--policy", "paper", "--seed", "1"),
    }.items():
        out = tmp_path / f"{name}.mkv"
        run(capsys, path, clip, "-o", out, "--codec", "ffv1", "--batch_size", "2", *words)
        results[name] = contents(out).frames
        assert difference(results[name][1:], results[name][:-1]) < 0.1
    assert difference(results["image"], results["paper"]) > 1
    assert difference(results["1"], results["paper"]) > 1


@pytest.mark.slow
@pytest.mark.parametrize("channels", [(1, 1), (1, 3), (3, 1)])
def test_grey_models_translate_the_luminance(tmp_path: Path, channels: tuple[int, int]) -> None:
    translate = Translator.load(model(tmp_path / "m", channels=channels), "cpu")
    clip = make_video(tmp_path / "c.mkv", codec="ffv1", pix_fmt="bgr0", sound="")
    outcome = translate_videos(translate, [(clip, tmp_path / "o.mkv")], 4, codec="ffv1")
    assert not outcome.failures
    after = contents(tmp_path / "o.mkv").frames
    from viceversa.images import fit_channels

    frames = [fit_channels(pattern(i), False, channels[0], "x") for i in range(FRAMES)]
    expected = [np.broadcast_to(frame, (*SIZE, 3)) for frame in translate(frames)]
    assert difference(after, expected) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "target", "text"),
    [
        (eight_bit(4), eight_bit(3), "images of 4 channels (uint8)"),
        (eight_bit(3), eight_bit(2), "images of 2 channels (uint8)"),
        (eight_bit(3), Domain(DomainConfig(), "uint16", (0.0,) * 3, (65535.0,) * 3), "(uint16)"),
        (Domain(DomainConfig(kind="labels", ids=3)), eight_bit(3), "labels"),
        (Domain(DomainConfig(kind="lab-l")), Domain(DomainConfig(kind="lab-ab")), "lab-l"),
    ],
)
def test_models_of_other_images_are_refused(
    source: Domain, target: Domain, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = small_model(tmp_path / "m", source, target)
    clip = make_video(tmp_path / "clip.mp4", sound="")
    printed = run(capsys, path, clip, "-o", tmp_path / "o.mp4", code=2)
    assert f"{path} cannot translate videos" in printed and text in printed
    assert not (tmp_path / "o.mp4").exists()


def test_frames_are_streamed_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = make_video(tmp_path / "clip.mp4", sound="")
    batches: list[int] = []
    written: list[int] = []
    shown: list[tuple[int, int]] = []
    translate = identity()
    pixels, frame = Translator.pixels, VideoWriter.frame

    def counted(self: Translator, images: Sequence[Pixels]) -> list[Pixels]:
        assert len(written) == sum(batches)  # the previous batches were written
        batches.append(len(images))
        return pixels(self, images)

    def recorded(self: VideoWriter, pixels: Pixels, pts: int, duration: int) -> None:
        written.append(pts)
        frame(self, pixels, pts, duration)

    class Counter:
        def __init__(self, what: str, unit: str) -> None:
            assert (what, unit) == ("translating clip.mp4", "frames")

        def __enter__(self) -> Any:
            return lambda done, total: shown.append((done, total))

        def __exit__(self, *error: object) -> None:
            """Nothing to close."""

    monkeypatch.setattr(Translator, "pixels", counted)
    monkeypatch.setattr(VideoWriter, "frame", recorded)
    monkeypatch.setattr(video, "counter", Counter)
    translate_videos(translate, [(clip, tmp_path / "o.mp4")], 4)
    assert batches == [4, 4, 2] and written == contents(clip).pts
    assert shown == [(done, FRAMES) for done in range(1, FRAMES + 1)]


def test_images_are_translated_as_before(unet: Path, tmp_path: Path) -> None:
    """A frame and an image file with the same pixels have the same result."""
    from PIL import Image

    clip = make_video(tmp_path / "c.mkv", codec="ffv1", pix_fmt="bgr0", sound="")
    Image.fromarray(pattern(0)).save(tmp_path / "x.png")
    translate = Translator.load(unet, "cpu")
    translate_files(translate, [(tmp_path / "x.png", tmp_path / "y.png")], FileOptions(1))
    translate_videos(translate, [(clip, tmp_path / "o.mkv")], 1, codec="ffv1")
    with Image.open(tmp_path / "y.png") as image:
        assert np.array_equal(np.array(image), contents(tmp_path / "o.mkv").frames[0])
