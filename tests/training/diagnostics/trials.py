"""Runs with a training problem each, and controls without, on the images of the demos, 64 px."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image, ImageOps

from viceversa.config.recipes import Sections, merge, read_recipe
from viceversa.config.run import resolve
from viceversa.run_log import group, read
from viceversa.training.loop import train

STEPS = 300
PAIRS = "demo"  # recipe: line drawings -> color drawings
VIEWS = "demo-cyclegan"  # recipe: satellite images <-> relief maps
SHORT: Sections = {
    "train": {"batch_size": 1, "schedule": "constant", "samples": 0, "device": "cpu"}
}


class Trial(NamedTuple):
    """Settings of a run, and the finding that it must cause (None: no finding)."""

    name: str
    finding: str | None
    recipe: str
    more: Sections
    data: str = "unchanged"  # or "few", "smooth", "negative": see `images`
    images: int = STEPS


def strong_discriminator(d_lr: float) -> Sections:
    """Return settings with which the generator hardly changes while the discriminator learns."""
    return {"train": {"lr_per_network": {"generator": 1e-6, "discriminator": d_lr}}}


NO_CYCLE = {"lambda_cycle": 0.0, "lambda_identity": 0.0}  # outputs need not depend on the source
TRIALS = (
    Trial("saturated-pix2pix", "saturated discriminator", PAIRS, strong_discriminator(1e-3)),
    Trial(
        "saturated-cyclegan",
        "saturated discriminator",
        VIEWS,
        merge({"method": {"gan_loss": "hinge"}}, strong_discriminator(1e-3)),
    ),
    Trial(
        "collapse-pix2pix",
        "collapse",
        PAIRS,
        {
            "method": {"lambda_l1": 0.0, "conditional": False},
            "generator": {"skip": False},
        },
    ),
    Trial("collapse-cyclegan", "collapse", VIEWS, {"train": {"lr": 0.3}}),
    Trial("inversion-pix2pix", "inversion", PAIRS, {}, "negative"),
    Trial(
        "inversion-cyclegan", "inversion", VIEWS, {"method": {"lambda_identity": 0.0}}, "negative"
    ),
    Trial(
        "identity-cyclegan",
        "identity",
        VIEWS,
        {
            "method": {"lambda_identity": 100.0, "lambda_gan": 0.05},
            "generator": {"norm": "none", "depth": 2},
            "train": {"lr": 2e-3},
        },
        "smooth",
    ),
    Trial(
        "checkerboard-pix2pix",
        "checkerboard",
        PAIRS,
        {
            "method": {"lambda_l1": 0.0},
            "generator": {"norm": "none"},
            "train": {"lr": 2e-3},
        },
    ),
    Trial(
        "checkerboard-cyclegan",
        "checkerboard",
        VIEWS,
        {
            "method": NO_CYCLE,
            "generator": {"upsample": "transposed", "norm": "none"},
            "train": {"lr": 2e-3},
        },
    ),
    Trial(
        "vanishing",
        "vanishing gradients",
        PAIRS,
        {
            "generator": {"norm": "none"},
            "train": {"lr": 1.0},
        },
    ),
    Trial(
        "exploding-pix2pix",
        "exploding gradients",
        PAIRS,
        {
            "method": {"gan_loss": "lsgan"},
            "discriminator": {"norm": "none"},
            "train": {"lr_per_network": {"discriminator": 0.1}},
        },
    ),
    Trial(
        "exploding-wgan-gp",
        "exploding gradients",
        PAIRS,
        {
            "method": {"gan_loss": "wgan-gp"},
            "generator": {"norm": "none"},
            "discriminator": {"norm": "none"},
            "train": {"lr": 0.1},
        },
    ),
    Trial("over-fitting-pix2pix", "over-fitting", PAIRS, {"validate": {"every": 16}}, "few", 320),
    Trial(
        "over-fitting-cyclegan",
        "over-fitting",
        VIEWS,
        {
            "method": {"pool_size": 0},
            "discriminator": {"width": 64, "layers": 3},
            "data": {"flip": False, "preprocess": "resize"},
            "train": {"lr_per_network": {"discriminator": 1e-3}},
            "validate": {"every": 16},
        },
        "few",
        320,
    ),
)


def control_trial(recipe: str, seed: int) -> Trial:
    """Return a run of the demo's recipe that must cause no finding."""
    return Trial(f"{recipe}-{seed}", None, recipe, {"train": {"seed": seed}})


def with_seed(trial: Trial, seed: int) -> Trial:
    return trial._replace(more=merge(trial.more, {"train": {"seed": seed}}))


def run_trial(trial: Trial, root: Path) -> list[dict[str, Any]]:
    """Train a trial in the folder `root` and return its findings in order."""
    data = images(trial, root / f"{trial.name}-images")
    train_images = data / ("train" if trial.recipe == PAIRS else "trainA")
    epochs = trial.images // len(list(train_images.iterdir()))
    settings = merge(merge(read_recipe(trial.recipe), SHORT), trial.more)
    paths: Sections = {
        "data": {"path": str(data)},
        "train": {"run": str(root / trial.name), "epochs": epochs},
    }
    return findings(merge(settings, paths))


def findings(settings: Sections) -> list[dict[str, Any]]:
    """Train with these settings and return the findings of the diagnostics in order."""
    with contextlib.redirect_stdout(io.StringIO()):
        folder = train(resolve(settings))
    found = [entry for entry in read(folder / "log.jsonl") if entry["kind"] == "diagnostic"]
    return [{"images": entry["images"], **group(entry, "diagnostic")} for entry in found]


def images(trial: Trial, folder: Path) -> Path:
    """Write the images of a trial: those of the demo, fewer, blurred or with negative targets."""
    few, negative = trial.data == "few", trial.data == "negative"
    folder.mkdir(parents=True)
    demos = Path(str(resources.files("viceversa") / "demos"))
    if trial.recipe == PAIRS:
        source = demos / "openmoji"
        for split, count in (("train", 16 if few else 300), ("test", 40)):
            (folder / split).mkdir(parents=True)
            for file in first(source / split, count):
                pair = Image.open(file).convert("RGB")
                if negative and split == "train":
                    pair = side_by_side(half(pair, 0), ImageOps.invert(half(pair, 1)))
                pair.save(folder / split / file.name)
        return folder
    for side, domain in enumerate("AB"):
        for split, count in (("train", 16 if few else 60), ("test", 12)):
            subfolder = folder / f"{split}{domain}"
            subfolder.mkdir(parents=True)
            if negative:  # A: color drawings; B: negatives of others
                for file in first(demos / "openmoji" / split, 2 * count)[side::2]:
                    drawing = half(Image.open(file).convert("RGB"), 1)
                    (ImageOps.invert(drawing) if domain == "B" else drawing).save(
                        subfolder / file.name
                    )
                continue
            for file in first(demos / "earth" / f"{split}{domain}", count):
                view = Image.open(file).convert("RGB")
                if trial.data == "smooth":  # the identity is learned quickly on blurred images
                    view = view.resize((12, 12), Image.Resampling.BOX).resize(view.size)
                view.save(subfolder / f"{file.stem}.png")
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
