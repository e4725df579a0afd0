"""explain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from ..errors import UserError
from .app import app

if TYPE_CHECKING:
    from ..inference.patch_scores import Answer, Row

ENDINGS = (".png", ".jpg", ".jpeg", ".webp")


@app.command
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
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
    max_megapixels: int = 64,
    device: str = "auto",
) -> None:
    """Show what the discriminator says of an image, patch by patch: a heat map over it.

    Parameters
    ----------
    model
        A run's folder or a translator in it (what it makes of the image is judged), or a
        discriminator, d_b.safetensors (the image itself is judged).
    image
        The image.
    out
        The picture to write.
    real
        The real target, to judge beside what was made.
    half
        Of a file with A and B side by side: the half that the image is. The other is its partner:
        the real target, or for a discriminator's own file the source. Or whole.
    size
        own: the size of the file; trained: resized as in training, but not cropped; or pixels a
        side.
    source
        What the image was made from, for a discriminator that judges pairs.
    beside
        Another discriminator, such as one of discriminator.whole_image, to judge the same.
    as_json
        Numbers for programs instead of words.
    overwrite
        Write over a picture that is there.
    max_megapixels
        The largest image that is decoded.
    device
        auto, or a torch device such as cpu or cuda.
    """
    _refuse_place(out, overwrite, [model, image, real, source, beside])
    from ..checkpoint import read_header
    from ..data.readonly import refuse_output_in_data, training_data
    from ..images import write
    from ..inference.patch_scores import ExplainOptions, draw_figure, named_model
    from ..inference.patch_scores import explain as ask

    if model.exists():
        file = named_model(model)
        refuse_output_in_data(out, training_data(read_header(file), file), "-o")
    answer = ask(
        ExplainOptions(model, image, real, source, half, beside, device, max_megapixels, size)
    )
    write(out, draw_figure(answer.rows, answer.source))
    print(json.dumps(_values(answer, out), indent=2) if as_json else _text(answer, out))


def _refuse_place(out: Path, overwrite: bool, inputs: list[Path | None]) -> None:
    if out.suffix.lower() not in ENDINGS:
        raise UserError(f"-o {out} is no picture; its name ends in one of {' '.join(ENDINGS)}")
    if any(path and path.resolve() == out.resolve() for path in inputs):
        raise UserError(f"-o {out} would overwrite what is looked at; choose another")
    if out.is_dir():
        raise UserError(f"-o {out} is a folder; name a picture")
    if out.exists() and not overwrite:
        raise UserError(f"{out} is there already; choose another -o, or say --overwrite")


def _values(answer: Answer, out: Path) -> dict[str, Any]:
    return {
        "judge": str(answer.judge),
        "picture": str(out),
        "notes": answer.notes,
        "judged": list(map(_row, answer.rows)),
    }


def _row(row: Row) -> dict[str, Any]:
    """A verdict as plain values; ends of pixels exclusive, as in slices."""
    verdict, ends = row.verdict, {}
    for name, place in (("least", verdict.least), ("most", verdict.most)):
        top, left, bottom, right = verdict.patches.box(*place)
        value = float(verdict.map[place])
        ends[name] = {"value": value, "x": [left, right], "y": [top, bottom]}
    return {
        "image": row.name,
        "judge": row.judge or None,
        "objective": verdict.objective,
        "meaning": verdict.meaning,
        "whole": verdict.whole,
        "score": verdict.score,
        "share_real": verdict.share,
        "map": [verdict.patches.rows, verdict.patches.columns],
        "patch": None if verdict.one_number else
                 {"size": verdict.patches.size, "stride": verdict.patches.stride},
        **({} if verdict.one_number else ends),
    }  # fmt: skip


def _text(answer: Answer, out: Path) -> str:
    lines = []
    for row in answer.rows:
        told, verdict = _row(row), row.verdict
        by = f", judged by {row.judge}" if row.judge else ""
        lines.append(f"{row.name}{by}: as a whole {verdict.whole:.3f} "
                     f"(mean score {verdict.score:.3f})")  # fmt: skip
        if verdict.one_number:
            lines.append("  one number for the whole image: this discriminator has no map of it")
            continue
        rows, columns = told["map"]
        share = "" if verdict.share is None else f"; {verdict.share:.0%} of them taken for real"
        lines.append(f"  {rows}x{columns} patches of {verdict.patches.size}x{verdict.patches.size} "
                     f"pixels, {verdict.patches.stride} apart{share}")  # fmt: skip
        for name in ("least", "most"):
            (left, right), (top, bottom) = told[name]["x"], told[name]["y"]
            lines.append(f"  {name + ' convincing':16} {told[name]['value']:.3f}  "
                         f"at x {left} to {right - 1}, y {top} to {bottom - 1}")  # fmt: skip
    meanings = dict.fromkeys(row.verdict.meaning for row in answer.rows)
    lines += [f"1 is real and 0 is made; a number is {meaning}" for meaning in meanings]
    lines += [f"note: {note}" for note in answer.notes]
    return "\n".join([*lines, f"the picture: {out}"])
