"""Open a dataset for training: check it, fit its domains, build the dataset of each split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ..errors import UserError
from ..fields import counted
from ..images.sources import Source
from .check import check_dataset, usable_splits
from .check.record import FileRecord
from .check.scan import Progress
from .config import DataConfig, resized_size, uncropped
from .dataset import ImageDataset
from .fit import fit_domains
from .index import SplitIndex, index_split
from .user import SplitDataset

MAX_RATIOS = 16  # aspect ratios of side-by-side files that a model file lists


class Datasets(NamedTuple):
    """The datasets of a run."""

    train: SplitDataset
    samples: SplitDataset
    """Images of sample grids: those of val, else of test, else of train."""
    split: str
    """Name of the split of `samples`."""
    held_out: SplitDataset | None
    """Uncropped images of that split, for validation; None if it is the training split."""
    train_eval: SplitDataset
    """Uncropped images of the training split, without augmentation."""
    side_by_side: tuple[float, ...]
    """Aspect ratios (width / height) of the training files, if A and B are side by side in them."""
    without_held_out: str = "the data have no val or test split (see data.hold_out)"
    """Why there is no validation if there are no held-out images, and what to do."""

    def counts(self) -> dict[str, dict[str, int]]:
        """Return the number of pairs, or of images of each domain, by split."""
        splits = {"train": self.train} | ({self.split: self.held_out} if self.held_out else {})
        return {
            split: {"pairs": len(dataset)}
            if self.train.paired
            else {
                side.upper(): count
                for side, count in sorted(zip(dataset.direction, dataset.lengths, strict=True))
            }
            for split, dataset in splits.items()
        }

    def new_invalid_files(self, last: bool = True) -> Iterator[str]:
        """Yield a line on the files that became invalid since the last call, for each dataset.

        `last`: whether it is the last call of an epoch, which reports all of them.
        """
        for dataset in (self.train, self.samples, self.held_out, self.train_eval):
            if dataset is not None and (line := dataset.invalid.report(last)):
                yield line


def open_data(
    config: DataConfig,
    paired: bool,
    seed: int,
    folder: Path,
    note: Callable[[str], None],
    progress: Progress | None = None,
    validate_pairs: bool = False,
) -> Datasets:
    """Check a dataset and open it.

    Args:
        config: Settings of the data.
        paired: Whether the method trains on pairs.
        seed: Seed of order and augmentation.
        folder: The run folder, for images cached on disk.
        note: Called with a sentence for each split, warning and group of files left out.
        progress: Called with the progress of the check.
        validate_pairs: Whether held-out images of unpaired data are paired by name.

    Raises:
        UserError: The dataset cannot be trained on.
    """
    check = check_dataset(config.path, paired, config, progress=progress, names_first=True)
    splits, records = usable_splits(check, note), check.records
    domains = fit_domains(splits["train"], check.domains["train"], config)
    digests = check.digests
    whole = uncropped(config)

    def dataset(
        index: SplitIndex, config: DataConfig, paired: bool = paired, training: bool = False
    ) -> ImageDataset:
        return ImageDataset(index, config, domains, paired, seed, training, digests)

    for issue in check.issues:
        if issue.severity != "error":  # errors have been raised, or their files are left out
            note(f"{issue.severity}: {issue}")
    for split, index in splits.items():
        note(f"{split}: {index.layout}, {len(index.a)} of A, {len(index.b)} of B")
    train = dataset(splits["train"], config, training=True)
    split = next(split for split in ("val", "test", "train") if split in splits)
    held_out = splits[split]
    if validate_pairs:
        held_out = _pairs(config, splits, split, records, note)
    if config.cache == "disk":
        train.cache_on_disk(folder / "cache", note)
    return Datasets(
        train,
        dataset(splits[split], config),
        split,
        None if split == "train" else dataset(held_out, whole, paired or validate_pairs),
        dataset(splits["train"], whole),
        _ratios(splits["train"], records),
    )


def _ratios(index: SplitIndex, records: Mapping[Source, FileRecord]) -> tuple[float, ...]:
    """Return the most frequent aspect ratios of side-by-side files."""
    files = [records[source] for source in index.a if index.side_by_side]
    counts = Counter(round(record.width / record.height, 4) for record in files)
    return tuple(ratio for ratio, _ in counts.most_common(MAX_RATIOS))


def _pairs(
    config: DataConfig,
    splits: Mapping[str, SplitIndex],
    split: str,
    records: Mapping[Source, FileRecord],
    note: Callable[[str], None],
) -> SplitIndex:
    """Return the pairs among the held-out images of unpaired data.

    Raises UserError if there is no held-out split, no image of it has a partner, or the images of a
    pair differ in size.
    """
    option = "validate.pairs"
    if split == "train":
        raise UserError(
            f"{option} needs held-out images, and there is no val or test split; add one, or set "
            "data.hold_out",
            option=option,
        )
    try:
        index = index_split(config.path, split, True, config)
    except UserError as error:
        raise UserError(f"{option} needs pairs in {split}: {error}", option=option) from None
    assert index is not None
    a, b = set(splits[split].a), set(splits[split].b)
    keep = [i in a and j in b for i, j in zip(index.a, index.b, strict=True)]
    pairs = replace(index.masked(keep, keep), unmatched={})
    if not pairs.a:
        raise UserError(
            f"{option} needs pairs in {split}, and no image of it has a usable partner",
            option=option,
        )
    for pair in zip(pairs.a, pairs.b, strict=True) if not index.side_by_side else ():
        sizes = [(records[source].height, records[source].width) for source in pair]
        resized = {resized_size(*size, uncropped(config), pair[0]) for size in sizes}
        if len(resized) > 1:
            (h, w), (other_h, other_w) = sizes
            raise UserError(
                f"{option} compares images of one size, but {pair[0]} is {w}x{h} and {pair[1]} "
                f"{other_w}x{other_h}; set data.preprocess resize_and_crop, or leave out {option}",
                option=option,
                path=pair[1].path,
            )
    if unmatched := len(a - set(pairs.a)) + len(b - set(pairs.b)):
        text = f"left out: {counted(unmatched, 'image')} without a partner"
        note(f"{option}: {counted(len(pairs.a), 'pair')} of {split}; {text}")
    return pairs
