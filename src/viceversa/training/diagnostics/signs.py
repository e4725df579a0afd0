"""Signs of health: numbers from a few translations, their sources and what they should look like.

Each is a mean over the images; what they mean together, `rules` says.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

BLOCK = 32  # pixels a side, of which a spectrum is taken
FLAT = 1e-4  # a deviation below which an image has no tones to compare


class Translations(NamedTuple):
    """A look at one generator: a few images, always the same ones, each (n, c, h, w) in [-1, 1].

    Unpaired, `target` holds any images of the domain that is translated to. `judged_*` are the
    discriminator's logits on `made` and on `target`, of any shape, where there is one.
    """

    source: Tensor
    made: Tensor
    target: Tensor
    paired: bool
    judged_made: Tensor | None = None
    judged_real: Tensor | None = None


@torch.no_grad()
def signs(way: Translations) -> dict[str, float]:
    """Numbers by name; one that the images are too few, too small or too flat for is left out.

    `spread_source`, `spread_made`, `spread_target`: mean difference of two of the images, in
    [0, 2]. `moved`: of made and source; `apart`: of target and source (unpaired: of any two).
    `tones`, `edges`: correlation of brightness, and of its steps, of made with source; and
    `tones_target`, where paired, of made with target. `grid_made`, `grid_target`: how far the
    spectrum at periods of 2 and 4 pixels stands out of what lies around it (1: not at all);
    `grid_depth`: what stands out of it in made, as a deviation in [0, 1].
    `made_high`, `real_low`: the logit that nine of ten patches of made stay below, and nine of ten
    patches of real above; `told`: how often a real patch has the higher logit (1/2: by chance).
    """
    source, made, target = (x.detach().float() for x in way[:3])
    found = {
        "spread_source": spread(source),
        "spread_made": spread(made),
        "spread_target": spread(target),
    }
    if source.shape[1] == made.shape[1]:  # else the domains have no values in common
        found["moved"] = _apart(made, source)
        found["apart"] = _apart(target, source) if way.paired else _all_apart(target, source)
        found["tones"] = correlation(brightness(made), brightness(source))
        found["edges"] = correlation(steps(brightness(made)), steps(brightness(source)))
    if way.paired:
        found["tones_target"] = correlation(brightness(made), brightness(target))
    found["grid_made"], found["grid_depth"] = grid(made)
    found["grid_target"], _ = grid(target)
    if way.judged_made is not None and way.judged_real is not None:
        found |= _judged(way.judged_made.float().flatten(), way.judged_real.float().flatten())
    values = torch.stack([torch.as_tensor(x).to(made.device) for x in found.values()]).tolist()
    return {name: x for name, x in zip(found, values, strict=True) if x == x}


def spread(images: Tensor) -> Tensor:
    """Mean absolute difference of any two of the images; not a number where there is one."""
    n = len(images)
    if n < 2:
        return images.new_tensor(torch.nan)
    flat = images.flatten(1)
    pairs = [(flat[i + 1 :] - flat[i]).abs().mean(1).sum() for i in range(n - 1)]
    return torch.stack(pairs).sum() / (n * (n - 1) / 2)


def brightness(images: Tensor) -> Tensor:
    """(n, c, h, w) -> (n, h, w): the mean of the channels."""
    return images.mean(1)


def steps(x: Tensor) -> Tensor:
    """(n, h, w) -> (n, h-1, w-1): how steep brightness is, whether it rises or falls."""
    down, right = x[:, 1:, :-1] - x[:, :-1, :-1], x[:, :-1, 1:] - x[:, :-1, :-1]
    return (down.square() + right.square()).sqrt()


def correlation(x: Tensor, y: Tensor) -> Tensor:
    """Pearson's correlation within each image, (n, h, w) each, and its mean over those not flat."""
    x, y = (z.flatten(1) - z.flatten(1).mean(1, keepdim=True) for z in _cut(x, y))
    lengths = x.square().mean(1).sqrt() * y.square().mean(1).sqrt()
    values = (x * y).mean(1) / lengths
    return values[lengths > FLAT**2].mean()


def grid(images: Tensor) -> tuple[Tensor, Tensor]:
    """How far lattices of 2 and 4 pixels stand out of the spectrum around, and their deviation.

    Blocks of 32 px under Hann's window; a peak then fills its bin and the next ones, so what lies
    around is taken three bins away. Natural spectra fall as a power law: the geometric mean of both
    sides is what would be expected between them. Not a number for images smaller than a block.
    """
    none = images.new_tensor(torch.nan)
    if min(images.shape[2:]) < BLOCK:
        return none, none
    window = torch.hann_window(BLOCK, device=images.device)
    window = window[:, None] * window[None, :]
    blocks = images.unfold(2, BLOCK, BLOCK // 2).unfold(3, BLOCK, BLOCK // 2)
    blocks = blocks - blocks.mean((-2, -1), keepdim=True)
    power = torch.fft.fft2(blocks * window).abs().square().flatten(0, 3).mean(0)
    power = power / window.square().sum() / BLOCK**2  # sums up to the mean square of the blocks
    peaks, around = [], []
    for down, right in LATTICE:
        peaks.append(power[down, right])
        sides = torch.stack([power[y % BLOCK, x % BLOCK] for y, x in _around(down, right)])
        around.append(sides.clamp_min(1e-20).log().mean().exp())
    excess = torch.stack(peaks), torch.stack(around)
    # A peak's window spreads it over 9 bins, of which its own holds 4/9 of the energy.
    depth = (9 / 4 * (excess[0] - excess[1]).clamp_min(0).sum()).sqrt()
    return excess[0].sum() / excess[1].sum().clamp_min(1e-12), depth


HALF, QUARTER = BLOCK // 2, BLOCK // 4
# Periods of 2 and 4 pixels, down and right, on the half of the spectrum that says it all
# (a mirrored bin counts for itself, as its energy is there a second time).
LATTICE = [
    (y, x)
    for y in (0, QUARTER, HALF, BLOCK - QUARTER)
    for x in (0, QUARTER, HALF, BLOCK - QUARTER)
    if (y, x) != (0, 0)
]


def _around(down: int, right: int) -> list[tuple[int, int]]:
    """Bins three away from a bin of the lattice, along those axes where it has a period."""
    moves_down = (-3, 3) if down else (0,)
    moves_right = (-3, 3) if right else (0,)
    return [(down + y, right + x) for y in moves_down for x in moves_right]


def _cut(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """As many images, rows and columns of each as both have."""
    n, h, w = (min(a, b) for a, b in zip((len(x), *x.shape[-2:]), (len(y), *y.shape[-2:]),
                                         strict=True))  # fmt: skip
    return x[:n, ..., :h, :w], y[:n, ..., :h, :w]


def _apart(x: Tensor, y: Tensor) -> Tensor:
    x, y = _cut(x, y)
    return (x - y).abs().mean()


def _all_apart(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute difference of every image of one with every image of the other."""
    return torch.stack([_apart(x.roll(shift, 0), y) for shift in range(len(x))]).mean()


def _judged(made: Tensor, real: Tensor) -> dict[str, Tensor]:
    made, real = made.sort().values, real.sort().values
    below = [torch.searchsorted(made, real, right=ties).float().mean() for ties in (False, True)]
    return {
        "made_high": made[-1 - len(made) // 10],
        "real_low": real[len(real) // 10],
        "told": (below[0] + below[1]) / (2 * len(made)),  # of equal logits half count
    }
