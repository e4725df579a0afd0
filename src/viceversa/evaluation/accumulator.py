"""The numbers of one way of a translator: each image by itself, and all of them as a set.

Training's validation and `evaluate` take them by the same functions, so that they mean the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..images.domain import Domain
from ..images.values import data_mask, fill_nodata, to_pixels, to_rgb
from ..metrics.distribution import KID_LEAST, fid, kid
from ..metrics.edges import content
from ..metrics.paired import MS_SSIM_LEAST, SSIM_LEAST, l1, ms_ssim, psnr, ssim
from ..metrics.perceptual import lpips
from ..metrics.sliced import SWD_LEAST, swd
from .features import load, pool3

EACH_PAIR = {"l1": l1, "psnr": psnr, "ssim": ssim, "ms_ssim": ms_ssim}
NEEDS = {"lpips": "alexnet", "fid": "inception", "kid": "inception"}  # metric -> feature network
LEAST = {"ssim": SSIM_LEAST, "ms_ssim": MS_SSIM_LEAST, "swd": SWD_LEAST, "lpips": 64}  # px a side
PAIRS_ONLY = (*EACH_PAIR, "lpips")
SUBSET = 50  # images in each subset of KID
KEPT = 2**30  # bytes of images that SWD looks at: the first ones


class Features(NamedTuple):
    """Feature networks at hand: name -> network, and name -> SHA-256 of its file."""

    networks: dict[str, nn.Module]
    digests: dict[str, str]


def features_for(names: Sequence[str], folder: Path | None, device: torch.device) -> Features:
    """The feature networks that some metrics need. Raises UserError where one is missing."""
    found = Features({}, {})
    for network in dict.fromkeys(NEEDS[name] for name in names if name in NEEDS):
        loaded, found.digests[network] = load(network, folder)
        found.networks[network] = loaded.to(device)
    return found


class Measures:
    """Takes in images one after the other; the numbers come at the end."""

    def __init__(self, names: Sequence[str], source: Domain, target: Domain,
                 networks: Mapping[str, nn.Module]):  # fmt: skip
        """`names`: the metrics wanted; what an image is too small for is left out, see `missed`."""
        self.names, self.source, self.target, self.networks = names, source, target, networks
        self.each: dict[str, list[float]] = {}
        self.missed: dict[str, str] = {}  # metric -> why it could not be had
        self._features: tuple[list[Tensor], list[Tensor]] = ([], [])  # of made images, of real ones
        self._sets: tuple[list[Tensor], list[Tensor]] = ([], [])
        self._kept = [0, 0]  # bytes of each side
        self._cut = False  # whether SWD looks at the first images alone, for there are too many

    @torch.no_grad()
    def made(
        self, source: Tensor, made: Tensor, target: Tensor | None, back: Tensor | None
    ) -> None:
        """Take in what was made of sources, (n, channels, h, w) in [-1, 1], all of one size.

        `target`: what should have been made of each, where that is known; `back`: what the other
        way made of it again. NaN in sources and targets stands for no data: l1, psnr, ssim,
        ms_ssim, cycle and content leave it out, and for the other metrics it is filled, as are the
        pixels made of sources without data.
        """
        weight = cycle = None
        if bool(source.isnan().any()) or (target is not None and bool(target.isnan().any())):
            weight, cycle = data_mask(source, target), ~source.isnan()
            made = made.masked_fill(~data_mask(source), self.target.config.nodata_fill)
            source = fill_nodata(source, self.source)
            if target is not None:
                made = made.where(~target.isnan(), self.target.config.nodata_fill)
                target = fill_nodata(target, self.target)
        if target is None and self.target.config.kind == "lab-ab":
            why = "real colours (a and b) have no lightness without their pairs"
            self.missed |= {name: why for name in ("fid", "kid") if name in self.names}
        self._look(0, made, source)
        if "content" in self.names:
            some = None if weight is None else weight.any(dim=1, keepdim=True)
            self._note("content", content(source, made, some))
        if back is not None and "cycle" in self.names:
            self._note("cycle", l1(source, back, cycle))
        if target is None:
            return
        for name, measure in EACH_PAIR.items():
            if self._can(name, made):
                self._note(name, measure(made, target, weight))
        if self._can("lpips", made):
            network = self.networks["alexnet"]
            device = next(network.parameters()).device  # the images may lie elsewhere
            of = [_rgb(one, self.target, source).to(device) / 127.5 - 1 for one in (made, target)]
            self._note("lpips", lpips(network, *of))

    @torch.no_grad()
    def real(self, target: Tensor, source: Tensor | None = None) -> None:
        """Take in real images of the target, as `made`; colours of Lab are shown with `source`'s
        lightness. NaN stands for no data, and is filled."""
        self._look(1, fill_nodata(target, self.target), source)

    def means(self) -> dict[str, float]:
        """Every number: means over images, and distances between the two sets."""
        means = {name: _mean(values) for name, values in self.each.items()}
        return {name: means[name] for name in self.names if name in means} | self.sets()

    def sets(self) -> dict[str, float]:
        """The distances between what was made and what is real: swd, fid, kid and its deviation."""
        found: dict[str, float] = {}
        if self._wanted("swd") and all(self._sets):
            made, real = _alike(*self._sets)
            found["swd"] = swd(made, real)
        of_made, of_real = (torch.cat(f) if f else torch.empty(0, 1) for f in self._features)
        if self._wanted("fid") and self.networks:
            if min(len(of_made), len(of_real)) < 2:
                self.missed["fid"] = "it needs at least 2 images a side"
            else:
                found["fid"] = fid(of_made, of_real)
        if self._wanted("kid") and self.networks:
            if min(len(of_made), len(of_real)) < KID_LEAST:
                self.missed["kid"] = (
                    f"it needs at least {KID_LEAST} images a side, and there are {len(of_made)} "
                    f"and {len(of_real)}"
                )
            else:
                found["kid"], found["kid_deviation"] = kid(of_made, of_real, SUBSET)
        return found

    def _look(self, side: int, images: Tensor, lightness: Tensor | None) -> None:
        """Take in images for the sets that are compared as a whole: 0 made, 1 real ones."""
        if self._can("swd", images):
            self._keep(side, images)
        if self._wanted("fid") or self._wanted("kid"):
            rgb = _rgb(images, self.target, lightness)
            self._features[side].append(pool3(self.networks["inception"], rgb))

    def _keep(self, side: int, images: Tensor) -> None:
        """Keep images for SWD, as many of each side as there is room for; one at least."""
        for image in images.cpu().float():
            if self._sets[side] and self._kept[side] + 4 * image.numel() > KEPT // 2:
                self._cut = True
                return
            self._sets[side].append(image)
            self._kept[side] += 4 * image.numel()

    @property
    def notes(self) -> list[str]:
        """What to know of the numbers, beside what is `missed`."""
        told = []
        if self._cut:
            made, real = map(len, self._sets)
            told.append(f"swd is of the first {made} translations and {real} real images: there is "
                        "no room for more")  # fmt: skip
        for name, values in self.each.items():
            if endless := sum(math.isinf(value) for value in values):
                told.append(f"{name} of {endless} images is infinite: they equal their targets; "
                            "the mean is of the others")  # fmt: skip
        return told

    def _wanted(self, name: str) -> bool:
        return name in self.names and name not in self.missed

    def _can(self, name: str, images: Tensor) -> bool:
        """Whether a metric is wanted, and images are large enough for it."""
        if not self._wanted(name):
            return False
        height, width = images.shape[2:]
        if min(height, width) < LEAST.get(name, 1):
            self.missed[name] = (
                f"it needs images of at least {LEAST[name]} x {LEAST[name]} pixels, and one is "
                f"{width} x {height}"
            )
            self.each.pop(name, None)
            return False
        return True

    def _note(self, name: str, values: Tensor) -> None:
        self.each.setdefault(name, []).extend(values.tolist())


def _mean(values: Sequence[float]) -> float:
    """The mean of what is not infinite: PSNR of two equal images is."""
    rest = torch.tensor([value for value in values if not math.isinf(value)])
    return float(rest.double().mean()) if len(rest) else math.inf


def _rgb(images: Tensor, domain: Domain, lightness: Tensor | None) -> Tensor:
    """(n, channels, h, w) in [-1, 1] -> (n, 3, h, w) uint8: as a person is shown them."""
    seen = to_pixels(to_rgb(images, domain, lightness), Domain())
    return torch.stack([torch.from_numpy(one).movedim(2, 0) for one in seen])


def _alike(*sets: list[Tensor]) -> list[Tensor]:
    """Sets of images of one size: the middle of each, as large as the smallest of them all."""
    height, width = (min(one.shape[axis] for some in sets for one in some) for axis in (1, 2))
    return [torch.stack([_middle(one, height, width) for one in some]) for some in sets]


def _middle(image: Tensor, height: int, width: int) -> Tensor:
    top, left = (image.shape[1] - height) // 2, (image.shape[2] - width) // 2
    return image[:, top : top + height, left : left + width]
