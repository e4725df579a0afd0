"""Files that want to run code, take all memory or last for ever, named as if they were models."""

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
    """What a small translator's file says, but for some of it."""
    domain = plain(Domain())
    return {"format": 1, "version": "0.1.0", "kind": "translator", "direction": "ab",
            "generator": dict(GENERATOR), "source": domain, "target": domain,
            "images_seen": 1, "weights": "raw", "trained": {}} | other  # fmt: skip


def weights() -> dict[str, Tensor]:
    """The weights of the translator that `header` describes."""
    made, config = GENERATORS["unet"]
    settings = {key: value for key, value in GENERATOR.items() if key != "name"}
    network = made(config(**settings), 3, 3)
    return {name: tensor.detach() for name, tensor in network.state_dict().items()}


def good(path: Path) -> None:
    save_network(path, weights(), header())


# -- pickles


class Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str):
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


class ByExec(Payload):
    def __reduce__(self) -> Any:
        return exec, (f"import os; os.system({self.command!r})",)


class ByGetattr(Payload):
    """Reaches the call through a chain of harmless names."""

    def __reduce__(self) -> Any:
        return eval, (f"getattr(__import__('o' + 's'), 'sys' + 'tem')({self.command!r})",)


class Nested(Payload):
    def __reduce__(self) -> Any:
        return list, ([Payload(self.command)],)


class InState(Payload):
    """A tensor rebuilt by torch's own function, with a payload among its hooks."""

    def __reduce__(self) -> Any:
        from torch._utils import _rebuild_tensor_v2

        storage = torch.zeros(1).untyped_storage()
        return _rebuild_tensor_v2, (storage, 0, (1,), (1,), False, Payload(self.command))


def zipped(inner: bytes, method: int = zipfile.ZIP_STORED, script: bool = False) -> bytes:
    """What torch.save writes around a pickle; `script`: with TorchScript's own parts."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as parts:
        parts.writestr("archive/data.pkl", inner)
        parts.writestr("archive/version", "3\n")
        parts.writestr("archive/byteorder", "little")
        if script:
            parts.writestr("archive/constants.pkl", inner)
            parts.writestr("archive/code/__torch__.py", "import os\n")
    return file.getvalue()


def tarred(inner: bytes) -> bytes:
    """The oldest of torch's formats."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as parts:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            entry = tarfile.TarInfo(name)
            entry.size = len(inner)
            parts.addfile(entry, io.BytesIO(inner))
    return file.getvalue()


def saved(value: Any, **more: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, **more)
    return file.getvalue()


def arrayed(value: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([value], dtype=object), allow_pickle=True)
    return file.getvalue()


def within_header(inner: bytes) -> bytes:
    """A file of ours in form, whose one tensor is a pickle."""
    table = {"x": {"dtype": "U8", "shape": [len(inner)], "data_offsets": [0, len(inner)]}}
    return raw(table, inner)


def pickles(command: str) -> dict[str, bytes]:
    """Ways to be unpickled, each of which runs a command."""
    every = {f"pickle protocol {p}": pickle.dumps(Payload(command), p) for p in range(6)}
    plain_one = pickle.dumps(Payload(command), 2)
    every |= {
        "pickle of exec": pickle.dumps(ByExec(command)),
        "pickle of getattr": pickle.dumps(ByGetattr(command)),
        "pickle nested": pickle.dumps(Nested(command)),
        "pickle optimised": pickletools.optimize(plain_one),
        "pickle broken behind the payload": plain_one[:-1] + b"\xff\xff",
        "torch zip": saved({"weights": Payload(command)}),
        "torch zip of exec": saved(ByExec(command)),
        "torch zip of a tensor": saved(InState(command)),
        "torch legacy": saved({"w": Payload(command)}, _use_new_zipfile_serialization=False),
        "torch tar": tarred(plain_one),
        "zip by hand": zipped(plain_one),
        "zip deflated": zipped(plain_one, zipfile.ZIP_DEFLATED),
        "TorchScript zip": zipped(plain_one, script=True),
        "zip with a wrong CRC": zipped(plain_one).replace(
            struct.pack("<I", zipfile.crc32(plain_one)), b"\0\0\0\0"
        ),
        "zip behind other bytes": b"\x08" + bytes(7) + zipped(plain_one),
        "npy of objects": arrayed(Payload(command)),
        "pickle within a tensor": within_header(plain_one),
    }
    return every


