"""The command line. Heavy imports stay inside the commands, so that --help answers at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from cyclopts import CycloptsError

from ..config.extensions import take_imports
from ..environment import keep_freed_memory, let_waiting_threads_sleep, process, several
from ..errors import RunStopped, UserError
from ..terminal import guarded, occupy_descriptors
from . import boundary, evaluate, explain, report, use
from .app import app
from .data import check
from .features import features
from .training import plan, train

__all__ = ["app", "evaluate", "explain", "features", "main", "report", "use"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line; a user's mistake is one sentence and exit code 2."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    ours = arguments is None  # the process is, and not where Python calls this function
    if ours:
        occupy_descriptors()
    boundary.replace_unencodable()
    let_waiting_threads_sleep()
    if ours and words[:1] in (["train"], ["demo"], ["plan"]):
        keep_freed_memory()
    with guarded() as (out, err):
        try:
            code = _run(words)
            out.flush()
            if out.error is not None and not code:
                code = _lost(out.error, words)
        finally:
            for stream in (out, err):
                stream.flush()
                if ours and stream.error is not None:
                    stream.discard()
        if ours and boundary.reads_hang():
            os._exit(code)  # the interpreter would wait for them for ever
        if code or several():
            _end(code)


def _run(words: list[str]) -> int:
    """Run a command; returns its exit code."""
    try:
        _refuse_empty(words)
        words = take_imports(words)
        if words[:1] in (["train"], ["plan"]) and len(words) > 1 and not words[1].startswith("-"):
            command = train if words[0] == "train" else plan
            command(words[1], *words[2:])  # its options, and its --help, depend on the recipe
        elif words[:1] == ["check"]:
            check(*words[1:])
        else:
            # A lone hyphen (standard input or output) looks like an option to the parser.
            words = ["./-" if word == "-" else word for word in words]
            app(words, exit_on_error=False, print_error=False)
    except (UserError, CycloptsError) as error:
        return _refuse(str(error))
    except RunStopped as stopped:
        sys.stderr.write(f"viceversa: {stopped}; {stopped.advice}\n")
        return stopped.code
    except KeyboardInterrupt:
        sys.stderr.write("viceversa: interrupted\n")
        return 130
    except Exception as error:
        sentence = boundary.sentence(error, words[0] if words else "")
        if sentence is None:
            raise
        return _refuse(sentence)
    return 0


def _lost(error: Exception, words: Sequence[str]) -> int:
    """The exit code of a complete command whose output was lost, at least in part.

    The result of training is the run's folder; that of other commands is what they print.
    """
    trained = words[:1] == ["train"] and not {"--help", "-h"} & set(words)
    if isinstance(error, BrokenPipeError):  # the reader has read enough; as if SIGPIPE ended us
        return 0 if trained else 128 + 13
    reason = getattr(error, "strerror", None) or str(error)
    sys.stderr.write(f"viceversa: standard output could not be written: {reason}\n")
    return 0 if trained else 2


def _refuse_empty(words: Sequence[str]) -> None:
    """Raise UserError for an empty argument, such as a variable of the shell that is not set."""
    settings = words[:1] in (["train"], ["plan"], ["check"])  # these may be set to an empty text
    for before, word in zip(["", *words], words, strict=False):
        option = before if before.startswith("-") else ""
        if word.startswith("-") and word.endswith("="):
            option, word = word.rstrip("="), ""
        if not word and not (settings and option):
            what = f"the value of {option} is empty" if option else "an argument is empty"
            raise UserError(f"{what}; name it, or leave it out", option=option or None)


def _refuse(text: str) -> int:
    """Write one line to stderr; returns the exit code 2."""
    who = f"viceversa, process {process()}" if process() else "viceversa"
    sys.stderr.write(f"{who}: {boundary.one_line(text)}\n")
    return 2


def _end(code: int) -> NoReturn:
    """End the process. One of several goes at once: the threads with which torch talked to the
    others may abort it on the way out, all work being done, and its exit code would say so."""
    if several():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
