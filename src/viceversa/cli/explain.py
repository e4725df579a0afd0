"""The command explain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from ..errors import UserError
from .app import command

if TYPE_CHECKING:
    from ..inference.patch_scores import Explanation, PatchScores, Row

ENDINGS = (".png", ".jpg", ".jpeg", ".webp")


@command(
    ("explain runs/photos photo.jpg -o map.png", "score the translation of a photo"),
    ("explain runs/photos/d_b.safetensors photo.jpg -o map.png", "score the photo itself"),
)
def explain(
    model: Path,
    image: Path,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    real: Path | None = None,
    half: Literal["left", "right", "whole"] | None = None,
    size: str = "own",
    source: Path | None = None,
    beside: Path | None = None,
    masks: Path | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
    max_megapixels: int = 64,
    device: str = "auto",
) -> None:
    """Draw the patch scores of a discriminator as a map over an image.

    Parameters
    ----------
    model
        A run folder or a translator in it, whose translation of the image is scored; or a
        discriminator, such as d_b.safetensors, which scores the image itself.
    image
        The image.
    out
        The figure to write.
    real
        The real target, to score beside the translation.
    half
        Of a file with A and B side by side: the half that the image is, or whole. The other half
        is its partner: the real target, or the source if the model is a discriminator.
    size
        own: the size of the file; trained: resized as in training, but not cropped; or pixels: 256
        for a square, 256,512 for height,width.
    source
        Source of the image, for a discriminator of pairs.
    beside
        Another discriminator to compare with, such as one with discriminator.whole_image.
    masks
        Folder of mask images with the names of the images: where a mask is 0, there is no data.
    as_json
        Print JSON instead of text.
    overwrite
        Replace an existing figure.
    max_megapixels
        Size limit of images, in megapixels.
    device
        auto, or a torch device such as cpu or cuda.
    """
    _refuse_output(out, overwrite, [model, image, real, source, beside])
    from ..checkpoint import read_header, translator_file
    from ..data.readonly import refuse_output_in_data, training_data
    from ..images import write
    from ..images.masks import MaskFiles
    from ..inference import patch_scores

    if model.exists():
        file = translator_file(model)
        refuse_output_in_data(out, training_data(read_header(file), file), "-o")
    mask_files = MaskFiles.in_folder(masks, "--masks") if masks else None
    options = patch_scores.ExplainOptions(
        model, image, real, source, half, beside, device, max_megapixels, size, mask_files
    )
    result = patch_scores.explain(options)
    write(out, patch_scores.draw_figure(result.rows, result.source).pixels)
    print(json.dumps(_as_json(result, out), indent=2) if as_json else _as_text(result, out))


def _refuse_output(out: Path, overwrite: bool, inputs: list[Path | None]) -> None:
    reason = ""
    if out.suffix.lower() not in ENDINGS:
        reason = f"-o {out} is not an image; its name ends in one of {' '.join(ENDINGS)}"
    elif any(path and path.resolve() == out.resolve() for path in inputs):
        reason = f"-o {out} would overwrite an input; choose another"
    elif out.is_dir():
        reason = f"-o {out} is a folder; name an image"
    elif out.exists() and not overwrite:
        reason = f"{out} is there already; choose another -o, or add --overwrite"
    if reason:
        raise UserError(reason, option="--out", path=out)


def _as_json(result: Explanation, out: Path) -> dict[str, Any]:
    return {
        "discriminator": str(result.discriminator),
        "figure": str(out),
        "notes": result.notes,
        "images": [_row(row) for row in result.rows],
    }


def _row(row: Row) -> dict[str, Any]:
    scores = row.scores
    values = {
        "image": row.name,
        "discriminator": row.discriminator or None,
        **scores.summary(),
    }
    return values if scores.is_single else values | _extremes(scores)


def _extremes(scores: PatchScores) -> dict[str, dict[str, Any]]:
    """The patches with the lowest and the highest score; ends of pixels are exclusive."""
    extremes = {}
    for name, position in (("lowest", scores.lowest), ("highest", scores.highest)):
        top, left, bottom, right = scores.grid.box(*position)
        value = float(scores.values[position])
        extremes[name] = {"value": value, "x": [left, right], "y": [top, bottom]}
    return extremes


def _as_text(result: Explanation, out: Path) -> str:
    lines = [line for row in result.rows for line in _lines(row)]
    meanings = dict.fromkeys(row.scores.meaning for row in result.rows)
    lines += [f"1 is real and 0 is fake; a value is {meaning}" for meaning in meanings]
    lines += [f"note: {note}" for note in result.notes]
    return "\n".join([*lines, f"the figure: {out}"])


def _lines(row: Row) -> list[str]:
    scores, grid = row.scores, row.scores.grid
    name = f"{row.name} ({row.discriminator})" if row.discriminator else row.name
    lines = [f"{name}: mean {scores.mean_value:.3f} (mean score {scores.mean_score:.3f})"]
    if scores.is_single:
        return [*lines, "  one score for the whole image: this discriminator has no patch map"]
    real = scores.real_fraction
    lines.append(
        f"  {grid.rows}x{grid.columns} patches of {grid.size}x{grid.size} pixels, "
        f"{grid.stride} apart{'' if real is None else f'; {real:.0%} classified as real'}"
    )
    for title, extreme in zip(("least", "most"), _extremes(scores).values(), strict=True):
        (left, right), (top, bottom) = extreme["x"], extreme["y"]
        lines.append(
            f"  {title + ' real':10}  {extreme['value']:.3f}  at x {left} to {right - 1}, "
            f"y {top} to {bottom - 1}"
        )
    return lines
