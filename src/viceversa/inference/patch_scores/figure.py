"""Figure of patch scores: each image with its patch map, its least and its most real patch."""

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
from .patch_map import draw_patch_map, enlarge, to_colours
from .scores import PatchScores, Position

Colour = tuple[int, int, int]
Box = tuple[int, int, int, int]  # (left, top, right, bottom)
Size = tuple[int, int]  # (height, width)

SMALLEST, LARGEST = 256, 512  # px, limits of the longer side of an image in the figure
ROW_HEIGHT = 128  # px, smallest height of a row; columns are at least twice as wide
GAP, LINE, TEXT = 14, 17, 13  # px between panels, of a line of text, and of its letters
SCALE = 86  # px, width of the colour scale with its numbers
INK, GREY, PALE, PAPER = (32, 32, 36), (112, 112, 118), (218, 218, 222), (255, 255, 255)
LEAST, MOST = (150, 56, 0), (8, 52, 120)  # outlines, darker than the colours of the map

OVERLAP = "overlap of patches"
ABOUT_OVERLAP = "the central patch (dark) and its neighbours (grey), each with a separate score"


class Row(NamedTuple):
    """An image and its patch scores."""

    name: str
    """What the image is, such as generated or real."""
    image: Tensor
    """(3, h, w) in [-1, 1], for display: see `images.values.to_rgb`."""
    scores: PatchScores
    discriminator: str = ""
    """Name of the discriminator, if there are several."""


class Panel(NamedTuple):
    """A part of a figure, which a page can show alone."""

    title: str
    note: str
    box: Box


class Figure(NamedTuple):
    """A figure, (h, w, 3) uint8, and where its parts are, without their texts."""

    pixels: Pixels
    panels: list[Panel]


