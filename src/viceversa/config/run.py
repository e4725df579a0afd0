"""Settings of a run, and the method that they describe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from ..data import DataConfig
from ..errors import UserError
from ..fields import did_you_mean, fill, option_of, plain
from ..methods import METHODS
from ..networks import DISCRIMINATORS, GENERATORS
from .recipes import NAMED, Sections, merge, recipes
from .speed import PrecisionName, SpeedConfig
from .train import TrainConfig
from .validate import ValidateConfig

if TYPE_CHECKING:
    from ..methods.base import Method

REGISTRIES: dict[str, Mapping[str, tuple[Any, Any]]] = {
    "method": METHODS,
    "generator": GENERATORS,
    "discriminator": DISCRIMINATORS,
}
CONFIGS: dict[str, type[Any]] = {
    "data": DataConfig,
    "train": TrainConfig,
    "validate": ValidateConfig,
    "speed": SpeedConfig,
}


@dataclass(frozen=True)
class RunConfig:
    """All settings of a run, typed and validated."""

    method: Any
    """Options of the method: its `Config`."""
    generator: Any
    """Options of the generator."""
    discriminator: Any
    """Options of the discriminator."""
    data: DataConfig
    """Section `data`."""
    train: TrainConfig
    """Section `train`."""
    validate: ValidateConfig
    """Section `validate`."""
    speed: SpeedConfig
    """Section `speed`."""
    sections: Sections
    """All of them as plain values."""

    def name(self, section: str) -> str:
        """Return the name of the method, generator or discriminator."""
        return str(self.sections[section]["name"])

    @property
    def paired(self) -> bool:
        """Whether the method learns from pairs."""
        return is_paired(self.name("method"))


def resolve(sections: Sections) -> RunConfig:
    """Return the typed settings of a run.

    Args:
        sections: Plain values by section and name, as `read_recipe` returns them; missing ones
            take their defaults. The sections `method`, `generator` and `discriminator` need a
            `name`.

    Raises:
        UserError: An option is unknown, has another type or is out of range, or options contradict
            each other. `error.option` names it.
    """
    typed: dict[str, Any] = {}
    full: Sections = {}
    for section in NAMED:
        values = dict(sections.get(section, {}))
        name = values.pop("name", None)
        _, config_class = registered(section, name)
        refuse_option_of_other(section, name, values)
        typed[section] = fill(config_class, values, section)
        full[section] = {"name": name, **plain(typed[section])}
    for section, config_class in CONFIGS.items():
        typed[section] = fill(config_class, sections.get(section, {}), section)
        full[section] = plain(typed[section])
    typed["validate"].chosen(is_paired(full["method"]["name"]))
    return RunConfig(**typed, sections=full)


def with_precision(config: RunConfig, name: PrecisionName) -> RunConfig:
    """Return settings with another `train.precision`."""
    sections = merge(config.sections, {"train": {"precision": name}})
    return replace(config, train=replace(config.train, precision=name), sections=sections)


def completed(sections: Sections) -> Sections:
    """Return settings of an earlier version with the defaults of options that it did not have."""
    defaults: Sections = {}
    for section, values in sections.items():
        _, config_class = REGISTRIES.get(section, {}).get(values.get("name", ""), (None, None))
        config_class = CONFIGS.get(section, config_class)
        named = {"name": values["name"]} if section in NAMED else {}
        defaults[section] = named | (plain(config_class()) if config_class else {})
    return merge(defaults, sections)


def registered(section: str, name: Any) -> tuple[Any, Any]:
    """Return the entry of a registry. Raises UserError for an unknown name."""
    known = REGISTRIES[section]
    if not isinstance(name, str) or name not in known:
        near = did_you_mean(str(name), known)
        raise UserError(
            f"{section}.name is {name!r}{near}; available: {', '.join(known)}",
            option=f"{section}.name",
        )
    return known[name]


def refuse_option_of_other(section: str, name: str, keys: Iterable[str]) -> None:
    """Raise UserError for an option that only other methods or networks of a section have."""
    options = {
        one: [field.name for field in fields(cls)] for one, (_, cls) in REGISTRIES[section].items()
    }
    for key in keys:
        others = [one for one, names in options.items() if key in names]
        if others and name not in others:
            raise UserError(
                f"--{section}.{key} is an option of {' or '.join(others)}, not of {name}; add "
                f"--{section}.name {others[0]}, or leave it out",
                option=f"{section}.{key}",
            )


def is_paired(method: str) -> bool:
    """Return whether a method trains on pairs. Raises UserError if that is not declared."""
    builder, config_class = registered("method", method)
    try:
        # A function that builds the method is not called: that would load torch.
        owner: Any = builder if isinstance(builder, type) else config_class
        paired = owner.paired
    except AttributeError:
        paired = None
    if not isinstance(paired, bool):
        raise UserError(
            f"the class of method {method!r} does not declare whether it needs pairs; add "
            "paired: ClassVar[bool] = True (or False) to it",
            option="method.name",
        )
    return paired


def recipe_for(paired: bool) -> str:
    """Return the first method with a packaged recipe of its name that needs pairs, or does not."""
    packaged = recipes()
    return next(name for name in METHODS if name in packaged and is_paired(name) == paired)


def make_method(config: RunConfig) -> Method:
    """Build the method with new networks. Raises UserError if its settings are inconsistent."""
    method_class, _ = METHODS[config.name("method")]
    generator, _ = GENERATORS[config.name("generator")]
    discriminator, _ = DISCRIMINATORS[config.name("discriminator")]
    channels = config.data.a.width, config.data.b.width
    if config.data.direction == "ba":
        channels = channels[::-1]
    try:
        method: Method = method_class(
            config.method,
            channels,
            lambda before, after: generator(config.generator, before, after),
            lambda before: discriminator(config.discriminator, before),
        )
    except ValueError as error:
        raise UserError(str(error), option=option_of(error)) from None
    return method