def executed(name: str, content: bytes) -> None:
    """Open a pickle as the naive do."""
    if name.startswith("pickle"):
        pickle.loads(content)
    elif name.startswith("npy"):
        np.load(io.BytesIO(content), allow_pickle=True)
    else:
        torch.load(io.BytesIO(content), weights_only=False)


# -- bombs and lies


def raw(table: Any, data: bytes = b"", length: int | None = None) -> bytes:
    """The format with any header, told to be so long."""
    text = table if isinstance(table, bytes) else json.dumps(table).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def digested(tensors: dict[str, Any], data: bytes, about: Header | None = None) -> bytes:
    """A header of ours, with a digest of nothing, over any table of tensors."""
    text = json.dumps(about or header())
    return raw({"__metadata__": {"viceversa": text, "sha256": "0" * 64}} | tensors, data)


def one(shape: Any, offsets: Any, dtype: Any = "F32") -> Header:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def many_keys(path: Path) -> None:
    table = ",".join(f'"{number:x}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'
                     for number in range(1_500_000))  # fmt: skip
    path.write_bytes(raw(b"{" + table.encode() + b"}"))


def keys_that_fit(path: Path) -> None:
    """As many tensors as a header that is not too large can name."""
    table = {f"{number:x}": one([0], [0, 0]) for number in range(60_000)}
    path.write_bytes(digested(table, b""))


