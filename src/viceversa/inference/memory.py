"""Memory that translations need, and which images and batches fit into it."""

from __future__ import annotations

from functools import cache, cached_property

import torch
from torch import nn

from ..networks.ensemble import Ensemble
from ..networks.sizes import supported_side
from ..runtime.device import free_memory, memory_of
from ..streaming import Unknown, receptive_field, uses_image_statistics, whole_memory
from .exported import ExportedNetwork
from .translator import Translator

SHARE = 0.5  # fraction of the free memory that images may need by default
MEASURED = 512  # height and width of the image with which memory is measured
MARGIN = 1.5  # safety factor for images that are larger than the measured image
Shape = tuple[int, int, int]
DROPOUT = nn.Dropout, nn.Dropout2d


class MemoryLimit:
    """Decides which images are translated as a whole.

    The memory of networks with known layers is computed. The memory of exported files and other
    networks is measured with an image of 512x512 pixels; smaller images are assumed to fit.

    Args:
        translator: The translator.
        limit: Limit of the memory of an image in bytes; None: half of the free memory.
        processes: Number of processes that share the free memory.
    """

    def __init__(
        self, translator: Translator, limit: int | None = None, processes: int = 1
    ) -> None:
        self.network, self.channels = translator.network, translator.source.config.width
        self.device = translator.device
        self._out = translator.target.config.width
        free = free_memory(translator.device)
        if limit is None and free is not None:
            limit = round(SHARE * free / processes)
        self.limit = limit
        self.needed = cache(self._needed)
        self._of_pixel = cache(self._measured)

    def at_once(self, height: int, width: int, most: int) -> int:
        """Return the batch size for images of a size, at most `most`; 0: not even one fits."""
        needed = self.needed(height, width)
        if needed is None or self.limit is None:
            return most
        return min(most, self.limit // needed)

    def _needed(self, height: int, width: int) -> int | None:
        """Return the bytes needed to translate an image as a whole; None if this is unknown."""
        shape = padded_shape(self.network, self.channels, height, width)
        return self._of(self.network, shape, False)

    def of_tile(self, shape: Shape) -> int:
        """Return the bytes needed for a tile (channels, height, width)."""
        needed = self._of(self.network, shape, True)
        assert needed is not None  # else no image is translated in tiles
        return needed

    def _of(self, network: nn.Module, shape: Shape, tile: bool) -> int | None:
        """Return the bytes that the network needs for an image, or for tiles of this size."""
        channels, height, width = shape
        if isinstance(network, Ensemble):
            members = [self._of(member, shape, tile) for member in network.members]
            count = len(members) * 2 ** len(network.mirrored)
            outputs = 4 * height * width * (2 * count * self._out + 2 * channels)
            known = [one for one in members if one is not None]
            return max(known) + outputs if len(known) == len(members) else None
        try:
            return whole_memory(network, shape)
        except Unknown:
            if height * width <= MEASURED**2 and not tile:
                return None
            of_pixel, pixels = self._of_pixel(network), max(height * width, MEASURED**2)
            return None if of_pixel is None else round(of_pixel * pixels)

    @torch.inference_mode()
    def _measured(self, network: nn.Module) -> float | None:
        """Return the bytes per pixel that an image needs; None if they cannot be measured."""
        side = supported_side(network, MEASURED)
        image = torch.rand(1, self.channels, side, side, device=self.device) * 2 - 1

        def twice() -> None:  # runtimes need more memory for the second image of a size
            network(image)
            network(image)

        grown = memory_of(twice, self.device)
        return None if grown is None else max(1.0, MARGIN * grown / side**2)

    @cached_property
    def receptive_field(self) -> int:
        """Return the receptive field of the network. Raises Unknown if tiles are not possible."""
        if any(isinstance(one, DROPOUT) and one.training for one in self.network.modules()):
            raise Unknown("it draws noise for the whole image (policy paper)")
        members = self.network.members if isinstance(self.network, Ensemble) else [self.network]
        return max(_receptive_field(member, self.channels) for member in members)

    @property
    def image_statistics(self) -> bool:
        """Return whether norms use statistics of each image, so that they differ between tiles."""
        exported = [one for one in self.network.modules() if isinstance(one, ExportedNetwork)]
        return uses_image_statistics(self.network) or any(one.image_statistics for one in exported)

    @cached_property
    def has_bands(self) -> bool:
        """Whether the network can be computed in bands of rows."""
        try:
            whole_memory(self.network, padded_shape(self.network, self.channels, 1, 1))
        except Unknown:
            return False
        return True

    @cached_property
    def obstacle(self) -> str:
        """Reason why the network cannot translate parts of an image, or ""."""
        try:
            _ = self.has_bands or self.receptive_field
        except Unknown as error:
            return str(error)
        return ""


def padded_shape(network: nn.Module, channels: int, height: int, width: int) -> Shape:
    """Return the shape of an image that is padded to a size that a network supports."""
    return channels, supported_side(network, height), supported_side(network, width)


def _receptive_field(network: nn.Module, channels: int) -> int:
    if not isinstance(network, ExportedNetwork):
        return receptive_field(network, channels)
    if network.receptive_field is None:
        raise Unknown("the exported file does not contain the receptive field of its network")
    return network.receptive_field
