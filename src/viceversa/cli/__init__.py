"""The command line. Heavy imports stay inside the commands, so that --help answers at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from cyclopts import CycloptsError

from ..environment import keep_freed_memory, let_waiting_threads_sleep, process, several
from ..errors import Stopped, UserError
from . import boundary, evaluate, explain, report, use
from .app import app
from .data import check
from .features import features
from .training import plan, train

__all__ = ["app", "evaluate", "explain", "features", "main", "report", "use"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line; a user's mistake is one sentence and exit code 2."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    boundary.replace_unencodable()
    let_waiting_threads_sleep()
    if arguments is None and words[:1] in (["train"], ["demo"], ["plan"]):
        keep_freed_memory()  # of a process that is ours: not where Python calls this function
    try:
        _refuse_empty(words)
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
        _refuse(str(error))
    except Stopped as stopped:
        sys.stderr.write(f"viceversa: {stopped}; {stopped.advice}\n")
        _end(stopped.code)
    except BrokenPipeError:  # whoever read our output has had enough
        sys.stderr.close()
        sys.exit(0)
    except KeyboardInterrupt:
        sys.stderr.write("viceversa: interrupted\n")
        sys.exit(130)
    except Exception as error:
        sentence = boundary.sentence(error, words[0] if words else "")
        if sentence is None:
            raise
        _refuse(sentence)
    if several():
        _end(0)


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


def _refuse(text: str) -> NoReturn:
    """Write one line to stderr and end with exit code 2."""
    who = f"viceversa, process {process()}" if process() else "viceversa"
    sys.stderr.write(f"{who}: {boundary.one_line(text)}\n")
    _end(2)


def _end(code: int) -> NoReturn:
    """End the process. One of several goes at once: the threads with which torch talked to the
    others may abort it on the way out, all work being done, and its exit code would say so."""
    if several():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
