"""Real runs that go wrong, each in its way, and some that do not: on the demos' images, 64 px."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image, ImageOps

from viceversa.config.recipes import Sections, merge, read_recipe
from viceversa.config.run import resolve
from viceversa.training.loop import train

STEPS = 300
PAIRS, VIEWS = (
    "demo",
    "demo-cyclegan",
)  # recipes: line drawings -> colours; the Earth <-> its relief
CALM: Sections = {"train": {"batch_size": 1, "schedule": "constant", "samples": 0, "device": "cpu"}}


class Trial(NamedTuple):
    """A run, and the finding that it was made for; None: a healthy one, nothing is told of it."""

    name: str
    finding: str | None
    recipe: str
    more: Sections
    data: str = "as it is"  # or `few` images, `smooth` ones, or a `negative` where the target lies
    images: int = STEPS


def judge_wins(d_lr: float) -> Sections:
    """The generator stands nearly still while the discriminator learns."""
    return {"train": {"lr_per_network": {"generator": 1e-6, "discriminator": d_lr}}}


BLIND = {"lambda_cycle": 0.0, "lambda_identity": 0.0}  # a CycleGAN that no source holds
TRIALS = (
    Trial("saturated-pix2pix", "saturated discriminator", PAIRS, judge_wins(1e-3)),
    Trial("saturated-cyclegan", "saturated discriminator", VIEWS,
          merge({"method": {"gan_loss": "hinge"}}, judge_wins(1e-3))),
    Trial("collapse-pix2pix", "collapse", PAIRS, {
        "method": {"lambda_l1": 0.0, "conditional": False}, "generator": {"skip": False},
    }),
    Trial("collapse-cyclegan", "collapse", VIEWS, {"train": {"lr": 0.3}}),
    Trial("inversion-pix2pix", "inversion", PAIRS, {}, "negative"),
    Trial("inversion-cyclegan", "inversion", VIEWS, {"method": {"lambda_identity": 0.0}},
          "negative"),
    Trial("identity-cyclegan", "identity", VIEWS, {
        "method": {"lambda_identity": 100.0, "lambda_gan": 0.05},
        "generator": {"norm": "none", "depth": 2}, "train": {"lr": 2e-3},
    }, "smooth"),
    Trial("checkerboard-pix2pix", "checkerboard", PAIRS, {
        "method": {"lambda_l1": 0.0}, "generator": {"norm": "none"}, "train": {"lr": 2e-3},
    }),
    Trial("checkerboard-cyclegan", "checkerboard", VIEWS, {
        "method": BLIND, "generator": {"upsample": "transposed", "norm": "none"},
        "train": {"lr": 2e-3},
    }),
    Trial("vanishing", "vanishing gradients", PAIRS, {
        "generator": {"norm": "none"}, "train": {"lr": 1.0},
    }),
    Trial("exploding-pix2pix", "exploding gradients", PAIRS, {
        "method": {"gan_loss": "lsgan"}, "discriminator": {"norm": "none"},
        "train": {"lr_per_network": {"discriminator": 0.1}},
    }),
    Trial("exploding-wgan-gp", "exploding gradients", PAIRS, {
        "method": {"gan_loss": "wgan-gp"}, "generator": {"norm": "none"},
        "discriminator": {"norm": "none"}, "train": {"lr": 0.1},
    }),
    Trial("over-fitting-pix2pix", "over-fitting", PAIRS, {"validate": {"every": 16}}, "few", 320),
    Trial("over-fitting-cyclegan", "over-fitting", VIEWS, {
        "method": {"pool_size": 0}, "discriminator": {"width": 64, "layers": 3},
        "data": {"flip": False, "preprocess": "resize"},
        "train": {"lr_per_network": {"discriminator": 1e-3}}, "validate": {"every": 16},
    }, "few", 320),
)  # fmt: skip


def healthy(recipe: str, seed: int) -> Trial:
    """The demo as it is, but for its batch: as many steps as the others, looked at as often."""
    return Trial(f"{recipe}-{seed}", None, recipe, {"train": {"seed": seed}})


def with_seed(trial: Trial, seed: int) -> Trial:
    return trial._replace(more=merge(trial.more, {"train": {"seed": seed}}))


def run(trial: Trial, root: Path) -> list[dict[str, Any]]:
    """Train in `root`, and return what was told of its health, in order."""
    data = images(trial, root / f"{trial.name}-images")
    epochs = trial.images // len(list((data / ("train" if trial.recipe == PAIRS else "trainA"))
                                      .iterdir()))  # fmt: skip
    settings = merge(merge(read_recipe(trial.recipe), CALM), trial.more)
    own: Sections = {
        "data": {"path": str(data)}, "train": {"run": str(root / trial.name), "epochs": epochs},
    }  # fmt: skip
    return told(merge(settings, own))


def told(settings: Sections) -> list[dict[str, Any]]:
    """Train by these settings, and return what was told of the run's health, in order."""
    with contextlib.redirect_stdout(io.StringIO()):
        folder = train(resolve(settings))
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{"images": line["images"], **line["health"]} for line in lines if "health" in line]


def images(trial: Trial, folder: Path) -> Path:
    """The images that a trial trains on: a part of the demo's, or what was made of it."""
    few, negative = trial.data == "few", trial.data == "negative"
    folder.mkdir(parents=True)
    demos = Path(str(resources.files("viceversa") / "demos"))
    if trial.recipe == PAIRS:
        source = demos / "openmoji"
        for split, count in (("train", 16 if few else 300), ("test", 40)):
            (folder / split).mkdir(parents=True)
            for file in first(source / split, count):
                pair = Image.open(file).convert("RGB")
                if negative and split == "train":  # whoever made these targets had them negative
                    pair = side_by_side(half(pair, 0), ImageOps.invert(half(pair, 1)))
                pair.save(folder / split / file.name)
        return folder
    for side, domain in enumerate("AB"):
        for split, count in (("train", 16 if few else 60), ("test", 12)):
            place = folder / f"{split}{domain}"
            place.mkdir(parents=True)
            if negative:  # colours of drawings, and negatives of others
                for file in first(demos / "openmoji" / split, 2 * count)[side::2]:
                    drawing = half(Image.open(file).convert("RGB"), 1)
                    (ImageOps.invert(drawing) if domain == "B" else drawing).save(place / file.name)
                continue
            for file in first(demos / "earth" / f"{split}{domain}", count):
                view = Image.open(file).convert("RGB")
                if (
                    trial.data == "smooth"
                ):  # with so little in them, it is soon learnt to leave alone
                    view = view.resize((12, 12), Image.Resampling.BOX).resize(view.size)
                view.save(place / f"{file.stem}.png")
    return folder


def first(folder: Path, count: int) -> Sequence[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix in (".png", ".jpg"))[:count]


def half(pair: Image.Image, side: int) -> Image.Image:
    width = pair.width // 2
    return pair.crop((side * width, 0, (side + 1) * width, pair.height))


def side_by_side(a: Image.Image, b: Image.Image) -> Image.Image:
    pair = Image.new("RGB", (a.width + b.width, a.height))
    pair.paste(a, (0, 0))
    pair.paste(b, (a.width, 0))
    return pair
