"""Files named like models that try to run code, or to use excessive memory or time."""

from __future__ import annotations

import io
import json
import os
import pickle
import pickletools
import resource
import struct
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
from support import fork
from torch import Tensor

from viceversa.checkpoint import Checkpoints, container, save_network
from viceversa.cli import main
from viceversa.config.run import RunConfig, make_method, resolve
from viceversa.errors import UserError
from viceversa.fields import plain
from viceversa.images.domain import Domain
from viceversa.inference import Translator
from viceversa.methods.base import Method
from viceversa.networks import GENERATORS
from viceversa.networks.unet import UNet
from viceversa.training.models import start_from

GENERATOR = {"name": "unet", **plain(UNet.Config(width=2, depth=2, dropout_layers=0))}
Make = Callable[[Path], object]
Header = dict[str, Any]


def header(**other: Any) -> Header:
    """Return the header of a small translator, with some entries replaced."""
    domain = plain(Domain())
    return {
        "format": 1,
        "version": "0.1.0",
        "kind": "translator",
        "direction": "ab",
        "generator": dict(GENERATOR),
        "source": domain,
        "target": domain,
        "images_processed": 1,
        "weights": "raw",
        "trained": {},
    } | other


def weights() -> dict[str, Tensor]:
    """Return the weights of the translator that `header` describes."""
    network_class, config = GENERATORS["unet"]
    settings = {key: value for key, value in GENERATOR.items() if key != "name"}
    network = network_class(config(**settings), 3, 3)
    return {name: tensor.detach() for name, tensor in network.state_dict().items()}


def write_valid_model(path: Path) -> None:
    save_network(path, weights(), header())


# -- pickles


class Payload:
    """Object that runs a command when it is unpickled."""

    def __init__(self, command: str):
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


class PayloadByExec(Payload):
    def __reduce__(self) -> Any:
        return exec, (f"import os; os.system({self.command!r})",)


class PayloadByGetattr(Payload):
    """Payload that reaches `os.system` through harmless names."""

    def __reduce__(self) -> Any:
        return eval, (f"getattr(__import__('o' + 's'), 'sys' + 'tem')({self.command!r})",)


class NestedPayload(Payload):
    def __reduce__(self) -> Any:
        return list, ([Payload(self.command)],)


class PayloadInTensor(Payload):
    """Payload in the hooks of a tensor that torch's own function rebuilds."""

    def __reduce__(self) -> Any:
        from torch._utils import _rebuild_tensor_v2

        storage = torch.zeros(1).untyped_storage()
        return _rebuild_tensor_v2, (storage, 0, (1,), (1,), False, Payload(self.command))


def zip_bytes(inner: bytes, small_run: int = zipfile.ZIP_STORED, script: bool = False) -> bytes:
    """Return a zip file like that of torch.save; `script`: with the parts of TorchScript."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", small_run) as parts:
        parts.writestr("archive/data.pkl", inner)
        parts.writestr("archive/version", "3\n")
        parts.writestr("archive/byteorder", "little")
        if script:
            parts.writestr("archive/constants.pkl", inner)
            parts.writestr("archive/code/__torch__.py", "import os\n")
    return file.getvalue()


def tar_bytes(inner: bytes) -> bytes:
    """Return a file in the oldest format of torch."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as parts:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            entry = tarfile.TarInfo(name)
            entry.size = len(inner)
            parts.addfile(entry, io.BytesIO(inner))
    return file.getvalue()


def torch_bytes(value: Any, **more: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, **more)
    return file.getvalue()


def npy_bytes(value: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([value], dtype=object), allow_pickle=True)
    return file.getvalue()


def within_header(inner: bytes) -> bytes:
    """Return a safetensors file whose only tensor is a pickle."""
    table = {"x": {"dtype": "U8", "shape": [len(inner)], "data_offsets": [0, len(inner)]}}
    return raw(table, inner)


