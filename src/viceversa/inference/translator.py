"""Translation by a trained generator: `Translator.load("ab.safetensors")(image)`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from ..checkpoint import read_header
from ..errors import UserError
from ..images import Pixels, Tags, suffix_for, to_pil
from ..images.domain import Domain
from ..images.header import check_size
from ..images.io import reading_errors
from ..images.loading import to_domain, to_domain_pixels
from ..images.nodata import value_for_dtype
from ..images.preprocessing import Part, Preprocessing
from ..images.values import fill_nodata, to_pixels, to_tensor, to_values
from ..networks import GENERATORS
from ..networks.noise import seed_dropout, seeded
from ..networks.norms import use_policy
from ..networks.sizes import at_any_size
from ..runtime.device import out_of_memory, prepare_device
from .model_files import load_model, read_domain

LOSSLESS = (".png", ".bmp", ".tif", ".tiff", ".npy")  # lossy formats mix classes
Policy = Literal["image", "running", "paper"]
UNKNOWN = Preprocessing()


class Translator:
    """Translates images of any size; a result never depends on other images of a batch.

    Threads may share a translator: a call changes no state, and draws no global random number. A
    process that forks after torch has computed in it must not translate in the child, since the
    threads of torch do not survive a fork: load the translator in each process, or start them with
    the method `spawn` or `forkserver`.

    Args:
        network: The generator; it is set to eval mode in place.
        source: Domain of the images.
        target: Domain of the results: their channels, dtype and value range.
        device: `auto` or a torch device.
        policy: `image` (batch norm with the statistics of the image, no dropout), `running` (batch
            norm with the running statistics of training), or `paper` (as `image`, with dropout, as
            in pix2pix sec. 3.4).
        seed: Seed of the dropout of policy `paper`, the same for each image.
        max_megapixels: Maximum size of an image.
        preprocessing: Preparation of files in training.
        size: Size at which images are translated: `own`, `trained` or pixels a side.
    """

    def __init__(
        self,
        network: nn.Module,
        source: Domain,
        target: Domain,
        device: str = "auto",
        policy: Policy = "image",
        seed: int = 0,
        max_megapixels: int = 64,
        preprocessing: Preprocessing = UNKNOWN,
        size: str = "own",
    ) -> None:
        self.source, self.target, self.policy, self.seed = source, target, policy, seed
        self.max_megapixels, self.preprocessing, self.size = max_megapixels, preprocessing, size
        self.network, self.device = network, prepare_device(device)
        if policy == "paper":
            seed_dropout(network)
        network.to(self.device)
        use_policy(network, "running" if policy == "running" else "image", policy == "paper")

    @classmethod
    def load(
        cls,
        path: str | Path,
        device: str = "auto",
        policy: Policy = "image",
        seed: int = 0,
        max_megapixels: int = 64,
        size: str | int = "own",
    ) -> Translator:
        """Load a translator from the file that training wrote.

        Args:
            path: The model file.
            device: `auto` or a torch device.
            policy: Batch norm and dropout at inference, see the class.
            seed: Seed of the dropout of policy `paper`.
            max_megapixels: Maximum size of an image.
            size: Size at which images are translated: `own`, `trained` (resized as in training, not
                cropped), or pixels a side. Tensors are never resized.

        Raises:
            UserError: The file is not a translator, or an argument is invalid.
        """
        path, size = Path(path), str(size)
        if policy not in get_args(Policy):
            raise UserError(f"policy is one of {', '.join(get_args(Policy))}, not {policy!r}")
        if not 0 <= seed < 2**63:
            raise UserError(f"the seed must be from 0 to 2**63 - 1, not {seed}", option="--seed")
        header = read_header(path)
        if header.get("kind") != "translator":
            raise UserError(f"{path} is a {header.get('kind')}, not a translator", path=path)
        source, target = (read_domain(header, key, path) for key in ("source", "target"))
        preprocessing = Preprocessing.of(header)
        preprocessing.check(size, path, max_megapixels * 10**6)
        channels = source.config.width, target.config.width
        network = load_model(header, "generator", GENERATORS, channels, path)
        return cls(
            network, source, target, device, policy, seed, max_megapixels, preprocessing, size
        )

    def __call__(self, image: Any, half: Part = None) -> Any:
        """Translate one image.

        Args:
            image: A path, the bytes of an image file, a file object opened in binary mode, a Pillow
                image, an array (h, w) or (h, w, channels) with the values of a file (uint8, uint16,
                int16 or float32), or a tensor (channels, h, w) or (n, channels, h, w) in [-1, 1].
            half: Part of an image to translate, `left`, `right` or `whole`, if it has the shape of
                a training file with A and B side by side. Not for tensors.

        Returns:
            A tensor on the CPU for a tensor, an array for an array; else a Pillow image if one can
            hold the result (8 bits, grey or RGB) and an array if not.

        Raises:
            UserError: The image is damaged, empty, too large, has several frames or non-finite
                values, does not fit the model, or the output is not finite.
        """
        if isinstance(image, Tensor):
            return self._tensor(image)
        output = self.pixels([self.preprocess(self.read(image), half)])[0]
        if isinstance(image, np.ndarray):
            return output[:, :, 0] if image.ndim == 2 and output.shape[2] == 1 else output
        return to_pil(output) if _for_pillow(output) else output

    def read(self, image: Any) -> Pixels:
        """Read an image of any kind but a tensor as (h, w, channels). Raises UserError."""
        source = self.source
        return to_domain_pixels(
            image, source.config, self.max_megapixels * 10**6, source.nodata_value
        )

    @property
    def tags(self) -> Tags:
        """ICC profile, metadata and no-data value of results, if all training targets agree."""
        target = self.target
        kept = value_for_dtype(target.dtype, target.nodata) is not None
        return Tags(target.profile, target.metadata, target.nodata if kept else "")

    def preprocess(self, pixels: Pixels, half: Part = None, name: object = "the image") -> Pixels:
        """Return the chosen half of an image at the size to translate. Raises UserError."""
        part = self.preprocessing.part(pixels, half, name)
        return self.preprocessing.resized(part, self.size, self.source.config)

    def suffix(self, suffix: str) -> str:
        """Return the suffix of a result: that of the image if its format supports the result."""
        config = self.target.config
        if config.kind == "labels" and suffix.lower() not in LOSSLESS:
            suffix = ".png"
        return suffix_for(suffix, (self.target.dtype, config.file_channels))

    def clipped_fraction(self, pixels: Pixels) -> float:
        """Return the fraction of values outside the range of training, which are clipped."""
        if self.source.config.kind != "image" or self.source.config.range == "dtype":
            return 0.0
        low, high = (np.array(end) for end in (self.source.low, self.source.high))
        outside = np.asarray((pixels < low) | (pixels > high))[~np.ma.getmaskarray(pixels)]
        return float(outside.mean()) if outside.size else 0.0

    def pixels(self, images: Sequence[Pixels]) -> list[Pixels]:
        """Translate a batch of images (h, w, channels) of one size and dtype, with values of files.

        Masked pixels have no data; they have none in the results either if the target has a no-data
        value.
        """
        config = self.source.config
        tensors = [to_tensor(to_domain(image, config, "the image")) for image in images]
        if any(one.is_floating_point() for one in tensors):  # masked pixels are NaN
            tensors = [one.float() for one in tensors]
        values = to_values(torch.stack(tensors), self.source.of_dtype(str(images[0].dtype))).float()
        missing = values.isnan().all(dim=1)
        values = fill_nodata(values, self.source)
        output = to_pixels(self.tensor(values), self.target, values)
        nodata = value_for_dtype(self.target.dtype, self.tags.nodata)
        if nodata is not None:
            for image, mask in zip(output, missing.numpy(), strict=True):
                image[mask] = nodata
        return output

    @torch.inference_mode()
    def tensor(self, images: Tensor) -> Tensor:
        """Translate a batch (n, channels, h, w) in [-1, 1]; padded, and cropped back."""
        try:
            output = self._output(images)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            output = None
        if output is None:  # outside of the handler, which keeps the memory of the failed call
            count, _, height, width = images.shape
            raise UserError(
                f"the memory is not enough for {count} of {width}x{height} at once; lower "
                "--batch_size, or translate smaller images",
                option="--batch_size",
            )
        if not bool(output.isfinite().all()):
            raise UserError(
                "the output has non-finite values (NaN or Inf): the weights of the model are too "
                "large, or the image is far from those that it was trained on"
            )
        return output

    def _output(self, images: Tensor) -> Tensor:
        images = images.to(self.device)
        if self.policy == "paper":
            output = torch.cat([self._noisy(one) for one in torch.split(images, 1)])
        else:
            output = at_any_size(self.network, images)
        return output.float().cpu()

    def _noisy(self, image: Tensor) -> Tensor:
        with seeded(self.seed):
            return at_any_size(self.network, image)

    def _tensor(self, image: Tensor) -> Tensor:
        single, width = image.ndim == 3, self.source.config.width
        batch = image[None] if single else image
        if batch.ndim != 4 or batch.shape[1] != width or not image.is_floating_point():
            raise UserError(
                f"a tensor is ({width}, h, w) floats in [-1, 1], or n of them, "
                f"not {tuple(image.shape)} {image.dtype}"
            )
        if not batch.numel():
            raise UserError(f"the tensor is empty: {tuple(image.shape)}")
        if not bool(batch.isfinite().all()):
            raise UserError("the tensor has non-finite values (NaN or Inf)")
        with reading_errors("the tensor"):
            check_size(batch.shape[2], batch.shape[3], self.max_megapixels * 10**6)
        output = self.tensor(batch.float())
        return output[0] if single else output


def _for_pillow(pixels: Pixels) -> bool:
    return pixels.dtype == np.uint8 and pixels.shape[2] in (1, 3)
