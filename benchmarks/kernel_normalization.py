"""Compare `--statistics window` with the published kernelized instance normalization.

python benchmarks/kernel_normalization.py CHECKOUT --models FILE ... [--images F]
    [--features .venv/features]
CHECKOUT is a copy of github.com/Kaminyou/Kernelized-Instance-Normalization (Ho et al., ECCV 2022).
Its layer replaces the instance norms of trained models. It translates an image in patches of the
size of the crops in training, twice: the statistics of the first time, averaged over neighbouring
patches, are used the second time. The mosaic and the measures are those of
benchmarks/large_images.py. Writes benchmarks/results/DATE-kernel-normalization.json.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import scipy.signal
import torch
from large_images import LPIPS, TILE, TILES, Crops, photographs, seam_score, tiled
from torch import Tensor, nn

from viceversa.checkpoint import read_header
from viceversa.evaluation.features.store import load
from viceversa.fields import height_width, nested
from viceversa.files import write_json
from viceversa.inference import Translator
from viceversa.networks.norms import InstanceNorm

KERNELS = (("constant", 1), ("gaussian", 1), ("gaussian", 3))  # and patches on each side
UNUSED = ("cv2", "albumentations", "albumentations.pytorch", "torchvision", "yaml", "yaml.loader")
CACHE, USE = 1, 2  # phases of the layer


class KernelNorm(nn.Module):
    """The published layer at the position of the current patch."""

    position: tuple[int, int, int] | None = None
    """Phase, row and column; the same for all layers."""

    def __init__(self, layer: nn.Module, grid: tuple[int, int]) -> None:
        super().__init__()
        self.layer = layer.eval()
        self.layer.init_collection(*grid)  # type: ignore[operator]

    def forward(self, x: Tensor) -> Tensor:
        assert KernelNorm.position is not None
        mode, row, column = KernelNorm.position
        output: Tensor = self.layer(x, row, column, mode)
        return output


def published_layer(checkout: Path) -> Any:
    """Return the class of the layer, without the packages that its module imports for training."""
    sys.path.insert(0, str(checkout))
    for name in UNUSED:
        sys.modules.setdefault(name, MagicMock())
    scipy.signal.gaussian = scipy.signal.windows.gaussian  # its name in earlier versions of SciPy
    return importlib.import_module("models.kin").KernelizedInstanceNorm


def instance_norms(network: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    """Yield each instance norm, after the module that contains it and its name there."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, InstanceNorm):
                yield parent, name, child


def channels_of(network: nn.Module, image: Tensor) -> dict[nn.Module, int]:
    """Return the channels of each instance norm."""
    found: dict[nn.Module, int] = {}

    def hook(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        found[layer] = inputs[0].shape[1]

    hooks = [norm.register_forward_hook(hook) for *_, norm in instance_norms(network)]
    with torch.inference_mode():
        network(image)
    for one in hooks:
        one.remove()
    return found


def patches(network: nn.Module, image: Tensor, side: int) -> Tensor:
    """Translate an image in patches, twice; return the second result."""
    with torch.inference_mode():
        for mode in (CACHE, USE):
            rows = []
            for i, row in enumerate(image.split(side, 2)):
                made = []
                for j, patch in enumerate(row.split(side, 3)):
                    KernelNorm.position = mode, i, j
                    made.append(network(patch))
                rows.append(torch.cat(made, 3))
    return torch.cat(rows, 2)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--models", type=Path, nargs="+", required=True)
    parser.add_argument("--images", type=Path, help="folder of RGB images of one size")
    parser.add_argument("--features", type=Path, default=Path(".venv/features"))
    options = parser.parse_args()
    layer, results = published_layer(options.checkout), dict[str, Any]()
    image = photographs(TILES[0] * TILE, TILES[1] * TILE, options.images)
    features = load(LPIPS, options.features)[0]
    for file in options.models:
        method = nested(read_header(file), "trained", "method")["name"]
        translator = Translator.load(file, "cpu")
        network, side = translator.network, height_width(translator.preprocessing.crop_size)[0]
        crops, (_, tiles) = Crops(network, image, side, features), tiled(network, image, 0, 0)
        with torch.inference_mode():
            whole: Tensor = network(image)
        channels = channels_of(network, image[:, :, :side, :side])
        grid, kept = (image.shape[2] // side, image.shape[3] // side), list(instance_norms(network))
        for kernel, reach in KERNELS:
            for parent, name, norm in kept:
                made = layer(channels[norm], 2 * reach + 1, kernel, reach, 1e-5, True, "cpu")
                setattr(parent, name, KernelNorm(made, grid))
            output = patches(network, image, side)
            results[f"{method}, {kernel}, {2 * reach + 1}x{2 * reach + 1} patches"] = {
                "difference": float((output - whole).abs().mean() * 127.5),
                "seam_score": seam_score(output, whole, tiles),
                **crops.compare(output),
            }
            print(json.dumps(results, indent=2), flush=True)
    about = {"date": str(date.today()), "torch": torch.__version__, "results": results}
    path = Path(__file__).parent / "results" / f"{date.today()}-kernel-normalization.json"
    write_json(path, about)


if __name__ == "__main__":
    main()