def pickles(command: str) -> dict[str, bytes]:
    """Return files by name that run a command when they are unpickled."""
    files = {f"pickle protocol {p}": pickle.dumps(Payload(command), p) for p in range(6)}
    simple = pickle.dumps(Payload(command), 2)
    files |= {
        "pickle of exec": pickle.dumps(PayloadByExec(command)),
        "pickle of getattr": pickle.dumps(PayloadByGetattr(command)),
        "pickle nested": pickle.dumps(NestedPayload(command)),
        "pickle optimized": pickletools.optimize(simple),
        "pickle truncated after the payload": simple[:-1] + b"\xff\xff",
        "torch zip": torch_bytes({"weights": Payload(command)}),
        "torch zip of exec": torch_bytes(PayloadByExec(command)),
        "torch zip of a tensor": torch_bytes(PayloadInTensor(command)),
        "torch legacy": torch_bytes({"w": Payload(command)}, _use_new_zipfile_serialization=False),
        "torch tar": tar_bytes(simple),
        "zip by hand": zip_bytes(simple),
        "zip deflated": zip_bytes(simple, zipfile.ZIP_DEFLATED),
        "TorchScript zip": zip_bytes(simple, script=True),
        "zip with a wrong CRC": zip_bytes(simple).replace(
            struct.pack("<I", zipfile.crc32(simple)), b"\0\0\0\0"
        ),
        "zip after other bytes": b"\x08" + bytes(7) + zip_bytes(simple),
        "npy of objects": npy_bytes(Payload(command)),
        "pickle within a tensor": within_header(simple),
    }
    return files


def unpickle(name: str, content: bytes) -> None:
    """Open a file without any protection (the control)."""
    if name.startswith("pickle"):
        pickle.loads(content)
    elif name.startswith("npy"):
        np.load(io.BytesIO(content), allow_pickle=True)
    else:
        torch.load(io.BytesIO(content), weights_only=False)


# -- invalid files


def raw(table: Any, data: bytes = b"", length: int | None = None) -> bytes:
    """Return a safetensors file with any header and any stated length of it."""
    text = table if isinstance(table, bytes) else json.dumps(table).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def with_digest(tensors: dict[str, Any], data: bytes, our_header: Header | None = None) -> bytes:
    """Return a file with our header, a wrong digest and any table of tensors."""
    text = json.dumps(our_header or header())
    return raw({"__metadata__": {"viceversa": text, "sha256": "0" * 64}} | tensors, data)


def entry(shape: Any, offsets: Any, dtype: Any = "F32") -> Header:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def many_keys(path: Path) -> None:
    table = ",".join(
        f'"{number:x}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'
        for number in range(1_500_000)
    )
    path.write_bytes(raw(b"{" + table.encode() + b"}"))


def keys_that_fit(path: Path) -> None:
    """Write as many tensors as fit into a header of the maximum size."""
    table = {f"{number:x}": entry([0], [0, 0]) for number in range(60_000)}
    path.write_bytes(with_digest(table, b""))


