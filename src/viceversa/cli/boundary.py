"""Errors of the system (memory, file names, disks, encodings) as one sentence for the user.

Errors of the program are not converted: they keep their traceback.
"""

from __future__ import annotations

import errno
import io
import re
import sys
import threading

DECODE_THREADS = "decode"  # prefix of the names of loader threads
LONGEST_WORD = 160  # characters of a word in a message
SMALLER = {
    "train": "lower train.batch_size, data.crop_size, data.load_size or the width of the networks",
    "translate": "lower --batch_size, or translate smaller images",
    "evaluate": "lower --batch_size or --size",
    "explain": "use a smaller image",
    "check": "lower data.max_megapixels",
}
SMALLER["plan"] = SMALLER["train"]
REASONS = {
    errno.ENAMETOOLONG: "the name is too long; use a shorter one",
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EMFILE: "too many files are open; raise the limit (ulimit -n)",
    errno.ENFILE: "too many files are open on this machine",
}


def replace_unencodable() -> None:
    """Let stdout and stderr escape characters that their encoding does not support."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def reads_hang() -> bool:
    """Return whether a loader thread is still in a read that may never return."""
    threads = [one for one in threading.enumerate() if one.name.startswith(DECODE_THREADS)]
    for thread in threads:
        thread.join(1.0)  # the others end by themselves
    return any(thread.is_alive() for thread in threads)


def sentence(error: Exception, command: str) -> str | None:
    """Return a message about an error of the system; None for an error of the program.

    Args:
        error: The error that ended a command.
        command: Name of the command, on which the advice about memory depends.
    """
    if _out_of_memory(error):
        advice = SMALLER.get(command, "close other programs")
        return f"the memory is not enough; {advice}"
    if isinstance(error, OSError) and error.errno is not None:
        reason = REASONS.get(error.errno, error.strerror or str(error))
        names = [str(name) for name in (error.filename, error.filename2) if _is_name(name)]
        return f"{' and '.join(names)}: {reason}" if names else reason
    if isinstance(error, UnicodeEncodeError) and error.encoding == _file_name_encoding():
        return (
            f"the file system's encoding {error.encoding} lacks a character of the name "
            f"{error.object!a}; use another name, or a UTF-8 locale such as LANG=C.UTF-8"
        )
    if isinstance(error, ValueError) and "embedded null" in str(error):
        return "a file name contains the character NUL; use another name"
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return "the system refuses another thread; raise the limit (ulimit -u) or free memory"
    return None


def one_line(text: str) -> str:
    """Return a message as one line, with very long words shortened."""
    return " ".join(_shortened(word) for word in text.split())


def _shortened(word: str) -> str:
    half = LONGEST_WORD // 2
    return word if len(word) <= LONGEST_WORD else f"{word[:half]}...{word[-half:]}"


def _is_name(name: object) -> bool:
    return isinstance(name, str | bytes) and bool(name)


def _file_name_encoding() -> str:
    return re.sub("_", "-", sys.getfilesystemencoding())


def _out_of_memory(error: Exception) -> bool:
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, ValueError):  # numpy, for arrays larger than the address space
        return str(error).startswith(("array is too big", "Maximum allowed dimension"))
    if isinstance(error, ImportError):  # shared libraries do not fit into the memory
        return "failed to map segment" in str(error)
    if "torch" not in sys.modules:
        return False
    from ..runtime.device import out_of_memory

    return out_of_memory(error)
