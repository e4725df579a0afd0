"""Test the translation of files: complete results, protected inputs, resuming, streams."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support import small_model
from test_translator import model, put

from viceversa.cli import main
from viceversa.errors import UserError
from viceversa.images import Pixels
from viceversa.images.domain import Domain
from viceversa.inference import FileOptions, Record, Translator, expand, plan, translate_files
from viceversa.inference.record import NAME


@pytest.fixture
def unet(tmp_path: Path) -> Path:
    return model(tmp_path / "model")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for number in range(5):
        put(tmp_path / "in" / f"{number}.png", number)
    return tmp_path / "in"


def run(capsys: pytest.CaptureFixture[str], *words: str | Path, code: int = 0) -> str:
    """Return the output of `viceversa translate`, which must end with exit code `code`."""
    capsys.readouterr()
    exit_code = 0
    try:
        main(["translate", *map(str, words), "--device", "cpu"])
    except SystemExit as error:
        exit_code = int(str(error.code))
    printed = capsys.readouterr()
    assert exit_code == code, printed
    return printed.out + printed.err


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.png")}


def full_disk(monkeypatch: pytest.MonkeyPatch, images: int) -> None:
    """Let writes fail with ENOSPC, half written, after a number of images."""
    real, left = Path.write_bytes, [images]

    def write(self: Path, data: bytes) -> int:
        left[0] -= 1
        if left[0] < 0:
            real(self, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(self, data)

    monkeypatch.setattr(Path, "write_bytes", write)


def test_full_disk_leaves_complete_images_and_one_message(
    unet: Path,
    images: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        full_disk(patch, 2)
        printed = run(capsys, unet, images, "-o", out, "--batch_size", "1", code=2)
    assert "2 of 5 images translated" in printed and printed.count("disk is full") == 1
    assert "2.png" in printed and "4.png" in printed
    assert sorted(path.name for path in out.iterdir()) == [NAME, "0.png", "1.png"]
    for path in out.glob("*.png"):
        Image.open(path).load()
    before = times(out)
    assert "3 of 5 images translated" in run(capsys, unet, images, "-o", out, "--resume")
    assert len(times(out)) == 5 and times(out).items() >= before.items()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["hard link", "symlink", "folder", "symlinked folder"])
@pytest.mark.parametrize("option", ["--overwrite", "--resume"])
def test_no_input_is_overwritten_through_a_link_or_folder(
    kind: str,
    option: str,
    unet: Path,
    images: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    if kind == "folder":
        out = images
    elif kind == "symlinked folder":
        out.symlink_to(images)
    else:
        out.mkdir()
        link = os.link if kind == "hard link" else os.symlink
        link(images / "3.png", out / "3.png")
    before = digests(images)
    printed = run(capsys, unet, str(images / "*.png"), "-o", out, option, code=2)
    assert "would overwrite a file to translate" in printed
    assert digests(images) == before and len(list(out.iterdir())) in (1, 5)
    # Negative control: other files of these names are overwritten.
    other = tmp_path / "other"
    put(other / "3.png", 9)
    run(capsys, unet, str(images / "*.png"), "-o", other, option)
    assert len(digests(other)) == 6


def test_two_paths_to_the_same_result_are_refused(unet: Path, images: Path, tmp_path: Path) -> None:
    put(tmp_path / "both" / "one" / "x.png", 1)
    put(tmp_path / "both" / "two" / "x.png", 2)
    (tmp_path / "out" / "one").mkdir(parents=True)
    (tmp_path / "out" / "two").symlink_to(tmp_path / "out" / "one")
    with pytest.raises(UserError, match="would both become"):  # either path may be named
        plan(expand([str(tmp_path / "both")]).files, tmp_path / "out", lambda suffix: suffix)


# -- resume


def test_resume_translates_missing_damaged_and_changed_images_only(
    unet: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = (unet, images, "-o", out)
    run(capsys, *words)
    complete, before = digests(out), times(out)
    assert "is there already" in run(capsys, *words, code=2)
    printed = run(capsys, *words, "--resume")
    assert "0 of 5 images translated" in printed and "5 were translated before" in printed
    assert times(out) == before and digests(out) == complete
    (out / "0.png").unlink()  # missing result
    (out / "1.png").write_bytes(b"cut")  # damaged result
    put(images / "2.png", 99)  # changed input
    assert "3 of 5 images translated" in run(capsys, *words, "--resume")
    now = digests(out)
    assert all(now[name] == complete[name] for name in ("0.png", "1.png", "3.png", "4.png"))
    assert now["2.png"] != complete["2.png"] and times(out)["3.png"] == before["3.png"]


@pytest.mark.parametrize(
    "other", [["--policy", "running"], ["--policy", "paper"], ["--half", "left"]]
)
def test_resume_translates_all_images_again_with_other_options(
    other: list[str],
    unet: Path,
    images: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = (unet, images, "-o", tmp_path / "out", "--resume")
    assert "5 of 5" in run(capsys, *words)
    assert "5 of 5" in run(capsys, *words, *other)
    assert "0 of 5" in run(capsys, *words, *other)
    assert "0 of 5" in run(capsys, *words, *other, "--batch_size", "1")  # does not change results


def test_resume_translates_all_images_again_with_another_model_or_seed(
    unet: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (images, "-o", tmp_path / "out", "--resume")
    run(capsys, unet, *words)
    assert "5 of 5" in run(capsys, model(tmp_path / "other", "resnet"), *words)
    assert "5 of 5" in run(capsys, unet, *words, "--policy", "paper")
    assert "5 of 5" in run(capsys, unet, *words, "--policy", "paper", "--seed", "1")


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage", ["deleted", "empty", "truncated", "noise", "other json", "folder"]
)
def test_damaged_record_only_repeats_translations(
    damage: str, unet: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = (unet, images, "-o", out)
    run(capsys, *words)
    complete, record = digests(out), out / NAME
    lines = record.read_bytes().splitlines(keepends=True)
    match damage:
        case "deleted":
            record.unlink()
        case "folder":
            record.unlink()
            record.mkdir()
        case "empty":
            record.write_bytes(b"")
        case "truncated":
            record.write_bytes(b"".join(lines[:3]) + lines[3][:40])
        case "noise":
            record.write_bytes(os.urandom(500))
        case "other json":
            record.write_bytes(b'[1]\nnull\n{"result": ["0.png"]}\n' + b"[" * 100_000)
    translated = 2 if damage == "truncated" else 5
    assert f"{translated} of 5 images translated" in run(capsys, *words, "--resume")
    if damage != "folder":
        assert "0 of 5 images translated" in run(capsys, *words, "--resume")
        assert digests(out).items() >= {k: v for k, v in complete.items() if k != NAME}.items()


def test_record_of_repeated_translations_does_not_grow(
    unet: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (unet, images, "-o", tmp_path / "out")
    run(capsys, *words)
    lines = [json.loads(text) for text in (tmp_path / "out" / NAME).read_text().splitlines()]
    assert [line["result"] for line in lines] == [f"{number}.png" for number in range(5)]
    assert lines[0]["source"] == hashlib.sha256((images / "0.png").read_bytes()).hexdigest()
    complete = digests(tmp_path / "out")
    run(capsys, *words, "--overwrite")
    assert digests(tmp_path / "out") == complete


def test_stop_request_ends_the_translation_between_two_files(
    unet: Path, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    translator = Translator.load(unet, "cpu")
    pairs = plan(expand([str(images)]).files, out, translator.suffix)
    stop_requests = iter([False, False, False, True])
    record = Record(out, "m", {})
    outcome = translate_files(
        translator,
        pairs,
        FileOptions(1),
        record=record,
        resume=True,
        stop=lambda: next(stop_requests),
    )
    assert len(outcome.written) == 2 and not outcome.failures
    again = translate_files(
        translator, pairs, FileOptions(1), record=Record(out, "m", {}), resume=True
    )
    assert len(again.skipped) == 2 and len(again.written) == 3


def test_progress_counts_the_images_that_are_not_skipped(
    unet: Path, images: Path, tmp_path: Path
) -> None:
    put(tmp_path / "in" / "2.png").write_bytes(b"damaged")
    translator, out = Translator.load(unet, "cpu"), tmp_path / "out"
    pairs = plan(expand([str(images)]).files, out, translator.suffix)
    calls: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        calls.append((done, total))

    record = Record(out, "m", {})
    translate_files(translator, pairs[:1], FileOptions(1), record=record)
    translate_files(
        translator, pairs, FileOptions(1), record=record, resume=True, progress=progress
    )
    assert calls == [(2, 4), (3, 4)]  # of 5 images one is skipped, and one is damaged


@pytest.mark.slow
@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_stopped_translation_is_resumed(
    kind: signal.Signals, unet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    count, out = 300, tmp_path / "out"
    for number in range(count):
        put(tmp_path / "in" / f"{number:03d}.png", number, 96, 96)
    words = [unet, tmp_path / "in", "-o", out, "--batch_size", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "viceversa", "translate", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    start = time.monotonic()
    while len(list(out.glob("*.png"))) < 5:
        assert time.monotonic() - start < 60 and process.poll() is None
        time.sleep(0.01)
    process.send_signal(kind)
    _, errors = process.communicate(timeout=60)
    if kind == signal.SIGKILL:
        assert process.returncode == -kind
    else:
        assert process.returncode == 128 + kind and "--resume continues" in errors
        assert not list(out.glob("*.tmp"))
    before = len(list(out.glob("*.png")))
    assert 5 <= before < count
    for path in out.glob("*.png"):
        Image.open(path).load()
    translated = int(run(capsys, *words, "--resume").split(" of ")[0])
    assert count - before <= translated <= count - before + 1
    assert len(list(out.glob("*.png"))) == count


def test_named_pipe_is_an_error_and_does_not_block(
    unet: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    words = (unet, tmp_path / "pipe.png", images / "0.png", "-o", tmp_path / "out")
    assert "there is no file" in run(capsys, *words, code=2)
    assert (tmp_path / "out" / "0.png").is_file()


# -- one image: name of the result, standard input and output


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["result.jpg", "result.PNG", "deep/er/r.tiff", "r.npy", "r.webp", "r.bmp"]
)
def test_result_of_one_image_may_be_named(
    name: str, unet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, out = put(tmp_path / "x.png"), tmp_path / name
    printed = run(capsys, unet, image, "-o", out)
    assert out.is_file() and f"1 of 1 images translated to {out}" in printed
    assert not (out.parent / NAME).exists()
    before = out.read_bytes()
    assert "is there already" in run(capsys, unet, image, "-o", out, code=2)
    out.write_bytes(b"")
    run(capsys, unet, image, "-o", out, "--overwrite")
    assert out.read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize("format", ["jpg", "WEBP", ".tif"])
def test_format_of_all_results_of_a_folder(
    format: str, unet: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(images / "sub" / "other.bmp", 7)
    run(capsys, unet, images, "-o", tmp_path / "out", "--format", format)
    results = sorted(path for path in (tmp_path / "out").rglob("*.*") if path.name != NAME)
    suffix = "." + format.lower().strip(".")
    assert [path.stem for path in results] == [*"01234", "other"]
    assert {path.suffix for path in results} == {suffix}
    kinds = {".jpg": "JPEG", ".webp": "WEBP", ".tif": "TIFF"}
    for path in results:
        with Image.open(path) as result:
            assert result.format == kinds[suffix]
    words = ["-o", tmp_path / "out", "--format", format, "--resume"]
    assert "6 were translated before" in run(capsys, unet, images, *words)


def test_formats_that_do_not_fit_are_refused(
    unet: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    text = run(capsys, unet, images, "-o", out, "--format", "docx", code=2)
    assert "--format docx is unknown; available: apng, bmp" in text
    target = Domain(dtype="uint16", high=(65535.0,) * 3)
    deep = small_model(tmp_path / "deep", Domain(), target, "unet")
    text = run(capsys, deep, images, "-o", out, "--format", "jpg", code=2)
    assert "--format jpg can't hold the output of this model; use png" in text
    text = run(capsys, unet, images / "0.png", "-o", tmp_path / "a.png", "--format", "jpg", code=2)
    assert "--format is for results in a folder" in text
    assert not out.exists() and not (tmp_path / "a.png").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("r.gif", "can't hold the output of this model; name it r.png"),
        ("r.avif", "name it r.png"),
        ("r.jp2", "name it r.png"),
        ("r.svg", "name it r.png"),
    ],
)
def test_format_that_does_not_support_the_result_is_refused(
    name: str, message: str, unet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = put(tmp_path / "x.png")
    assert message in run(capsys, unet, image, "-o", tmp_path / name, code=2)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("name", ["r.jpeg2", "r.pnj", "deep/r.Tifff"])
def test_an_unknown_extension_for_one_image_creates_no_folder(
    name: str, unet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, out = put(tmp_path / "x.png"), tmp_path / name
    message = run(capsys, unet, image, "-o", out, code=2)
    assert f"{out.suffix} is no extension of an image format" in message and ".png" in message
    assert not out.exists()
    out.mkdir(parents=True)
    run(capsys, unet, image, "-o", out)
    assert (out / "x.png").is_file()


@pytest.mark.parametrize("name", ["out", "out.2026-11", "v1.0", "out.results"])
def test_other_names_for_one_image_are_folders(
    name: str, unet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, unet, put(tmp_path / "x.png"), "-o", tmp_path / name)
    assert (tmp_path / name / "x.png").is_file()


def test_a_folder_of_images_is_translated_to_a_folder_with_any_name(
    unet: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, unet, images, "-o", tmp_path / "out.old")
    assert (tmp_path / "out.old" / "0.png").is_file()


def test_several_images_need_a_folder(
    unet: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = run(capsys, unet, images, "-o", tmp_path / "r.png", code=2)
    assert "is the name of one file, and there are 5" in printed and "folder" in printed
    assert not (tmp_path / "r.png").exists()
    (tmp_path / "r.png").mkdir()  # an existing folder is used, whatever its name
    run(capsys, unet, images, "-o", tmp_path / "r.png")
    assert (tmp_path / "r.png" / "4.png").is_file()
    run(capsys, unet, images / "0.png", "-o", tmp_path / "v1.2")  # not an extension of images
    assert (tmp_path / "v1.2" / "0.png").is_file()
    image = images / "0.png"
    assert "would overwrite" in run(capsys, unet, image, "-o", image, "--overwrite", code=2)


class Stream(io.TextIOWrapper):
    """A standard stream in memory."""

    def __init__(self, data: bytes = b"") -> None:
        super().__init__(io.BytesIO(data))

    @property
    def bytes(self) -> bytes:
        self.flush()
        data: Any = self.buffer
        return bytes(data.getvalue())


def translated(unet: Path, path: Path) -> Pixels:
    return np.asarray(Translator.load(unet, "cpu")(path))


def test_standard_input_and_output(
    unet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    image = put(tmp_path / "x.png")
    words = ["translate", str(unet), "-", "-o", "-", "--device", "cpu"]
    with monkeypatch.context() as patch:
        out = Stream()
        patch.setattr(sys, "stdin", Stream(image.read_bytes()))
        patch.setattr(sys, "stdout", out)
        main(words)
        data = out.bytes
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), translated(unet, image))
    assert "1 of 1 images translated" in capsys.readouterr().err
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", Stream(image.read_bytes()))
        run(capsys, unet, "-", "-o", tmp_path / "out")
    result = np.asarray(Image.open(tmp_path / "out" / "stdin.png"))
    assert np.array_equal(result, translated(unet, image))


@pytest.mark.parametrize("data", [b"", b"text"])
def test_standard_input_that_is_not_an_image_is_refused(
    data: bytes,
    unet: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "stdin", Stream(data))
    printed = run(capsys, unet, "-", "-o", tmp_path / "r.png", code=2)
    assert "is not an image in a supported format" in printed
    assert not (tmp_path / "r.png").exists()


def test_standard_streams_need_exactly_one_image(
    unet: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "is one image" in run(capsys, unet, "-", images, "-o", tmp_path / "out", code=2)
    assert "there are 5" in run(capsys, unet, images, "-o", "-", code=2)


# -- metadata


@pytest.mark.parametrize("format", ["png", "jpg", "tif"])
def test_results_of_the_same_size_keep_the_resolution(
    format: str, unet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = put(tmp_path / "a.png")
    with Image.open(image) as opened:
        opened.save(image, dpi=(300, 150))
    words = (unet, image, "-o", tmp_path / "out", "--format", format, "--overwrite")
    for options, expected in (
        ([], (300, 150)),
        (["--size", "32"], None),
        (["--half", "left"], None),
    ):
        run(capsys, *words, *options)
        with Image.open(tmp_path / "out" / f"a.{format}") as result:
            found = result.info.get("dpi") if expected else result.info.get("dpi", (1, 1))
            assert found == pytest.approx(expected or (1, 1), abs=0.02)