def sparse(path: Path) -> None:
    """Write a sparse file of a terabyte, which takes no disk space."""
    size = 2**40
    start = with_digest(
        {"x": entry([size // 4], [0, size])}, b"", {"kind": "state", "state": {"x": "tensor:x"}}
    )
    with path.open("wb") as file:
        file.write(start)
        file.truncate(len(start) + size)


def altered(changed: dict[str, Tensor] | None = None, **other: Any) -> Make:
    """Return a writer of a model with a correct digest and an altered header or weights."""
    return lambda path: container.save(
        path, weights() if changed is None else changed, header(**other)
    )


def other_weights(**replaced: Any) -> dict[str, Tensor]:
    own = weights()
    first = next(iter(own))
    return own | {first: replaced["first"](own[first])}


def domain(**other: Any) -> Header:
    both = plain(Domain())
    config = both["config"] | other.pop("config", {})
    return both | {"config": config} | other


def without(key: str) -> Make:
    return lambda path: container.save(
        path, weights(), {name: value for name, value in header().items() if name != key}
    )


def content(data: bytes) -> Make:
    return lambda path: path.write_bytes(data)


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


BOMBS: dict[str, Make] = {
    "length 2^62": content(raw(b"{}", length=2**62)),
    "length 2^64-1": content(raw(b"{}", length=2**64 - 1)),
    "length beyond the end": content(raw(b"{}", length=5000)),
    "length 0": content(raw(b"{}", length=0)),
    "header of 89 MB": lambda path: path.write_bytes(raw(b'{"a":"' + b"x" * 89_000_000 + b'"}')),
    "1.5 M keys": many_keys,
    "60,000 keys": keys_that_fit,
    "a sparse terabyte": sparse,
    "offsets overlap": content(
        with_digest({"a": entry([4], [0, 16]), "b": entry([4], [8, 24])}, bytes(24))
    ),
    "offsets go back": content(with_digest({"a": entry([4], [16, 0])}, bytes(16))),
    "offsets beyond the end": content(with_digest({"a": entry([4], [0, 1 << 40])}, bytes(16))),
    "offsets of text": content(with_digest({"a": entry([4], ["0", "16"])}, bytes(16))),
    "shape negative": content(with_digest({"a": entry([-4], [0, 16])}, bytes(16))),
    "shape huge": content(with_digest({"a": entry([2**62, 2**62], [0, 16])}, bytes(16))),
    "shape of a bignum": content(with_digest({"a": entry([10**400], [0, 16])}, bytes(16))),
    "shape of text": content(with_digest({"a": entry("four", [0, 16])}, bytes(16))),
    "shape of lists": content(with_digest({"a": entry([[4]], [0, 16])}, bytes(16))),
    "shape missing": content(with_digest({"a": {"dtype": "F32"}}, bytes(16))),
    "a tensor that is a number": content(with_digest({"a": 5}, b"")),
    "a table that is a list": content(raw([1, 2])),
    "type unknown": content(with_digest({"a": entry([4], [0, 16], "object")}, bytes(16))),
    "a key twice": content(
        raw(
            b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
            b'"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
            bytes(4),
        )
    ),
    "nested a million deep": content(raw(nested(1_000_000))),
    "our header nested 900 deep": lambda path: path.write_bytes(
        raw({"__metadata__": {"viceversa": nested(900).decode(), "sha256": "0"}})
    ),
    "our header nested a million deep": lambda path: path.write_bytes(
        raw({"__metadata__": {"viceversa": nested(1_000_000).decode(), "sha256": "0"}})
    ),
    "our header with a number of a million digits": lambda path: path.write_bytes(
        raw({"__metadata__": {"viceversa": '{"a":' + "9" * 10**6 + "}", "sha256": "0"}})
    ),
    "our header that is not text": content(raw({"__metadata__": {"viceversa": 1, "sha256": 2}})),
    "no digest": content(raw({"__metadata__": {"viceversa": json.dumps(header())}})),
    "digest of something else": content(with_digest({}, b"")),
    "no bytes": content(b""),
    "seven bytes": content(b"\x08" + bytes(6)),
    "text": content(b"not a model but a line of text\n" * 40),
    "not UTF-8": content(raw(b'{"\xff\xfe": 1}')),
    "a folder": lambda path: path.mkdir(),
    "a FIFO": lambda path: os.mkfifo(path),
    "a loop of links": lambda path: path.symlink_to(path.name),
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "NaN in a weight": lambda path: container.save(
        path, other_weights(first=lambda w: torch.full_like(w, torch.nan)), header()
    ),
    "Inf in a weight": lambda path: container.save(
        path, other_weights(first=lambda w: torch.full_like(w, torch.inf)), header()
    ),
    "weights of integers": lambda path: container.save(
        path, other_weights(first=lambda w: w.to(torch.int64)), header()
    ),
    "weights of another dtype": lambda path: container.save(
        path, other_weights(first=lambda w: w.double()), header()
    ),
    "weights of another shape": lambda path: container.save(
        path, other_weights(first=lambda w: w.flatten()), header()
    ),
    "no weights": altered({}),
    "a later format": altered(format=2),
    "format of a list": altered(format=[1]),
    "a discriminator": altered(kind="discriminator"),
    "width 10^9": altered(generator=GENERATOR | {"width": 10**9}),
    "width 10^400": altered(generator=GENERATOR | {"width": 10**400}),
    "width 0": altered(generator=GENERATOR | {"width": 0}),
    "width negative": altered(generator=GENERATOR | {"width": -64}),
    "width of text": altered(generator=GENERATOR | {"width": "64"}),
    "depth 10^9": altered(generator=GENERATOR | {"depth": 10**9}),
    "depth 8000": altered(generator=GENERATOR | {"depth": 8000}),
    "depth 8000 of GDL": altered(generator={"name": "gdl-unet", "depth": 8000}),
    "depth 1": altered(generator=GENERATOR | {"depth": 1}),
    "blocks 10^9": altered(generator={"name": "resnet", "blocks": 10**9}),
    "blocks 8000": altered(generator={"name": "resnet", "blocks": 8000}),
    "groups 0": altered(generator={"name": "resnet", "norm": "group", "groups": 0}),
    "dropout of 7": altered(generator=GENERATOR | {"dropout": 7.0, "dropout_layers": 3}),
    "norm unknown": altered(generator=GENERATOR | {"norm": "os.system"}),
    "norm of a list": altered(generator=GENERATOR | {"norm": ["batch"]}),
    "an unknown option": altered(generator=GENERATOR | {"__class__": "x"}),
    "a discriminator's name": altered(generator={"name": "patchgan"}),
    "a method's name": altered(generator={"name": "cyclegan"}),
    "channels 10^9": altered(source=domain(config={"channels": 10**9})),
    "channels 0": altered(source=domain(config={"channels": 0})),
    "ids 10^12": altered(source=domain(config={"kind": "labels", "ids": 10**12})),
    "classes of wrong form": altered(source=domain(config={"kind": "labels", "classes": ["red"]})),
    "decreasing range": altered(source=domain(config={"range": [3.0, 1.0]})),
    "percentiles of text": altered(source=domain(config={"percentiles": "all"})),
    "low of text": altered(source=domain(low=["a", "b", "c"])),
}

# Headers with missing or wrong entries.
INVALID_HEADERS: dict[str, Make] = {
    "no generator": without("generator"),
    "no source": without("source"),
    "no target": without("target"),
    "no direction": without("direction"),
    "generator of text": altered(generator="unet"),
    "generator of a list": altered(generator=[["name", "unet"]]),
    "generator named by a list": altered(generator=GENERATOR | {"name": ["unet"]}),
    "source of text": altered(source="rgb"),
    "source of a list": altered(source=[]),
    "low for one channel of three": altered(source=domain(low=[0.0], high=[255.0])),
    "high for one channel of three": altered(target=domain(high=[255.0])),
    "low above high": altered(target=domain(low=[9.0] * 3, high=[1.0] * 3)),
    "low not finite": altered(source=domain(low=[float("nan")] * 3)),
    "dtype object": altered(source=domain(dtype="object")),
    "dtype of the target unknown": altered(target=domain(dtype="float512")),
    "channels of text": altered(source=domain(config={"channels": "3"})),
    "range of a bignum": altered(source=domain(config={"range": [0, 10**400]})),
    "direction of a list": altered(direction=["ab"]),
}


# -- readers

SECONDS, GROWTH, ADDRESS_SPACE = 1.0, 300 * 2**20, 2 * 2**30


def small_run() -> tuple[Method, RunConfig]:
    """Return a method and settings that can be initialized from the valid model."""
    sections = {
        "method": {"name": "pix2pix"},
        "generator": dict(GENERATOR),
        "discriminator": {"name": "patchgan", "width": 2, "layers": 1},
    }
    config = resolve(sections)
    return make_method(config), config


class Readers:
    """All functions that read files of weights."""

    def __init__(self) -> None:
        self.method, self.config = small_run()
        with tempfile.TemporaryDirectory() as folder:
            # Loads what torch loads on first use, so that it is not attributed to a file.
            write_valid_model(Path(folder) / "ab.safetensors")
            self.load(Path(folder) / "ab.safetensors")

    def load(self, path: Path) -> None:
        Translator.load(path, device="cpu")

    def show(self, path: Path) -> None:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            main(["show", str(path)])

    def init(self, path: Path) -> None:
        start_from(self.method, self.config, path)

    def resume(self, path: Path) -> None:
        """Resume with the file as newest checkpoint; the valid one before it must be loaded."""
        notes: list[str] = []
        found = Checkpoints(path.parent, 3).latest(notes.append)
        assert found is not None
        if found[0]["images"] == 1 and len(notes) == 1 and path.name in notes[0]:
            raise UserError(notes[0])


def try_readers(path: Path, readers: Readers) -> dict[str, tuple[str, float, int]]:
    """Read a file with each reader; return (outcome, processor seconds, bytes of memory growth).

    Runs in a child process with limits of 10 s, and of 2 GB more than this process has: with the
    libraries of earlier tests, that can be several GB.
    """

    def work(pipe: int) -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + ADDRESS_SPACE
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        results = {}
        for reader in (readers.load, readers.show, readers.init, readers.resume):
            before, began = _peak(), time.process_time()
            try:
                reader(path)
                outcome = "done"
            except UserError as error:
                outcome = "refused" if str(path.name) in str(error) else f"no path: {error}"
            except SystemExit as error:
                outcome = "refused" if error.code == 2 else f"exit {error.code}"
            except BaseException as error:
                outcome = f"{type(error).__name__}: {error}"[:300]
            results[reader.__name__] = (outcome, time.process_time() - began, _peak() - before)
        os.write(pipe, json.dumps(results).encode())

    child = fork(work)
    status = child.wait(10)
    output = child.output()
    return json.loads(output) if output else {"all": (f"ended with {status}", 10.0, 0)}


def _peak() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
