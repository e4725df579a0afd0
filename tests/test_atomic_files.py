"""Files are written atomically: either the old or the new file is complete."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support import raises_user_error

from viceversa.errors import UserError
from viceversa.files import format_bytes, write_atomically, write_bytes, write_json
from viceversa.images import write
from viceversa.reports.page import write_page

WRITERS: dict[str, Callable[[Path], None]] = {
    "x.bin": lambda path: write_bytes(path, b"new"),
    "x.json": lambda path: write_json(path, {"new": 1}),
    "x.html": lambda path: write_page(path, "new"),
    "x.png": lambda path: write(path, np.zeros((4, 4, 3), np.uint8)),
    "x.npy": lambda path: write(path, np.zeros((4, 4, 7), np.float32)),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_failed_write_keeps_the_old_file_and_no_temporary_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "deep" / name
    WRITERS[name](path)
    complete = path.read_bytes()
    path.write_bytes(b"old")
    real = Path.write_bytes

    def write_half(self: Path, data: bytes) -> int:
        real(self, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", write_half)
        with raises_user_error(path=path) as caught:
            WRITERS[name](path)
    assert "could not be written: the disk is full" in str(caught.value)
    assert path.read_bytes() == b"old" and list(path.parent.iterdir()) == [path]
    WRITERS[name](path)
    assert path.read_bytes() == complete and list(path.parent.iterdir()) == [path]


def test_an_interrupted_write_leaves_no_temporary_file(tmp_path: Path) -> None:
    def interrupted(temporary: Path) -> None:
        temporary.write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "x.bin", interrupted)
    assert not list(tmp_path.iterdir())


def test_the_longest_file_name(tmp_path: Path) -> None:
    path = tmp_path / ("ö" * 125 + "x.bin")
    assert len(os.fsencode(path.name)) == 255
    write_bytes(path, b"new")
    assert path.read_bytes() == b"new" and list(tmp_path.iterdir()) == [path]
    with pytest.raises(UserError, match="could not be written: File name too long"):
        write_bytes(path.with_name("x" + path.name), b"new")


def test_hard_links_to_the_old_file_keep_its_contents(tmp_path: Path) -> None:
    write_bytes(tmp_path / "x.bin", b"old")
    os.link(tmp_path / "x.bin", tmp_path / "hard")
    write_json(tmp_path / "x.bin", [1])
    assert (tmp_path / "hard").read_bytes() == b"old"
    assert json.loads((tmp_path / "x.bin").read_text()) == [1]


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0.00 kB"),
        (5_000, "5.00 kB"),
        (9_996, "10.0 kB"),
        (99_960, "100 kB"),
        (999_499, "999 kB"),
        (999_500, "1.00 MB"),
        (16_777_216, "16.8 MB"),
        (73_780_000_000, "73.8 GB"),
        (20 * 10**12, "20000 GB"),
    ],
)
def test_formatted_sizes_have_three_digits(size: int, text: str) -> None:
    assert format_bytes(size) == text
