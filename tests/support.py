"""Helpers shared by the tests of several packages."""

from __future__ import annotations

import hashlib
import json
import math
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cyclopts import CycloptsError
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo
from torch import Tensor, nn

from viceversa.batch import Batch
from viceversa.checkpoint import load_state, read_weights, save_network
from viceversa.cli import app, main
from viceversa.config.recipes import merge
from viceversa.config.run import RunConfig, make_method, resolve
from viceversa.data.dataset import ImageDataset
from viceversa.data.sizes import check_images
from viceversa.errors import UserError
from viceversa.evaluation.features import find, load
from viceversa.extras import import_extra, import_openvino
from viceversa.fields import plain
from viceversa.images.domain import Domain
from viceversa.losses import GAN_LOSSES, GANLoss
from viceversa.methods.base import Discriminator, Method, Turn
from viceversa.networks import DISCRIMINATORS, GENERATORS
from viceversa.networks.patch_grid import PatchGrid
from viceversa.networks.patchgan import PatchGAN
from viceversa.plan.images import inspect_images
from viceversa.training import loop as training
from viceversa.training.log import Log

# -- images and data


def noise_pairs(root: Path, count: int, side: int) -> Path:
    """Write `count` square noise images to `root`/A and `root`/B, with the same names in both."""
    rng = np.random.default_rng(0)
    for domain in "AB":
        (root / domain).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / domain / f"{number:02d}.png")
    return root


def noise_images(
    folder: Path, count: int = 2, prefix: str = "", size: tuple[int, int] = (40, 40)
) -> None:
    """Write noise images `folder`/`prefix`0.png, 1.png, ...; `size` is (height, width)."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for number in range(count):
        pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{prefix}{number}.png")


def digest(folder: Path) -> str:
    """Return the SHA-256 of the names and contents of all files of a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(f"{p}".encode() + p.read_bytes() for p in files)).hexdigest()


# -- feature networks and shared data

ROOT = Path(__file__).parents[1]
FEATURE_FOLDER = ROOT / ".venv" / "features"
SHARED = ROOT.parent / "shared" / "data"


def feature_network(name: str) -> nn.Module:
    """Load a feature network, or skip the test if its file does not exist."""
    if find(name, FEATURE_FOLDER) is None:
        pytest.skip(f"{FEATURE_FOLDER} lacks {name}; run: viceversa features --get {name}")
    return load(name, FEATURE_FOLDER)[0]


