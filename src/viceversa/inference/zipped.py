"""Write results to a .zip file: collect them in a hidden folder next to it, and pack it at the end.

The folder is kept if the translation is interrupted, and a resumed translation continues in it.
"""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

from ..errors import UserError
from ..files import remove_temporary, write_atomically, write_bytes
from ..images.archives import outside

UNCOMPRESSED = (".bmp", ".npy", ".jsonl")  # other formats are compressed already


def names_zip(out: Path) -> bool:
    """Whether an output path is the name of a .zip file rather than of a folder."""
    return out.suffix.lower() == ".zip" and not out.is_dir()


def collecting_folder(path: Path) -> Path:
    """Return the folder in which the results of a .zip file are collected."""
    return path.with_name(f".{path.name}.partial")


def refuse_existing_zip(path: Path) -> None:
    """Raise UserError if a .zip file, or the folder of an interrupted translation, exists."""
    for one in (path, collecting_folder(path)):
        if one.exists():
            raise UserError(
                f"{one} is there already; choose another -o, or add --overwrite or --resume",
                option="--out",
                path=one,
            )


def collect(path: Path, resume: bool) -> None:
    """Prepare the folder: empty it, or keep its results and add the results of the .zip.

    Raises:
        UserError: The .zip cannot be read, or the folder cannot be written to.
    """
    folder = collecting_folder(path)
    try:
        if not resume and folder.exists():
            shutil.rmtree(folder)
        if resume and path.exists():
            _unpack(path, folder)
    except (OSError, RuntimeError, zipfile.BadZipFile) as error:
        why = f"{path} cannot be resumed: {error}; add --overwrite instead of --resume"
        raise UserError(why, option="--resume", path=path) from None


def _unpack(path: Path, folder: Path) -> None:
    """Write the members of a .zip to files that do not exist."""
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            target = folder / member.filename
            if not (member.is_dir() or outside(member.orig_filename) or target.exists()):
                write_bytes(target, archive.read(member), durable=False)


def pack(path: Path) -> None:
    """Write the collected results to the .zip file and remove the folder. Raises UserError."""
    folder = collecting_folder(path)
    remove_temporary(folder)
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]

    def write(temporary: Path) -> None:
        with zipfile.ZipFile(temporary, "w", strict_timestamps=False) as archive:
            for file in files:
                deflated = file.suffix.lower() in UNCOMPRESSED
                kind = zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED
                archive.write(file, file.relative_to(folder), kind)

    if files:
        write_atomically(path, write, sum(file.stat().st_size for file in files))
    shutil.rmtree(folder, ignore_errors=True)
