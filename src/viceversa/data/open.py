"""A data set made ready to train on: looked at, checked, its domains settled, its splits opened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ..errors import UserError
from ..images.sources import Source
from .check import Checked, Progress, check, usable
from .check.records import Record
from .check.words import headline
from .config import DataConfig, whole
from .dataset import Pictures
from .index import SplitIndex, index_split
from .settle import settle
from .sizes import fitted

MOST_RATIOS = 16  # of side-by-side files that a model file lists


class Opened(NamedTuple):
    """What training needs: its own split, and one to show samples of (val, else test, else it)."""

    train: Pictures
    shown: Pictures
    split: str
    """Which split `shown` is."""
    held_out: Pictures | None
    """The whole images of that split, to validate on; None where there are none but to train on."""
    learnt: Pictures
    """The whole images of the training split, as `held_out` has its own."""
    side_by_side: tuple[float, ...]
    """Aspect ratios (width / height) of the training files, if A and B are side by side in them."""

    def news(self, last: bool = True) -> Iterator[str]:
        """Yield a line about the files that turned out bad since the last call, if one is due.

        `last`: whether it is the last call of an epoch, which reports all that is left.
        """
        for pictures in (self.train, self.shown, self.held_out, self.learnt):
            if pictures is not None and (line := pictures.bad.report(last)):
                yield line


def open_data(
    config: DataConfig,
    paired: bool,
    seed: int,
    folder: Path,
    note: Callable[[str], None],
    progress: Progress | None = None,
    validate_pairs: bool = False,
) -> Opened:
    """Check a data set and open it. `folder` is the run's, for images kept on disk.

    `validate_pairs`: the held-out images of unpaired data are pairs, by their names. Raises
    UserError where it can't be trained on; `note` is told what is found and left out.
    """
    checked = check(config.path, paired, config, progress=progress, names_first=True)
    found = usable(checked, config, note)
    domains = settle(found["train"], checked.sides, config)
    digests = {source: record.sha256 for source, record in checked.records.items()}

    def pictures(
        one: SplitIndex, config: DataConfig, training: bool, as_pairs: bool = paired
    ) -> Pictures:
        return Pictures(one, config, domains, as_pairs, seed, training, digests)

    splits = {split: pictures(one, config, split == "train") for split, one in found.items()}
    for finding in checked.findings:  # errors were refused
        if finding.level != "error":
            note(f"{finding.level}: {headline(finding)}")
    for split, one in found.items():
        note(f"{split}: {one.layout}, {len(one.a)} of A, {len(one.b)} of B")
    train, split = splits["train"], next(s for s in ("val", "test", "train") if s in found)
    pairs = _pairs(config, found, split, checked.records, note) if validate_pairs else found[split]
    held_out, learnt = (
        pictures(one, whole(config), training=False, as_pairs=as_pairs)
        for one, as_pairs in ((pairs, paired or validate_pairs), (found["train"], paired))
    )
    # Samples of training images, where there are no others, are drawn as they are.
    plain = pictures(found["train"], config, training=False)
    if config.cache == "disk":
        train.keep_on_disk(folder / "cache", note)
    shown = plain if split == "train" else splits[split]
    ratios = _ratios(found["train"], checked)
    return Opened(train, shown, split, None if split == "train" else held_out, learnt, ratios)


def _ratios(found: SplitIndex, checked: Checked) -> tuple[float, ...]:
    """The most frequent aspect ratios of side-by-side files."""
    if not found.side_by_side:
        return ()
    records = [checked.records[source] for source in found.a]
    counts = Counter(round(one.width / one.height, 4) for one in records)
    return tuple(ratio for ratio, _ in counts.most_common(MOST_RATIOS))


def _pairs(
    config: DataConfig,
    found: Mapping[str, SplitIndex],
    split: str,
    records: Mapping[Source, Record],
    note: Callable[[str], None],
) -> SplitIndex:
    """Return the pairs among the held-out images of unpaired data.

    Raises:
        UserError: If there is no held-out split, no image of it has a partner of its name, or the
            images of a pair differ in size.
    """
    option = "validate.pairs"
    if split == "train":
        raise UserError(
            f"{option} needs held-out images, and there is no val or test split; add one, or set "
            "data.hold_out",
            option=option,
        )
    try:
        every = index_split(config.path, split, True, config)
    except UserError as error:
        raise UserError(f"{option} needs pairs in {split}: {error}", option=option) from None
    assert every is not None
    a, b = set(found[split].a), set(found[split].b)
    known = [(x, y) for x, y in zip(every.a, every.b, strict=True) if x in a and y in b]
    if not known:
        raise UserError(
            f"{option} needs pairs in {split}, and no image of it has a usable partner",
            option=option,
        )
    for pair in known if not every.side_by_side else []:
        sizes = [(records[one].height, records[one].width) for one in pair]
        if (
            len({fitted(*size, whole(config), one) for size, one in zip(sizes, pair, strict=True)})
            > 1
        ):
            (h, w), (other_h, other_w) = sizes
            raise UserError(
                f"{option} compares images of one size, but {pair[0]} is {w}x{h} and {pair[1]} "
                f"{other_w}x{other_h}; set data.preprocess resize_and_crop, or leave out {option}",
                option=option,
                path=pair[1].path,
            )
    first, second = (tuple(side) for side in zip(*known, strict=True))
    if alone := len(a - set(first)) + len(b - set(second)):
        told = f"{len(known)} pairs of {split}; {alone} images without a partner are not used"
        note(f"{option}: {told}")
    return replace(every, a=first, b=second, unmatched={})
