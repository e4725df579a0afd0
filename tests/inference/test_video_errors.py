"""Videos that cannot be translated, invalid options, interruptions, resuming, and what is left."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import sys
import zipfile
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from test_translate_files import run
from test_translator import model, noise, put
from test_video import FRAMES, contents, identity, make_video, pattern

from viceversa.images import Pixels
from viceversa.images.video import is_video_name
from viceversa.images.video_writing import CODECS, FORMATS
from viceversa.inference import Translator
from viceversa.inference.record import NAME
from viceversa.inference.video import translate_videos

av = pytest.importorskip("av", reason="PyAV is not installed")


@pytest.fixture
def unet(tmp_path: Path) -> Path:
    return model(tmp_path / "model")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_video(tmp_path / "clip.mp4", sound="")


def with_index_first(path: Path) -> Path:
    """Write an MP4 file with its index before the frames."""
    source = make_video(path.with_name("source.mp4"))
    with (
        av.open(str(source)) as container,
        av.open(str(path), "w", options={"movflags": "faststart"}) as result,
    ):
        copies = [result.add_stream_from_template(one) for one in container.streams]
        for packet in container.demux():
            if packet.size:
                packet.stream = copies[packet.stream_index]
                result.mux(packet)
    return path


def cut(path: Path, fraction: float) -> Path:
    """Remove the end of a file."""
    data = path.read_bytes()
    return written(path, data[: int(len(data) * fraction)])


def without_video(path: Path) -> Path:
    """Write a file that has sound only."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        samples = av.AudioFrame.from_ndarray(np.zeros((2, 4800), np.float32), "fltp", "stereo")
        samples.sample_rate, samples.pts = 48000, 0
        container.mux([*stream.encode(samples), *stream.encode()])
    return path


