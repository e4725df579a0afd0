"""A contact sheet: images of A and B beside each other, as the files have them, to look at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ...errors import UserError
from ...images import Pixels, Source, read, resize, write
from ...images.domain import DomainConfig
from ...images.loading import half_of, one_half
from ...images.nodata import mask_of
from .checked import Checked
from .faults import Seen

Span = tuple[tuple[float, float, float], tuple[float, float, float]]

CELL, FRAME, GAP = 160, 4, 4
PAIRS = 3  # in a row
ROWS, BAD_ROWS = 24, 6
GREY, RED, WHITE = (160, 160, 160), (220, 30, 30), (255, 255, 255)
ALIKE = 4  # so many bands are of one kind, such as RGB; of more each is stretched for itself


def contact_sheet(checked: Checked, path: Path, count: int = ROWS) -> None:
    """Write a picture: `count` images of A and B, evenly spaced over the set, then bad ones.

    Any depth is stretched between the domain's least and greatest value; of many bands the first
    three are shown. What can't be used is framed in red; what can't be read is a grey field.
    """
    split, found = next(iter(checked.found.items()))
    domains = checked.seen[split]
    spans = [span(domain) for domain in domains]
    cells = [
        [_cell(checked, *sides) for sides in zip(domains, spans, row, strict=True)]
        for row in _rows(checked, found.a, found.b, count)
    ]
    write(path, _laid_out(cells))


def _rows(
    checked: Checked, a: Sequence[Source], b: Sequence[Source], count: int
) -> Iterator[tuple[Source, Source]]:
    """A's and B's: pairs where they are; without pairs, each evenly spaced over its own domain."""
    paired = len(a) == len(b) and (checked.paired or a == b)
    chosen = _spread(len(a), count)
    pairs = [(a[i], b[i]) for i in chosen] if paired else []
    if not paired:
        number = min(count, max(len(a), len(b)))
        pairs = [(a[i * len(a) // number], b[i * len(b) // number]) for i in range(number)]
    yield from pairs
    bad = checked.bad.keys()
    if bad:
        longer = max(len(a), len(b))
        every = ((a[i % len(a)], b[i % len(b)]) for i in range(longer))
        more = [pair for pair in every if pair not in pairs and bad & set(pair)]
        yield from more[:BAD_ROWS]


def _spread(length: int, count: int) -> list[int]:
    number = min(length, count)
    return [i * length // number for i in range(number)]


def span(domain: Seen) -> Span:
    """The values that become black and white: of all bands, or of each where there are many."""
    ranges = [domain.range(record) for _, record in domain.read()]
    if not ranges or len({len(low) for low, _ in ranges}) > 1 or len(ranges[0][0]) <= ALIKE:
        lows, highs = ([value for one in ranges for value in one[i]] for i in (0, 1))
        return (min(lows, default=0),) * 3, (max(highs, default=1),) * 3
    least = [min(values) for values in zip(*(low for low, _ in ranges), strict=True)]
    most = [max(values) for values in zip(*(high for _, high in ranges), strict=True)]
    return (least[0], least[1], least[2]), (most[0], most[1], most[2])


def _cell(checked: Checked, domain: Seen, limits: Span, source: Source) -> Pixels:
    """(CELL, CELL, 3): the image in the middle, framed in red where it can't be used."""
    cell = np.full((CELL, CELL, 3), WHITE, dtype=np.uint8)
    try:
        shown = _thumbnail(checked, domain, limits, source)
    except UserError:
        shown = np.full((CELL - 2 * FRAME, CELL - 2 * FRAME, 3), GREY, dtype=np.uint8)
    top, left = (CELL - shown.shape[0]) // 2, (CELL - shown.shape[1]) // 2
    bottom, right = top + shown.shape[0], left + shown.shape[1]
    if source in checked.bad:
        cell[top - FRAME : bottom + FRAME, left - FRAME : right + FRAME] = RED
    cell[top:bottom, left:right] = shown
    return cell


def _thumbnail(checked: Checked, domain: Seen, limits: Span, source: Source) -> Pixels:
    """RGB of 8 bits, no side longer than the frame leaves."""
    settings = domain.config
    most = checked.config.max_megapixels * 10**6
    channels = settings.read_channels
    pixels = read(
        source, channels, settings.pages, settings.indices, most, settings.nodata_value, fit=False
    )
    pixels = one_half(pixels, half_of(domain.side) if domain.halved else None)
    height, width = pixels.shape[:2]
    if not width:
        raise UserError(f"{source} has no halves")
    scale = (CELL - 2 * FRAME) / max(height, width)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    pixels = pixels[:, :, :3] if pixels.shape[2] >= 3 else np.repeat(pixels[:, :, :1], 3, axis=2)
    small = resize(pixels.copy(order="C"), *size, _filter(settings))
    low, high = (np.array(limit) for limit in limits)
    share = (np.ma.getdata(small).astype(np.float64) - low) / np.maximum(high - low, 1e-30)
    if (mask := mask_of(small)) is not None:
        share[mask] = 1  # no data is white
    return np.asarray((share.clip(0, 1) * 255).round(), dtype=np.uint8)


def _filter(settings: DomainConfig) -> str:
    return "nearest" if settings.kind == "labels" else "bilinear"


def _laid_out(rows: Sequence[Sequence[Pixels]]) -> Pixels:
    """A's and B's in pairs, three pairs in a row, with a wider gap between them."""
    lines = [_beside(rows[i : i + PAIRS], 4 * GAP) for i in range(0, len(rows), PAIRS)]
    width = max(line.shape[1] for line in lines)
    sheet = []
    for line in lines:
        full = np.full((CELL + GAP, width, 3), WHITE, dtype=np.uint8)
        full[:CELL, : line.shape[1]] = line
        sheet.append(full)
    return np.concatenate(sheet)


def _beside(pairs: Sequence[Sequence[Pixels]], gap: int) -> Pixels:
    parts = []
    for pair in pairs:
        for cell, space in zip(pair, (GAP, gap), strict=True):
            parts += [cell, np.full((CELL, space, 3), WHITE, dtype=np.uint8)]
    return np.concatenate(parts[:-1], axis=1)
