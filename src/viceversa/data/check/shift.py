"""Estimate the shift between the two images of each pair: phase correlation of gradient directions.

Both images are reduced to `SIDE` pixels. Each pixel gets the direction of its gradient as a vector
of twice its angle, so that bright-to-dark and dark-to-bright edges count alike and colours may
differ (as in a photo and its label map). The peak of the cross-correlation of both fields is the
shift. Its confidence is its height above the median, relative to the second highest peak.

A low confidence means "cannot tell": few common edges, or periodic ones. Shifts of more than an
eighth of the shorter side, rotation, scaling and local distortions are not estimated. If all edges
have one direction, the shift along them is 0. A frame or text that is at the same place in both
images counts as aligned. Hand-drawn label maps may be 3 pixels off, which is not reported.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from statistics import median_low
from typing import Any, NamedTuple

import numpy as np
import PIL
from numpy.typing import NDArray

from ... import __version__
from ...errors import UserError
from ...fields import counted, evenly_spaced
from ...files import read_with_digest, user_cache, write_with_digest
from ...images import Pixels, Source, read, resize
from ...images.io import ReadOptions
from ...images.loading import read_options, take_half
from ...images.masks import read_mask
from ...images.nodata import mask_of
from .check import SEVERITIES
from .result import CheckResult, Issue, Pair, PairShift, issue_of
from .scan import MAX_THREADS, Progress, Store

SIDE = 256  # longer side at which images are compared
SMALLEST = 64  # shorter side of the smallest images that are compared
RANGE = 8  # shifts of up to a RANGE-th of the shorter side are searched
NEAR = 4  # distance from the highest peak within which there is no second one
WHITENING = 0.75  # 0 is cross-correlation, 1 phase correlation
MOST_PAIRS = 1000  # pairs of a split that are compared, evenly spaced
CONFIDENT = 2.0  # least confidence of a shift that is reported
LARGEST = 3  # compared pixels up to which a pair counts as aligned
COMMON, ALIKE = 10, 0.75  # number and fraction of confident pairs that make a constant shift
SMALLEST_COMMON = 2  # compared pixels from which a constant shift is reported
# Increase the number when the estimate changes.
VERSION = [1, __version__, np.__version__, PIL.__version__]

Array = NDArray[np.float32]


def estimate(a: Pixels, b: Pixels) -> PairShift:
    """Estimate the shift of image `b` against image `a`.

    Args:
        a: (h, w, channels) of any dtype; masked pixels do not count.
        b: The same, of any size and number of channels: it is resized to the size of `a`.

    Returns:
        Rows and columns in pixels of `a`. What is at (y, x) in `a` is at (y + rows, x + columns)
        in `b`. The confidence is 0 for constant images and for shifts at the limit of the search.
    """
    scale = max(1.0, max(a.shape[:2]) / SIDE)
    height, width = (max(1, round(side / scale)) for side in a.shape[:2])
    first, second = (
        np.fft.rfft2(_directions(resize(_floats(image), height, width, "bilinear")))
        for image in (a, b)
    )
    spectrum = (first.conj() * second).sum(axis=0)
    power = spectrum.real**2 + spectrum.imag**2
    if not power.max() > 0:
        return PairShift(0, 0, scale, 0.0)
    spectrum /= (power + 1e-12 * power.max()) ** (WHITENING / 2)
    correlation = np.fft.irfft2(spectrum, s=(height, width))
    reach = min(height, width) // RANGE
    lags = np.arange(-reach, reach + 1)
    rows, columns, confidence = peak(correlation[np.ix_(lags % height, lags % width)])
    return PairShift(round(rows * scale), round(columns * scale), scale, confidence)


def peak(correlation: NDArray[np.floating[Any]]) -> tuple[int, int, float]:
    """Return the lag of the highest peak, and its height relative to that of the second one."""
    reach = len(correlation) // 2
    row, column = (int(i) for i in np.unravel_index(correlation.argmax(), correlation.shape))
    lags = row - reach, column - reach
    if max(map(abs, lags)) == reach:
        return *lags, 0.0  # the peak may be outside
    others = correlation.copy()
    near = (slice(max(0, i - NEAR), i + NEAR + 1) for i in (row, column))
    others[tuple(near)] = -np.inf
    median = np.median(others[np.isfinite(others)])
    return *lags, float((correlation.max() - median) / (others.max() - median + 1e-30))


def _floats(pixels: Pixels) -> Pixels:
    """Return pixels that can be averaged: uint8, or float32 of moderate size."""
    if pixels.dtype == np.uint8:
        return pixels
    values = pixels.astype(np.float32)
    return values / max(float(abs(values).max() or 0), 1e-30)


def _directions(pixels: Pixels) -> Array:
    """Return (2, h, w): the doubled angle of each gradient, weighted by the root of its size.

    As in a structure tensor, gradients of all channels are added, so that they do not cancel.
    """
    mask = mask_of(pixels)
    planes = np.ma.getdata(pixels).transpose(2, 0, 1).astype(np.float32, order="C")
    window = np.outer(*(_taper(side) for side in planes.shape[1:]))
    if mask is not None:
        planes[mask.transpose(2, 0, 1)] = 0
        missing = np.asarray(mask.any(axis=2), dtype=np.float32)[None]
        near = _smooth(_smooth(missing))[0] > 0  # 4 pixels wider
        window = np.where(near, 0, window)
    planes = _smooth(planes)
    down, right = np.zeros_like(planes), np.zeros_like(planes)
    down[:, 1:-1] = planes[:, 2:] - planes[:, :-2]
    right[:, :, 1:-1] = planes[:, :, 2:] - planes[:, :, :-2]
    vertical, horizontal = (down * down).sum(axis=0), (right * right).sum(axis=0)
    size = (vertical + horizontal) * (window > 0)
    weight = (size + 0.05 * size.mean() + 1e-20) ** -0.75
    field = np.stack([(horizontal - vertical) * weight, 2 * (down * right).sum(axis=0) * weight])
    field -= (field * window).sum(axis=(1, 2), keepdims=True) / max(window.sum(), 1e-6)
    return np.asarray(field * window, dtype=np.float32)


def _smooth(planes: Array) -> Array:
    """Smooth (channels, h, w) with a binomial filter of standard deviation 1."""
    quarter = np.float32(0.25)
    for axis in (1, 1, 2, 2):
        padded = np.pad(planes, [(int(i == axis),) * 2 for i in range(3)], mode="edge")
        lines = np.moveaxis(padded, axis, 0)
        planes = np.moveaxis(quarter * (lines[:-2] + 2 * lines[1:-1] + lines[2:]), 0, axis)
    return planes


def _taper(size: int) -> Array:
    """Return a window that is 1 except in an eighth at each end, where it falls to 0 (Tukey)."""
    distance = np.minimum(np.arange(size), np.arange(size)[::-1]) + 0.5
    return (0.5 - 0.5 * np.cos(np.pi * (distance * RANGE / size).clip(max=1))).astype(np.float32)


class Summary(NamedTuple):
    """Shifts of the pairs of a split."""

    compared: int
    confident: int
    constant: tuple[int, int] | None
    """Rows and columns by which most pairs are shifted; None: no such shift."""
    shifted: dict[Pair, PairShift]
    """Pairs that are shifted by more than `LARGEST`, the largest first, beyond `constant`."""


def summary(shifts: Mapping[Pair, PairShift]) -> Summary:
    """Summarize the shifts of the pairs of a split; only confident ones are reported."""
    certain = {pair: one for pair, one in shifts.items() if one.confidence >= CONFIDENT}
    middle = [int(median_low(x)) for x in zip(*(one[:2] for one in certain.values()), strict=True)]
    rows, columns = middle or (0, 0)
    alike = [one for one in certain.values() if one.distance(rows, columns) < 1.5]
    constant = None
    if len(alike) >= max(COMMON, ALIKE * len(certain), len(shifts) / COMMON):
        size = max(abs(rows), abs(columns)) / median_low(one.scale for one in alike)
        constant = (rows, columns) if size >= SMALLEST_COMMON else None
    sizes = {pair: one.distance(*(constant or (0, 0))) for pair, one in certain.items()}
    far_pairs = [pair for pair, size in sizes.items() if size > LARGEST + 0.5]
    far_pairs.sort(key=lambda pair: -sizes[pair])
    return Summary(len(shifts), len(certain), constant, {pair: shifts[pair] for pair in far_pairs})


def shifted_pairs(split: str, shifts: Mapping[Pair, PairShift]) -> Iterator[Issue]:
    """Yield the constant shift of a split, and its pairs that are shifted."""
    found = summary(shifts)
    moved = "B is shifted against A"
    if found.constant:
        rows, columns = found.constant
        moved = f"shift of B against A differs from ({rows}, {columns})"
        yield Issue(
            "warning",
            f"most images of B in {split} are shifted against A by ({rows}, {columns}) pixels "
            f"(rows, columns), as measured in {counted(found.confident, 'pair')}",
            advice=f"move the images of B by ({-rows}, {-columns}) pixels (rows, columns)",
        )
    size = f" at {SIDE} px" if any(one.scale > 1 for one in shifts.values()) else ""
    yield from issue_of(
        "warning",
        f"pairs of {split}, of {found.compared} compared, whose {moved} by more than {LARGEST} "
        f"px{size}, with (rows, columns) in pixels",
        (f"{a} ({one.rows}, {one.columns})" for (a, _), one in found.shifted.items()),
        "align or remove the pairs that are shifted, or train with a recipe for misaligned pairs "
        "(viceversa show lists the recipes)",
    )


def add_shifts(
    check: CheckResult, store: Store = "user", progress: Progress | None = None
) -> CheckResult:
    """Return the result of a check with the shifts of its pairs and their issues.

    Not compared are pairs that cannot be read, pairs of one image, and images with a side of less
    than `SMALLEST` pixels. Of more than `MOST_PAIRS` pairs of a split that many are compared.

    Args:
        check: The result of a check.
        store: Where shifts are kept, by the content of both files; see `scan_files`.
        progress: Called with the progress.
    """
    pairs = {split: dict(_pairs(check, split)) for split in check.splits if check.paired}
    keys = {key: (split, pair) for split, some in pairs.items() for pair, key in some.items()}
    path = _store_path(check, store)
    known = _load(path) if path else {}
    due = [key for key in keys if key not in known]
    with ThreadPoolExecutor(min(os.cpu_count() or 1, MAX_THREADS)) as pool:
        found = pool.map(lambda key: _of_pair(check, *keys[key]), due)
        for done, (key, shift) in enumerate(zip(due, found, strict=True), start=1):
            if shift:
                known[key] = shift
            if progress:
                progress(done, len(due))
    if due and path:
        _save(path, {key: known[key] for key in keys if key in known})
    shifts = {
        split: {pair: known[key] for pair, key in some.items() if key in known}
        for split, some in pairs.items()
    }
    issues = [
        *check.issues,
        *(i for split, some in shifts.items() for i in shifted_pairs(split, some)),
    ]
    issues.sort(key=lambda issue: SEVERITIES.index(issue.severity))
    return replace(check, shifts=shifts, issues=tuple(issues))


def _pairs(check: CheckResult, split: str) -> list[tuple[Pair, str]]:
    """Return the pairs of a split that are compared, with a key of their content."""
    index, parts = check.splits[split], check.domains[split]
    if index.a == index.b and not index.side_by_side:
        return []
    pairs = []
    for pair in zip(index.a, index.b, strict=True):
        records = [part.records[source] for part, source in zip(parts, pair, strict=True)]
        sizes = [part.size(record) for part, record in zip(parts, records, strict=True)]
        if not any(one.error for one in records) and min(map(min, sizes)) >= SMALLEST:
            halves = zip(records, parts, strict=True)
            keys = (f"{one.sha256} {part.half} {one.mask_sha256}".strip() for one, part in halves)
            pairs.append((pair, " ".join(keys)))
    return evenly_spaced(pairs, MOST_PAIRS)


def _of_pair(check: CheckResult, split: str, pair: Pair) -> PairShift | None:
    """Estimate the shift of a pair; None if a file cannot be read any more."""
    files: dict[tuple[Source, ReadOptions, Source | None], Pixels] = {}
    images = []
    for part, source in zip(check.domains[split], pair, strict=True):
        options = read_options(part.config, check.config.max_megapixels * 10**6)
        file = source, options, part.masks.get(source)
        try:
            if file not in files:
                files[file] = read(source, *options, mask=read_mask(file[2], options.max_pixels))
        except UserError:
            return None
        images.append(take_half(files[file], part.half))
    return estimate(*images)


def _store_path(check: CheckResult, store: Store) -> Path | None:
    """Return the file that keeps the shifts of a dataset, or None for no store."""
    folder = user_cache() if store == "user" else store
    if folder is None:
        return None
    options = [read_options(domain) for domain in (check.config.a, check.config.b)]
    name = json.dumps([os.path.abspath(check.path), *options])
    return folder / "shifts" / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.json"


def _load(path: Path) -> dict[str, PairShift]:
    """Load the shifts of a store; none if it is damaged or from another version."""
    with suppress(ValueError, TypeError, LookupError, AttributeError, RecursionError):
        table = json.loads(read_with_digest(path) or b"")
        if table["version"] == VERSION:
            return {key: PairShift(*row) for key, row in table["pairs"].items()}
    return {}


def _save(path: Path, shifts: Mapping[str, PairShift]) -> None:
    content = json.dumps({"version": VERSION, "pairs": shifts}, separators=(",", ":"))
    with suppress(UserError):  # without the store the next check takes longer
        write_with_digest(path, content.encode())
