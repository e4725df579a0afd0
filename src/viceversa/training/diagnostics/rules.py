"""Rules that find a problem from signs: plain numbers in, a description of the problem out.

docs/evaluation.md explains each limit and how it was chosen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

Signs = dict[str, float]

ALIKE = 0.03  # fraction of the targets' spread below which all translations are the same
LEAST_SPREAD = 0.02  # of sources and targets: with less, nothing can be compared
SAME = 0.12  # fraction of the difference to the target below which the source is unchanged
SAME_PAIRED = 0.05  # the same for pairs, whose targets may resemble the sources
RECOGNIZED = 0.75  # fraction of patches recognized, above which the discriminator is not fooled
INVERTED = -0.5  # correlation of brightness
EDGES = 0.3  # correlation of edges: an inverted image keeps them
LATTICE = 8.0  # strength of a pattern, as a multiple of that in the targets
DEPTH = 0.05  # deviation of a clearly visible pattern: 6 of 255
# Scores beyond which nine of ten patches are saturated.
SURE: dict[str, tuple[float, float]] = {"bce": (-3.5, 3.5), "lsgan": (0.2, 0.8), "hinge": (-1, 1)}
VANISHED, EXPLODED = 1e-6, 1e4  # gradient norms, without regard to earlier ones
FALLEN, RISEN = 1e-4, 1e3  # and relative to the median of the run's earlier norms
WORSE, GAP = 1.02, 1.1  # held-out error, relative to its best and to the training error ...
FAR = 1.5  # ... or relative to the training error, if it no longer falls; unpaired always
MEMORIZED = 0.65  # position of held-out images between training and generated images
LEAST_GAP = 0.25  # between a discriminator's scores: with less, that position is noise


class Rule(NamedTuple):
    """A problem: its name, a function that describes it (None: not present), and advice."""

    name: str
    check: Callable[[Signs, str, bool], str | None]  # signs, objective, paired
    advice: str


def saturated(signs: Signs, objective: str, paired: bool) -> str | None:
    """The discriminator is sure of every patch, so the generator gets no gradient."""
    if objective not in SURE or not {"generated_high", "real_low"} <= signs.keys():
        return None  # the scores of wgan-gp have no limits
    low, high = SURE[objective]
    generated, real = signs["generated_high"], signs["real_low"]
    if generated > low or real < high:
        return None
    return (
        f"the discriminator is sure of 9 in 10 patches: translations score below "
        f"{generated:.2f} (limit {low:g}), real images above {real:.2f} (limit {high:g})"
    )


def collapsed(signs: Signs, objective: str, paired: bool) -> str | None:
    """Translations of different sources are the same."""
    if not {"spread_generated", "spread_source", "spread_target"} <= signs.keys():
        return None
    generated, source, target = (signs[f"spread_{x}"] for x in ("generated", "source", "target"))
    if min(source, target) < LEAST_SPREAD or generated > ALIKE * target:
        return None
    return (
        f"translations of different images differ by {generated:.4f} (of 2), real ones by "
        f"{target:.3f} and the sources by {source:.3f}"
    )


def unchanged(signs: Signs, objective: str, paired: bool) -> str | None:
    """Translations equal their sources, and the discriminator is not fooled by them."""
    if not {"change", "distance"} <= signs.keys() or signs["distance"] < LEAST_SPREAD:
        return None
    change, distance = signs["change"], signs["distance"]
    recognized = signs.get("recognized", 1.0)
    if change > (SAME_PAIRED if paired else SAME) * distance or recognized < RECOGNIZED:
        return None
    known = "recognized" in signs
    fooled = f"; the discriminator recognizes {recognized:.0%} of them" if known else ""
    return (
        f"translations differ from their sources by {change:.3f}, the target domain by "
        f"{distance:.3f}{fooled}"
    )


def inverted(signs: Signs, objective: str, paired: bool) -> str | None:
    """Bright areas become dark, and dark ones bright."""
    against = "target" if paired else "source"
    tones = signs.get("tones_target" if paired else "tones", 0.0)
    if tones > INVERTED or (not paired and signs.get("edges", 0.0) < EDGES):
        return None
    return f"brightness of translation and {against} correlates by {tones:.2f} (-1: a negative)"


def gridded(signs: Signs, objective: str, paired: bool) -> str | None:
    """Translations show a pattern with a period of 2 or 4 pixels."""
    if not {"pattern_generated", "pattern_target", "pattern_depth"} <= signs.keys():
        return None
    generated, target = signs["pattern_generated"], signs["pattern_target"]
    depth = signs["pattern_depth"]
    if generated < LATTICE * max(target, 1.0) or depth < DEPTH:
        return None
    return (
        f"patterns of 2 and 4 pixels have {generated:.1f} times the energy of the spectrum around "
        f"them, in real images {target:.1f} times; their amplitude is {127.5 * depth:.1f} of 255"
    )


RULES = (
    Rule(
        "saturated discriminator",
        saturated,
        "slow the discriminator down with train.lr_per_network.discriminator (a quarter of "
        "train.lr), reduce its capacity with a smaller discriminator.width or "
        "discriminator.layers, or augment its images with data.jitter and data.zoom",
    ),
    Rule(
        "collapse",
        collapsed,
        "another train.seed or a lower train.lr; generator.skip true in a unet",
    ),
    Rule(
        "identity",
        unchanged,
        "a higher weight of the adversarial loss; if A and B contain the same images, no change "
        "can be learned (viceversa check reports it)",
    ),
    Rule(
        "inversion",
        inverted,
        "another train.seed; if the domains are negatives of each other, this is correct",
    ),
    Rule(
        "checkerboard",
        gridded,
        "generator.upsample resize (unet and resnet) causes no such pattern; a lower train.lr "
        "or more epochs often remove it",
    ),
)
OVER_FITTING = (
    "stop earlier, or use the weights of the best validation; more images; more augmentation with "
    "data.jitter, data.zoom, data.rotate and data.flip; a smaller generator.width"
)
VANISHING = "a generator.norm other than none; generator.init normal; another train.seed"
EXPLODING = (
    "train.grad_clip 1 (or ten times the earlier norm); a lower train.lr, or a lower "
    "train.lr_per_network of this network; train.precision fp32"
)