def with_cover(path: Path) -> Path:
    """Write a file that has sound and a cover image, which FFmpeg reads as a video stream."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        cover = container.add_stream("mjpeg", 25, width=48, height=32, pix_fmt="yuvj420p")
        cover.disposition = av.stream.Disposition.attached_pic
        samples = av.AudioFrame.from_ndarray(np.zeros((2, 4800), np.float32), "fltp", "stereo")
        samples.sample_rate, samples.pts = 48000, 0
        image = av.VideoFrame.from_ndarray(pattern(0), "rgb24").reformat(format="yuvj420p")
        container.mux([*cover.encode(image), *cover.encode()])
        container.mux([*stream.encode(samples), *stream.encode()])
    with av.open(str(path)) as container:
        assert len(container.streams.video) == 1
    return path


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def damaged(path: Path) -> Path:
    """Write a video in which a part of the frames is zero."""
    frames = [noise(i, 64, 64) for i in range(5)]
    data = bytearray(make_video(path, frames, sound="").read_bytes())
    middle = (data.index(b"mdat") + data.index(b"moov")) // 2
    data[middle : middle + 200] = bytes(200)
    return written(path, bytes(data))


def beginning(path: Path) -> Path:
    """Write the beginning of a video whose index is at its end."""
    return written(path, make_video(path).read_bytes()[:3000])


INVALID: dict[str, tuple[str, Callable[[Path], Path], str]] = {
    "index at the start": (
        "c.mp4",
        lambda path: cut(with_index_first(path), 0.9),
        "is damaged or truncated",
    ),
    "index at the end": ("c.mp4", beginning, "cannot be read as a video"),
    "truncated": ("c.mkv", lambda path: cut(make_video(path), 0.6), "is truncated: it ends after"),
    "damaged": ("c.mp4", damaged, "is damaged"),
    "empty": ("c.mp4", lambda path: written(path, b""), "cannot be read as a video"),
    "text": ("c.avi", lambda path: written(path, b"text" * 99), "cannot be read as a video"),
    "sound only": ("c.mp4", without_video, "has no video stream"),
    "cover image": ("c.mp4", with_cover, "has no video stream"),
    "time stamps": (
        "c.mkv",
        lambda path: make_video(path, None, "ffv1", "bgr0", times=[0, 40, 40, *range(80, 420, 50)]),
        "time stamps that do not increase (frame 3)",
    ),
    "alpha": (
        "c.mkv",
        lambda path: make_video(path, codec="ffv1", pix_fmt="yuva420p"),
        "has an alpha channel",
    ),
    "HDR": ("c.mp4", lambda path: make_video(path, color_trc=16), "is an HDR video (PQ)"),
    "sound": ("c.mp4", make_video, "cannot store the sound of"),
    "sound without channel names": (
        "c.avi",
        lambda path: make_video(path, codec="mpeg4", sound="pcm_s16le"),
        "cannot store the sound of",
    ),
    "large": ("c.mp4", lambda path: make_video(path, [pattern(0, 1200, 1000)]), "--max_megapixels"),
}


OUT = {"sound": "o.webm", "sound without channel names": "o.mp4"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", INVALID)
def test_an_invalid_video_is_one_sentence_and_loses_nothing(
    kind: str, unet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, make, text = INVALID[kind]
    path = make(tmp_path / name)
    before = path.read_bytes()
    out = tmp_path / "out" / OUT.get(kind, "o.mkv")
    out.parent.mkdir()
    out.write_bytes(b"old")
    words = (unet, path, "-o", out, "--overwrite", "--max_megapixels", "1")
    printed = run(capsys, *words, code=2)
    assert text in printed and str(path) in printed and printed.count("\n") == 1, printed
    assert out.read_bytes() == b"old" and path.read_bytes() == before
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.slow
def test_complete_videos_of_these_containers_are_translated(tmp_path: Path) -> None:
    """The control of the test above: the checks of the end refuse no complete file."""
    codecs = {".mp4": "libx264", ".mkv": "libx264", ".ts": "libx264", ".webm": "libvpx-vp9"}
    pairs = []
    for suffix, codec in {**codecs, ".avi": "mpeg4", ".mov": "mpeg4"}.items():
        for sound in ("", "libopus" if suffix == ".webm" else "aac"):
            clip = make_video(tmp_path / f"{sound}{suffix}", codec=codec, sound=sound)
            pairs.append((clip, tmp_path / "out" / f"{clip.stem}{suffix[1:]}.mkv"))
    clip = make_video(
        tmp_path / "slow.mkv", times=[0, 40, 80, 900, 1000, 5000, 5040, 5080, 6000, 9000]
    )
    pairs.append((clip, tmp_path / "out" / "slow.mp4"))
    pairs.append((with_index_first(tmp_path / "first.mp4"), tmp_path / "out" / "first.mp4"))
    outcome = translate_videos(identity(), pairs, 8)
    assert not outcome.failures and len(outcome.written) == len(pairs)
    for before, after in pairs:
        assert len(contents(after).frames) == FRAMES
        sounds = zip(contents(before).sound, contents(after).sound, strict=True)
        # A packet of MPEG-TS begins with a header of its own.
        assert all(old[2].endswith(new[2]) and new[2] for old, new in sounds)
        if after.suffix == ".mkv":
            assert contents(after).seconds == pytest.approx(contents(before).seconds, abs=0.001)


def test_frames_of_several_sizes_are_refused(tmp_path: Path) -> None:
    parts = [make_video(tmp_path / "s.ts", sound="")]
    parts.append(make_video(tmp_path / "l.ts", [pattern(i, 64, 64) for i in range(9)], sound=""))
    clip = tmp_path / "both.ts"
    with av.open(str(clip), "w") as result:
        copy = None
        for number, part in enumerate(parts):
            with av.open(str(part)) as container:
                copy = copy or result.add_stream_from_template(container.streams.video[0])
                for packet in container.demux(video=0):
                    if packet.size:
                        packet.pts, packet.dts = (
                            one + number * 90000 for one in (packet.pts, packet.dts)
                        )
                        packet.stream = copy
                        result.mux(packet)
    (failure,) = translate_videos(identity(), [(clip, tmp_path / "o.mp4")], 4).failures
    assert "frames of several sizes (48x32, 64x64)" in failure[1]
    assert not (tmp_path / "o.mp4").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["clip.mp4", "-o", "o.avi"], ".avi is no video format that can be written; use .mp4"),
        (["clip.mp4", "-o", "o.png"], ".png is no video format"),
        (["clip.mp4", "-o", "o.xyz"], ".xyz is no video format"),
        (["clip.mp4", "-o", "-"], "name the files of videos"),
        (["-", "-o", "o.mp4"], "name the files of videos"),
        (["no.mp4", "-o", "o.mp4"], "there is no video no.mp4"),
        (["clip.mp4", "x.png", "-o", "out"], "clip.mp4 is a video and x.png is not"),
        (["x.png", "-o", "o.mp4"], ".mp4 is no extension of an image format"),
        (["clip.mp4", "-o", "clip.mp4", "--overwrite"], "would overwrite a file to translate"),
        (["clip.mp4", "-o", "old.mp4"], "old.mp4 is there already"),
        (["clip.mp4", "2.mp4", "-o", "o.mp4"], "is the name of one file, and there are 2"),
        (["clip.mp4", "-o", "o.mp4", "--codec", "ffv1"], "--codec ffv1 is written to .mkv files"),
        (["clip.mp4", "-o", "o.mp4", "--codec", "h264"], "libx264"),
        (["clip.mp4", "-o", "o.mp4", "--crf", "52"], "from 0 (best) to 51, not 52"),
        (["clip.mp4", "-o", "out", "--crf", "-1"], "from 0 (best) to 51, not -1"),
        (["clip.mp4", "-o", "o.mkv", "--codec", "ffv1", "--crf", "1"], "is lossless"),
        (["clip.mp4", "-o", "o.mp4", "--spread"], "--spread is for images"),
        (["clip.mp4", "-o", "o.mp4", "--masks", "out"], "--masks is for images"),
        (["x.png", "-o", "y.png", "--crf", "18"], "--crf is for videos"),
        (["x.png", "-o", "y.png", "--codec", "ffv1"], "--codec is for videos"),
        (["folder.mp4", "-o", "out"], "'folder.mp4/*.mp4'"),
        (["clip.mp4", "-o", "x.txt"], "x.txt"),
        (["videos", "-o", "out"], "; name videos as 'videos/*.mov'"),
    ],
)
def test_invalid_arguments_are_refused(
    words: list[str],
    message: str,
    clip: Path,
    unet: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "x.png")
    for name in ("old.mp4", "2.mp4", "x.txt"):
        (tmp_path / name).write_bytes(b"old")
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mov").write_bytes(b"old")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    printed = run(capsys, unet, *words, code=2)
    assert message in printed and printed.count("\n") == 1, printed
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_folder_of_the_training_data_gets_no_results(
    unet: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from viceversa.checkpoint import read_header, read_weights, save_network

    (tmp_path / "data").mkdir()
    header = read_header(unet) | {"trained": {"data": {"path": str(tmp_path / "data")}}}
    save_network(unet, read_weights(unet), header)
    printed = run(capsys, unet, clip, "-o", tmp_path / "data" / "o.mp4", code=2)
    assert "is inside the data folder" in printed


def test_a_missing_package_is_named(
    unet: Path,
    clip: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    printed = run(capsys, unet, clip, "-o", tmp_path / "o.mp4", code=2)
    assert "pip install 'viceversa[video]'" in printed and printed.count("\n") == 1
    put(tmp_path / "x.png")
    run(capsys, unet, tmp_path / "x.png", "-o", tmp_path / "y.png")  # images do not need it


def after_two_batches(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Call a function before the third batch of a translation."""
    pixels, batches = Translator.pixels, [0]

    def counted(self: Translator, images: Sequence[Pixels]) -> list[Pixels]:
        batches[0] += 1
        if batches[0] == 3:
            act()
        return pixels(self, images)

    monkeypatch.setattr(Translator, "pixels", counted)


