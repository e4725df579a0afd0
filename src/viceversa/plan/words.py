"""A plan as a table with some advice, and as plain values for JSON."""

from __future__ import annotations

from typing import Any

from ..files import in_words
from . import Plan
from .room import Choice

PARTS = {
    "weights": "weights", "gradients": "gradients", "averages": "Adam's two averages",
    "pool": "past fakes (method.pool)", "batch": "a batch of images",
    "maps": "maps of a step, at its peak",
}  # fmt: skip


def text(plan: Plan) -> str:
    """For a person: what does not fit first, then the numbers, then advice."""
    config, train, (height, width) = plan.config, plan.config.train, plan.seen.size
    head = (
        f"{config.name('method')}: {config.name('generator')} and {config.name('discriminator')}, "
        f"batches of {train.batch_size}{_times(train.accumulate)}, {width}x{height}, "
        f"{train.precision}, on {plan.device}"
    )
    rows = [*_arithmetic(plan), *_memory(plan), *_disk(plan), *_time(plan)]
    first, second = (max(len(row[i]) for row in rows) for i in (0, 1))
    table = [f"{a:<{first}}  {b:>{second}}  {c}".rstrip() for a, b, c in rows]
    data = [found.describe(split) for split, found in plan.seen.splits.items()]
    return "\n".join([*_refusal(plan), head, *data, "", *table, "", *advice(plan)])


def advice(plan: Plan) -> list[str]:
    """What the numbers mean, in a few sentences."""
    said = []
    if plan.free is None:
        said.append(f"How much memory is free on {plan.device}, the system does not say.")
    elif plan.fits:
        said.append(f"It fits: {plan.needed / plan.free:.0%} of the memory that is free.")
    if not plan.disk_room.enough:
        said.append("The disk has too little room: make some, or keep fewer checkpoints "
                    "(--train.keep).")  # fmt: skip
    if plan.pace and plan.pace.memory > 1.25 * plan.costs.steps:
        said.append("The steps held more memory than was predicted: go by what was measured.")
    if plan.plain_macs:
        share = 1 - plan.plain_macs / plan.costs.step_macs
        said.append(
            f"The identity loss is {share:.0%} of the arithmetic; --method.lambda_identity 0 "
            f"leaves {_giga(plan.plain_macs)} a step."
        )
    if not plan.seen.images:
        said.append("With DATA behind the recipe there is also the time for all epochs.")
    elif plan.seen.alone:
        said.append(f"{plan.seen.alone} images have no partner; viceversa check says which.")
    if not plan.seen.sure:
        said.append("Images keep sizes of their own with these settings: this is for one of them.")
    if plan.pace:
        said.append("Time is that of the steps; loading, samples and checkpoints come on top.")
    return said[:4]


def values(plan: Plan) -> dict[str, Any]:
    """For a program: bytes, multiply-accumulates and seconds."""
    costs, pace, (height, width) = plan.costs, plan.pace, plan.seen.size
    images, epochs = plan.seen.images, plan.config.train.epochs
    return {
        "device": plan.device, "height": height, "width": width,
        "batch_size": plan.config.train.batch_size, "accumulate": plan.config.train.accumulate,
        "precision": plan.config.train.precision, "images": images or None, "epochs": epochs,
        "splits": {
            split: {"a": len(found.a), "b": len(found.b), "layout": found.layout}
            for split, found in plan.seen.splits.items()
        },
        "parameters": costs.parameters | {"all": sum(costs.parameters.values())},
        "macs": {"step": costs.step_macs, "translation": costs.translation_macs,
                 "step_without_identity": plan.plain_macs or None},
        "memory": costs.parts._asdict() | {
            "margin": costs.margin, "averaged": costs.averaged, "copies": costs.copies,
            "images": plan.kept,
            "steps": costs.steps, "needed": plan.needed, "free": plan.free, "fits": plan.fits,
            "measured": pace.memory if pace else None,
        },
        "largest": {"batch": _chosen(plan.batch), "crop": _chosen(plan.crop)},
        "instead": [
            {"options": choice.words, "needed": choice.needed, "fits": _ok(plan, choice)}
            for choice in plan.instead
        ],
        "disk": {"checkpoint": costs.disk.state, "models": costs.disk.models,
                 "needed": plan.disk, "free": plan.disk_room.free},
        "time": None if pace is None else {
            "step": pace.seconds, "every": pace.every, "images_per_s": pace.rate,
            "macs_per_s": costs.step_macs / pace.seconds, "thousand_images": pace.lasts(1000),
            "epoch": pace.lasts(images) if images else None,
            "all": pace.lasts(images, epochs) if images else None,
        },
        "settings": plan.config.sections,
        "advice": advice(plan),
    }  # fmt: skip


