"""The command line. Heavy imports stay inside the commands, so that --help answers at once."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter
from cyclopts.config import Dict

from . import __version__
from .config import NAMED, SECTIONS, Sections, merge, read_recipe, recipes
from .errors import UserError

app = App(
    name="viceversa",
    version=__version__,
    help="Image-to-image translation: pix2pix and CycleGAN, to train and to use.",
    default_parameter=Parameter(name_transform=lambda name: name),
    result_action="return_value",
)


@app.command
def train(
    recipe: Annotated[str, Parameter(show_default=False)],
    *words: Annotated[str, Parameter(allow_leading_hyphen=True)],
) -> None:
    """Train a translator, or go on training: viceversa train RECIPE [DATA] [--section.key value].

    RECIPE is a packaged recipe or preset (viceversa show lists them) or a TOML file, DATA the
    folder of images. The same command again goes on from the last checkpoint. `viceversa train
    RECIPE --help` shows every option there is with it, `viceversa show RECIPE` their values.
    """
    config = train_settings(recipe, words)
    if config is None:
        return
    from .training import train as run

    folder = run(config)
    print(f"done: the models are in {folder}; try: viceversa translate {folder}/"
        f"{'ab' if config.data.direction == 'ab' else 'ba'}.safetensors IMAGE -o OUT")  # fmt: skip


def train_settings(recipe: str, words: Sequence[str]) -> Any:
    """The resolved settings of a recipe under the words of a command line; None after --help."""
    from .build import REGISTRIES, registered, resolve

    sections = read_recipe(recipe)
    for section in NAMED:  # another network by name changes which options there are
        option = f"--{section}.name"
        for number, word in enumerate(words):
            name = word.partition("=")[2] if word.startswith(option + "=") else None
            if word == option and number + 1 < len(words):
                name = words[number + 1]
            if name is not None:
                sections = merge(sections, {section: {"name": name}})
    resolved = resolve(sections)  # the recipe's own mistakes are told as the recipe's

    keyword, either = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_ONLY
    parameters = [
        inspect.Parameter("data_folder", either, default="", annotation=Annotated[
            str, Parameter(help="The folder of images.", show_default=False)])]  # fmt: skip
    for section in SECTIONS:
        if section in NAMED:
            names = Literal[tuple(REGISTRIES[section])]  # type: ignore[valid-type]
            parameters.append(inspect.Parameter(
                f"{section}_name", keyword, default=resolved.name(section),
                annotation=Annotated[names, Parameter(name=f"--{section}.name")]))  # fmt: skip
        kind = type(getattr(resolved, section))
        parameters.append(inspect.Parameter(
            section, keyword, default=getattr(resolved, section),
            annotation=Annotated[kind, Parameter(name=section, negative_iterable=())]))  # fmt: skip

    def collect(data_folder: str = "", **given: Any) -> Sections:
        from .config import plain

        chosen = {name: plain(given[name]) for name in SECTIONS}
        for section in NAMED:
            chosen[section]["name"] = (
                registered(section, given[f"{section}_name"]) and given[f"{section}_name"]
            )
        if data_folder:
            chosen["data"]["path"] = data_folder
        return chosen

    collect.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    options = App(
        name=f"viceversa train {recipe}",
        config=Dict(_flat(resolved.sections), use_commands_as_keys=False, source=recipe),
        default_parameter=Parameter(name_transform=lambda name: name),
        result_action="return_value",
        version_flags=[],
    )
    options.default(collect)
    chosen = options(list(words), exit_on_error=False, print_error=False)
    if chosen is None:
        return None
    if not chosen["train"]["run"]:
        chosen["train"]["run"] = str(Path("runs") / Path(recipe).stem)
    return resolve(chosen)


def _flat(sections: Sections) -> dict[str, Any]:
    """Sections without what cyclopts would take for words: empty tables and texts."""
    return {
        section: {key: value for key, value in values.items() if value not in ("", {})}
        for section, values in sections.items()
    }


@app.command
def translate(
    model: Path,
    *inputs: str,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    policy: Literal["image", "running", "paper"] = "image",
    batch_size: int = 8,
    device: str = "auto",
    seed: int = 0,
) -> None:
    """Translate images: files, globs and folders, all of them, at their own size.

    Parameters
    ----------
    model
        A translator that training wrote: runs/NAME/ab.safetensors.
    inputs
        Images, globs in quotes, or folders (with their subfolders).
    out
        The folder for the results, which keep the names of their images.
    policy
        image: batch norm by each image's own statistics, no dropout; running: by those gathered
        in training; paper: as image, with dropout on (pix2pix sec. 3.4).
    batch_size
        Images of one size translated at once.
    device
        auto, or a torch device such as cpu or cuda.
    seed
        Seed of the dropout of policy paper.
    """
    if not inputs:
        raise UserError("name the images to translate: files, globs or folders")
    if batch_size < 1:
        raise UserError(f"--batch_size must be at least 1, not {batch_size}")
    if out.exists() and not out.is_dir():
        raise UserError(f"-o {out} is a file; name a folder for the results")
    from .translate import Translator, plan, translate_files

    pairs = plan(inputs, out)
    failures = translate_files(Translator.load(model, device, policy, seed), pairs, batch_size)
    print(f"{len(pairs) - len(failures)} of {len(pairs)} images translated to {out}")
    if failures:
        raise UserError("; ".join(failures))


@app.command
def show(name: str = "") -> None:
    """Show what is in a model file or a recipe; without a name, list the recipes.

    Parameters
    ----------
    name
        A .safetensors file, a packaged recipe or preset, or a TOML file.
    """
    if not name:
        for recipe, text in recipes().items():
            print(f"{recipe:20} {text.splitlines()[0].lstrip('# ')}")
    elif name.endswith(".safetensors"):
        from .checkpoint import read_header

        print(json.dumps(read_header(Path(name)), indent=2))
    else:
        from .build import resolve

        for section, values in resolve(read_recipe(name)).sections.items():
            print(f"[{section}]")
            for key, value in values.items():
                print(f"{key} = {json.dumps(value)}")
            print("")


@app.command
def demo(
    which: Literal["pix2pix", "cyclegan"] = "pix2pix",
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"])] = Path("runs"),
    seed: int = 0,
    epochs: int | None = None,
) -> None:
    """Train on one of the two data sets inside the package and show what comes of it.

    Parameters
    ----------
    which
        pix2pix colours line drawings; cyclegan turns the Earth from space into its relief map and
        back. Each takes minutes on two cores.
    out
        Where the run's folder goes.
    seed
        Seed of everything random.
    epochs
        Fewer or more epochs than the demo's recipe.
    """
    from .demo import run_demo

    run_demo(which, out, seed, epochs)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line; a user's mistake is one sentence and exit code 2."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        if words[:1] == ["train"] and len(words) > 1 and not words[1].startswith("-"):
            train(words[1], *words[2:])  # its options, and its --help, depend on the recipe
        else:
            app(words, exit_on_error=False, print_error=False)
    except (UserError, CycloptsError) as error:
        sys.stderr.write(f"viceversa: {' '.join(str(error).split())}\n")
        sys.exit(2)
    except BrokenPipeError:  # whoever read our output has had enough
        sys.stderr.close()
        sys.exit(0)
    except KeyboardInterrupt:
        sys.stderr.write(
            "viceversa: interrupted; the same command goes on from the last checkpoint\n"
        )
        sys.exit(130)
