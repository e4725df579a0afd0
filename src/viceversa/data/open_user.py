"""Open datasets that users pass to `viceversa.train`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeGuard

from torch.utils.data import IterableDataset

from ..errors import UserError
from ..images.domain import Domain, DomainConfig
from ..runtime.random_state import seeded_on_cpu
from .config import DataConfig
from .open import Datasets
from .user import UserDataset
from .user_items import MapDataset, Sides, checked, load_images


class UserData(NamedTuple):
    """Datasets of a run."""

    train: Sides
    val: Sides | None = None
    """Held-out data; None: no validation."""
    workers: int = 0
    """Processes that load training items ahead; 0: the training process loads them."""


def is_dataset(value: Any) -> TypeGuard[MapDataset]:
    """Return whether a value is a map-style dataset."""
    named = isinstance(value, str | bytes | Mapping | IterableDataset)
    return not named and hasattr(value, "__len__") and hasattr(value, "__getitem__")


def check_sides(value: Any, paired: bool, option: str) -> Sides:
    """Return datasets for a method.

    Args:
        value: A map-style dataset of pairs, or a tuple of two datasets, of A and of B.
        paired: Whether the method trains on pairs.
        option: Name of the argument, for messages.

    Raises:
        UserError: The value is neither, it is empty, or the method needs pairs.
    """
    sides = value if isinstance(value, tuple) else (value,)
    if len(sides) > 2 or not all(map(is_dataset, sides)):
        kinds = ", ".join(type(one).__name__ for one in sides)
        raise UserError(
            f"{option} must be a path, a map-style dataset of pairs (with a length and items by "
            f"index), or a tuple of two datasets, not {kinds}",
            option=option,
        )
    if len(sides) == 2 and paired:
        raise UserError(
            f"{option} is two datasets, and this method trains on pairs; pass one dataset whose "
            "items are pairs (a, b)",
            option=option,
        )
    if not all(map(len, sides)):
        raise UserError(f"{option} is empty", option=option)
    return (sides[0], sides[1]) if len(sides) == 2 else sides[0]


def channels_of(data: Sides) -> dict[str, int]:
    """Return the number of channels of the first image of each domain. Raises UserError."""
    with seeded_on_cpu(0):
        images = load_images(data, {"a": 0, "b": 0})
    return {domain: len(checked(*image, domain, None)[0]) for domain, image in images.items()}


def open_user_data(
    user: UserData,
    config: DataConfig,
    paired: bool,
    seed: int,
    note: Callable[[str], None],
    validate_pairs: bool = False,
) -> Datasets:
    """Open datasets of a user for training, as `open_data` opens files.

    Args:
        user: The datasets.
        config: Settings of the data; only the direction and the domains matter.
        paired: Whether the method trains on pairs.
        seed: Seed of the order and of the items.
        note: Called with a sentence for each split.
        validate_pairs: Whether the held-out data of an unpaired method are pairs.

    Raises:
        UserError: The datasets do not fit the method or the settings.
    """
    domains = {name: _domain(name, getattr(config, name)) for name in "ab"}
    if validate_pairs and (user.val is None or isinstance(user.val, tuple)):
        raise UserError(
            "validate.pairs needs val_data with one dataset of pairs", option="validate.pairs"
        )

    def dataset(data: Sides, paired: bool, training: bool = False) -> UserDataset:
        workers = user.workers if training else 0
        return UserDataset(data, domains, config.direction, paired, seed, training, workers)

    train = dataset(user.train, paired, training=True)
    held_out = None if user.val is None else dataset(user.val, paired or validate_pairs)
    for split, one in (("train", train), ("val", held_out)):
        if one is not None:
            a, b = one.contents
            pairs = not isinstance(one.data, tuple)
            note(f"{split}: dataset of {f'{a} pairs' if pairs else f'{a} of A, {b} of B'}")
    note("items are used as they are: of the options of data, direction, a, b and workers apply")
    return Datasets(
        train,
        dataset(user.train if user.val is None else user.val, paired),
        "train" if user.val is None else "val",
        held_out,
        dataset(user.train, paired),
        (),
        "pass val_data to validate",
    )


def _domain(name: str, config: DomainConfig) -> Domain:
    """Return the domain of tensors: what -1 and 1 are in files that are translated later."""
    if config.masks:
        raise UserError(
            f"data.{name}.masks needs files; items of a dataset may have a weight",
            option=f"data.{name}.masks",
        )
    if config.kind != "image":
        return Domain(config, "uint8", (0.0,), (255.0,))
    channels, given = config.channels, config.given()
    if given is None and config.range != "dtype":
        raise UserError(
            f"data.{name}.range {config.range} needs files; set it to the two numbers that -1 and "
            "1 stand for",
            option=f"data.{name}.range",
        )
    low, high = given or (0.0, 255.0)
    dtype = "float32" if given else "uint8"
    return Domain(config, dtype, (low,) * channels, (high,) * channels)