def shared(*parts: str) -> Path:
    """Return a path in the shared data, or skip the test if it does not exist."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{path} does not exist")
    return path


def read_bytes(path: Path) -> Tensor:
    """Read an image as (1, 3, height, width) uint8."""
    with Image.open(path) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None]


def read_values(path: Path) -> Tensor:
    """Read an image as (1, 3, height, width) in [-1, 1]."""
    return read_bytes(path).float() / 127.5 - 1


# -- model files


def needs_runtime(suffix: str) -> None:
    """Skip a test if a package for exported files is missing."""
    try:
        if suffix == ".xml":
            import_openvino()
        else:
            for package in ("onnx", "onnxscript", "onnxruntime"):
                import_extra(package, "export", "the test")
    except UserError as error:
        pytest.skip(str(error))


SMALL_GENERATORS = {
    "unet": {"width": 4, "depth": 3, "init": "kaiming"},
    "gdl-unet": {"width": 4, "depth": 3},
    "resnet": {"width": 4, "blocks": 1, "init": "kaiming"},
}


def small_model(folder: Path, source: Domain, target: Domain, name: str = "unet") -> Path:
    """Write a model from `source` to `target` with random weights and running statistics."""
    torch.manual_seed(0)
    network_class, config_class = GENERATORS[name]
    config = config_class(**SMALL_GENERATORS[name])
    generator = network_class(config, source.config.width, target.config.width)
    for key, buffer in generator.named_buffers():
        buffer.copy_(torch.rand_like(buffer) + (1.0 if key.endswith("var") else 0.0))
    header = {
        "kind": "translator",
        "direction": "ab",
        "source": plain(source),
        "target": plain(target),
        "generator": {"name": name, **asdict(config)},
    }
    path = folder / "ab.safetensors"
    save_network(path, generator.state_dict(), header)
    return path


def small_discriminator(
    folder: Path, source: Domain | None, target: Domain, **options: Any
) -> Path:
    """Write a discriminator of images, or of pairs with a source, with random weights."""
    torch.manual_seed(1)
    config = DISCRIMINATORS["patchgan"][1](**{"width": 4, "layers": 1, "norm": "none", **options})
    channels = target.config.width + (source.config.width if source else 0)
    network = DISCRIMINATORS["patchgan"][0](config, channels)
    header = {
        "kind": "discriminator",
        "domain": "b",
        "pair": source is not None,
        "objective": "lsgan",
        "discriminator": {"name": "patchgan", **asdict(config)},
        "source": plain(source or target),
        "target": plain(target),
    }
    path = folder / "d_b.safetensors"
    save_network(path, network.state_dict(), header)
    return path


# -- user-defined methods and networks


class OneSided(Method):
    """Unpaired method with one generator, one discriminator and no cycle."""

    paired: ClassVar[bool] = False

    @dataclass(frozen=True)
    class Config:
        pass

    def __init__(
        self, config: Config, channels: tuple[int, int], generator: Any, discriminator: Any
    ):
        super().__init__()
        self.gan = GAN_LOSSES["hinge"]
        self.generator, self.critic = generator(*channels), discriminator(channels[1])

    def players(self) -> dict[str, list[nn.Module]]:
        return {"critic": [self.critic], "generator": [self.generator]}

    def translators(self) -> dict[str, nn.Module]:
        return {"ab": self.generator}

    def discriminators(self) -> dict[str, Discriminator]:
        return {"b": Discriminator(self.critic, conditional=False)}

    @property
    def objective(self) -> GANLoss:
        return self.gan

    def step(self, batch: Batch) -> Iterator[Turn]:
        fake = self.generator(batch.a)
        real_scores, fake_scores = self.critic(batch.b), self.critic(fake.detach())
        yield "critic", {"total": self.gan.real(real_scores) + self.gan.fake(fake_scores)}
        yield "generator", {"fool": self.gan.fool(self.critic(fake))}
        yield None, {"brightness": fake.detach().mean()}


class Regression(Method):
    """Paired method without a discriminator."""

    paired: ClassVar[bool] = True

    @dataclass(frozen=True)
    class Config:
        pass

    def __init__(
        self, config: Config, channels: tuple[int, int], generator: Any, discriminator: Any
    ):
        super().__init__()
        self.network = generator(*channels)

    def players(self) -> dict[str, list[nn.Module]]:
        return {"network": [self.network]}

    def translators(self) -> dict[str, nn.Module]:
        return {"ab": self.network}

    def step(self, batch: Batch) -> Iterator[Turn]:
        yield "network", {"mse": (self.network(batch.a) - batch.b).square().mean()}


class ConvGenerator(nn.Module):
    """Generator with a single convolution; height and width must be even."""

    multiple, smallest = 2, 4

    @dataclass(frozen=True)
    class Config:
        kernel: int = 3

    def __init__(self, config: Config, channels_in: int, channels_out: int):
        super().__init__()
        self.convolution = nn.Conv2d(
            channels_in, channels_out, config.kernel, padding=config.kernel // 2
        )

    def features(self, x: Tensor, layers: Sequence[int]) -> list[Tensor]:
        return [self.convolution(x) for _ in layers]

    def feature_channels(self, layers: Sequence[int]) -> list[int]:
        return [self.convolution.out_channels for _ in layers]

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2] % 2 or x.shape[3] % 2:
            raise ValueError("an odd size")
        return self.convolution(x).tanh()


class MultiScale(nn.Module):
    """PatchGAN discriminators at two scales; the patch grid is that of the finer scale."""

    @dataclass(frozen=True)
    class Config:
        width: int = 2

    def __init__(self, config: Config, channels_in: int):
        super().__init__()
        settings = PatchGAN.Config(width=config.width, layers=1, norm="instance")
        self.scales = nn.ModuleList(PatchGAN(settings, channels_in) for _ in range(2))

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.scales[0](x) + self.scales[1](F.avg_pool2d(x, 2))

    def features(self, x: Tensor) -> list[Tensor]:
        return self.scales[0].features(x) + self.scales[1].features(F.avg_pool2d(x, 2))

    def patch_grid(self, height: int, width: int) -> PatchGrid:
        return self.scales[0].patch_grid(height, width)


class MeanColor(nn.Module):
    """Discriminator without a patch grid: one score for the mean color of the image."""

    @dataclass(frozen=True)
    class Config:
        pass

    def __init__(self, config: Config, channels_in: int):
        super().__init__()
        self.linear = nn.Linear(channels_in, 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.linear(x.mean((2, 3)))]


# -- commands

QUICK = {
    "generator.width": 4,
    "generator.depth": 3,
    "discriminator.width": 4,
    "discriminator.layers": 2,
    "data.load_size": 36,
    "data.crop_size": 32,
    "train.epochs": 1,
    "train.device": "cpu",
    "train.precision": "fp32",
}


def command_streams(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[str, str]:
    """Run a command and return its standard output and standard error."""
    capsys.readouterr()
    main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return captured.out, captured.err


def command_output(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run a command and return its standard output."""
    return command_streams(capsys, *arguments)[0]


