"""Layers in bands equal the whole layers, for any kernel, stride, padding, height and band."""

import pytest
import torch
from torch import Tensor, nn

from viceversa.networks.antialias import BlurDown, BlurUp
from viceversa.networks.same import SameConv
from viceversa.streaming.layers import operations
from viceversa.streaming.operations import Operation
from viceversa.streaming.rows import Image, Stream, Windowed

LAYERS = {
    "7x7": lambda: nn.Conv2d(2, 3, 7, padding=3),
    "valid": lambda: nn.Conv2d(2, 3, 3, bias=False),
    "stride": lambda: nn.Conv2d(2, 3, 3, stride=2, padding=1),
    "4x4": lambda: nn.Conv2d(2, 3, 4, stride=2, padding=1),
    "dilated": lambda: nn.Conv2d(2, 2, 3, padding=4, dilation=4, groups=2),
    "same": lambda: nn.Conv2d(2, 3, (4, 3), padding="same"),
    "uneven": lambda: nn.Conv2d(2, 3, (5, 3), stride=(3, 1), padding=(1, 0)),
    "keras": lambda: SameConv(2, 3, 4, stride=2),
    "keras-1": lambda: SameConv(2, 3, 4),
    "transposed-3": lambda: nn.ConvTranspose2d(2, 3, 3, 2, 1, 1),
    "transposed-4": lambda: nn.ConvTranspose2d(2, 3, 4, 2, 1, bias=False),
    "transposed-wide": lambda: nn.ConvTranspose2d(2, 4, 5, 3, 2, 2, groups=2),
    "reflect": lambda: nn.ReflectionPad2d(3),
    "replicate": lambda: nn.ReplicationPad2d((1, 2, 3, 0)),
    "nearest": lambda: nn.Upsample(scale_factor=3),
    "bilinear": lambda: nn.Upsample(scale_factor=2, mode="bilinear"),
    "blur-down": BlurDown,
    "blur-up": BlurUp,
}


def by_bands(layer: nn.Module, image: Tensor, ends: list[int]) -> Tensor:
    made = operations(layer, (image.shape[1], image.shape[2], image.shape[3]))
    assert made is not None
    stream: Stream = Image(lambda start, end: image[:, :, start:end])
    for one in made:
        stream = Windowed(one, stream)
    height = made[-1].shape[1]
    return torch.cat([stream.take(end) for end in [*(e for e in ends if e < height), height]], 2)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("name", LAYERS)
def test_bands_of_rows_are_the_rows_of_the_layer(name: str) -> None:
    torch.manual_seed(0)
    layer = LAYERS[name]()
    for height in (7, 8, 13):
        image = torch.randn(1, 2, height, 9)
        with torch.inference_mode():
            whole = layer(image)
            for ends in ([], [1], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], [3, 10], [5, 6]):
                rows = by_bands(layer, image, ends)
                assert rows.shape == whole.shape
                torch.testing.assert_close(rows, whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", LAYERS)
def test_no_row_is_kept_longer_than_it_is_needed(name: str) -> None:
    layer = LAYERS[name]()
    made = operations(layer, (2, 64, 9))
    assert made is not None
    operation = made[0]
    for start in range(operation.shape[1]):
        later = [operation.needs(row, row + 1)[0] for row in range(start, operation.shape[1])]
        assert operation.first(start) == min(later)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"),
        nn.Upsample(size=(8, 8)),
        nn.Upsample(scale_factor=2, mode="bicubic"),
        nn.AdaptiveAvgPool2d(1),
    ],
    ids=["circular", "size", "bicubic", "pool"],
)
def test_layers_that_are_not_known_are_no_operations(layer: nn.Module) -> None:
    assert operations(layer, (2, 8, 8)) is None


def test_arithmetic_counts_multiplications() -> None:
    def of(layer: nn.Module) -> Operation:
        made = operations(layer, (2, 8, 10))
        assert made is not None
        return made[0]

    assert of(nn.Conv2d(2, 3, 3, padding=1)).arithmetic == 2 * 3 * 9 * 80
    assert of(nn.ConvTranspose2d(2, 3, 4, 2, 1)).arithmetic == 2 * 3 * 16 * 80
    assert of(nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2)).arithmetic == 4 * 9 * 20
