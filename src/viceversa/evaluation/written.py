"""Evaluate from Python, and what an evaluation writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..checkpoint import read_header
from ..data.config import Layout
from ..data.readonly import refuse_output_in_data, training_data
from ..errors import UserError
from ..files import write_json
from .inputs import model_files
from .options import Options, Pairs, Policy, Split
from .render import write_page
from .results import values
from .run import Evaluation, Progress, measure


def evaluate(
    model: str | Path,
    data: str | Path = "",
    out: str | Path | None = None,
    *,
    split: Split = "auto",
    pairs: Pairs = "auto",
    size: str | int = "trained",
    policy: Policy = "image",
    metrics: Sequence[str] = (),
    classes: Sequence[str] = (),
    features: str | Path | None = None,
    batch_size: int = 8,
    device: str = "auto",
    seed: int = 0,
    max_megapixels: int = 64,
    layout: Layout | None = None,
    hold_out: float | None = None,
    progress: Progress = lambda done, total: None,
) -> dict[str, Any]:
    """Measure a translator on images: the numbers, as `viceversa evaluate` has in metrics.json.

    `model` is a run's folder or one translator, `data` a data set (without it that of the model's
    run). With `out`, a folder, metrics.json and the page index.html are written there. The rest are
    the options of the command: `split` (train, val, test), `pairs` (yes, no), `size` (trained, own,
    or pixels a side), `policy` (image, running, paper), `metrics` by name (without them all that
    can be had), `classes` (colours #rrggbb of a target's classes), `features` (a folder with
    feature networks), `layout` (as `data.layout`), `hold_out` (fraction of the images that is val,
    for data without splits; without it as in training). `progress` is told (done, total) images.

    `["ways"]["ab"]["means"]["l1"]["mean"]` is a mean, and `["ways"]["ab"]["sets"]["fid"]` a number
    of a whole set; one that is not finite is None. Raises UserError for what does not fit.
    """
    options = Options(
        Path(model), str(data), split, pairs, str(size), policy, tuple(metrics), ",".join(classes),
        Path(features) if features is not None else None, batch_size, device, seed, max_megapixels,
        layout, hold_out,
    )  # fmt: skip
    folder = None if out is None else Path(out)
    if folder is not None:
        refuse_place(folder, options)
    result = measure(options, progress)
    if folder is not None:
        write_evaluation(result, folder)
    return values(result)


def refuse_place(folder: Path, options: Options) -> None:
    """Raises UserError if the folder for the results is a file or lies in a data set."""
    if folder.exists() and not folder.is_dir():
        raise UserError(
            f"-o {folder} is a file; name a folder for the numbers and the page",
            option="--out", path=folder,
        )  # fmt: skip
    refuse_output_in_data(folder, Path(options.data) if options.data else None, "-o")
    for file in model_files(options.model):
        refuse_output_in_data(folder, training_data(read_header(file), file), "-o")


def write_evaluation(result: Evaluation, folder: Path) -> Path:
    """Write metrics.json and the page with its pictures; returns the page's path.

    Raises UserError where they can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"the folder {folder} can't be made: {error.strerror}") from None
    write_json(folder / "metrics.json", values(result))
    return write_page(result, folder)
