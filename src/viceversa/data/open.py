"""A data set made ready to train on: looked at, checked, its domains settled, its splits opened."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from ..errors import UserError
from ..images.domain import Domain
from .check import Progress, check, usable
from .config import DataConfig
from .dataset import Pictures
from .settle import settle

MANY = 10  # bad label maps are named up to here


class Opened(NamedTuple):
    """What training needs: its own split, and one to show samples of (val, else test, else it)."""

    train: Pictures
    shown: Pictures
    domains: tuple[Domain, Domain]


def open_data(
    config: DataConfig, paired: bool, seed: int, folder: Path, note: Callable[[str], None],
    progress: Progress | None = None,
) -> Opened:  # fmt: skip
    """Check a data set and open it. `folder` is the run's, for images kept on disk.

    Raises UserError where it can't be trained on; `note` is told what is found and left out.
    """
    checked = check(config.path, paired, config, progress=progress, names_first=True)
    found = usable(checked, config, note)
    domains = settle(found["train"], checked.records, config)
    splits = {
        split: Pictures(one, config, domains, paired, seed, training=split == "train")
        for split, one in found.items()
    }
    for split, one in found.items():
        note(f"{split}: {one.layout}, {len(one.a)} of A, {len(one.b)} of B")
    train = splits["train"]
    for name in "ab":
        if train.domains[name].config.kind == "labels":
            _check_labels(train, name)
    if config.cache == "disk":
        train.keep_on_disk(folder / "cache", note)
    return Opened(train, splits.get("val") or splits.get("test") or train, domains)


def _check_labels(pictures: Pictures, domain: str) -> None:
    """Read every label map once: an unknown class must not end a run hours later."""

    def why_not(index: int) -> str | None:
        try:
            pictures.picture(domain, index)
        except UserError as error:
            return str(error)
        return None

    with ThreadPoolExecutor() as pool:
        told = pool.map(why_not, range(len(pictures.sources(domain))))
        bad = [why for why in told if why is not None]
    if bad:
        more = f"; and {len(bad) - MANY} more files" if len(bad) > MANY else ""
        raise UserError("; ".join(bad[:MANY]) + more)
