"""One picture that shows a verdict: the image, the map over it, and the patches it turns on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ...images import Pixels
from ...images.domain import Domain
from ...images.values import to_pixels
from ...networks.patch_grid import PatchGrid
from .patch_map import colours, draw_patch_map, resized
from .scores import PatchScores, Place

PANEL, MOST = 256, 512  # pixels of an image's longer side in the picture: no less and no more
ROOM = 128  # pixels that a row is high, and a column wide twice that, however small its image
GAP, LINE, TEXT = 14, 17, 13  # between panels; a line of text, and its letters
SCALE = 86  # width of the colour scale with its numbers
INK, FAINT, PALE, PAPER = (32, 32, 36), (112, 112, 118), (218, 218, 222), (255, 255, 255)
LEAST, MOST_REAL = (150, 56, 0), (8, 52, 120)  # darker than any colour of the map
Box = tuple[int, int, int, int]


class Row(NamedTuple):
    """An image and what a discriminator says of it."""

    name: str
    """What the image is: made, real, ..."""
    image: Tensor
    """(3, h, w) in [-1, 1], for the eye: see `images.values.to_rgb`."""
    verdict: PatchScores
    judge: str = ""
    """Which discriminator, where there are several."""


def draw_figure(rows: Sequence[Row], source: Tensor | None = None) -> Pixels:
    """(h, w, 3) uint8: a row for each image, from left to right: its name and itself, the map over
    it with its scale, and of its patches the least and the most convincing.

    `source`: (3, h, w) in [-1, 1], what the images come from; it stands before the first row.
    """
    pictures = [to_pixels(row.image[None], Domain())[0] for row in rows]
    shown = [_size(picture) for picture in pictures]
    start = to_pixels(source[None], Domain())[0] if source is not None else None
    wide = max(2 * ROOM, *(width for _, width in shown))
    before = 0 if start is None else max(_size(start)[1], wide) + GAP
    across = GAP + before + 2 * (wide + GAP) + SCALE + (wide // 2 + GAP)
    foot = _wrapped(_explained(rows), across - 2 * GAP)
    heights = [2 * LINE + max(height, ROOM) + GAP + GAP // 2 for height, _ in shown]
    sheet = Image.new("RGB", (across, GAP + sum(heights) + len(foot) * LINE + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    top = GAP
    for number, (row, picture, size) in enumerate(zip(rows, pictures, shown, strict=True)):
        if start is not None and number == 0:
            _panel(sheet, resized(start, *_size(start)), GAP, top, "source")
        elif start is not None and number == 1 and (patches := _mapped(rows, picture)):
            lying = _overlapping(picture, patches, size)
            _panel(sheet, lying, GAP, top, "how patches overlap")
        _row(sheet, row, picture, size, (GAP + before, top), wide)
        top += heights[number]
    for number, line in enumerate(foot):
        _write(draw, GAP, top + number * LINE, line, FAINT)
    return np.asarray(sheet)


def _mapped(rows: Sequence[Row], picture: Pixels) -> PatchGrid | None:
    """The patches of a map of images of a picture's size, if any has one."""
    maps = (row.verdict.patches for row in rows if not row.verdict.one_number)
    return next((patches for patches in maps if patches[:2] == picture.shape[:2]), None)


