"""A finished generator: `Translator.load("ab.safetensors")(image)`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from ..checkpoint import load_network, read_header
from ..config.extensions import require
from ..errors import UserError
from ..fields import fill
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

LOSSLESS = (".png", ".bmp", ".tif", ".tiff", ".npy")  # other formats blur a class into others
Policy = Literal["image", "running", "paper"]
UNKNOWN = Preprocessing()


class Translator:
    """Translates images of any size; a result never depends on other images of a batch.

    `source` and `target` are the domains it was trained on: their bands, depth and range of values.
    What it makes has the target's. `policy`: `image` (batch norm by the image's own statistics, no
    dropout) is the default; `running` takes the statistics gathered in training; `paper` is `image`
    with dropout on, as in pix2pix sec. 3.4, its noise drawn from `seed`, the same for each image.

    Threads may share a translator: a call changes no state, and draws no global random number. A
    process that forks after torch has computed in it must not translate in the child: torch's own
    threads do not survive a fork. Load the translator in each process, or start them with the
    method `spawn` or `forkserver`.
    """

    def __init__(self, network: nn.Module, source: Domain, target: Domain, device: str = "auto",
                 policy: Policy = "image", seed: int = 0, max_megapixels: int = 64,
                 framing: Preprocessing = UNKNOWN, size: str = "own"):  # fmt: skip
        self.max_megapixels = max_megapixels
        self.framing, self.size = framing, size
        self.source, self.target, self.policy, self.seed = source, target, policy, seed
        self.network, self.device = network, prepare_device(device)
        if policy == "paper":
            seed_dropout(network)
        network.to(self.device)
        use_policy(network, "running" if policy == "running" else "image", policy == "paper")

    @classmethod
    def load(cls, path: str | Path, device: str = "auto", policy: Policy = "image",
             seed: int = 0, max_megapixels: int = 64,
             size: str | int = "own") -> Translator:  # fmt: skip
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
        path = Path(path)
        if policy not in get_args(Policy):
            raise UserError(f"policy is one of {', '.join(get_args(Policy))}, not {policy!r}")
        if not 0 <= seed < 2**63:
            raise UserError(f"the seed must be from 0 to 2**63 - 1, not {seed}", option="--seed")
        header = read_header(path)
        if header.get("kind") != "translator":
            raise UserError(f"{path} is a {header.get('kind')}, not a translator")
        settings = dict(header["generator"])
        name = settings.pop("name", None)
        if name not in GENERATORS:
            require(header, path)
            raise UserError(f"{path} holds a generator {name!r} that this version does not know")
        network_class, config_class = GENERATORS[name]
        source, target = (fill(Domain, header[end], str(path)) for end in ("source", "target"))
        for end in (source, target):
            end.check_stored(path)
        framing = Preprocessing.of(header)
        framing.check(str(size), path, max_megapixels * 10**6)
        widths = source.config.width, target.config.width
        network_config = fill(config_class, settings, str(path))
        network = load_network(path, lambda: network_class(network_config, *widths))
        return cls(network, source, target, device, policy, seed, max_megapixels, framing,
                   str(size))  # fmt: skip

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
        made = self.pixels([self.prepared(self.read(image), half)])[0]
        if isinstance(image, np.ndarray):
            return made[:, :, 0] if image.ndim == 2 and made.shape[2] == 1 else made
        return to_pil(made) if _for_pillow(made) else made

    def read(self, image: Any) -> Pixels:
        """Read an image of any kind but a tensor as (h, w, channels). Raises UserError."""
        source = self.source
        return to_domain_pixels(
            image, source.config, self.max_megapixels * 10**6, source.nodata_value
        )

    @property
    def tags(self) -> Tags:
        """What the file of a result declares: the ICC profile, metadata and no-data value of the
        target, as far as its training images agree."""
        target = self.target
        kept = value_for_dtype(target.dtype, target.nodata) is not None
        return Tags(target.profile, target.metadata, target.nodata if kept else "")

    def prepared(self, pixels: Pixels, half: Part = None, name: object = "the image") -> Pixels:
        """The chosen half of an image, at the size at which it is translated. Raises UserError."""
        part = self.framing.part(pixels, half, name)
        return self.framing.resized(part, self.size, self.source.config)

    def suffix(self, suffix: str) -> str:
        """The ending of a result's name: the image's own where that format can hold the result."""
        config = self.target.config
        if config.kind == "labels" and suffix.lower() not in LOSSLESS:
            suffix = ".png"
        return suffix_for(suffix, (self.target.dtype, config.file_channels))

    def beyond(self, pixels: Pixels) -> float:
        """The share of an image's values outside the range that training knew; they are cut off."""
        if self.source.config.kind != "image" or self.source.config.range == "dtype":
            return 0.0
        low, high = (np.array(end) for end in (self.source.low, self.source.high))
        outside = np.asarray((pixels < low) | (pixels > high))[~np.ma.getmaskarray(pixels)]
        return float(outside.mean()) if outside.size else 0.0

    def pixels(self, images: Sequence[Pixels]) -> list[Pixels]:
        """Translate images (h, w, bands), as files hold them, of one size and depth, in a batch.

        Pixels without data, of masked arrays, have no data in the results either if the target has
        a no-data value.
        """
        config = self.source.config
        numbers = [to_tensor(to_domain(image, config, "the image")) for image in images]
        if any(one.is_floating_point() for one in numbers):  # those with pixels without data
            numbers = [one.float() for one in numbers]
        values = to_values(torch.stack(numbers), self.source.of_dtype(str(images[0].dtype))).float()
        missing = values.isnan().all(dim=1)
        values = fill_nodata(values, self.source)
        made = to_pixels(self.tensor(values), self.target, values)
        nodata = value_for_dtype(self.target.dtype, self.tags.nodata)
        if nodata is not None:
            for image, mask in zip(made, missing.numpy(), strict=True):
                image[mask] = nodata
        return made

    @torch.inference_mode()
    def tensor(self, images: Tensor) -> Tensor:
        """(n, channels in, h, w) in [-1, 1] -> (n, channels out, h, w): padded, cropped back."""
        try:
            made = self._output(images)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            made = None
        if made is None:  # out of the handler, which would keep the memory of what failed
            count, _, height, width = images.shape
            raise UserError(
                f"the memory is not enough for {count} of {width}x{height} at once; translate "
                "fewer at once (--batch_size) or smaller images"
            )
        if not bool(made.isfinite().all()):
            raise UserError(
                "the output has non-finite values (NaN or Inf): the weights of the model are too "
                "large, or the image is far from those that it was trained on"
            )
        return made

    def _output(self, images: Tensor) -> Tensor:
        images = images.to(self.device)
        if self.policy == "paper":
            made = torch.cat([self._noisy(one) for one in torch.split(images, 1)])
        else:
            made = at_any_size(self.network, images)
        return made.float().cpu()

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
        made = self.tensor(batch.float())
        return made[0] if single else made


def _for_pillow(pixels: Pixels) -> bool:
    return pixels.dtype == np.uint8 and pixels.shape[2] in (1, 3)