def sparse(path: Path) -> None:
    """A terabyte of nothing, which takes no room on the disk."""
    size = 2**40
    start = digested({"x": one([size // 4], [0, size])}, b"",
                     {"kind": "state", "state": {"x": "tensor:x"}})  # fmt: skip
    with path.open("wb") as file:
        file.write(start)
        file.truncate(len(start) + size)


def forged(changed: dict[str, Tensor] | None = None, **other: Any) -> Make:
    """A file that is whole, with its own digest, and says or holds something else."""
    return lambda path: container.save(path, weights() if changed is None else changed,
                                       header(**other))  # fmt: skip


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
    "offsets overlap": content(digested({"a": one([4], [0, 16]), "b": one([4], [8, 24])},
                                        bytes(24))),
    "offsets go back": content(digested({"a": one([4], [16, 0])}, bytes(16))),
    "offsets beyond the end": content(digested({"a": one([4], [0, 1 << 40])}, bytes(16))),
    "offsets of text": content(digested({"a": one([4], ["0", "16"])}, bytes(16))),
    "shape negative": content(digested({"a": one([-4], [0, 16])}, bytes(16))),
    "shape huge": content(digested({"a": one([2**62, 2**62], [0, 16])}, bytes(16))),
    "shape of a bignum": content(digested({"a": one([10**400], [0, 16])}, bytes(16))),
    "shape of text": content(digested({"a": one("four", [0, 16])}, bytes(16))),
    "shape of lists": content(digested({"a": one([[4]], [0, 16])}, bytes(16))),
    "shape missing": content(digested({"a": {"dtype": "F32"}}, bytes(16))),
    "a tensor that is a number": content(digested({"a": 5}, b"")),
    "a table that is a list": content(raw([1, 2])),
    "type unknown": content(digested({"a": one([4], [0, 16], "object")}, bytes(16))),
    "a key twice": content(raw(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
                               b'"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', bytes(4))),
    "nested a million deep": content(raw(nested(1_000_000))),
    "our header nested 900 deep": lambda path: path.write_bytes(
        raw({"__metadata__": {"viceversa": nested(900).decode(), "sha256": "0"}})),
    "our header nested a million deep": lambda path: path.write_bytes(
        raw({"__metadata__": {"viceversa": nested(1_000_000).decode(), "sha256": "0"}})),
    "our header with a number of a million digits": lambda path: path.write_bytes(
        raw({"__metadata__": {"viceversa": '{"a":' + "9" * 10**6 + "}", "sha256": "0"}})),
    "our header that is no text": content(raw({"__metadata__": {"viceversa": 1, "sha256": 2}})),
    "no digest": content(raw({"__metadata__": {"viceversa": json.dumps(header())}})),
    "digest of something else": content(digested({}, b"")),
    "no bytes at all": content(b""),
    "seven bytes": content(b"\x08" + bytes(6)),
    "text": content(b"not a model at all, but a line of text\n" * 40),
    "not UTF-8": content(raw(b'{"\xff\xfe": 1}')),
    "a folder": lambda path: path.mkdir(),
    "a FIFO": lambda path: os.mkfifo(path),
    "a loop of links": lambda path: path.symlink_to(path.name),
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "NaN in a weight": lambda path: container.save(path, other_weights(
        first=lambda w: torch.full_like(w, torch.nan)), header()),
    "Inf in a weight": lambda path: container.save(path, other_weights(
        first=lambda w: torch.full_like(w, torch.inf)), header()),
    "weights of whole numbers": lambda path: container.save(path, other_weights(
        first=lambda w: w.to(torch.int64)), header()),
    "weights of another type": lambda path: container.save(path, other_weights(
        first=lambda w: w.double()), header()),
    "weights of another shape": lambda path: container.save(path, other_weights(
        first=lambda w: w.flatten()), header()),
    "no weights": forged({}),
    "of a later format": forged(format=2),
    "format of a list": forged(format=[1]),
    "a discriminator": forged(kind="discriminator"),
    "width 10^9": forged(generator=GENERATOR | {"width": 10**9}),
    "width 10^400": forged(generator=GENERATOR | {"width": 10**400}),
    "width 0": forged(generator=GENERATOR | {"width": 0}),
    "width negative": forged(generator=GENERATOR | {"width": -64}),
    "width of text": forged(generator=GENERATOR | {"width": "64"}),
    "depth 10^9": forged(generator=GENERATOR | {"depth": 10**9}),
    "depth 8000": forged(generator=GENERATOR | {"depth": 8000}),
    "depth 8000 of GDL": forged(generator={"name": "gdl-unet", "depth": 8000}),
    "depth 1": forged(generator=GENERATOR | {"depth": 1}),
    "blocks 10^9": forged(generator={"name": "resnet", "blocks": 10**9}),
    "blocks 8000": forged(generator={"name": "resnet", "blocks": 8000}),
    "groups 0": forged(generator={"name": "resnet", "norm": "group", "groups": 0}),
    "dropout of 7": forged(generator=GENERATOR | {"dropout": 7.0, "dropout_layers": 3}),
    "norm unknown": forged(generator=GENERATOR | {"norm": "os.system"}),
    "norm of a list": forged(generator=GENERATOR | {"norm": ["batch"]}),
    "an option unknown": forged(generator=GENERATOR | {"__class__": "x"}),
    "a discriminator's name": forged(generator={"name": "patchgan"}),
    "a method's name": forged(generator={"name": "cyclegan"}),
    "channels 10^9": forged(source=domain(config={"channels": 10**9})),
    "channels 0": forged(source=domain(config={"channels": 0})),
    "ids 10^12": forged(source=domain(config={"kind": "labels", "ids": 10**12})),
    "classes of another form": forged(source=domain(config={"kind": "labels", "classes": ["red"]})),
    "range that goes down": forged(source=domain(config={"range": [3.0, 1.0]})),
    "percentiles of text": forged(source=domain(config={"percentiles": "all"})),
    "low of text": forged(source=domain(low=["a", "b", "c"])),
}  # fmt: skip

# What a translator's file says of itself, in another form.
SAYING: dict[str, Make] = {
    "no generator": without("generator"),
    "no source": without("source"),
    "no target": without("target"),
    "no direction": without("direction"),
    "generator of text": forged(generator="unet"),
    "generator of a list": forged(generator=[["name", "unet"]]),
    "generator named by a list": forged(generator=GENERATOR | {"name": ["unet"]}),
    "source of text": forged(source="rgb"),
    "source of a list": forged(source=[]),
    "low for one band of three": forged(source=domain(low=[0.0], high=[255.0])),
    "high for one band of three": forged(target=domain(high=[255.0])),
    "low above high": forged(target=domain(low=[9.0] * 3, high=[1.0] * 3)),
    "low not finite": forged(source=domain(low=[float("nan")] * 3)),
    "dtype object": forged(source=domain(dtype="object")),
    "dtype of the target unknown": forged(target=domain(dtype="float512")),
    "channels of text": forged(source=domain(config={"channels": "3"})),
    "range of a bignum": forged(source=domain(config={"range": [0, 10**400]})),
    "direction of a list": forged(direction=["ab"]),
}


# -- what is done with them

SECONDS, GROWTH, SPACE = 1.0, 300 * 2**20, 4 * 2**30


def method() -> tuple[Method, RunConfig]:
    """A run that could start from a file, were it a good one."""
    sections = {"method": {"name": "pix2pix"}, "generator": dict(GENERATOR),
                "discriminator": {"name": "patchgan", "width": 2, "layers": 1}}  # fmt: skip
    config = resolve(sections)
    return make_method(config), config


class Ways:
    """Each way that a file of weights comes in."""

    def __init__(self) -> None:
        self.method, self.config = method()
        with tempfile.TemporaryDirectory() as folder:
            # What torch loads when a first file is read is no file's doing.
            good(Path(folder) / "ab.safetensors")
            self.load(Path(folder) / "ab.safetensors")

    def load(self, path: Path) -> None:
        Translator.load(path, device="cpu")

    def show(self, path: Path) -> None:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            main(["show", str(path)])

    def init(self, path: Path) -> None:
        start_from(self.method, self.config, path)

    def resume(self, path: Path) -> None:
        """The file as a newer checkpoint beside a good one, which must be gone back to."""
        notes: list[str] = []
        found = Checkpoints(path.parent, 3).latest(notes.append)
        assert found is not None
        if found[0]["images"] == 1 and len(notes) == 1 and path.name in notes[0]:
            raise UserError(notes[0])


def tried(path: Path, ways: Ways) -> dict[str, tuple[str, float, int]]:
    """What each way makes of a file: (how it ended, seconds, bytes that memory grew by).

    In a child that may take no more than 4 GB, and 10 s. The seconds are the processor's, since
    others may be at work on the machine.
    """

    def work(pipe: int) -> None:
        resource.setrlimit(resource.RLIMIT_AS, (SPACE, SPACE))
        told = {}
        for way in (ways.load, ways.show, ways.init, ways.resume):
            before, began = _peak(), time.process_time()
            try:
                way(path)
                ended = "done"
            except UserError as error:
                ended = "refused" if str(path.name) in str(error) else f"no path: {error}"
            except SystemExit as error:
                ended = "refused" if error.code == 2 else f"exit {error.code}"
            except BaseException as error:
                ended = f"{type(error).__name__}: {error}"[:300]
            told[way.__name__] = (ended, time.process_time() - began, _peak() - before)
        os.write(pipe, json.dumps(told).encode())

    child = fork(work)
    status = child.wait(10)
    said = child.output()
    return json.loads(said) if said else {"all": (f"ended with {status}", 10.0, 0)}


def _peak() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
