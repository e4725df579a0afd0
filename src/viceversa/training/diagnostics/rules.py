"""When signs mean that something is wrong: plain numbers in, what was seen out.

What each limit means, and what was tried: docs/evaluation.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

Signs = dict[str, float]

ALIKE = 0.03  # share of the targets' spread below which translations are all the same
LEAST_SPREAD = 0.02  # of sources and targets: with less there is nothing to tell apart
SAME = 0.12  # share of the way from source to target below which a translation is its source
SAME_PAIRED = 0.05  # where targets resemble their sources, as a drawing its colours
TOLD = 0.75  # share of the patches told from real ones, from which a judge is not fooled
INVERTED = -0.5  # correlation of brightness
EDGES = 0.3  # correlation of edges: what is inverted is still there
LATTICE = 8.0  # times that of the targets
DEPTH = 0.05  # deviation of a lattice that nobody overlooks: 6 of 255
# Scores beyond which nine of ten patches are saturated.
SURE: dict[str, tuple[float, float]] = {"bce": (-3.5, 3.5), "lsgan": (0.2, 0.8), "hinge": (-1, 1)}
GONE, BURST = 1e-6, 1e4  # a gradient's norm, whatever came before
FALLEN, RISEN = 1e-4, 1e3  # and against the median of the run's healthy looks
WORSE, GAP = 1.02, 1.1  # held-out error, times its best and times training's ...
FAR = 1.5  # ... or times training's, where it does not become better any more; unpaired always
MEMORISED = 0.65  # share of the way back from training images to made ones: held-out images
LEAST_WAY = 0.25  # of a discriminator's scores: with less the share is noise


class Rule(NamedTuple):
    """A thing that goes wrong: its name, what shows it (None: it does not), what to try."""

    name: str
    seen: Callable[[Signs, str, bool], str | None]  # signs, objective, paired
    advice: str


def saturated(signs: Signs, objective: str, paired: bool) -> str | None:
    """The discriminator is sure of everything, and has nothing left to teach."""
    if objective not in SURE or not {"made_high", "real_low"} <= signs.keys():
        return None  # a critic's scores have no end
    low, high = SURE[objective]
    made, real = signs["made_high"], signs["real_low"]
    if made > low or real < high:
        return None
    return (
        f"the scores of 9 in 10 patches are saturated: translations score below {made:.2f} (limit "
        f"{low:g}), real images above {real:.2f} (limit {high:g})"
    )


def collapsed(signs: Signs, objective: str, paired: bool) -> str | None:
    """Translations of different sources are the same."""
    if not {"spread_made", "spread_source", "spread_target"} <= signs.keys():
        return None
    made, source, target = (signs[f"spread_{x}"] for x in ("made", "source", "target"))
    if min(source, target) < LEAST_SPREAD or made > ALIKE * target:
        return None
    return (
        f"translations of different images differ by {made:.4f} (of 2), real ones by {target:.3f} "
        f"and the sources by {source:.3f}"
    )


def unchanged(signs: Signs, objective: str, paired: bool) -> str | None:
    """Translations are their sources, and the discriminator is not fooled by them."""
    if not {"moved", "apart"} <= signs.keys() or signs["apart"] < LEAST_SPREAD:
        return None
    moved, apart, told = signs["moved"], signs["apart"], signs.get("told", 1.0)
    if moved > (SAME_PAIRED if paired else SAME) * apart or told < TOLD:
        return None
    judge = f"; the discriminator recognizes {told:.0%} of them" if "told" in signs else ""
    return (
        f"translations differ from their sources by {moved:.3f}, the target domain by {apart:.3f}"
        f"{judge}"
    )


def inverted(signs: Signs, objective: str, paired: bool) -> str | None:
    """What is bright becomes dark, and the other way round."""
    against = "target" if paired else "source"
    tones = signs.get("tones_target" if paired else "tones", 0.0)
    if tones > INVERTED or (not paired and signs.get("edges", 0.0) < EDGES):
        return None
    return f"brightness of translation and {against} correlates by {tones:.2f} (-1: a negative)"


def gridded(signs: Signs, objective: str, paired: bool) -> str | None:
    """A pattern of every second or fourth pixel lies over the translations."""
    if not {"grid_made", "grid_target", "grid_depth"} <= signs.keys():
        return None
    made, target, depth = signs["grid_made"], signs["grid_target"], signs["grid_depth"]
    if made < LATTICE * max(target, 1.0) or depth < DEPTH:
        return None
    return (
        f"patterns of 2 and 4 pixels exceed the rest of the spectrum {made:.1f} times, "
        f"in real images {target:.1f} times; their amplitude is {127.5 * depth:.1f} of 255"
    )


RULES = (
    Rule("saturated discriminator", saturated,
         "a lower train.lr_per_network.discriminator (a quarter of train.lr), a smaller "
         "discriminator.width or discriminator.layers, or augmentation with data.jitter and "
         "data.zoom"),
    Rule("collapse", collapsed,
         "another train.seed or a lower train.lr; generator.skip true in a unet"),
    Rule("identity", unchanged,
         "a higher weight of the adversarial loss; if A and B contain the same images, no change "
         "can be learned (viceversa check reports it)"),
    Rule("inversion", inverted,
         "another train.seed; if the domains are negatives of each other, nothing is wrong"),
    Rule("checkerboard", gridded,
         "generator.upsample resize (unet and resnet) has no such pattern; a lower train.lr or "
         "more epochs often reduce it"),
)  # fmt: skip
OVER_FITTING = (
    "the models of the best validation (best/) and fewer epochs; more images; augmentation with "
    "data.jitter, data.zoom, data.rotate and data.flip; a smaller generator.width"
)
VANISHING = "a generator.norm other than none; generator.init normal; another train.seed"
EXPLODING = (
    "train.grad_clip 1 (or ten times what the norm was before); a lower train.lr, or one for the "
    "player alone with train.lr_per_network; train.precision fp32"
)
