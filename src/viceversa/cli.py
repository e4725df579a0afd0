"""The command line. Heavy imports stay inside the commands, so that --help answers at once."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, NoReturn

from cyclopts import App, CycloptsError, Parameter

from . import __version__
from .config import read_recipe, recipes
from .environment import keep_freed_memory, let_waiting_threads_sleep, process, several
from .errors import Stopped, UserError
from .options import check_settings, plan_settings, train_settings

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
    if process():
        return
    print(f"done: the models are in {folder}; try: viceversa translate {folder}/"
        f"{'ab' if config.data.direction == 'ab' else 'ba'}.safetensors IMAGE -o OUT")  # fmt: skip


@app.command
def plan(
    recipe: Annotated[str, Parameter(show_default=False)],
    *words: Annotated[str, Parameter(allow_leading_hyphen=True)],
) -> None:
    """Say what a run costs, before it: viceversa plan RECIPE [DATA] [--section.key value ...].

    Parameters, arithmetic, memory, disk and time, from a few timed steps (--steps), and which batch
    and crop fit. Takes what `viceversa train` takes, and writes nothing; --json is for programs.
    """
    settings = plan_settings(recipe, words)
    if settings is None:
        return
    options, config = settings
    from .plan import make_plan
    from .plan.words import text, values
    from .report import say, silent

    found = make_plan(config, options.steps, silent if options.json else say)
    say(json.dumps(values(found), indent=2) if options.json else text(found))


@app.command
def check(*words: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> None:
    """Look at a data set: viceversa check DATA [--recipe RECIPE] [--data.key value ...].

    Decodes every file once and says what is there, what is wrong, and what to do. `viceversa check
    --help` shows every option.
    """
    settings = check_settings(words)
    if settings is None:
        return
    options, config, method = settings
    if not config.path:
        raise UserError("name the data set to check: a folder, an archive or a manifest")
    paired = {"auto": None, "yes": True, "no": False}[options.pairs]
    if method and options.pairs == "auto":
        from .build import registered
        from .methods import PAIRED

        registered("method", method)
        paired = method in PAIRED
    from .data.check import check as look
    from .data.check import plain, text
    from .data.readonly import refuse_inside
    from .report import counter, say

    with counter("checking") as progress:
        checked = look(config.path, paired, config, verify=options.verify, progress=progress)
    train = shlex.join([options.recipe, config.path, *_data_words(words)]) if options.recipe else ""
    say(json.dumps(plain(checked, train), indent=2) if options.json else text(checked, train))
    for option, path in (("--sheet", options.sheet), ("--preview", options.preview)):
        if path:
            refuse_inside(path, Path(config.path), option)
    if options.sheet:
        from .data.check.sheet import contact_sheet

        contact_sheet(checked, options.sheet)
    if options.preview:
        from .data.check.preview import preview

        preview(checked, config, options.preview, checked.paired)
    if checked.errors:
        sys.exit(1)


def _data_words(words: Sequence[str]) -> list[str]:
    """The options of the data among the words, with their values."""
    given, mine = [], False
    for word in words:
        mine = word.startswith("--data.") or (mine and not word.startswith("--"))
        given += [word] if mine else []
    return given


@app.command
def translate(
    model: Path,
    *inputs: str,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    policy: Literal["image", "running", "paper"] = "image",
    half: Literal["left", "right"] | None = None,
    overwrite: bool = False,
    batch_size: int = 8,
    max_megapixels: int = 64,
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
    half
        Of files with A and B side by side: which half to translate.
    overwrite
        Write over what lies in the folder for the results.
    batch_size
        Images of one size translated at once.
    max_megapixels
        The largest image that is decoded.
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
    from .translate import Translator, expand, translate_files
    from .translate import plan as places

    files = expand(inputs)
    translator = Translator.load(model, device, policy, seed, max_megapixels)
    pairs = places(files, out, translator.suffix, overwrite)
    failures, notes = translate_files(translator, pairs, batch_size, half)
    for note in notes:
        print(note)
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
    elif name.endswith(".safetensors") or Path(name).is_dir():
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
    let_waiting_threads_sleep()
    if arguments is None and words[:1] in (["train"], ["demo"], ["plan"]):
        keep_freed_memory()  # of a process that is ours: not where Python calls this function
    try:
        if words[:1] in (["train"], ["plan"]) and len(words) > 1 and not words[1].startswith("-"):
            command = train if words[0] == "train" else plan
            command(words[1], *words[2:])  # its options, and its --help, depend on the recipe
        elif words[:1] == ["check"]:
            check(*words[1:])
        else:
            app(words, exit_on_error=False, print_error=False)
    except (UserError, CycloptsError) as error:
        who = f"viceversa, process {process()}" if process() else "viceversa"
        sys.stderr.write(f"{who}: {' '.join(str(error).split())}\n")
        _end(2)
    except Stopped as stopped:
        sys.stderr.write(f"viceversa: {stopped}; the same command goes on from here\n")
        _end(stopped.code)
    except BrokenPipeError:  # whoever read our output has had enough
        sys.stderr.close()
        sys.exit(0)
    except KeyboardInterrupt:
        sys.stderr.write("viceversa: interrupted\n")
        sys.exit(130)
    if several():
        _end(0)


def _end(code: int) -> NoReturn:
    """End the process. One of several goes at once: the threads with which torch talked to the
    others may abort it on the way out, all work being done, and its exit code would say so."""
    if several():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
