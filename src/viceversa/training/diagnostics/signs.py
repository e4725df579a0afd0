"""Signs of problems: numbers from a few translations, their sources and their targets.

Each is a mean over the images; `rules` interprets them.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

BLOCK = 32  # side in pixels of the blocks whose spectrum is computed
FLAT = 1e-4  # deviation below which an image has no brightness to correlate


class Translations(NamedTuple):
    """Translations of a few samples by one generator, (n, c, h, w) in [-1, 1] each.

    Unpaired, `target` contains any images of the target domain. The scores are the logits of the
    discriminator on `generated` and on `target`, of any shape; None without a discriminator.
    """

    source: Tensor
    generated: Tensor
    target: Tensor
    paired: bool
    scores_generated: Tensor | None = None
    scores_real: Tensor | None = None


@torch.no_grad()
def signs(translations: Translations) -> dict[str, float]:
    """Return signs by name; without those for which there are too few, too small or flat images.

    - `spread_source`, `spread_generated`, `spread_target`: mean absolute difference of two images,
      in [0, 2].
    - `change`: difference of generated and source; `distance`: of target and source (unpaired: of
      any two).
    - `tones`, `edges`: correlation of the brightness, and of its gradient, of generated and source;
      `tones_target`: of generated and target, if paired.
    - `pattern_generated`, `pattern_target`: energy of the spectrum at periods of 2 and 4 pixels,
      relative to the energy around them; `pattern_depth`: the excess in generated images, as a
      deviation in [0, 1].
    - `generated_high`: the score that 9 of 10 generated patches do not reach; `real_low`: the score
      that 9 of 10 real patches exceed; `recognized`: how often the real one of two patches has the
      higher score (1/2: by chance).
    """
    source, generated, target = (x.detach().float() for x in translations[:3])
    found = {
        "spread_source": spread(source),
        "spread_generated": spread(generated),
        "spread_target": spread(target),
    }
    if source.shape[1] == generated.shape[1]:  # else their values cannot be compared
        found["change"] = _difference(generated, source)
        compare = _difference if translations.paired else _mean_difference
        found["distance"] = compare(target, source)
        found["tones"] = correlation(brightness(generated), brightness(source))
        found["edges"] = correlation(
            steepness(brightness(generated)), steepness(brightness(source))
        )
    if translations.paired:
        found["tones_target"] = correlation(brightness(generated), brightness(target))
    found["pattern_generated"], found["pattern_depth"] = pattern(generated)
    found["pattern_target"], _ = pattern(target)
    if translations.scores_generated is not None and translations.scores_real is not None:
        found |= _scores(
            translations.scores_generated.float().flatten(),
            translations.scores_real.float().flatten(),
        )
    values = torch.stack([torch.as_tensor(x).to(generated.device) for x in found.values()]).tolist()
    return {name: x for name, x in zip(found, values, strict=True) if x == x}


def spread(images: Tensor) -> Tensor:
    """Return the mean absolute difference of any two images; NaN for a single image."""
    n = len(images)
    if n < 2:
        return images.new_tensor(torch.nan)
    flat = images.flatten(1)
    pairs = [(flat[i + 1 :] - flat[i]).abs().mean(1).sum() for i in range(n - 1)]
    return torch.stack(pairs).sum() / (n * (n - 1) / 2)


def brightness(images: Tensor) -> Tensor:
    """Return the mean of the channels, (n, c, h, w) -> (n, h, w)."""
    return images.mean(1)


def steepness(x: Tensor) -> Tensor:
    """Return the length of the gradient of brightness, (n, h, w) -> (n, h - 1, w - 1)."""
    down, right = x[:, 1:, :-1] - x[:, :-1, :-1], x[:, :-1, 1:] - x[:, :-1, :-1]
    return (down.square() + right.square()).sqrt()


def correlation(x: Tensor, y: Tensor) -> Tensor:
    """Return Pearson's correlation within each image, (n, h, w) each: mean of non-flat images."""
    x, y = (z.flatten(1) - z.flatten(1).mean(1, keepdim=True) for z in _common(x, y))
    lengths = x.square().mean(1).sqrt() * y.square().mean(1).sqrt()
    values = (x * y).mean(1) / lengths
    return values[lengths > FLAT**2].mean()


