"""The cyclopts application. The other modules of the package add the commands."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from cyclopts import App, Parameter

from .. import __version__
from ..config.help import example_lines
from ..config.options import strictly

app = App(
    name="viceversa",
    version=__version__,
    help_format="plaintext",
    default_parameter=Parameter(name_transform=lambda name: name, converter=strictly),
    result_action="return_value",
)
ORDER = (  # of use
    "check",
    "plan",
    "init",
    "train",
    "study",
    "translate",
    "serve",
    "evaluate",
    "explain",
    "compare",
    "ensemble",
    "convert",
    "export",
    "report",
    "log",
    "show",
    "features",
    "completion",
    "demo",
)
EXAMPLES: dict[str, list[tuple[str, str]]] = {}  # command -> (words, what they do)
F = TypeVar("F", bound=Callable[..., Any])


def command(*examples: tuple[str, str]) -> Callable[[F], F]:
    """Register a function as a command whose help begins with examples.

    Args:
        examples: Command lines without `viceversa`, each with what it does. The overview shows the
            first one.
    """

    def register(function: F) -> F:
        name = function.__name__
        EXAMPLES[name] = list(examples)
        app.command(function, help=help_text(function, EXAMPLES[name]))
        return function

    return register


def help_text(function: Callable[..., Any], examples: Sequence[tuple[str, str]]) -> str:
    """Return the docstring of a command without its parameters, with examples after its summary.

    Paragraphs are joined to one line each, which the terminal wraps.
    """
    text = re.split(r"\n\s*Parameters\n\s*-+\n", inspect.getdoc(function) or "")[0]
    summary, *more = [" ".join(block.split()) for block in text.split("\n\n")]
    return "\n\n".join([summary, example_lines(examples), *more]).replace("`", "")


def overview() -> str:
    """Return the commands in their order of use, each with an example."""
    lines = [f"viceversa {__version__}: image-to-image translation with pix2pix and CycleGAN", ""]
    for name in sorted(EXAMPLES, key=ORDER.index):
        summary = (inspect.getdoc(app[name].default_command) or "").split("\n")[0]
        lines += [f"{name:10} {summary}", f"{'':10} viceversa {EXAMPLES[name][0][0]}"]
    lines += [
        "",
        "Options of a command: viceversa COMMAND --help. Every command takes --import MODULE:",
        "a .py file or a dotted name that adds user-defined methods or networks.",
    ]
    return "\n".join(lines)
