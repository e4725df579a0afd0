"""Plan the passes over an image that compute the output of a network, and their stored maps.

A norm needs the statistics of its whole input. A pass computes the inputs of norms for the whole
image; a later pass computes the layers after these norms. Maps that a later pass needs are either
stored by an earlier pass or computed again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from .graph import Node

MAX_ARITHMETIC = 1.25
"""Maximum arithmetic, relative to translating the whole image at once."""


@dataclass
class Pass:
    """One pass over the image, from top to bottom."""

    norms: list[Node]
    """Norms whose statistics the pass collects; none in the last pass."""
    targets: list[Node]
    """Maps that are computed for the whole image: the inputs of the norms, or the output."""
    computed: list[Node]
    """Maps that the pass computes, in order."""
    read: list[Node]
    """Maps that the pass reads from files."""
    written: list[Node] = field(default_factory=list)
    """Maps that the pass writes to files."""
    replaced: dict[Node, Node] = field(default_factory=dict)
    """Written map -> the map in whose file it is written, row by row."""
    removed: list[Node] = field(default_factory=list)
    """Maps whose files are not needed after the pass."""


@dataclass
class Plan:
    """All passes, and their costs."""

    passes: list[Pass]
    scratch: int
    """Maximum size of the files in bytes."""
    traffic: int
    """Number of bytes that are written and read."""
    arithmetic: float
    """Number of multiplications, relative to translating the whole image at once."""


def band_ends(one: Pass, height: int, band: int) -> list[list[int | None]]:
    """Return the end row of each band in each target; None if a band adds no rows to it.

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

    The inputs of norms and the results of additions are stored, except that maps above a size limit
    are computed again. Among the limits with an arithmetic of at most `MAX_ARITHMETIC`, the limit
    with the smallest files is used.
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
    """Write maps to the files of maps that are not needed anymore; return the remaining maps."""
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
    """Return the norms that a map depends on, without the map itself."""
    return {one for one in _sources(node, set()) if one.norm is not None}


def _behind(node: Node, one: Pass) -> set[Node]:
    """Return the maps that a map is computed from within a pass."""
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
    """Return the pass that computes the targets from the maps stored by earlier passes."""
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
