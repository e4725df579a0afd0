"""Render a plan for the command line: what does not fit, a table and advice."""

from __future__ import annotations

from typing import Any

from ..fields import as_typed, pixels_text
from ..files import format_bytes
from .costs import MARGIN

USES = {
    "weights": "weights",
    "gradients": "gradients",
    "optimizer_state": "optimizer state",
    "pool": "image pool (method.pool_size)",
    "batch": "a batch of images",
    "activations": "activations at the peak of a step",
    "margin": "margin for libraries",
    "ema": "EMA weights (train.ema)",
    "copies": "copies of the networks, for samples and validation",
    "images": "code that reads images, and cached images (data.cache)",
}
Row = tuple[str, str, str]


def plan_text(plan: dict[str, Any]) -> str:
    """Return the values of `make_plan` as text."""
    settings, batch = plan["settings"], f"batches of {plan['batch_size']}"
    method, generator, discriminator = (
        settings[section]["name"] for section in ("method", "generator", "discriminator")
    )
    if plan["accumulation_steps"] > 1:
        batch += f" times {plan['accumulation_steps']}"
    head = (
        f"{method}: {generator} and {discriminator}, {batch}, "
        f"{pixels_text(plan['height'], plan['width'])}, {plan['precision']}, on {plan['device']}"
    )
    splits = [
        f"{name:<6}{split['a']} of A, {split['b']} of B: {split['layout']}"
        for name, split in plan["splits"].items()
    ]
    rows = [*_arithmetic(plan), *_memory(plan), *_disk(plan), *_time(plan)]
    first, second = (max(len(row[i]) for row in rows) for i in (0, 1))
    table = [f"{a:<{first}}  {b:>{second}}  {c}".rstrip() for a, b, c in rows]
    return "\n".join([*_refusal(plan), head, *splits, "", *table, "", *plan["advice"]])


def _refusal(plan: dict[str, Any]) -> list[str]:
    memory, alternatives = plan["memory"], plan["alternatives"]
    if memory["fits"]:
        return []
    needed, free = format_bytes(memory["needed"]), format_bytes(memory["free"])
    lines = [f"The run does not fit: it needs {needed}, and {free} are free on {plan['device']}."]
    fitting = [one for one in alternatives if one["fits"]]
    if not alternatives:
        lines.append("Only smaller networks fit: --generator.width, --discriminator.width.")
    elif fitting:
        lines.append("This fits:" if len(fitting) == 1 else "Any of these fits:")
    else:
        lines.append("None of these is enough alone:")
    for one in fitting or alternatives:
        lines.append(f"  {one['options']:<48}{format_bytes(one['needed']):>9}")
    return [*lines, ""]


def _arithmetic(plan: dict[str, Any]) -> list[Row]:
    numbers, macs = dict(plan["parameters"]), plan["macs"]
    total = numbers.pop("all")
    return [
        ("parameters", f"{total:,}", ", ".join(f"{name} {n:,}" for name, n in numbers.items())),
        ("arithmetic", _macs(macs["step"]), "a step, forward and backward"),
        *(("", _macs(one), "a translation") for one in sorted({*macs["translation"].values()})),
    ]


def _memory(plan: dict[str, Any]) -> list[Row]:
    memory = plan["memory"]
    sizes = memory | {"copies": round((1 + MARGIN) * memory["copies"])}
    free = "" if memory["free"] is None else f", of {format_bytes(memory['free'])} that are free"
    rows = [("memory", format_bytes(memory["needed"]), f"predicted{free}")]
    rows += [("", format_bytes(sizes[k]), f"  {use}") for k, use in USES.items() if sizes[k] > 16]
    if memory["measured"] is not None:
        predicted = f"measured in the timed steps, {format_bytes(memory['steps'])} were predicted"
        rows.append(("", format_bytes(memory["measured"]), predicted))
    for name, option in (("batch", "--train.batch_size"), ("crop", "--data.crop_size")):
        if found := plan["largest"][name]:
            text = f"for the largest {name} that fits: {option} {as_typed(found['value'])}"
            rows.append(("", format_bytes(found["needed"]), text))
    return rows


def _disk(plan: dict[str, Any]) -> list[Row]:
    disk, keep = plan["disk"], plan["settings"]["train"]["keep_last"]
    text = f"{keep} checkpoints of {format_bytes(disk['checkpoint'])}, models of "
    text += format_bytes(disk["models"])
    if disk["images"]:
        text += f", images of {format_bytes(disk['images'])}"
    return [
        ("disk", format_bytes(disk["needed"]), f"{text}; {format_bytes(disk['free'])} are free")
    ]


def _time(plan: dict[str, Any]) -> list[Row]:
    time, images = plan["time"], plan["images"]
    if time is None:
        fits = plan["memory"]["fits"]
        why = "not measured (--steps 0)" if fits else "not measured: the run does not fit"
        return [("time", "", why + (f"; {images:,} images per epoch" if images else ""))]
    every = time["every"]
    rows = [
        (
            "time",
            f"{time['step']:.3g} s",
            f"a step, median of {len(every)} ({min(every):.3g} to {max(every):.3g})",
        ),
        ("", "", f"{time['images_per_s']:.3g} images/s, {_macs(time['macs_per_s'])}/s"),
    ]
    if not images:
        return [*rows, ("", duration_text(time["thousand_images"]), "1000 images")]
    epoch, all_epochs = duration_text(time["epoch"]), duration_text(time["all"])
    rows.append(("", epoch, f"an epoch of {images:,} images"))
    return [*rows, ("", all_epochs, f"all {plan['epochs']} epochs")]


def duration_text(seconds: float) -> str:
    """Return a duration as text, in days, hours, minutes or seconds."""
    for unit, length in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"


def _macs(macs: float) -> str:
    number = macs / 1e9
    if number < 0.1:
        return f"{macs / 1e6:.1f} MMAC"
    return f"{number:,.1f} GMAC" if number >= 10 else f"{number:.2f} GMAC"