def fail(error: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        RuntimeError("injected"),
        KeyboardInterrupt(),
    ],
    ids=repr,
)
def test_a_failure_midway_keeps_the_old_file_and_leaves_no_other(
    error: BaseException, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out" / "o.mp4"
    out.parent.mkdir()
    out.write_bytes(b"old")
    with monkeypatch.context() as patch:
        after_two_batches(patch, fail(error))
        if isinstance(error, OSError):
            (failure,) = translate_videos(identity(), [(clip, out)], 2).failures
            assert failure[0] == clip and "disk is full" in failure[1]
        else:
            with pytest.raises(type(error)):
                translate_videos(identity(), [(clip, out)], 2)
    assert [one.name for one in out.parent.iterdir()] == ["o.mp4"] and out.read_bytes() == b"old"
    assert translate_videos(identity(), [(clip, out)], 2).written == [out]  # the control
    assert len(contents(out).frames) == FRAMES


@pytest.mark.slow
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_complete_videos_and_is_resumed(
    kind: signal.Signals,
    unet: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clips = [make_video(tmp_path / f"{i}.mp4", sound="") for i in range(3)]
    out = tmp_path / "out"
    words = (unet, *clips, "-o", out, "--batch_size", "5")
    with monkeypatch.context() as patch:
        after_two_batches(patch, lambda: os.kill(os.getpid(), kind))  # in the second video
        printed = run(capsys, *words, code=128 + kind)
    assert "1 of 3 videos translated" in printed and "--resume skips" in printed
    assert sorted(one.name for one in out.iterdir()) == [NAME, "0.mp4"]
    first = (out / "0.mp4").stat().st_mtime_ns
    assert "2 of 3 videos translated" in run(capsys, *words, "--resume")
    assert (out / "0.mp4").stat().st_mtime_ns == first
    assert all(len(contents(out / one.name).frames) == FRAMES for one in clips)
    assert "3 were translated before" in run(capsys, *words, "--resume")
    assert "3 of 3 videos translated" in run(capsys, *words, "--resume", "--crf", "30")
    assert "is there already, and 2 more" in run(capsys, *words, code=2)
    line = json.loads((out / NAME).read_text().splitlines()[0])
    assert line["source"] == hashlib.sha256(clips[0].read_bytes()).hexdigest()


def test_several_videos_go_to_a_folder_and_a_bad_one_stops_no_other(
    unet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_video(tmp_path / "in" / "a.mp4")
    make_video(tmp_path / "in" / "c.avi", codec="mpeg4", sound="")
    written(tmp_path / "in" / "b.mp4", b"text" * 99)
    out = tmp_path / "out"
    printed = run(
        capsys,
        unet,
        f"{tmp_path}/in/*.mp4",
        tmp_path / "in" / "c.avi",
        "-o",
        out,
        "--resume",
        code=2,
    )
    assert "2 of 3 videos translated" in printed and "b.mp4 cannot be read" in printed
    assert sorted(one.name for one in out.iterdir()) == [NAME, "a.mp4", "c.mp4"]
    assert contents(out / "c.mp4").seconds == contents(tmp_path / "in" / "c.avi").seconds


def test_videos_in_a_zip(
    unet: Path, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "all.zip"
    assert f"1 of 1 videos translated to {out}" in run(capsys, unet, clip, "-o", out)
    with zipfile.ZipFile(out) as archive:
        assert sorted(archive.namelist()) == [NAME, "clip.mp4"]
        archive.extract("clip.mp4", tmp_path / "in")
    assert len(contents(tmp_path / "in" / "clip.mp4").frames) == FRAMES
    assert "is there already" in run(capsys, unet, clip, "-o", out, code=2)
    assert "1 were translated before" in run(capsys, unet, clip, "-o", out, "--resume")


def test_notes_name_what_the_result_does_not_have(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "c.mkv", codec="ffv1", pix_fmt="yuv420p10le", sound="")
    outcome = translate_videos(identity(), [(clip, tmp_path / "o.mp4")], 4)
    assert outcome.notes == [(clip, "has 10 bits per channel; the model and the result have 8")]


def test_interlaced_frames_are_noted(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "c.mp4", more={"x264-params": "interlaced=1"}, sound="")
    outcome = translate_videos(identity(), [(clip, tmp_path / "o.mp4")], 4)
    assert [note for _, note in outcome.notes] == [
        "is interlaced; its frames are translated as whole, progressive frames"
    ]


def test_a_colon_in_a_name_is_no_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    clip = make_video(tmp_path / "clip.mp4", sound="").rename(tmp_path / "http:a%03d.mp4")
    outcome = translate_videos(identity(), [(Path(clip.name), Path("pipe:1.mp4"))], 4)
    assert not outcome.failures and len(contents(tmp_path / "pipe:1.mp4").frames) == FRAMES


def with_subtitles(path: Path) -> Path:
    """Write a Matroska file with subtitles, chapters, a title and a language."""
    source = make_video(path.with_name("plain.mp4"))
    with av.open(str(source)) as container, av.open(str(path), "w") as result:
        result.metadata["title"] = "A title"
        chapter = {"id": 1, "start": 0, "end": 200, "time_base": Fraction(1, 1000), "metadata": {}}
        result.set_chapters([chapter])
        copies = [result.add_stream_from_template(one) for one in container.streams]
        copies[1].metadata["language"] = "deu"
        text = result.add_mux_stream("subrip", time_base=Fraction(1, 1000))
        packet = av.Packet(b"Hello")
        packet.pts = packet.dts = 40
        packet.duration, packet.time_base, packet.stream = 200, Fraction(1, 1000), text
        for one in container.demux():
            if one.size:
                one.stream = copies[one.stream_index]
                result.mux(one)
                if packet is not None:
                    result.mux(packet)
                    packet = None
    return path


def test_subtitles_chapters_and_metadata_are_kept_if_the_container_takes_them(
    tmp_path: Path,
) -> None:
    clip = with_subtitles(tmp_path / "clip.mkv")
    assert contents(clip).others == ["subtitle"]
    for name, others in (("o.mkv", ["subtitle"]), ("o.mp4", [])):
        outcome = translate_videos(identity(), [(clip, tmp_path / name)], 4)
        assert not outcome.failures
        after = contents(tmp_path / name)
        assert after.others[: len(others)] == others
        assert [packet[2] for packet in after.sound] == [
            packet[2] for packet in contents(clip).sound
        ]
        assert bool(outcome.notes) == (not others)
        with av.open(str(tmp_path / name)) as container:
            assert container.metadata["title"] == "A title"
            assert container.streams.audio[0].metadata["language"] == "deu"
            assert len(container.chapters()) == 1
            if others:
                texts = [bytes(one) for one in container.demux(subtitles=0) if one.size]
                assert texts == [b"Hello"]
    assert "subtitle (s" in outcome.notes[0][1]


def test_tables_of_suffixes_and_codecs_agree() -> None:
    assert {suffix for one in CODECS.values() for suffix in one.suffixes} == set(FORMATS)
    assert all(map(is_video_name, (f"x{suffix}" for suffix in FORMATS)))