def _row(
    sheet: Image.Image, row: Row, picture: Pixels, size: tuple[int, int],
    corner: tuple[int, int], wide: int,
) -> None:  # fmt: skip
    left, top = corner
    verdict, draw = row.verdict, ImageDraw.Draw(sheet)
    _panel(sheet, resized(picture, *size), left, top, row.name)
    left += wide + GAP
    title = "one number for all of it" if verdict.one_number else "how real each patch looks"
    title = f"judged by {row.judge}" if row.judge else title
    _panel(sheet, draw_patch_map(picture, verdict, size), left, top, title)
    _write(draw, left, top + LINE + size[0] + 3, _told(verdict), INK)
    if not verdict.one_number:
        for place, colour in ((verdict.least, LEAST), (verdict.most, MOST_REAL)):
            _outline(draw, _moved(_scaled(verdict.patches.box(*place), verdict.patches, size),
                                  left, top + LINE), colour)  # fmt: skip
    left += wide + GAP // 2
    _scale(sheet, verdict, left, top + LINE, max(size[0], ROOM))
    left += SCALE
    if not verdict.one_number:
        half = max(size[0], ROOM) // 2
        _crop(sheet, picture, verdict, verdict.least, (left, top), (half, wide // 2), "least")
        below = top + half + LINE // 2
        _crop(sheet, picture, verdict, verdict.most, (left, below), (half, wide // 2), "most")


def _told(verdict: PatchScores) -> str:
    if verdict.share is None or verdict.one_number:
        return f"as a whole {verdict.whole:.2f}"
    return f"as a whole {verdict.whole:.2f}; {verdict.share:.0%} of patches taken for real"


def _explained(rows: Sequence[Row]) -> str:
    """What the picture shows, in words."""
    told = {_resting(row): None for row in rows}
    told |= {f"1 is real and 0 is made; a number is {row.verdict.meaning}.": None for row in rows}
    told["The arrow is the score of the whole image, the mean of its patches' scores."] = None
    return " ".join(told)


def _resting(row: Row) -> str:
    verdict = row.verdict
    if verdict.one_number:
        who = row.judge or "This discriminator"
        return f"{who} has one number for the whole image, and no map."
    size, stride = verdict.patches.size, verdict.patches.stride
    return (
        f"Each number of the map rests on a patch of {size}x{size} pixels; the next patch begins "
        f"{stride} {'pixel' if stride == 1 else 'pixels'} further."
    )


def _panel(sheet: Image.Image, picture: Pixels, left: int, top: int, title: str) -> None:
    draw, (height, width) = ImageDraw.Draw(sheet), picture.shape[:2]
    _write(draw, left, top, title, INK)
    sheet.paste(Image.fromarray(picture), (left, top + LINE))
    frame = (left - 1, top + LINE - 1, left + width, top + LINE + height)
    draw.rectangle(frame, outline=PALE)


def _scale(sheet: Image.Image, verdict: PatchScores, left: int, top: int, height: int) -> None:
    """The colours from 1 down to 0, with their numbers and words, and where the whole image is."""
    draw = ImageDraw.Draw(sheet)
    strip = colours(np.linspace(1, 0, height))[:, None].repeat(14, axis=1)
    sheet.paste(Image.fromarray(strip), (left, top))
    draw.rectangle((left, top, left + 13, top + height - 1), outline=FAINT)
    for number, word in ((1.0, "real"), (0.75, ""), (0.5, ""), (0.25, ""), (0.0, "made")):
        y = top + round((1 - number) * (height - 1))
        draw.line((left + 13, y, left + 17, y), fill=FAINT)
        text = f"{number:g} {word}"
        _write(draw, left + 20, min(max(y - 8, top - 3), top + height - 14), text, FAINT)
    y = top + round((1 - verdict.whole) * (height - 1))
    draw.polygon([(left - 6, y - 5), (left, y), (left - 6, y + 5)], fill=INK)


def _crop(
    sheet: Image.Image, picture: Pixels, verdict: PatchScores, place: Place,
    corner: tuple[int, int],
    room: tuple[int, int], word: str,
) -> None:  # fmt: skip
    """A patch by itself, enlarged, with its number."""
    top, left, bottom, right = verdict.patches.box(*place)
    number = float(verdict.map[place])
    cut = picture[top:bottom, left:right]
    high, wide = room[0] - LINE - LINE // 2, room[1]
    share = min(high / cut.shape[0], wide / cut.shape[1])
    size = max(1, int(cut.shape[0] * share)), max(1, int(cut.shape[1] * share))
    made = resized(np.ascontiguousarray(cut), *size)
    draw, colour = ImageDraw.Draw(sheet), LEAST if word == "least" else MOST_REAL
    _write(draw, corner[0], corner[1], f"{word} real: {number:.2f}", colour)
    x, y = corner[0], corner[1] + LINE
    sheet.paste(Image.fromarray(made), (x, y))
    draw.rectangle((x, y, x + size[1] - 1, y + size[0] - 1), outline=colour, width=2)


def _overlapping(picture: Pixels, patches: PatchGrid, size: tuple[int, int]) -> Pixels:
    """The image in a veil, with neighbouring patches of its middle outlined."""
    pale = 0.35 * resized(picture, *size).astype(np.float64) + 0.65 * 255
    canvas = Image.fromarray(np.rint(pale).astype(np.uint8))
    draw = ImageDraw.Draw(canvas)
    i, j = patches.rows // 2, patches.columns // 2
    around = [(i + di, j + dj) for di in (-1, 0, 1) for dj in (-1, 0, 1) if di or dj]
    for y, x in around:
        if 0 <= y < patches.rows and 0 <= x < patches.columns:
            draw.rectangle(_scaled(patches.box(y, x), patches, size), outline=FAINT)
    draw.rectangle(_scaled(patches.box(i, j), patches, size), outline=INK, width=2)
    return np.asarray(canvas)


def _outline(draw: ImageDraw.ImageDraw, box: Box, colour: tuple[int, int, int]) -> None:
    left, top, right, bottom = box
    draw.rectangle(box, outline=PAPER, width=4)
    draw.rectangle((left + 1, top + 1, right - 1, bottom - 1), outline=colour, width=2)


def _scaled(box: Box, patches: PatchGrid, size: tuple[int, int]) -> Box:
    """(top, left, bottom, right) of the image -> (left, top, right, bottom) of a picture of it."""
    down, across = size[0] / patches.height, size[1] / patches.width
    top, left, bottom, right = box
    x, y = round(left * across), round(top * down)
    return x, y, max(round(right * across) - 1, x + 3), max(round(bottom * down) - 1, y + 3)


def _moved(box: Box, x: int, y: int) -> Box:
    return box[0] + x, box[1] + y, box[2] + x, box[3] + y


def _size(picture: Pixels) -> tuple[int, int]:
    """Height and width in the sheet: enlarged by a whole number up to PANEL, else as it is."""
    height, width = picture.shape[:2]
    longer = max(height, width)
    if longer < PANEL:
        times = -(-PANEL // longer)
        return height * times, width * times
    share = min(1.0, MOST / longer)
    return max(1, round(height * share)), max(1, round(width * share))


def _write(draw: ImageDraw.ImageDraw, x: int, y: int, text: str, ink: tuple[int, int, int]) -> None:
    draw.text((x, y), text, fill=ink, font=ImageFont.load_default(TEXT))


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of whole words that fit a width in pixels."""
    font = ImageFont.load_default(TEXT)
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
