"""The sheets of samples with a slider through time, and the judge's verdict beside them."""

from __future__ import annotations

from collections.abc import Sequence

from .folder import Folder
from .html import Picture, escape, picture

MOST_SHEETS = 24
ROOM = 7_500_000  # characters of all pictures on a page
SMALL = ' class="small"'
NARROW = 640  # pixels of a sheet that has room enough beside a verdict
VERDICT = "What the discriminator says of the first row: blue looks real, orange made."


def columns(run: Folder) -> Sequence[str]:
    """What the columns of a run's sheets are."""
    if run.method == "pix2pix":
        return "source", "translation", "target"
    if run.method == "cyclegan":
        swapped = run.settings.get("data", {}).get("direction") == "ba"
        first, other = "BA" if swapped else "AB"
        return first, f"to {other}", "and back", other, f"to {first}", "and back"
    return ()


def player(run: Folder) -> str:
    """Sheets through time, one at a time; nothing where there is none."""
    shown = _within_room(run)
    if not shown:
        return ""
    last = len(shown) - 1
    figures = "\n".join(
        _moment(run, images, sheet, verdict, at == last)
        for at, (images, sheet, verdict) in enumerate(shown)
    )
    left_out = len(run.sheets) - len(shown)
    told = ""
    if left_out:
        told = (
            f'<p class="about">{len(shown)} of {len(run.sheets)} sheets are shown; all of them are '
            "in the folder samples.</p>"
        )
    controls = ""
    if last:
        controls = f"""<div class="controls">
<button type="button" aria-label="play" aria-pressed="false">▶</button>
<input type="range" min="0" max="{last}" value="{last}" step="1" aria-label="moment of training">
</div>
"""
    return f'<div class="player">\n{controls}{figures}\n</div>\n{told}'


def chosen(moments: Sequence[int], most: int = MOST_SHEETS) -> list[int]:
    """At most so many moments, the first and the last among them, evenly.

    Every second, fourth, eighth, ... one: as a run grows, what was chosen before mostly stays, and
    need not be encoded again.
    """
    if len(moments) <= most:
        return list(moments)
    step = 1
    while -(-len(moments) // step) + 1 > most:
        step *= 2
    return list(dict.fromkeys([*moments[::step], moments[-1]]))


def _within_room(run: Folder) -> list[tuple[int, Picture, Picture | None]]:
    """The sheets that go on a page, each with its verdict; fewer where all would be too large."""
    moments, most = list(run.sheets), MOST_SHEETS
    while True:
        shown = []
        for images in chosen(moments, most):
            sheet = picture(run.sheets[images])
            verdict = picture(run.verdicts[images]) if images in run.verdicts else None
            if sheet is not None:
                shown.append((images, sheet, verdict))
        room = sum(len(s.address) + (len(v.address) if v else 0) for _, s, v in shown)
        if room <= ROOM or most <= 2:
            return shown
        most = max(2, most // 2)


def _moment(run: Folder, images: int, sheet: Picture, verdict: Picture | None, seen: bool) -> str:
    heads, when, layout = columns(run), f"after {images:,} images", "stack"
    rows = f": columns {', '.join(heads)}" if heads else ""
    shown = image(sheet, f"Samples {when}{rows}", heads)
    if verdict is not None:
        alt = f"The verdict of the discriminator, patch by patch, {when}"
        # Its words can't be read when it is small: it has most of the room, or scrolls by itself.
        shown += (
            f'<div><p class="about">{VERDICT}</p>'
            f'<div class="verdict" tabindex="0" role="region" aria-label="{alt}">'
            f"{image(verdict, alt)}</div></div>"
        )
        if len(heads) <= 3 or sheet.width <= NARROW:
            layout = "pair" if verdict.width > verdict.height else "pair even"
    return (
        f'<figure class="moment" data-images="{images}"{"" if seen else " hidden"}>'
        f'<figcaption>{when}</figcaption><div class="{layout}">{shown}</div></figure>'
    )


def image(one: Picture, alt: str, columns: Sequence[str] = ()) -> str:
    """A picture with its columns' heads; as large as it is or, if small, up to three times that."""
    width = max(one.width, min(3 * one.width, 640))
    heads = "".join(f"<span>{escape(head)}</span>" for head in columns)
    head = f'<div class="heads" aria-hidden="true">{heads}</div>' if heads else ""
    return (
        f'<div class="picture" style="width:min(100%,{width}px)">{head}'
        f'<img src="{one.address}" width="{one.width}" height="{one.height}" alt="{escape(alt)}"'
        f"{SMALL if width > one.width else ''}></div>"
    )
