"""Runs' folders as training leaves them, made in a moment."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

SETTINGS = {
    "method": {"name": "pix2pix", "gan_loss": "bce", "lambda_l1": 100.0},
    "generator": {"name": "unet", "width": 64, "depth": 8},
    "discriminator": {"name": "patchgan", "layers": 3},
    "data": {"path": "data/facades", "direction": "ba", "a": {"kind": "image", "range": [0, 255]}},
    "train": {"run": "runs/facades", "epochs": 20, "lr": 2e-4, "betas": [0.5, 0.999]},
}
MACHINE = {
    "viceversa": "0.1.0", "python": "3.11.2", "torch": "2.13.0", "system": "Linux",
    "cores": 2, "memory_bytes": 8 * 2**30, "device": "cpu", "began": "2026-11-25T02:00:00+00:00",
    "total_images": 8000, "sample_columns": ["source", "translation", "target"],
}  # fmt: skip
EVERY, EPOCH = 200, 400  # images between two lines, and in an epoch
WARNING = {
    "name": "saturated discriminator", "state": "warning", "since": 6000,
    "saw": "The discriminator's loss stayed under 0.01 for 400 images.",
    "advice": "Try --train.lr_per_network.discriminator 1e-4.",
}  # fmt: skip


def settings(**train: Any) -> dict[str, dict[str, Any]]:
    return SETTINGS | {"train": SETTINGS["train"] | train}


def training_lines(last: int, seed: int = 0) -> list[dict[str, Any]]:
    """A line each EVERY images, as they look while pix2pix learns."""
    random = np.random.default_rng(seed)
    lines = []
    for images in range(EVERY, last + 1, EVERY):
        fall, noise = math.exp(-images / 3000), random.normal(1, 0.06, 5)
        lines.append({
            "images": images, "epoch": 1 + (images - 1) // EPOCH,
            "lr": 2e-4 if images <= 4000 else 2e-4 * (8000 - images) / 4000,
            "images_per_s": round(3.1 * float(noise[0]), 2),
            "losses": {
                "d_real": 0.3 * float(noise[1]) * (0.5 + fall / 2),
                "d_fake": 0.28 * float(noise[2]) * (0.5 + fall / 2),
                "g_l1": (18 + 25 * fall) * float(noise[3]),
                "g_gan": (1.1 + 1.5 * (1 - fall)) * float(noise[4]),
            },
            "gradients": {"generator": 4 * fall + 1, "discriminator": 0.8 - fall / 2},
        })  # fmt: skip
    return lines


def validation_line(images: int, averaged: bool = True) -> dict[str, Any]:
    fall = math.exp(-images / 2500)
    raw = {"l1": 0.28 + 0.2 * fall + 0.004 * math.sin(images), "psnr": 14.5 - 4 * fall}
    better = {"ema": {"l1": 0.265 + 0.22 * fall, "psnr": 14.9 - 4.2 * fall}}
    return {"images": images, "epoch": 1 + (images - 1) // EPOCH, "validation": {
        "split": "val", "n": 100, "raw": raw, **(better if averaged else {}), "chosen_by": "l1",
        "best": {"value": 0.265 + 0.22 * fall, "images": images, "weights": "ema"},
    }}  # fmt: skip


def sheet(path: Path, images: int, columns: int = 3, side: int = 96) -> None:
    """A picture whose middle columns come out of the noise as images are seen."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(images)
    gap, rows = 2, 4
    made = Image.new("RGB", (columns * (side + gap) + gap, rows * (side + gap) + gap), "white")
    share = math.exp(-images / 2500)
    for row in range(rows):
        cell = Image.new("RGB", (side, side), (214 - 20 * row, 200, 170 + 20 * row))
        draw = ImageDraw.Draw(cell)
        for i in range(3 + row):
            x = 6 + i * (side - 12) // (3 + row)
            draw.rectangle((x, 30, x + 10, 52), fill=(70, 90 + 30 * row, 130))
            draw.rectangle((x, 62, x + 10, 84), fill=(140, 80, 60 + 20 * row))
        for column in range(columns):
            pixels = np.asarray(cell, dtype=float)
            if column == 0:
                pixels = np.where(pixels > 160, 30, 220) * np.array([0.2, 0.5, 1.0])
            elif column % 3 == 1:
                pixels = (1 - share) * pixels + share * random.uniform(0, 255, pixels.shape)
            made.paste(
                Image.fromarray(pixels.astype(np.uint8)),
                (gap + column * (side + gap), gap + row * (side + gap)),
            )
    made.save(path)


def make_run(
    folder: Path, last: int = 8000, sheets: int = 5, *, name: str | None = None, seed: int = 0,
    warned: bool = True, train: dict[str, Any] | None = None,
) -> Path:  # fmt: skip
    """A run's folder with a line each 200 images up to `last`; returns it."""
    run = folder / name if name else folder
    run.mkdir(parents=True, exist_ok=True)
    lines: list[dict[str, Any]] = training_lines(last, seed)
    lines += [validation_line(images) for images in range(1000, last + 1, 1000)]
    if warned and last >= 6400:
        over = WARNING | {"name": "checkerboard", "since": 800, "saw": "Stripes of 2 pixels."}
        lines.append({"images": 6400, "epoch": 16, "health": WARNING})
        lines.append({"images": 1200, "epoch": 3, "health": over})
        lines.append({"images": 2400, "epoch": 6, "health": over | {"state": "over"}})
    lines.sort(key=lambda line: line["images"])
    write_log(run, lines)
    (run / "config.json").write_text(json.dumps(settings(**(train or {}))))
    (run / "machine.json").write_text(json.dumps(MACHINE))
    for i in range(sheets):
        images = last * i // max(1, sheets - 1)
        sheet(run / f"samples/{images:08d}.png", images)
        if i:
            sheet(run / f"patch_maps/{images:08d}.png", images, columns=2)
    return run


def write_log(run: Path, lines: list[dict[str, Any]]) -> None:
    (run / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
