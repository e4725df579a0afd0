"""The images of a run, as far as its costs depend on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..config.run import RunConfig
from ..data import SplitIndex
from ..data.dataset import ImageDataset
from ..data.index import index_splits
from ..data.transforms import has_crop
from ..errors import UserError
from ..fields import height_width
from ..images.domain import Domain


@dataclass(frozen=True)
class ImageStats:
    """The images of a run. Without data, `count` is 0."""

    size: tuple[int, int]
    """Height and width of the networks' input."""
    count: int = 0
    """Images (or pairs) per epoch."""
    decoded: int = 0
    """Bytes of all images after decoding."""
    unpaired: int = 0
    one_size: bool = True
    """Whether all images have the same size."""
    splits: Mapping[str, SplitIndex] = field(default_factory=dict)


def inspect_images(config: RunConfig) -> ImageStats:
    """Count the images of a run by their names and read the size of the first valid one.

    Without data, the size is that of the settings.
    """
    data = config.data
    one_size = has_crop(data) or data.preprocess == "resize"
    if not data.path:
        size = data.crop_size if one_size or data.preprocess == "none" else data.load_size
        return ImageStats(height_width(size), one_size=one_size)
    splits = index_splits(data.path, config.paired, data)
    train = splits["train"]  # index_splits raises without it
    domains = Domain(data.a), Domain(data.b)
    dataset = ImageDataset(train, data, domains, config.paired, config.train.seed, training=True)
    for position in range(len(dataset)):
        try:
            source, _, _ = dataset.item(1, position)
            break
        except UserError:
            if data.on_invalid == "refuse" or position == len(dataset) - 1:
                raise
    indices = dataset.indices(1, position)
    decoded = sum(
        length * dataset.image(side, index).nbytes
        for side, index, length in zip(dataset.direction, indices, dataset.lengths, strict=True)
    )
    size = source.shape[1], source.shape[2]
    return ImageStats(size, len(dataset), decoded, len(train.unmatched), one_size, splits)