def pattern(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the relative energy and the deviation of patterns with periods of 2 and 4 pixels.

    The spectrum is that of blocks of 32 pixels under a Hann window. A peak fills its bin and the
    neighbouring ones, so the energy around it is taken three bins away. Natural spectra fall as a
    power law: the geometric mean of both sides is expected between them. NaN for images smaller
    than a block.
    """
    none = images.new_tensor(torch.nan)
    if min(images.shape[2:]) < BLOCK:
        return none, none
    window = torch.hann_window(BLOCK, device=images.device)
    window = window[:, None] * window[None, :]
    blocks = images.unfold(2, BLOCK, BLOCK // 2).unfold(3, BLOCK, BLOCK // 2)
    blocks = blocks - blocks.mean((-2, -1), keepdim=True)
    power = torch.fft.fft2(blocks * window).abs().square().flatten(0, 3).mean(0)
    power = power / window.square().sum() / BLOCK**2  # the sum is the mean square of the blocks
    peaks, around = [], []
    for down, right in LATTICE:
        peaks.append(power[down, right])
        sides = torch.stack([power[y % BLOCK, x % BLOCK] for y, x in _around(down, right)])
        around.append(sides.clamp_min(1e-20).log().mean().exp())
    excess = torch.stack(peaks), torch.stack(around)
    # A peak's window spreads it over 9 bins, of which its own has 4/9 of the energy.
    depth = (9 / 4 * (excess[0] - excess[1]).clamp_min(0).sum()).sqrt()
    return excess[0].sum() / excess[1].sum().clamp_min(1e-12), depth


HALF, QUARTER = BLOCK // 2, BLOCK // 4
# Bins with periods of 2 and 4 pixels, down and right; a mirrored bin has the same energy again.
LATTICE = [
    (y, x)
    for y in (0, QUARTER, HALF, BLOCK - QUARTER)
    for x in (0, QUARTER, HALF, BLOCK - QUARTER)
    if (y, x) != (0, 0)
]


def _around(down: int, right: int) -> list[tuple[int, int]]:
    """Return the bins three away from a bin, along the axes on which it has a period."""
    moves_down = (-3, 3) if down else (0,)
    moves_right = (-3, 3) if right else (0,)
    return [(down + y, right + x) for y in moves_down for x in moves_right]


def _common(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Crop both to the images, rows and columns that both have."""
    shapes = zip((len(x), *x.shape[-2:]), (len(y), *y.shape[-2:]), strict=True)
    n, h, w = (min(sizes) for sizes in shapes)
    return x[:n, ..., :h, :w], y[:n, ..., :h, :w]


def _difference(x: Tensor, y: Tensor) -> Tensor:
    """Return the mean absolute difference of images with the same index."""
    x, y = _common(x, y)
    return (x - y).abs().mean()


def _mean_difference(x: Tensor, y: Tensor) -> Tensor:
    """Return the mean absolute difference of every image of x and every image of y."""
    return torch.stack([_difference(x.roll(shift, 0), y) for shift in range(len(x))]).mean()


def _scores(generated: Tensor, real: Tensor) -> dict[str, Tensor]:
    generated, real = generated.sort().values, real.sort().values
    below = [
        torch.searchsorted(generated, real, right=ties).float().mean() for ties in (False, True)
    ]
    return {
        "generated_high": generated[-1 - len(generated) // 10],
        "real_low": real[len(real) // 10],
        "recognized": (below[0] + below[1]) / (2 * len(generated)),  # ties count half
    }
