"""Measure how often `viceversa check` estimates the shift of pairs correctly.

python benchmarks/shift.py DATA [DATA ...] [--largest 10] [--pairs 2500] [--others 200]
Each DATA is a dataset of aligned pairs. Compares up to --pairs pairs of all splits in three cases:

- aligned: as they are. A reported shift is a false alarm.
- shifted: A and B are cropped at positions that differ by up to --largest pixels in each direction,
  so that there is no padding, and encoded as JPEG (quality 90), so that their blocks of 8 pixels
  are at the same positions. An estimate is right if it is within 2 pixels in both directions.
- unrelated: the same with B of another pair. No estimate should be confident.

For comparison, up to --others pairs are estimated by phase correlation of grey images and of
gradient magnitudes (Hann window), with the same confidence and threshold. Writes
benchmarks/results/DATE-shift.json.
"""

from __future__ import annotations

import argparse
import io
import os
import platform
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from viceversa.data import DataConfig
from viceversa.data.check.result import PairShift
from viceversa.data.check.shift import CONFIDENT, LARGEST, RANGE, estimate, peak
from viceversa.data.index import index_splits, list_images
from viceversa.fields import evenly_spaced
from viceversa.files import write_json
from viceversa.images import Pixels, read
from viceversa.images.loading import half_of, take_half

RIGHT = 2  # pixels
Pair = tuple[Pixels, Pixels]


def pairs_of(data: Path, most: int) -> list[Pair]:
    """Read pairs of all splits, evenly spaced."""
    config = DataConfig(path=str(data))
    splits = index_splits(list_images(data), True, config).values()
    every = [(i, a, b) for i in splits for a, b in zip(i.a, i.b, strict=True)]
    pairs = []
    for index, a, b in evenly_spaced(every, most):
        halves = [half_of(side) if index.side_by_side else None for side in "ab"]
        first, second = (take_half(read(s), h) for s, h in zip((a, b), halves, strict=True))
        pairs.append((first, second))
    return pairs


def encoded(pixels: Pixels) -> Pixels:
    """Encode as JPEG and decode again."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    with Image.open(file) as image:
        return np.asarray(image)


def cases(pairs: list[Pair], case: str, largest: int) -> Iterator[tuple[Pixels, Pixels, int, int]]:
    """Yield pairs with their shift in rows and columns."""
    rng = np.random.default_rng(0)
    for number, (a, b) in enumerate(pairs):
        if case == "aligned":
            yield a, b, 0, 0
            continue
        if case == "unrelated":
            b = pairs[(number + rng.integers(1, len(pairs))) % len(pairs)][1]
        rows, columns = (int(i) for i in rng.integers(-largest, largest + 1, 2))
        height, width = (min(one) - largest for one in zip(a.shape[:2], b.shape[:2], strict=True))
        top, left = largest - rows, largest - columns
        first = a[largest:height, largest:width]
        second = b[top : height - rows, left : width - columns]
        yield encoded(first), encoded(second), rows, columns


def phase_correlation(a: Pixels, b: Pixels, edges: bool) -> PairShift:
    """Estimate a shift by phase correlation of grey images or of gradient magnitudes."""
    spectra = []
    for pixels in (a, b):
        grey = pixels.mean(axis=2)
        grey = np.hypot(*np.gradient(grey)) if edges else grey
        window = np.outer(*(np.hanning(side + 2)[1:-1] for side in grey.shape))
        spectra.append(np.fft.rfft2((grey - grey.mean()) * window))
    spectrum = spectra[0].conj() * spectra[1]
    correlation = np.fft.irfft2(spectrum / (abs(spectrum) + 1e-9), s=a.shape[:2])
    reach = min(a.shape[:2]) // RANGE
    lags = np.arange(-reach, reach + 1)
    rows, columns, confidence = peak(correlation[np.ix_(lags, lags)])
    return PairShift(rows, columns, 1.0, confidence)


ESTIMATORS: dict[str, Callable[[Pixels, Pixels], PairShift]] = {
    "gradient directions": estimate,
    "phase correlation, grey": lambda a, b: phase_correlation(a, b, edges=False),
    "phase correlation, edges": lambda a, b: phase_correlation(a, b, edges=True),
}


def measure(pairs: list[Pair], name: str, case: str, largest: int) -> dict[str, Any]:
    """Return the rates of an estimator, among all pairs."""
    right = confident = confident_right = reported = 0
    spent = 0.0
    for a, b, rows, columns in cases(pairs, case, largest):
        start = time.thread_time()
        shift = ESTIMATORS[name](a, b)
        spent += time.thread_time() - start
        is_right = max(abs(shift.rows - rows), abs(shift.columns - columns)) <= RIGHT
        sure = shift.confidence >= CONFIDENT
        right += is_right
        confident += sure
        confident_right += sure and is_right
        reported += sure and shift.distance(0, 0) > LARGEST + 0.5
    count = len(pairs)
    return {
        "pairs": count,
        "right": right,
        "confident": confident,
        "confident_right": confident_right,
        "cannot_tell": count - confident,
        "reported_as_shifted": reported,
        "processor_ms_per_pair": round(1000 * spent / count, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--largest", type=int, default=10)
    parser.add_argument("--pairs", type=int, default=2500)
    parser.add_argument("--others", type=int, default=200)
    options = parser.parse_args()
    results: dict[str, Any] = {}
    for data in options.data:
        for name in ESTIMATORS:
            most = options.pairs if ESTIMATORS[name] is estimate else options.others
            pairs = pairs_of(data, most)
            for case in ("aligned", "shifted", "unrelated"):
                found = measure(pairs, name, case, options.largest)
                results.setdefault(data.name, {}).setdefault(name, {})[case] = found
                print(data.name, name, case, found, flush=True)
    write_json(
        Path(__file__).parent / "results" / f"{date.today().isoformat()}-shift.json",
        {
            "date": date.today().isoformat(),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, CPU only",
            "numpy": np.__version__,
            "largest_shift": options.largest,
            "right_within": RIGHT,
            "least_confidence": CONFIDENT,
            "reported_if_more_than": LARGEST,
            "results": results,
        },
    )


if __name__ == "__main__":
    main()
