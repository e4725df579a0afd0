"""Which passes over an image compute the output of a network, and which maps they store.

A norm needs the statistics of its whole input, so the input of each norm is computed once to the
end before anything behind the norm is: this is a pass. Maps that a later pass needs are stored, or
computed again by it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from .graph import Node

MAX_ARITHMETIC = 1.25
"""Most arithmetic, relative to that of the whole image at once."""


@dataclass
class Pass:
    """One pass over the image, from top to bottom."""

    norms: list[Node]
    """Norms whose statistics it collects; none in the last pass, which computes the output."""
    targets: list[Node]
    """Maps that are computed to the end: the inputs of the norms, or the output."""
    computed: list[Node]
    """Maps that it computes, in order."""
    read: list[Node]
    """Maps that it reads from files."""
    written: list[Node] = field(default_factory=list)
    """Maps that it writes to files."""
    replaced: dict[Node, Node] = field(default_factory=dict)
    """For a map that is written: the map that it replaces in its file, row by row."""
    removed: list[Node] = field(default_factory=list)
    """Maps whose files are not needed after it."""


@dataclass
class Plan:
    """All passes, and what they cost."""

    passes: list[Pass]
    scratch: int
    """Bytes of the files at most."""
    traffic: int
    """Bytes that are written and read."""
    arithmetic: float
    """Relative to that of the whole image at once."""


def band_ends(one: Pass, height: int, band: int) -> list[list[int | None]]:
    """Return for each band of a pass the end of its rows in each target; None: it has no rows.

    Args:
        one: The pass.
        height: Height of the image.
        band: Rows of the image in a band.
    """
    bands, ends = list[list[int | None]](), [0] * len(one.targets)
    for start in range(0, height, band):
        row = min(start + band, height)
        now = [math.ceil(node.shape[1] * row / height) for node in one.targets]
        bands.append([end if end > old else None for end, old in zip(now, ends, strict=True)])
        ends = now
    return bands


def plan(nodes: Sequence[Node]) -> Plan:
    """Return the passes that compute the last map, with the smallest files.

    The input of each norm and each sum are stored, except for those that are larger than a limit:
    they are computed again. The limit is the one with the smallest files whose arithmetic is at
    most `MAX_ARITHMETIC`.
    """
    storable = {node.inputs[0] for node in nodes if node.norm is not None}
    storable |= {node for node in nodes if node.joins == "add"}
    storable.discard(nodes[0])
    plans = [_plan(nodes, storable)]
    for limit in sorted({node.bytes for node in storable}, reverse=True):
        plans.append(_plan(nodes, {node for node in storable if node.bytes <= limit}))
    cheap = [one for one in plans if one.arithmetic <= MAX_ARITHMETIC]
    return min(cheap or plans[:1], key=lambda one: (one.scratch, one.arithmetic))


def _plan(nodes: Sequence[Node], storable: set[Node]) -> Plan:
    passes = list(_passes(nodes, storable))
    last_read = {node: i for i, one in enumerate(passes) for node in one.read}
    alive = scratch = traffic = 0
    for i, one in enumerate(passes):
        one.written = [node for node in one.computed if node in storable and node in last_read]
        one.removed = [node for node in one.read if last_read[node] == i]
        alive += sum(node.bytes for node in _assign(one))
        scratch = max(scratch, alive)
        alive -= sum(node.bytes for node in one.removed)
        traffic += sum(node.bytes for node in (*one.written, *one.read))
    once = sum(node.arithmetic for node in nodes)
    every = sum(node.arithmetic for one in passes for node in one.computed)
    return Plan(passes, scratch, traffic, every / once if once else 1.0)


def _assign(one: Pass) -> list[Node]:
    """Let maps that are written replace maps that are not needed anymore; return the others."""
    free, new = list(one.removed), []
    for node in one.written:
        same = (other for other in free if other.shape == node.shape)
        old = next((other for other in same if other in _behind(node, one)), None)
        if old is None:
            new.append(node)
        else:
            free.remove(old)
            one.removed.remove(old)
            one.replaced[node] = old
    return new


def _passes(nodes: Sequence[Node], storable: set[Node]) -> Iterator[Pass]:
    """Yield the passes, without the maps that they write."""
    norms = [node for node in nodes if node.norm is not None]
    known, stored = set[Node](), set[Node]()
    while len(known) < len(norms):
        ready = [norm for norm in norms if norm not in known and _above(norm) <= known]
        one = _pass(nodes, ready, [norm.inputs[0] for norm in ready], stored)
        yield one
        known |= set(ready)
        stored |= storable & set(one.computed)
    yield _pass(nodes, [], [nodes[-1]], stored)


def _above(node: Node) -> set[Node]:
    """Return the norms that a map depends on, without itself."""
    return {one for one in _sources(node, set()) if one.norm is not None}


def _behind(node: Node, one: Pass) -> set[Node]:
    """Return the maps that a map is computed from in a pass."""
    return _sources(node, set(one.read))


def _sources(node: Node, ends: set[Node]) -> set[Node]:
    """Return the maps that a map depends on, up to `ends`."""
    found, todo = set[Node](), list(node.inputs)
    while todo:
        before = todo.pop()
        if before not in found:
            found.add(before)
            todo += () if before in ends else before.inputs
    return found


def _pass(nodes: Sequence[Node], norms: list[Node], targets: list[Node], stored: set[Node]) -> Pass:
    """Return the pass that computes maps, from those that earlier passes have computed."""
    computed, read, todo = set[Node](), set[Node](), list(targets)
    while todo:
        node = todo.pop()
        if node in computed or node in read:
            continue
        (read if node in stored else computed).add(node)
        if node not in stored:
            todo += node.inputs
    return Pass(
        norms,
        targets,
        [node for node in nodes if node in computed],
        [node for node in nodes if node in read],
    )
