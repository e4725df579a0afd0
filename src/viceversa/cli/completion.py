"""The command completion."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from ..config.command_line import CheckOptions, PlanOptions, evaluate_options, run_options
from ..config.options import FIRST, Option, collector, options_of
from ..config.recipes import read_recipe, recipes
from .app import EXAMPLES, app, command


@command(
    ("completion bash > ~/.local/share/bash-completion/completions/viceversa", "for bash"),
    ("completion zsh > ~/.zfunc/_viceversa", "for zsh, with ~/.zfunc in fpath"),
    ("completion fish > ~/.config/fish/completions/viceversa.fish", "for fish"),
)
def completion(shell: Literal["bash", "zsh", "fish"]) -> None:
    """Print a script that completes commands, recipes and options in a shell.

    Parameters
    ----------
    shell
        The shell: bash, zsh or fish.
    """
    script = _complete_app().generate_completion(shell=shell)
    # Words that may also be files, such as a recipe: complete files if no name matches.
    print(script.replace("complete -F ", "complete -o default -F "))


def _complete_app() -> App:
    """Return the application with the options of all recipes, which `app` defines when it runs."""
    from ..config.run import resolve
    from ..config.study import StudyOptions
    from ..data.config import DataConfig

    options: dict[str, Option] = {}
    for name in recipes():
        for one in run_options(resolve(read_recipe(name))):
            kind = Literal[one.names] if one.names else one.type
            options[one.key] = dataclasses.replace(one, type=kind)
    of_recipe = {"train": None, "plan": PlanOptions(), "study": StudyOptions()}
    check = [*options_of(CheckOptions(), negative=False), *options_of(DataConfig(), "data")]
    recipe = _positional("recipe", Literal[tuple(recipes())])
    data = _positional("data", Path)
    whole = App(name="viceversa")
    for name in EXAMPLES:
        function: Any = app[name].default_command
        if name in of_recipe:
            own = options_of(of_recipe[name], negative=False) if of_recipe[name] else ()
            function = collector([*own, *options.values()], [recipe, data])
        elif name == "show":
            json = Option("json", bool, False, "", negative=False)
            function = collector([json], [recipe])
        elif name == "check":
            function = collector(check, [data])
        elif name == "evaluate":
            model = _positional("model", Path)
            function = collector(evaluate_options(), [model, data])
        whole.command(function, name=name)
    return whole


def _positional(name: str, kind: Any) -> inspect.Parameter:
    return inspect.Parameter(name, FIRST, annotation=Annotated[kind, Parameter()])
