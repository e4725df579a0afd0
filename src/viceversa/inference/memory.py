"""Memory of translations, and the size and number of the images that fit into it."""

from __future__ import annotations

from functools import cache

from torch import nn

from ..networks.sizes import supported_side
from ..runtime.device import free_memory
from ..streaming import Unknown, whole_memory
from .translator import Translator

SHARE = 0.5  # of the free memory that images may need by default


class MemoryLimit:
    """Decide which images are translated as a whole, and which in bands of rows.

    Args:
        translator: The translator.
        limit: Bytes that images may need; None: half of the free memory.
        processes: Number of processes that share the free memory.
    """

    def __init__(
        self, translator: Translator, limit: int | None = None, processes: int = 1
    ) -> None:
        self.network, self.channels = translator.network, translator.source.config.width
        free = free_memory(translator.device)
        if limit is None and free is not None:
            limit = round(SHARE * free / processes)
        self.limit = limit
        self._needed = cache(self._memory)

    def at_once(self, height: int, width: int, most: int) -> int:
        """Return how many images of a size are translated at once (at most `most`); 0: in bands."""
        needed = self._needed(height, width)
        if needed is None or self.limit is None:
            return most
        return min(most, self.limit // needed)

    def _memory(self, height: int, width: int) -> int | None:
        """Return the bytes needed to translate an image as a whole; None if that is unknown."""
        try:
            return whole_memory(
                self.network, padded_shape(self.network, self.channels, height, width)
            )
        except Unknown:
            return None


def padded_shape(
    network: nn.Module, channels: int, height: int, width: int
) -> tuple[int, int, int]:
    """Return the shape of an image that is padded to a size that a network supports."""
    return channels, supported_side(network, height), supported_side(network, width)
