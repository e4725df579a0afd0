"""Contact sheet of the files of a dataset, and a preview of the training samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...errors import UserError
from ...images import Pixels, Source, read, resize, write
from ...images.loading import half_of, read_options, take_half
from ...images.masks import read_mask
from ...images.nodata import mask_of
from .render import channel_ranges
from .result import CheckResult, DomainFiles, usable_splits

CELL, BORDER, GAP = 160, 4, 4
PAIRS = 3  # in a row
ROWS, INVALID_ROWS = 24, 6
GREY, RED, WHITE = (160, 160, 160), (220, 30, 30), (255, 255, 255)
MAX_SHARED = 4  # number of channels up to which all have the same contrast


def contact_sheet(check: CheckResult, path: Path, count: int = ROWS) -> None:
    """Write `count` images of A and B, evenly spaced over the dataset, then invalid ones.

    Values are scaled from the minimum and maximum of the domain to black and white; of many
    channels the first three are used. Invalid files have a red border; unreadable ones are grey.
    """
    split, index = next(iter(check.splits.items()))
    parts = check.domains[split]
    limits = [_limits(part) for part in parts]
    pairs = []
    for files in _rows(check, index.a, index.b, count):
        cells = [
            _cell(check, part, low_high, source)
            for part, low_high, source in zip(parts, limits, files, strict=True)
        ]
        space = np.full((CELL, GAP, 3), WHITE, dtype=np.uint8)
        pairs.append(np.concatenate([cells[0], space, cells[1], *[space] * 4], axis=1))
    blank = np.full_like(pairs[0], WHITE[0])
    pairs += [blank] * (-len(pairs) % PAIRS if len(pairs) > PAIRS else 0)
    lines = [np.concatenate(pairs[i : i + PAIRS], axis=1) for i in range(0, len(pairs), PAIRS)]
    space = np.full((GAP, lines[0].shape[1], 3), WHITE, dtype=np.uint8)
    write(path, np.concatenate([part for line in lines for part in (line, space)]))


def _rows(
    check: CheckResult, a: Sequence[Source], b: Sequence[Source], count: int
) -> list[tuple[Source, Source]]:
    """Return pairs or, without pairs, files that are evenly spaced over each domain."""
    number = min(count, max(len(a), len(b)))
    rows = [(a[i * len(a) // number], b[i * len(b) // number]) for i in range(number)]
    longer = range(max(len(a), len(b)))
    every = [(a[i % len(a)], b[i % len(b)]) for i in longer] if check.invalid else []
    invalid = [row for row in every if row not in rows and check.invalid.keys() & set(row)]
    return rows + invalid[:INVALID_ROWS]


def _limits(part: DomainFiles) -> tuple[Pixels, Pixels]:
    """Return the values that become black and white: one, or one for each of three channels."""
    values = np.array(
        channel_ranges([part.range(record) for _, record in part.readable()]) or [[0, 1]]
    )
    if len(values) <= MAX_SHARED:
        values = np.array([[values[:, 0].min(), values[:, 1].max()]])
    return values[:3, 0], values[:3, 1]


def _cell(
    check: CheckResult, part: DomainFiles, limits: tuple[Pixels, Pixels], source: Source
) -> Pixels:
    """Return (CELL, CELL, 3): the image in the middle, with a red border if it is invalid."""
    cell = np.full((CELL, CELL, 3), WHITE, dtype=np.uint8)
    try:
        image = _thumbnail(check, part, limits, source)
    except UserError:
        image = np.full((CELL - 2 * BORDER, CELL - 2 * BORDER, 3), GREY, dtype=np.uint8)
    top, left = (CELL - image.shape[0]) // 2, (CELL - image.shape[1]) // 2
    bottom, right = top + image.shape[0], left + image.shape[1]
    if source in check.invalid:
        cell[top - BORDER : bottom + BORDER, left - BORDER : right + BORDER] = RED
    cell[top:bottom, left:right] = image
    return cell


def _thumbnail(
    check: CheckResult, part: DomainFiles, limits: tuple[Pixels, Pixels], source: Source
) -> Pixels:
    """Return 8-bit RGB that fits into the border."""
    settings, max_pixels = part.config, check.config.max_megapixels * 10**6
    own = part.masks.get(source)
    pixels = read(source, *read_options(settings, max_pixels), fit=False, mask=read_mask(own))
    pixels = take_half(pixels, half_of(part.domain) if part.side_by_side else None)
    height, width = pixels.shape[:2]
    if not width:
        raise UserError(f"{source} cannot be halved")
    scale = (CELL - 2 * BORDER) / max(height, width)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    pixels = pixels[:, :, :3] if pixels.shape[2] >= 3 else np.repeat(pixels[:, :, :1], 3, axis=2)
    labels = settings.kind == "labels"
    small = resize(pixels.copy(order="C"), *size, "nearest" if labels else "bilinear")
    low, high = limits
    scaled = (np.ma.getdata(small).astype(np.float64) - low) / np.maximum(high - low, 1e-30)
    if (mask := mask_of(small)) is not None:
        scaled[mask] = 1  # no data is white
    return np.asarray((scaled.clip(0, 1) * 255).round(), dtype=np.uint8)


ROWS, EPOCHS = 6, 3


def write_preview(check: CheckResult, path: Path, seed: int = 0) -> None:
    """Write a grid: a row for each image, with (source, target) of three epochs.

    Raises:
        UserError: If the dataset cannot be trained on.
    """
    import torch  # the check itself needs no torch

    from ...images.values import make_grid, to_rgb
    from ..dataset import ImageDataset
    from ..fit import fit_domains

    index = usable_splits(check)["train"]
    domains = fit_domains(index, check.domains["train"], check.config)
    dataset = ImageDataset(index, check.config, domains, check.paired, seed, training=True)
    source, target = (dataset.domains[side] for side in dataset.direction)
    rows = []
    for number in range(min(ROWS, len(dataset))):
        row = []
        wanted = dataset.indices(1, number)[0]  # the same image in each epoch
        for epoch in range(1, EPOCHS + 1):
            positions = range(len(dataset))
            position = next(p for p in positions if dataset.indices(epoch, p)[0] == wanted)
            batch = dataset.batch([(epoch, position)], torch.device("cpu"))
            if batch is not None:
                row += [to_rgb(batch.a, source)[0], to_rgb(batch.b, target, batch.a)[0]]
        rows.append(row)
    write(path, make_grid(rows))
