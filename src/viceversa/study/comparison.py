"""Compare variants over folds, seeds and groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from ..errors import UserError
from ..metrics.registry import better
from .folder import STUDY_FILE
from .results import Key, RunResult, read_results
from .statistics import deviation, holm, mean_interval, p_value

LEVEL = 0.05
FEWEST_GROUPS = 6  # 2 of the 2^6 choices of signs are 3 %


class Difference(NamedTuple):
    """Difference to the baseline: variant minus baseline, over the images of both."""

    mean: float
    low: float
    high: float
    p: float
    """Corrected for the number of variants (Holm)."""
    outcome: str
    """`better`, `worse`, `differs` (neither is known to be better), or `tie`."""


class VariantMetric(NamedTuple):
    """A metric of a variant."""

    direction: str
    metric: str
    variant: str
    runs: int
    mean: float
    """Over images, each averaged over seeds; of metrics of sets over runs."""
    interval: tuple[float, float] | None
    """95 % interval of the mean over groups; None for metrics of sets."""
    fold_deviation: float | None
    """Standard deviation of the means of folds; None for one fold."""
    seed_deviation: float | None
    """Standard deviation of the means of seeds; None for one seed."""
    images: int
    groups: int
    difference: Difference | None
    """None for the baseline, without a baseline, and for metrics of sets."""


class Comparison(NamedTuple):
    """Metrics of variants, and notes on them."""

    rows: list[VariantMetric]
    notes: list[str]
    variants: dict[str, list[Path]]
    """Run folders of each variant."""


def compare_variants(folders: Sequence[Path], baseline: str = "") -> Comparison:
    """Compare the evaluations of runs.

    Args:
        folders: Run folders, each with evaluation/metrics.json.
        baseline: Variant that the others are tested against; empty: none.

    Raises:
        UserError: A run has no evaluation, protocols differ, or there is no such baseline.
    """
    results, notes = read_results(folders)
    results, left_out = _balanced(results)
    notes += left_out
    variants: dict[str, list[RunResult]] = {}
    for one in results:
        variants.setdefault(one.variant, []).append(one)
    if baseline and baseline not in variants:
        raise UserError(
            f"--baseline {baseline} is none of the variants: {', '.join(variants)}",
            option="--baseline",
        )
    keys = dict.fromkeys(key for one in results for key in [*one.images, *one.sets])
    rows = [row for key in keys for row in _rows(key, variants, baseline)]
    if baseline:
        notes.append(
            f"difference to {baseline}: mean over the images of both; p of a sign-flip test over "
            "groups, corrected for the number of variants (Holm); tie: no difference was detected "
            "at 5 %, which does not show that there is none"
        )
        notes += _training_notes(rows, variants, baseline)
        few = min((row.groups for row in rows if row.difference), default=FEWEST_GROUPS)
        if few < FEWEST_GROUPS:
            notes.append(
                f"{few} groups are too few for the test: its smallest p-value is "
                f"{min(1, 2 ** (1 - few)):.2g}, so that every difference is a tie"
            )
    paths = {name: [one.folder for one in of] for name, of in variants.items()}
    return Comparison(rows, notes, paths)


def _training_notes(
    rows: Sequence[VariantMetric], variants: Mapping[str, Sequence[RunResult]], baseline: str
) -> list[str]:
    """Return notes on the randomness of training, which the test over groups does not include."""
    seeds = {name: len({one.seed for one in runs}) for name, runs in variants.items()}
    if single := [name for name, count in seeds.items() if count == 1]:
        return [
            f"{', '.join(single)}: one seed, so the variation between trainings is unknown and not "
            "part of interval and p: better and worse hold for these trained models, not for their "
            "settings in general; train several seeds (--seeds)"
        ]
    notes = []
    base = {(row.direction, row.metric): row for row in rows if row.variant == baseline}
    for row in rows:
        one, other = row, base.get((row.direction, row.metric))
        if not one.difference or one.difference.outcome == "tie" or other is None:
            continue
        deviations = (
            (one.seed_deviation, seeds[one.variant]),
            (other.seed_deviation, seeds[baseline]),
        )
        error = sqrt(sum((sd or 0.0) ** 2 / count for sd, count in deviations))
        if abs(one.difference.mean) < 2 * error:
            notes.append(
                f"{one.metric} of {one.variant}: the difference is smaller than twice its standard "
                f"error over seeds ({error:.2g}), so it may be due to the randomness of training"
            )
    return notes


def _balanced(results: list[RunResult]) -> tuple[list[RunResult], list[str]]:
    """Keep the folds and seeds that all variants of a study have; return notes on the others."""
    if not all((one.folder / STUDY_FILE).is_file() for one in results):
        return results, []
    done: dict[str, set[tuple[str, int]]] = {}
    for one in results:
        done.setdefault(one.variant, set()).add((one.fold, one.seed))
    shared = set.intersection(*done.values())
    if not shared:
        raise UserError(
            "no fold and seed is finished by all variants; resume the study first",
            path=results[0].folder,
        )
    kept = [one for one in results if (one.fold, one.seed) in shared]
    count = len(results) - len(kept)
    note = f"{count} runs are left out: not all variants finished their fold and seed"
    return kept, [note] if count else []


def _rows(key: Key, variants: Mapping[str, list[RunResult]], baseline: str) -> list[VariantMetric]:
    """Return the rows of a metric: a row per variant."""
    groups: dict[str, str] = {}
    means: dict[str, dict[str, float]] = {}
    for name, runs in variants.items():
        for one in runs:
            groups |= one.groups
        means[name] = _image_means([one.images.get(key, {}) for one in runs])
    differences = _differences(key, means, groups, baseline)
    rows = []
    for name, runs in variants.items():
        values = {one.folder: _run_value(key, one) for one in runs}
        known = [(one, value) for one in runs if (value := values[one.folder]) is not None]
        if not known:
            continue
        of_images = means[name]
        rows.append(
            VariantMetric(
                *key,
                name,
                len(known),
                fmean(of_images.values()) if of_images else fmean(value for _, value in known),
                mean_interval(of_images, groups) if of_images else None,
                _spread([(one.fold, value) for one, value in known]),
                _spread([(str(one.seed), value) for one, value in known]),
                len(of_images),
                len({groups[image] for image in of_images}),
                differences.get(name),
            )
        )
    return rows


def _image_means(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each image over the runs that tested it."""
    values: dict[str, list[float]] = {}
    for one in runs:
        for image, value in one.items():
            values.setdefault(image, []).append(value)
    return {image: fmean(of) for image, of in values.items()}