def draw_figure(rows: Sequence[Row], source: Tensor | None = None) -> Figure:
    """Draw a row for each image: the image, its patch map with the scale, and two patches.

    Args:
        rows: Images and their scores.
        source: Source of the images, (3, h, w) in [-1, 1], drawn before the first row.
    """
    panels: list[Panel] = []
    images = [to_pixels(row.image[None], Domain())[0] for row in rows]
    sizes = [_display_size(image) for image in images]
    before = None if source is None else to_pixels(source[None], Domain())[0]
    column = max(2 * ROW_HEIGHT, *(width for _, width in sizes))
    left = GAP if before is None else GAP + max(_display_size(before)[1], column) + GAP
    width = left + 2 * (column + GAP) + SCALE + column // 2 + GAP
    with_overlap = before is not None and len(rows) > 1 and _grid_of(rows, images[1]) is not None
    about = f" {OVERLAP.capitalize()}: {ABOUT_OVERLAP}." if with_overlap else ""
    caption = _wrapped(_caption(rows) + about, width - 2 * GAP)
    heights = [2 * LINE + max(height, ROW_HEIGHT) + GAP + GAP // 2 for height, _ in sizes]
    height = GAP + sum(heights) + len(caption) * LINE + GAP
    canvas = Image.new("RGB", (width, height), PAPER)
    top = GAP
    for number, (row, image, size) in enumerate(zip(rows, images, sizes, strict=True)):
        if before is not None and number == 0:
            shown = enlarge(before, *_display_size(before))
            panels.append(_panel(canvas, shown, GAP, top, "source"))
        elif before is not None and number == 1 and (grid := _grid_of(rows, image)):
            overlap = _overlap(image, grid, size)
            panels.append(_panel(canvas, overlap, GAP, top, OVERLAP)._replace(note=ABOUT_OVERLAP))
        panels += _row(canvas, row, image, size, (left, top), column)
        top += heights[number]
    for number, line in enumerate(caption):
        _write(ImageDraw.Draw(canvas), GAP, top + number * LINE, line, GREY)
    return Figure(np.asarray(canvas), panels)


def _row(
    canvas: Image.Image, row: Row, image: Pixels, size: Size, corner: tuple[int, int], column: int
) -> list[Panel]:
    (left, top), scores = corner, row.scores
    panels = [_panel(canvas, enlarge(image, *size), left, top, row.name)]
    left += column + GAP
    title = "one score for the image" if scores.is_single else "patch map"
    title = f"{title}, {row.discriminator}" if row.discriminator else title
    map_panel = _panel(canvas, draw_patch_map(image, scores, size), left, top, title)
    panels.append(map_panel._replace(title=f"{title}: {row.name}", note=_summary(scores)))
    draw = ImageDraw.Draw(canvas)
    _write(draw, left, top + LINE + size[0] + 3, _summary(scores), INK)
    patches = [] if scores.is_single else [(scores.lowest, LEAST), (scores.highest, MOST)]
    for position, colour in patches:
        box = _box(scores.grid, position, size)
        x, y = left, top + LINE
        _outline(draw, (box[0] + x, box[1] + y, box[2] + x, box[3] + y), colour)
    left += column + GAP // 2
    _scale(canvas, scores, left, top + LINE, max(size[0], ROW_HEIGHT))
    left += SCALE
    half = max(size[0], ROW_HEIGHT) // 2
    for (position, colour), name in zip(patches, ("least", "most"), strict=False):
        value = f"{float(scores.values[position]):.2f}"
        y = top if name == "least" else top + half + LINE // 2
        patch = _patch(image, scores.grid, position, (half - LINE - LINE // 2, column // 2))
        _write(draw, left, y, f"{name} real: {value}", colour)
        canvas.paste(Image.fromarray(patch), (left, y + LINE))
        box = (left, y + LINE, left + patch.shape[1], y + LINE + patch.shape[0])
        draw.rectangle((*box[:2], box[2] - 1, box[3] - 1), outline=colour, width=2)
        panels.append(Panel(f"{name} real patch: {row.name}", value, box))
    return panels


def _grid_of(rows: Sequence[Row], image: Pixels) -> PatchGrid | None:
    """The patch grid of images of this size, if there is a map."""
    grids = (row.scores.grid for row in rows if not row.scores.is_single)
    return next((grid for grid in grids if (grid.height, grid.width) == image.shape[:2]), None)


def _summary(scores: PatchScores) -> str:
    text = f"mean {scores.mean_value:.2f}"
    if scores.real_fraction is None or scores.is_single:
        return text
    return f"{text}; {scores.real_fraction:.0%} of patches classified as real"


def _caption(rows: Sequence[Row]) -> str:
    sentences = [_about_patches(row) for row in rows]
    sentences += [f"1 is real and 0 is fake; a value is {row.scores.meaning}." for row in rows]
    sentences.append("The arrow is the value of the mean score.")
    return " ".join(dict.fromkeys(sentences))


def _about_patches(row: Row) -> str:
    if row.scores.is_single:
        return f"{row.discriminator or 'The discriminator'} has one score for the whole image."
    size, stride = row.scores.grid.size, row.scores.grid.stride
    unit = "pixel" if stride == 1 else "pixels"
    return (
        f"Each value of the map depends on a patch of {size}x{size} pixels; neighbouring patches "
        f"are {stride} {unit} apart."
    )


def _panel(canvas: Image.Image, image: Pixels, left: int, top: int, title: str) -> Panel:
    draw, (height, width) = ImageDraw.Draw(canvas), image.shape[:2]
    _write(draw, left, top, title, INK)
    canvas.paste(Image.fromarray(image), (left, top + LINE))
    frame = (left - 1, top + LINE - 1, left + width, top + LINE + height)
    draw.rectangle(frame, outline=PALE)
    return Panel(title, "", (left, top + LINE, left + width, top + LINE + height))


def _scale(canvas: Image.Image, scores: PatchScores, left: int, top: int, height: int) -> None:
    """Draw the colour scale from 1 down to 0, with an arrow at the mean."""
    draw = ImageDraw.Draw(canvas)
    strip = to_colours(np.linspace(1, 0, height))[:, None].repeat(14, axis=1)
    canvas.paste(Image.fromarray(strip), (left, top))
    draw.rectangle((left, top, left + 13, top + height - 1), outline=GREY)
    for value, name in ((1.0, "real"), (0.75, ""), (0.5, ""), (0.25, ""), (0.0, "fake")):
        y = top + round((1 - value) * (height - 1))
        draw.line((left + 13, y, left + 17, y), fill=GREY)
        y = min(max(y - 8, top - 3), top + height - 14)
        _write(draw, left + 20, y, f"{value:g} {name}", GREY)
    y = top + round((1 - scores.mean_value) * (height - 1))
    draw.polygon([(left - 6, y - 5), (left, y), (left - 6, y + 5)], fill=INK)


def _patch(image: Pixels, grid: PatchGrid, position: Position, most: Size) -> Pixels:
    """Return the pixels of a patch, enlarged."""
    top, left, bottom, right = grid.box(*position)
    patch = np.ascontiguousarray(image[top:bottom, left:right])
    factor = min(most[0] / patch.shape[0], most[1] / patch.shape[1])
    return enlarge(patch, *(max(1, int(side * factor)) for side in patch.shape[:2]))


def _overlap(image: Pixels, grid: PatchGrid, size: Size) -> Pixels:
    """Outline the central patch and its neighbours on a pale image."""
    pale = 0.35 * enlarge(image, *size).astype(np.float64) + 0.65 * 255
    canvas = Image.fromarray(np.rint(pale).astype(np.uint8))
    draw = ImageDraw.Draw(canvas)
    i, j = grid.rows // 2, grid.columns // 2
    for y in range(max(i - 1, 0), min(i + 2, grid.rows)):
        for x in range(max(j - 1, 0), min(j + 2, grid.columns)):
            if (y, x) != (i, j):
                draw.rectangle(_box(grid, (y, x), size), outline=GREY)
    draw.rectangle(_box(grid, (i, j), size), outline=INK, width=2)
    return np.asarray(canvas)


def _outline(draw: ImageDraw.ImageDraw, box: Box, colour: Colour) -> None:
    left, top, right, bottom = box
    draw.rectangle(box, outline=PAPER, width=4)
    draw.rectangle((left + 1, top + 1, right - 1, bottom - 1), outline=colour, width=2)


def _box(grid: PatchGrid, position: Position, size: Size) -> Box:
    """The box of a patch in an image that is displayed at a size."""
    y_scale, x_scale = size[0] / grid.height, size[1] / grid.width
    top, left, bottom, right = grid.box(*position)
    x, y = round(left * x_scale), round(top * y_scale)
    return x, y, max(round(right * x_scale) - 1, x + 3), max(round(bottom * y_scale) - 1, y + 3)


def _display_size(image: Pixels) -> Size:
    """Height and width in the figure: small images are enlarged by a whole number."""
    height, width = image.shape[:2]
    longer = max(height, width)
    if longer < SMALLEST:
        factor = -(-SMALLEST // longer)
        return height * factor, width * factor
    scale = min(1.0, LARGEST / longer)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _write(draw: ImageDraw.ImageDraw, x: int, y: int, text: str, colour: Colour) -> None:
    draw.text((x, y), text, fill=colour, font=ImageFont.load_default(TEXT))


def _wrapped(text: str, width: int) -> list[str]:
    """Split a text into lines that fit a width in pixels."""
    font = ImageFont.load_default(TEXT)
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
