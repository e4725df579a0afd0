"""The command line. Commands import heavy modules when they run, so --help answers at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from cyclopts import CycloptsError

from ..config.extensions import take_imports
from ..config.options import in_words
from ..environment import is_distributed, keep_freed_memory, limit_thread_spinning, rank
from ..errors import RunStopped, UserError
from ..terminal import guarded, occupy_descriptors
from . import (
    boundary,
    completion,
    convert,
    explain,
    export,
    init,
    log,
    report,
    serve,
    show,
    translate,
)
from .app import app, overview
from .data import check
from .evaluate import evaluate
from .features import features
from .study import study
from .training import plan, train

__all__ = [
    "app",
    "completion",
    "convert",
    "evaluate",
    "explain",
    "export",
    "features",
    "init",
    "log",
    "main",
    "report",
    "serve",
    "show",
    "study",
    "translate",
]

OF_RECIPE = {"train": train, "plan": plan, "study": study}  # options depend on the recipe
WITH_OWN_PARSER = {"check": check, "evaluate": evaluate}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line. An error of the user is reported in one sentence, with exit code 2."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    whole_process = arguments is None  # not if Python code calls this function
    if whole_process:
        occupy_descriptors()
    boundary.replace_unencodable()
    limit_thread_spinning()
    if whole_process and words[:1] in (["train"], ["demo"], ["plan"], ["translate"]):
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
                if whole_process and stream.error is not None:
                    stream.discard()
        if whole_process and boundary.reads_hang():
            os._exit(code)  # the interpreter would wait for these threads forever
        if code or is_distributed():
            _end(code)


def _run(words: list[str]) -> int:
    """Run a command and return its exit code."""
    try:
        _refuse_empty(words)
        words = take_imports(words)
        if words in ([], ["--help"], ["-h"]):
            print(overview())
        elif words[0] in OF_RECIPE and len(words) > 1 and not words[1].startswith("-"):
            OF_RECIPE[words[0]](words[1], *words[2:])
        elif words[0] in WITH_OWN_PARSER:
            WITH_OWN_PARSER[words[0]](*words[1:])
        else:
            # A lone hyphen (standard input or output) looks like an option to the parser.
            words = ["./-" if word == "-" else word for word in words]
            app(words, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        return _refuse(str(in_words(error, words[0])))
    except UserError as error:
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
    """Return the exit code of a completed command whose output could not be written.

    The result of training is the run folder; that of other commands is their output.
    """
    trained = words[:1] == ["train"] and not {"--help", "-h"} & set(words)
    if isinstance(error, BrokenPipeError):  # the reader closed the pipe; the exit code of SIGPIPE
        return 0 if trained else 128 + 13
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    sys.stderr.write(f"viceversa: standard output could not be written: {reason}\n")
    return 0 if trained else 2


def _refuse_empty(words: Sequence[str]) -> None:
    """Raise UserError for an empty argument, such as an unset shell variable."""
    settings = bool({"train", "plan", "study", "check"} & {*words[:1]})  # options may be empty
    for before, word in zip(["", *words], words, strict=False):
        option = before if before.startswith("-") else ""
        if word.startswith("-") and word.endswith("="):
            option, word = word.rstrip("="), ""
        if not word and not (settings and option):
            what = f"the value of {option} is empty" if option else "an argument is empty"
            raise UserError(f"{what}; give a value, or leave it out", option=option or None)


def _refuse(text: str) -> int:
    """Write one line to stderr; return the exit code 2."""
    who = f"viceversa, process {rank()}" if rank() else "viceversa"
    sys.stderr.write(f"{who}: {boundary.one_line(text)}\n")
    return 2


def _end(code: int) -> NoReturn:
    """End the process.

    In distributed training it ends at once: torch's communication threads may abort it at
    interpreter shutdown, when all work is done, and change its exit code.
    """
    if is_distributed():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
