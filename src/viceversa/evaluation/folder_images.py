"""Images of two folders: their pairs by name, and the domain of the real ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ..config.evaluation import EvaluationOptions
from ..data import DataConfig, SplitIndex
from ..data.check.result import DomainFiles
from ..data.check.scan import scan_files
from ..data.dataset import ImageDataset
from ..data.fit import fit_domain
from ..data.index.files import FileTree, read_tree, refuse_other_formats
from ..data.index.masks import separate_masks, with_masks
from ..data.index.pairing import Masks, by_stem, first_names, names_of
from ..data.index.roles import role_of
from ..errors import UserError
from ..images import Source
from ..images.domain import Domain, DomainConfig
from ..images.loading import read_options
from ..images.preprocessing import parse_size
from ..images.sources import printable, unread

NAMED = 3  # images that a note names
MAX_COLOURS = 4  # channels of a file that may be converted to RGB; others are kept


class FolderImages(NamedTuple):
    """Images of two folders: `a` are generated and `b` real."""

    pairs: ImageDataset
    rest: ImageDataset
    """Images without a partner."""
    domain: Domain
    """Domain of both, fitted to the real images."""
    notes: list[str]


def open_folders(fakes: Path, reals: Path, options: EvaluationOptions) -> FolderImages:
    """Index two folders, and fit a domain to the real images. Raises UserError."""
    trees = [_tree(path) for path in (fakes, reals)]
    only_masks = DomainConfig(masks=options.data.b.masks)
    tree, mask_files = separate_masks(trees[1], DataConfig(path=str(reals), b=only_masks))
    assert isinstance(tree, FileTree)
    index, rest, notes = _pairs(trees[0], tree, options)
    masks = with_masks({"pairs": index, "rest": rest}, mask_files)
    index, rest = (dataclasses.replace(one, masks=masks) for one in (index, rest))
    max_pixels = options.max_megapixels * 10**6
    domain = _domain(list(tree.files.values()), options, max_pixels, reals, masks)
    size = parse_size(options.size)
    config = DataConfig(
        path=str(reals),
        preprocess="resize" if size else "none",
        crop_size=size or DataConfig.crop_size,
        max_megapixels=options.max_megapixels,
        cache="off",
        b=only_masks,
    )
    pairs, others = (
        ImageDataset(one, config, (domain, domain), paired, 0, training=False)
        for one, paired in ((index, True), (rest, False))
    )
    range_of = options.data.b.range
    if range_of in ("minmax", "percentiles") and domain.config.kind == "image":
        notes.append(
            f"the range of the values is the {range_of} of REALS; results with another range have "
            "another peak and are not comparable"
        )
    return FolderImages(pairs, others, domain, notes)


def _tree(path: Path) -> FileTree:
    """List the images of a folder or archive. Raises UserError if it has none, or is a dataset."""
    tree = read_tree(path)
    refuse_other_formats(tree)
    if not tree.files:
        raise UserError(f"{path} has no images", path=path)
    folders = {part for name in tree.files for part in PurePosixPath(name).parts[:-1]}
    if domains := sorted(folder for folder in folders if role_of(folder).domain):
        raise UserError(
            f"{path} is a dataset with folders of domains ({', '.join(domains[:2])}); name one of "
            "these folders",
            path=path,
        )
    return tree


def _pairs(
    fakes: FileTree, reals: FileTree, options: EvaluationOptions
) -> tuple[SplitIndex, SplitIndex, list[str]]:
    """Return the pairs by name, the other images, and notes on these. Raises UserError."""
    a, b = (by_stem(tree.files.items()) for tree in (fakes, reals))
    names = names_of(a, b)
    keys = sorted(key for key in a.keys() & b.keys() if len(a[key]) == len(b[key]) == 1)
    if keys and options.half is None:
        _refuse_side_by_side(a[keys[0]][0], b[keys[0]][0], options)
    wanted, half = options.pairs, options.chosen_half
    # The order is that of the pairs also without pairs: SWD depends on the order of the images.
    rest = [
        [one for key in sorted(side.keys() - set(keys)) for one in side[key]] for side in (a, b)
    ]
    if wanted == "no":
        rest = [
            [*(side[key][0] for key in keys), *some]
            for side, some in zip((a, b), rest, strict=True)
        ]
        keys = []
    index = SplitIndex(
        "pairs by name",
        tuple(a[key][0] for key in keys),
        tuple(b[key][0] for key in keys),
        names=names,
        half_b=half,
    )
    others = SplitIndex(
        "images without a partner", tuple(rest[0]), tuple(rest[1]), names=names, half_b=half
    )
    if wanted == "no":
        return index, others, []
    notes = [f"not read: {group}" for tree in (fakes, reals) for group in unread(tree.other)]
    notes += [
        f"{len(some)} of {len(tree.files)} images of {printable(tree.root)} have no partner of the "
        f"same name: {first_names(some, NAMED)}"
        for tree, some in zip((fakes, reals), rest, strict=True)
        if some
    ]
    if wanted == "yes" and (rest[0] or not keys):
        raise UserError(
            f"--pairs yes needs a real image for each generated one: {notes[0]}", option="--pairs"
        )
    if not keys:
        notes.append("no pairs: only metrics of sets")
    return index, others, notes


def _refuse_side_by_side(fake: Source, real: Source, options: EvaluationOptions) -> None:
    """Raise UserError if a real image has twice the aspect ratio of its generated image."""
    read = read_options(options.data.b, options.max_megapixels * 10**6)
    records = scan_files([fake, real], read, store=None)
    one, other = records[fake], records[real]
    if one.error or other.error or other.width * one.height != 2 * one.width * other.height:
        return
    raise UserError(
        f"{real} has {other.width}x{other.height} pixels and the generated image {fake} has "
        f"{one.width}x{one.height}: REALS look like side-by-side files; choose the half to compare "
        "with --half left or --half right, or --half whole if they are single images",
        option="--half",
        path=real.path,
    )


def _domain(
    reals: Sequence[Source],
    options: EvaluationOptions,
    max_pixels: int,
    root: Path,
    masks: Masks,
) -> Domain:
    """Fit a domain to the real images. Raises UserError if one of them is invalid."""
    config, half = options.data.b, options.chosen_half
    own = {source: mask for (_, source), mask in masks.items()}
    read = read_options(config, max_pixels)
    records = scan_files(reals, read, root=root, masks=own, domain="b" * bool(own))
    for source, record in records.items():
        if record.error:
            raise UserError(f"{source} {record.error}", path=source.path)
        if half and record.width < 2:
            raise UserError(
                f"{source} is one pixel wide and has no halves", option="--half", path=source.path
            )
    channels = max(record.channels for record in records.values())
    if config.kind == "image" and config.channels == 3 and channels > MAX_COLOURS:
        config = dataclasses.replace(config, channels=channels)
    return fit_domain(DomainFiles("", "b", config, False, records, own, half), records, max_pixels)