def _run_value(key: Key, run: RunResult) -> float | None:
    values = run.images.get(key)
    return fmean(values.values()) if values else run.sets.get(key)


def _spread(values: Sequence[tuple[str, float]]) -> float | None:
    """Return the standard deviation of the means of folds, or of seeds."""
    parts: dict[str, list[float]] = {}
    for name, value in values:
        parts.setdefault(name, []).append(value)
    return deviation([fmean(of) for of in parts.values()])


def _differences(
    key: Key, means: Mapping[str, Mapping[str, float]], groups: Mapping[str, str], baseline: str
) -> dict[str, Difference]:
    """Return the difference of each variant to the baseline over their common images."""
    found: dict[str, tuple[float, float, float, float]] = {}
    for name, values in means.items():
        base = means.get(baseline, {})
        paired = {image: values[image] - base[image] for image in values if image in base}
        if name != baseline and paired:
            low, high = mean_interval(paired, groups)
            found[name] = fmean(paired.values()), low, high, p_value(paired, groups)
    corrected = holm([one[3] for one in found.values()])
    result = {}
    for (name, (mean, low, high, _)), p in zip(found.items(), corrected, strict=True):
        which = better(key[1])
        outcome = "tie"
        if p < LEVEL:
            good = mean < 0 if which.startswith("lower") else mean > 0
            outcome = ("better" if good else "worse") if which else "differs"
        result[name] = Difference(mean, low, high, p, outcome)
    return result
