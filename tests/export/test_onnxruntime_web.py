"""The pinned version of onnxruntime-web is loaded from npm, the cache or a path."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest

from viceversa.errors import UserError
from viceversa.export import onnxruntime_web
from viceversa.export.onnxruntime_web import ARCHIVE, FILES, OPTION, read_runtime

CONTENTS = {name: f"contents of {name}".encode() for name in FILES}


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Archive that counts as the pinned one; the cache is empty, and npm is not installed."""
    path = tmp_path / "given.tgz"
    with tarfile.open(path, "w:gz") as file:
        for name, content in {**CONTENTS, "other.js": b"not needed"}.items():
            entry = tarfile.TarInfo(f"package/dist/{name}")
            entry.size = len(content)
            file.addfile(entry, io.BytesIO(content))
    digest = base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
    monkeypatch.setattr(onnxruntime_web, "INTEGRITY", digest)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENTS.items()}
    monkeypatch.setattr(onnxruntime_web, "FILES", digests)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return path


def install_npm(folder: Path, script: str) -> None:
    """Install a shell script as npm."""
    path = folder / "bin" / "npm"
    path.write_text(f"#!/bin/sh\nPATH={os.defpath}\n{script}\n")
    path.chmod(0o755)


def refused(path: Path | None) -> str:
    """Return the error message for a runtime that is not available."""
    with pytest.raises(UserError) as caught:
        read_runtime(path)
    assert caught.value.option == OPTION and OPTION in str(caught.value)
    return str(caught.value)


def test_an_archive_or_its_unpacked_folder(archive: Path, tmp_path: Path) -> None:
    assert read_runtime(archive) == CONTENTS
    with tarfile.open(archive) as file:
        file.extractall(tmp_path / "unpacked", filter="data")
    for folder in ("unpacked", "unpacked/package"):
        assert read_runtime(tmp_path / folder) == CONTENTS
    changed = tmp_path / "unpacked/package/dist" / next(iter(FILES))
    changed.write_bytes(b"something else")
    assert f"{changed.name} is not the file of" in refused(tmp_path / "unpacked")
    changed.unlink()
    assert f"{changed} cannot be read" in refused(tmp_path / "unpacked")


def test_other_archives_are_not_unpacked(archive: Path, tmp_path: Path) -> None:
    archive.write_bytes(archive.read_bytes() + b"\0")
    assert "it is not the archive of onnxruntime-web@" in refused(archive)
    assert "No such file" in refused(tmp_path / "missing.tgz")


def test_npm_downloads_the_archive_once(archive: Path, tmp_path: Path) -> None:
    assert "is not installed" in refused(None)
    install_npm(tmp_path, 'echo "npm error: no network" >&2; exit 1')
    assert "npm could not download" in refused(None) and "no network" in refused(None)
    install_npm(tmp_path, f'echo other > "{ARCHIVE}"')
    assert "the archive from npm is not the expected onnxruntime-web@" in refused(None)
    install_npm(tmp_path, f'cp "{archive}" "{ARCHIVE}"')
    assert read_runtime(None) == CONTENTS
    install_npm(tmp_path, "exit 1")  # not called: the archive is in the cache
    assert read_runtime(None) == CONTENTS
    (cached,) = (tmp_path / "cache").rglob(ARCHIVE)
    cached.write_bytes(b"damaged")
    assert "npm could not download" in refused(None)
