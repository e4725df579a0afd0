"""Training from Python: a recipe, the options that people change first, data of any kind."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from torch.utils.data import Dataset

from ..config.recipes import Sections, merge, read_recipe
from ..config.run import CONFIGS, REGISTRIES, RunConfig, resolve
from ..config.run_folder import FROM_PYTHON
from ..config.speed import PrecisionName
from ..data.open_user import UserData, channels_of, check_sides
from ..data.user_items import Sides
from ..directions import Direction
from ..errors import UserError
from ..fields import ImageSize, did_you_mean
from ..terminal import quiet as quiet_output
from .functions import OnStep, OnValidation
from .loop import train as train_config

TorchData = Sides | Dataset[Any] | tuple[Dataset[Any], Dataset[Any]]
Section = Mapping[str, Any] | None
P = ParamSpec("P")
T = TypeVar("T")


def named_options(function: Callable[P, T]) -> Callable[P, T]:
    """Let a function refuse unknown arguments with the section that has such an option."""
    known = inspect.signature(function).parameters

    @functools.wraps(function)
    def checked(*args: P.args, **arguments: P.kwargs) -> T:
        for name in arguments:
            if name not in known:
                raise _unknown(name, arguments[name], known)
        return function(*args, **arguments)

    return checked


def _unknown(name: str, value: object, known: Iterable[str]) -> UserError:
    """Return the error of an argument that `train` does not have."""
    configs = {section: [cls for _, cls in one.values()] for section, one in REGISTRIES.items()}
    configs |= {section: [cls] for section, cls in CONFIGS.items()}
    homes = [
        section
        for section, classes in configs.items()
        if any(name == field.name for cls in classes for field in fields(cls))
    ]
    if not homes:
        return UserError(f"train has no argument {name!r}{did_you_mean(name, known)}", option=name)
    shown = repr(value) if isinstance(value, bool | int | float | str) else "..."
    first = "'path': ..., " if homes[0] == "data" else ""
    example = f"{homes[0]}={{{first}{name!r}: {shown}}}"
    return UserError(
        f"{name} is an option of {' or '.join(homes)}: {example}", option=f"{homes[0]}.{name}"
    )


@named_options
def train(
    recipe: str | Path | RunConfig,
    data: str | Path | Mapping[str, Any] | TorchData | None = None,
    *,
    run: str | Path | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    load_size: ImageSize | None = None,
    crop_size: ImageSize | None = None,
    direction: Direction | None = None,
    seed: int | None = None,
    device: str | None = None,
    precision: PrecisionName | None = None,
    val_data: TorchData | None = None,
    resume: bool = True,
    on_step: OnStep | None = None,
    on_validation: OnValidation | None = None,
    quiet: bool = False,
    method: Section = None,
    generator: Section = None,
    discriminator: Section = None,
    train: Section = None,
    validate: Section = None,
    speed: Section = None,
) -> Path:
    """Train a model, or resume a run, as `viceversa train` does.

    Args:
        recipe: Name of a packaged recipe (`pix2pix`, `cyclegan`, ...), a TOML file, a run folder,
            or settings from `resolve`.
        data: The dataset: a folder, archive or manifest; or a map-style dataset whose items are
            pairs, as a tuple (a, b) or a dict with `a` and `b`; or, for unpaired methods, a tuple
            of two datasets, of images of A and of B. Images are float tensors (channels, height,
            width) with values in [-1, 1] and are used as they are. Or a mapping with options of
            the section `data`: `{"path": "photos", "hold_out": 0.1}`, where `path` may be a
            dataset; `workers` is then the number of processes that load its items (0). None: that
            of the recipe.
        run: Run folder (`train.run`); by default `runs/RECIPE`.
        epochs: Number of epochs (`train.epochs`).
        batch_size: Images or pairs per batch (`train.batch_size`).
        lr: Learning rate (`train.lr`).
        load_size: Size in pixels to which files are resized (`data.load_size`): one number, or
            (height, width).
        crop_size: Size in pixels of the crop of files (`data.crop_size`): one number, or
            (height, width).
        direction: `ab` or `ba` (`data.direction`).
        seed: Seed of all random numbers (`train.seed`).
        device: `auto` or a torch device (`train.device`).
        precision: `auto`, `fp32`, `tf32`, `bf16` or `fp16` (`train.precision`).
        val_data: Held-out data of the same kind as `data`, if that is a dataset. Without it such a
            run is not validated. Files have a `val` split or `data.hold_out` instead.
        resume: Whether a run in the folder is resumed; else it is refused.
        on_step: Called after every optimizer step, in the first process.
        on_validation: Called after every validation, in the first process. An exception in
            `on_step` or `on_validation` ends the run once it is saved, and is raised.
        quiet: Write nothing to stdout and stderr. The logger `viceversa` gets all messages.
        method: More options of this section, such as `{"lambda_l1": 10}`.
        generator: As `method`, such as `{"width": 32}`.
        discriminator: As `method`.
        train: As `method`.
        validate: As `method`.
        speed: As `method`.

    Returns:
        The run folder.

    Raises:
        UserError: The settings, the data or the checkpoint are invalid, or training became
            non-finite. `error.option` names the option.
        RunStopped: A signal (also the stop button of a notebook) or `train.max_time` ended the run
            early; everything is saved.
    """
    given = {
        "method": method,
        "generator": generator,
        "discriminator": discriminator,
        "data": _data_section(data),
        "train": train,
        "validate": validate,
        "speed": speed,
    }
    sections: Sections = {name: dict(values) for name, values in given.items() if values}
    shortcuts = {
        "train.run": None if run is None else str(run),
        "train.epochs": epochs,
        "train.batch_size": batch_size,
        "train.lr": lr,
        "data.load_size": load_size,
        "data.crop_size": crop_size,
        "data.direction": direction,
        "train.seed": seed,
        "train.device": device,
        "train.precision": precision,
    }
    for option, value in shortcuts.items():
        section, key = option.split(".")
        if value is None:
            continue
        if key in sections.setdefault(section, {}):
            raise UserError(f"{option} is given twice: as {key} and in {section}", option=option)
        sections[section][key] = value
    config, user = _settings(recipe, sections, val_data)
    folder = Path(config.train.run)
    if not resume and any((folder / "checkpoints").glob("*.safetensors")):
        raise UserError(
            f"{folder} contains a run; choose another run folder, or resume it with resume=True",
            option="resume",
            path=folder,
        )
    with quiet_output(quiet):
        return train_config(config, user, on_step, on_validation)


def _data_section(data: Any) -> dict[str, Any]:
    """Return the section `data`; its `path` may be a dataset."""
    if data is None:
        return {}
    section = dict(data) if isinstance(data, Mapping) else {"path": data}
    if isinstance(section.get("path"), Path):
        section["path"] = str(section["path"])
    return section


def _settings(
    recipe: str | Path | RunConfig, sections: Sections, val_data: Any
) -> tuple[RunConfig, UserData | None]:
    """Return the settings of a run and the datasets of the user; None if its data are files."""
    path = sections.get("data", {}).get("path")
    user = path is not None and not isinstance(path, str)
    if user:
        sections["data"] = {"workers": 0, **sections["data"], "path": FROM_PYTHON}
    if isinstance(recipe, RunConfig):
        base, name = recipe.sections, recipe.name("method")
    else:
        base, name = read_recipe(str(recipe)), Path(recipe).stem
    config = resolve(merge(base, sections))
    if not config.train.run:
        config = resolve(merge(config.sections, {"train": {"run": f"runs/{name}"}}))
    if not config.train.run:
        config = resolve(
            merge(config.sections, {"train": {"run": f"runs/{config.name('method')}"}})
        )
    if not user:
        if val_data is not None:
            raise UserError(
                "val_data belongs to a dataset of Python; files need a val split or data.hold_out",
                option="val_data",
            )
        return config, None
    train = check_sides(path, config.paired, "data")
    val = None if val_data is None else check_sides(val_data, config.paired, "val_data")
    channels = {
        domain: {"channels": count}
        for domain, count in channels_of(train).items()
        if getattr(config.data, domain).kind == "image"
    }
    config = resolve(merge(config.sections, {"data": channels}))
    return config, UserData(train, val, config.data.workers)