Row = tuple[str, str, str]


def _refusal(plan: Plan) -> list[str]:
    if plan.fits:
        return []
    assert plan.free is not None
    needed, free = in_words(plan.needed), in_words(plan.free)
    said = [f"This does not fit: it needs {needed}, and {free} are free on {plan.device}."]
    fitting = [choice for choice in plan.instead if _ok(plan, choice)]
    ways = "This does:" if len(fitting) == 1 else "Any of these does:"
    said.append(ways if fitting else "None of these alone does:")
    for choice in fitting or plan.instead:
        said.append(f"  {choice.words:<48}{in_words(choice.needed):>9}")
    if not plan.instead:
        said[-1] = "Nothing but smaller networks does: --generator.width, --discriminator.width."
    return [*said, ""]


def _arithmetic(plan: Plan) -> list[Row]:
    costs = plan.costs
    each = ", ".join(f"{name} {number:,}" for name, number in costs.parameters.items())
    rates = sorted(set(costs.translation_macs.values()))
    return [
        ("parameters", f"{sum(costs.parameters.values()):,}", each),
        ("arithmetic", _giga(costs.step_macs), "a step, forward and backward"),
        *(("", _giga(macs), "a translation") for macs in rates),
    ]


def _memory(plan: Plan) -> list[Row]:
    costs = plan.costs
    free = "" if plan.free is None else f", of {in_words(plan.free)} that are free"
    rows = [("memory", in_words(plan.needed), f"predicted{free}")]
    for name, number in costs.parts._asdict().items():
        rows += [("", in_words(number), f"  {PARTS[name]}")] if number > 16 else []
    rows.append(("", in_words(costs.margin), "  margin, for the libraries beneath"))
    if costs.averaged:
        rows.append(("", in_words(costs.averaged), "  averaged weights (train.ema)"))
    looked = costs.run - costs.steps - costs.averaged
    rows.append(("", in_words(looked), "  copies of the networks, to look at them"))
    if plan.kept:
        images = "images kept (data.cache), and " if plan.seen.decoded else ""
        rows.append(("", in_words(plan.kept), f"  {images}code that reads images"))
    if plan.pace:
        told = f"measured in the timed steps, where {in_words(costs.steps)} were predicted"
        rows.append(("", in_words(plan.pace.memory), told))
    for choice, what in ((plan.batch, "batch"), (plan.crop, "crop")):
        if choice:
            text = f"would be needed by the largest {what} that fits: {choice.words}"
            rows.append(("", in_words(choice.needed), text))
    return rows


def _disk(plan: Plan) -> list[Row]:
    disk, keep = plan.costs.disk, plan.config.train.keep
    told = f"{keep} checkpoints of {in_words(disk.state)}, models of {in_words(disk.models)}"
    kept = plan.disk - disk.needed
    told += f", images of {in_words(kept)}" if kept else ""
    return [("disk", in_words(plan.disk), f"{told}; {in_words(plan.disk_room.free)} are free")]


def _time(plan: Plan) -> list[Row]:
    pace, images, epochs = plan.pace, plan.seen.images, plan.config.train.epochs
    if pace is None:
        why = "not timed (--steps 0)" if plan.fits else "not timed: it does not fit"
        known = f"; {images:,} images an epoch" if images else ""
        return [("time", "", why + known)]
    rows = [
        ("time", f"{pace.seconds:.3g} s", f"a step, median of {len(pace.every)} "
         f"({min(pace.every):.3g} to {max(pace.every):.3g})"),
        ("", "", f"{pace.rate:.3g} images/s, {_giga(plan.costs.step_macs / pace.seconds)}/s"),
    ]  # fmt: skip
    if not images:
        return [*rows, ("", lasting(pace.lasts(1000)), "1000 images")]
    return [
        *rows,
        ("", lasting(pace.lasts(images)), f"an epoch of {images:,} images"),
        ("", lasting(pace.lasts(images, epochs)), f"all {epochs} epochs"),
    ]


def lasting(seconds: float) -> str:
    """A time in the unit that suits it."""
    for unit, length in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"


def _times(accumulate: int) -> str:
    return f" times {accumulate}" if accumulate > 1 else ""


def _ok(plan: Plan, choice: Choice) -> bool:
    return plan.free is None or choice.needed <= plan.free


def _chosen(choice: Choice | None) -> dict[str, int] | None:
    return choice and {"value": choice.value, "needed": choice.needed}


def _giga(macs: float) -> str:
    number = macs / 1e9
    if number < 0.1:
        return f"{macs / 1e6:.1f} MMAC"
    return f"{number:,.1f} GMAC" if number >= 10 else f"{number:.2f} GMAC"
