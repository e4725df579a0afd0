"""Compute the output of a network in bands of rows, for images that do not fit into memory.

The result equals that of the whole image within rounding; norms use statistics of the whole image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ..files import format_bytes
from .graph import Node, maps
from .memory import largest_band
from .operations import Shape
from .passes import Pass, band_ends, plan
from .rows import Image, Mapped, Shared, Stored, Stream, Windowed, Written, added, concatenated
from .sampling import SampledNorms, with_norms
from .scratch import MapFile, Scratch
from .statistics import Moments, Pointwise, with_statistics

ReadRows = Callable[[int, int], Tensor]
"""Returns rows `start` to `end` of an image, (1, channels, rows, width) in [-1, 1]."""
WriteRows = Callable[[Tensor], object]
"""Called with the next rows of the output, (1, channels, rows, width)."""


class BandedNetwork:
    """Network for images of one size, computed band by band.

    Args:
        network: A network in eval mode, without noise.
        shape: (channels, height, width) of the images, whose sides the network supports.
        memory: Limit of the memory of the bands, in bytes.
        norms: Norms with the statistics of crops or windows; None: norms use statistics of the
            whole image.

    Raises:
        Unknown: The rows of a layer cannot be computed alone.
        UserError: The limit is too small for the smallest bands.
    """

    def __init__(
        self, network: nn.Module, shape: Shape, memory: int, norms: SampledNorms | None = None
    ) -> None:
        self.network, self.shape = network, shape
        self.norms = norms
        self.nodes = maps(network, shape)
        if norms:
            self.nodes = with_norms(self.nodes, norms)
        self.plan = plan(self.nodes)
        self.device = next(network.parameters()).device
        self.band, self.memory = largest_band(network, self.nodes, self.plan, memory)

    @property
    def costs(self) -> str:
        """Return a clause about the costs of an image."""
        plan, norms = self.plan, self.norms
        arithmetic = plan.arithmetic
        if norms and not norms.digest:  # of crops of the image
            arithmetic += norms.pixels / (self.shape[1] * self.shape[2])
        return (
            f"it is translated in bands of {self.band} rows: {format_bytes(self.memory)} of "
            f"memory, {format_bytes(plan.scratch)} of temporary files, "
            f"{format_bytes(plan.traffic)} read and written, {arithmetic:.2f} times the "
            "arithmetic" + (f"; norms have the statistics of {norms.source}" if norms else "")
        )

    def __call__(
        self,
        read: ReadRows,
        write: WriteRows,
        scratch: Path,
        progress: Callable[[float], object] = lambda done: None,
    ) -> None:
        """Translate an image.

        Args:
            read: Returns rows of the image. Each pass reads it from top to bottom.
            write: Called with the rows of the output from top to bottom.
            scratch: Folder for temporary files of `plan.scratch` bytes.
            progress: Called with the completed fraction after each band. Its exceptions end the
                translation.

        Raises:
            UserError: The disk has too little space for the temporary files.
        """
        norms, files = dict[Node, Pointwise](), dict[Node, MapFile]()
        costs = [sum(node.arithmetic for node in one.computed) for one in self.plan.passes]
        done, total = 0.0, max(1, sum(costs))
        with torch.inference_mode(), Scratch(scratch, self.plan.scratch) as folder:
            for one, cost in zip(self.plan.passes, costs, strict=True):
                for node in one.written:
                    old = one.replaced.get(node)
                    files[node] = folder.create(node.shape) if old is None else files[old]
                for node in (*one.read, *one.written):
                    files[node].rewind()
                found = [Moments(norm.shape[0]) for norm in one.norms]
                streams = self._streams(one, norms, read, files)
                bands = band_ends(one, self.shape[1], self.band)
                for i, ends in enumerate(bands, start=1):
                    for number, (stream, end) in enumerate(zip(streams, ends, strict=True)):
                        if end is not None:
                            rows = stream.take(end)
                            found[number].add(rows) if one.norms else write(rows)
                    progress((done + cost * i / len(bands)) / total)
                for norm, moments in zip(one.norms, found, strict=True):
                    assert norm.norm is not None
                    norms[norm] = with_statistics(norm.norm, moments, self.device)
                for node in one.removed:
                    folder.remove(files.pop(node))
                done += cost

    def _streams(
        self,
        one: Pass,
        norms: Mapping[Node, Pointwise],
        read: ReadRows,
        files: Mapping[Node, MapFile],
    ) -> list[Stream]:
        """Return the streams of the targets of a pass."""
        uses = dict.fromkeys((*one.computed, *one.read), 0)
        for used in (one.targets, *(node.inputs for node in one.computed)):
            for node in used:
                uses[node] += 1
        made = dict[Node, Shared | Stream]()

        def source(node: Node) -> Stream:
            stream = made[node]
            return stream.reader() if isinstance(stream, Shared) else stream

        for node in (*one.read, *one.computed):
            if node in one.read:
                stream: Stream = Stored(files[node], self.device)
            elif not node.inputs:
                stream = Image(read)
            else:
                stream = _computed(node, [source(before) for before in node.inputs], norms)
            if node in one.written:
                stream = Written(stream, files[node], node in one.replaced)
            made[node] = Shared(stream) if uses[node] > 1 else stream
        return [source(node) for node in one.targets]


def _computed(node: Node, sources: list[Stream], norms: Mapping[Node, Pointwise]) -> Stream:
    """Return the stream of a map from the streams of its inputs."""
    if node.joins:
        return Mapped(added if node.joins == "add" else concatenated, *sources)
    (stream,) = sources
    if node.norm is not None:
        return Mapped(norms[node], stream)
    if node.pointwise is not None:
        return Mapped(node.pointwise, stream)
    for one in node.operations:
        stream = Windowed(one, stream)
    return stream