def command_error(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run a command that must fail with exit code 2 and a one-line message; return the message."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    message = capsys.readouterr().err
    assert caught.value.code == 2, message
    assert message.startswith("viceversa: ") and message.find("\n") == len(message) - 1, message
    return message


def command_exception(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    """Run a command that must fail as in `command_error`; return the exception behind its message.

    For all commands except `train`, `plan` and `check`.
    """
    command_error(capsys, *arguments)
    with pytest.raises((UserError, CycloptsError, OSError)) as caught:
        app([str(argument) for argument in arguments], exit_on_error=False, print_error=False)
    return caught.value


@contextmanager
def raises_user_error(
    option: str | None = None, path: Path | None = None
) -> Iterator[pytest.ExceptionInfo[UserError]]:
    """Expect a UserError with these fields; None: any value."""
    with pytest.raises(UserError) as caught:
        yield caught
    assert option is None or caught.value.option == option, repr(caught.value)
    assert path is None or caught.value.path == path, caught.value.path


def check_networks(config: RunConfig) -> None:
    """Raise UserError if the networks of a run cannot train on images of its settings."""
    config = resolve(merge(config.sections, {"data": {"path": ""}}))
    with torch.device("meta"):
        method = make_method(config)
        height, width = inspect_images(config).size
        a, b = (torch.empty(one.width, height, width) for one in (config.data.a, config.data.b))
    if config.data.direction == "ba":
        a, b = b, a
    check_images(method, (a, b), config.train.batch_size)


def option_arguments(options: Mapping[str, object]) -> list[str]:
    """Return command line arguments for options by name (`generator.width`)."""
    return [word for name, value in options.items() for word in (f"--{name}", str(value))]


def train_arguments(data: Path, run: Path, *more: str, method: str = "pix2pix") -> list[str | Path]:
    """Return the arguments of a short run; options in `more` override those of QUICK."""
    defaults = {name: value for name, value in QUICK.items() if f"--{name}" not in more}
    return ["train", method, data, *option_arguments(defaults), "--train.run", run, *more]


def model_weights(run: Path) -> dict[str, torch.Tensor]:
    """Return all weights of all models of a run."""
    return {
        f"{path.stem} {name}": weight
        for path in sorted(run.glob("*.safetensors"))
        for name, weight in read_weights(path).items()
    }


def max_difference(one: Path, two: Path) -> float:
    """Return the largest difference between weights of two runs."""
    own, others = model_weights(one), model_weights(two)
    assert own.keys() == others.keys() and own
    return max(float((own[name] - others[name]).abs().max()) for name in own)


# -- complete runs


def train_until_crash(patch: pytest.MonkeyPatch, at: int, config: RunConfig) -> None:
    """Start a run that raises RuntimeError after `at` images."""
    add = Log.add

    def add_and_crash(self: Log, *arguments: Any) -> None:
        add(self, *arguments)
        if self.done >= at:
            raise RuntimeError("injected crash")

    with patch.context() as patched:
        patched.setattr(Log, "add", add_and_crash)
        with pytest.raises(RuntimeError, match="injected crash"):
            training.train(config)


def sigterm_after(patch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return a function that sets after how many images this process gets SIGTERM (0: never)."""
    at = [0]
    add = Log.add

    def add_and_signal(self: Log, *arguments: Any) -> None:
        add(self, *arguments)
        if self.done == at[0]:
            os.kill(os.getpid(), signal.SIGTERM)

    patch.setattr(Log, "add", add_and_signal)
    return lambda images: at.__setitem__(0, images)


def inject_non_finite(
    patch: pytest.MonkeyPatch,
    selected: Callable[[int, int], bool],
    side: int = 0,
    value: float = math.nan,
) -> None:
    """Fill one side of training batches with `value` where `selected(epoch, position)` is true."""
    batch = ImageDataset.batch

    def non_finite_batch(self: ImageDataset, positions: Any, *rest: Any) -> Any:
        pair = batch(self, positions, *rest)
        if pair is not None and self.training and selected(*positions[0]):
            pair[side][:] = value
        return pair

    patch.setattr(ImageDataset, "batch", non_finite_batch)


def newest_checkpoint(run: Path) -> Path:
    return max((run / "checkpoints").glob("*.safetensors"))


def checkpoint_state(run: Path) -> dict[str, Any]:
    """Return the newest checkpoint without its settings, which contain the path of the run."""
    state = load_state(newest_checkpoint(run))
    state.pop("sections")
    return state


def identical(one: Any, two: Any) -> bool:
    """Whether two values, or nested dicts and lists of values and tensors, are equal to the bit."""
    if isinstance(one, Tensor):
        return torch.equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(identical(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(identical, one, two))
    return bool(one == two)


CLOCK = ("time", "images_per_s")  # values of a log that differ from one execution to the next


def log_lines(run: Path, kind: str | None = None, clock: bool = True) -> list[dict[str, Any]]:
    """Return the log lines of a run: of one kind or all, with or without values of the clock."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [
        {key: value for key, value in line.items() if clock or key not in CLOCK}
        for line in lines
        if kind in (None, line["kind"])
    ]


def values(line: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Return the values of a log line whose names begin with `prefix.`, by the rest."""
    return {
        key.removeprefix(f"{prefix}."): value
        for key, value in line.items()
        if key.startswith(f"{prefix}.")
    }


# -- run folders written without training

RUN_SETTINGS = {
    "method": {"name": "pix2pix", "gan_loss": "bce", "lambda_l1": 100.0},
    "generator": {"name": "unet", "width": 64, "depth": 8},
    "discriminator": {"name": "patchgan", "layers": 3},
    "data": {"path": "data/facades", "direction": "ba", "a": {"kind": "image", "range": [0, 255]}},
    "train": {"run": "runs/facades", "epochs": 20, "lr": 2e-4, "betas": [0.5, 0.999]},
}
MACHINE = {
    "viceversa": "0.1.0",
    "python": "3.11.2",
    "torch": "2.13.0",
    "system": "Linux",
    "cores": 2,
    "memory_bytes": 8 * 2**30,
    "device": "cpu",
    "began": "2026-11-25T02:00:00+00:00",
    "total_images": 8000,
    "sample_columns": ["source", "translation", "target"],
    "images": {"train": {"pairs": 400}, "val": {"pairs": 1100}},
}
LOG_EVERY, EPOCH_IMAGES = 200, 400  # images between two log lines, and per epoch
WARNING = {
    "diagnostic.name": "saturated discriminator",
    "diagnostic.of": "ab",
    "diagnostic.state": "warning",
    "diagnostic.since": 6000,
    "diagnostic.text": "The discriminator's loss stayed under 0.01 for 400 images.",
    "diagnostic.advice": "Try --train.lr_per_network.discriminator 1e-4.",
}


def run_settings(**train: Any) -> dict[str, dict[str, Any]]:
    return RUN_SETTINGS | {"train": RUN_SETTINGS["train"] | train}


def common(kind: str, images: int) -> dict[str, Any]:
    """Return the values that every log line has."""
    return {
        "kind": kind,
        "time": 1.75e9 + images / 3,
        "step": images,
        "epoch": 1 + (images - 1) // EPOCH_IMAGES,
        "images": images,
        "lr": 2e-4,
    }


def training_lines(last: int, seed: int = 0) -> list[dict[str, Any]]:
    """Return a training line every LOG_EVERY images, with plausible losses of pix2pix."""
    random = np.random.default_rng(seed)
    lines: list[dict[str, Any]] = []
    for images in range(LOG_EVERY, last + 1, LOG_EVERY):
        decay, noise = math.exp(-images / 3000), random.normal(1, 0.06, 5)
        lines.append(
            common("train", images)
            | {
                "lr": 2e-4 if images <= 4000 else 2e-4 * (8000 - images) / 4000,
                "images_per_s": round(3.1 * float(noise[0]), 2),
                "loss.d_real": 0.3 * float(noise[1]) * (0.5 + decay / 2),
                "loss.d_fake": 0.28 * float(noise[2]) * (0.5 + decay / 2),
                "loss.g_l1": (18 + 25 * decay) * float(noise[3]),
                "loss.g_gan": (1.1 + 1.5 * (1 - decay)) * float(noise[4]),
                "grad_norm.generator": 4 * decay + 1,
                "grad_norm.discriminator": 0.8 - decay / 2,
            }
        )
    return lines


def validation_line(images: int, ema: bool = True) -> dict[str, Any]:
    """Return a validation line, with metrics of the EMA weights or without."""
    decay = math.exp(-images / 2500)
    better = {"val_ema.l1": 0.265 + 0.22 * decay, "val_ema.psnr": 14.9 - 4.2 * decay}
    return common("validation", images) | {
        "split": "val",
        "n": 100,
        "val.l1": 0.28 + 0.2 * decay + 0.004 * math.sin(images),
        "val.psnr": 14.5 - 4 * decay,
        **(better if ema else {}),
        "best.metric": "l1",
        "best.value": 0.265 + 0.22 * decay,
        "best.images": images,
        "best.weights": "ema",
    }


def sample_grid(path: Path, images: int, columns: int = 3, side: int = 96) -> None:
    """Write a sample grid whose middle columns get less noisy the more images were processed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(images)
    gap, rows = 2, 4
    grid = Image.new("RGB", (columns * (side + gap) + gap, rows * (side + gap) + gap), "white")
    noise = math.exp(-images / 2500)
    for row in range(rows):
        cell = Image.new("RGB", (side, side), (214 - 20 * row, 200, 170 + 20 * row))
        draw = ImageDraw.Draw(cell)
        for i in range(3 + row):
            x = 6 + i * (side - 12) // (3 + row)
            draw.rectangle((x, 30, x + 10, 52), fill=(70, 90 + 30 * row, 130))
            draw.rectangle((x, 62, x + 10, 84), fill=(140, 80, 60 + 20 * row))
        for column in range(columns):
            pixels = np.asarray(cell, dtype=float)
            if column == 0:
                pixels = np.where(pixels > 160, 30, 220) * np.array([0.2, 0.5, 1.0])
            elif column % 3 == 1:
                pixels = (1 - noise) * pixels + noise * random.uniform(0, 255, pixels.shape)
            grid.paste(
                Image.fromarray(pixels.astype(np.uint8)),
                (gap + column * (side + gap), gap + row * (side + gap)),
            )
    about = PngInfo()
    about.add_text("viceversa", json.dumps({"rows": [f"val/{row}.jpg" for row in range(rows)]}))
    grid.save(path, pnginfo=about)


def write_run(
    folder: Path,
    last: int = 8000,
    grids: int = 5,
    *,
    name: str | None = None,
    seed: int = 0,
    with_warnings: bool = True,
    train: dict[str, Any] | None = None,
) -> Path:
    """Write and return a run folder with a log of `last` images and `grids` sample grids."""
    run = folder / name if name else folder
    run.mkdir(parents=True, exist_ok=True)
    lines = training_lines(last, seed)
    lines += [validation_line(images) for images in range(1000, last + 1, 1000)]
    if with_warnings and last >= 6400:
        other = WARNING | {
            "diagnostic.name": "checkerboard",
            "diagnostic.since": 800,
            "diagnostic.text": "Stripes of 2 pixels.",
        }
        lines.append(common("diagnostic", 6400) | WARNING)
        lines.append(common("diagnostic", 1200) | other)
        lines.append(common("diagnostic", 2400) | other | {"diagnostic.state": "resolved"})
    lines.sort(key=lambda line: line["images"])
    write_log(run, lines)
    (run / "config.json").write_text(json.dumps(run_settings(**(train or {}))))
    (run / "machine.json").write_text(json.dumps(MACHINE))
    for i in range(grids):
        images = last * i // max(1, grids - 1)
        sample_grid(run / f"samples/{images:08d}.png", images)
        if i:
            sample_grid(run / f"patch_maps/{images:08d}.png", images, columns=2)
    return run


def write_log(run: Path, lines: list[dict[str, Any]]) -> None:
    (run / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


# -- child processes

FAILED = 70  # exit code of a child process whose function raised


class Child:
    """Child process and the reading end of the pipe that it writes to."""

    def __init__(self, process: int, pipe: int):
        self.process, self.pipe = process, pipe
        self.status: int | None = None
        self.ended_at = 0.0

    def send(self, number: int) -> None:
        os.kill(self.process, number)

    def poll(self) -> bool:
        if self.status is None:
            process, status = os.waitpid(self.process, os.WNOHANG)
            if process:
                self.status, self.ended_at = os.waitstatus_to_exitcode(status), time.monotonic()
        return self.status is not None

    def wait(self, seconds: float) -> int | None:
        """Return the exit code or the negative signal; None (child killed) after `seconds`."""
        ends = time.monotonic() + seconds
        while not self.poll():
            if time.monotonic() > ends:
                self.kill()
                return None
            time.sleep(0.001)
        return self.status

    def kill(self) -> None:
        if not self.poll():
            with suppress(ProcessLookupError):
                self.send(signal.SIGKILL)
            _, status = os.waitpid(self.process, 0)
            self.status, self.ended_at = os.waitstatus_to_exitcode(status), time.monotonic()

    def output(self) -> bytes:
        """Read the pipe until the child closes it, and close it."""
        with open(self.pipe, "rb") as file:
            return file.read()


def fork(work: Callable[[int], object]) -> Child:
    """Run `work(pipe)` in a child process; `pipe` is a file descriptor to write to."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Python 3.12 warns if other threads run; the child only runs `work`.
        warnings.simplefilter("ignore", DeprecationWarning)
        process = os.fork()
    if process:
        os.close(writing)
        return Child(process, reading)
    code = FAILED
    try:
        os.close(reading)
        work(writing)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else FAILED
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
    finally:
        os._exit(code)
