"""From sections of plain values to a run: typed settings, and the method they describe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from .checkpoint.models import LARGEST
from .config import NAMED, Sections, did_you_mean, fill, plain
from .data import DataConfig
from .errors import UserError
from .methods import METHODS, Method
from .monitor.config import ValidateConfig
from .networks import DISCRIMINATORS, GENERATORS
from .runtime.config import PrecisionName, SpeedConfig

REGISTRIES: dict[str, Mapping[str, tuple[Any, Any]]] = {
    "method": METHODS,
    "generator": GENERATORS,
    "discriminator": DISCRIMINATORS,
}


@dataclass(frozen=True)
class TrainConfig:
    run: str = ""
    """The run's folder; empty is runs/RECIPE (from Python runs/METHOD). A run in it goes on."""
    epochs: int = 200
    """How often to go through the data."""
    schedule: Literal["constant", "linear", "linear-paper", "cosine", "step"] = "linear"
    """How the rate falls."""
    decay: float = 0.5
    """Fraction of the epochs, at the end, over which it falls (linear, cosine); rounded to even."""
    lr: float = 2e-4
    """Adam's learning rate."""
    lr_per_network: dict[str, float] = field(default_factory=dict)
    """Another rate for one player: --train.lr_per_network.discriminator 1e-4."""
    betas: tuple[float, float] = (0.5, 0.999)
    """Adam's decay rates."""
    batch_size: int = 1
    """Images (or pairs) in a batch."""
    ema: float = 0.0
    """Decay of an average of the generators' weights, kept beside them: 0.999; 0 keeps none."""
    accumulation_steps: int = 1
    """Batches whose gradients are averaged before a step."""
    grad_clip: float = 0.0
    """The largest norm of a player's gradient; 0 clips nothing."""
    init: str = ""
    """A finished model (or a folder with ab and ba) to start from."""
    seed: int = 0
    """Seed of everything random."""
    device: str = "auto"
    """auto, or a torch device: cpu, cuda, cuda:1, mps, ..."""
    deterministic: bool = False
    """Two runs on one machine are equal to the bit; refuses what cannot be, and may be slower."""
    precision: PrecisionName = "fp32"
    """bf16 and fp16 compute in half precision and keep the weights in full; tf32 is for GPUs."""
    rank_timeout: float = 600.0
    """Of several processes: seconds after which one that does not answer is taken for dead."""
    log_every: int = 200
    """Images between two lines of the log."""
    loggers: tuple[Literal["tensorboard"], ...] = ()
    """Also write losses, measures and pictures for TensorBoard, in RUN/tensorboard."""
    sample_every: int = 2000
    """Images between two sample grids."""
    sample_minutes: float = 10.0
    """Minutes between two sample grids, in addition (0: never); the first comes within a minute."""
    save_every: int = 0
    """Images between two checkpoints; 0 leaves it to the other two."""
    save_epochs: int = 0
    """Epochs between two checkpoints; 0 leaves it to the other two."""
    save_minutes: float = 10.0
    """Minutes between two checkpoints; 0 leaves it to the other two."""
    keep_last: int = 3
    """How many checkpoints stay, the newest."""
    on_disk_full: Literal["stop", "continue"] = "stop"
    """A checkpoint that can't be written: stop, or go on with the one before."""
    max_time: float = 0.0
    """Minutes after which the run saves and ends, to be gone on with; 0 is no limit."""
    samples: int = 6
    """Images in a sample grid, always the same ones."""

    def __post_init__(self) -> None:
        counts = ("epochs", "batch_size", "accumulation_steps", "log_every", "sample_every",
                  "keep_last", "rank_timeout")  # fmt: skip
        amounts = ("samples", "seed", "lr", "grad_clip", "decay", "save_every", "save_epochs",
                   "save_minutes", "sample_minutes", "max_time")  # fmt: skip
        for name, value in plain(self).items():
            least = 1 if name in counts else 0
            if name in (*counts, *amounts) and value < least:
                raise UserError(f"train.{name} must be at least {least}, not {value}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise UserError(f"train.betas are from 0 to less than 1, not {self.betas}")
        if any(rate < 0 for rate in self.lr_per_network.values()):
            raise UserError("train.lr_per_network must be at least 0")
        if not 0 <= self.ema < 1:
            raise UserError(f"train.ema is a decay, from 0 to less than 1, not {self.ema}")
        if self.decay > 1:
            raise UserError(f"train.decay is a share of the epochs, at most 1, not {self.decay}")


@dataclass(frozen=True)
class RunConfig:
    """All settings of a run, typed and checked; `sections` are the same as plain values."""

    method: Any
    generator: Any
    discriminator: Any
    data: DataConfig
    train: TrainConfig
    validate: ValidateConfig
    speed: SpeedConfig
    sections: Sections

    def name(self, section: str) -> str:
        """Which method, generator or discriminator is configured."""
        return str(self.sections[section]["name"])

    @property
    def paired(self) -> bool:
        """Whether the method learns from pairs."""
        return is_paired(self.name("method"))


def resolve(sections: Sections) -> RunConfig:
    """Typed settings from plain ones. Raises UserError for anything unknown or impossible."""
    typed: dict[str, Any] = {}
    full: Sections = {}
    for section in NAMED:
        values = dict(sections.get(section, {}))
        name = values.pop("name", None)
        _, config_class = registered(section, name)
        typed[section] = fill(config_class, values, section)
        if section == "method":
            _check_weights(plain(typed[section]))
        else:
            _check_network(section, plain(typed[section]))
        full[section] = {"name": name, **plain(typed[section])}
    typed["data"] = fill(DataConfig, sections.get("data", {}), "data")
    typed["train"] = fill(TrainConfig, sections.get("train", {}), "train")
    typed["validate"] = fill(ValidateConfig, sections.get("validate", {}), "validate")
    typed["speed"] = fill(SpeedConfig, sections.get("speed", {}), "speed")
    typed["validate"].chosen(is_paired(full["method"]["name"]))
    full |= {section: plain(typed[section]) for section in ("data", "train", "validate", "speed")}
    return RunConfig(**typed, sections=full)


def _check_weights(values: Mapping[str, Any]) -> None:
    """No weight of a loss, and no number of a method at all, is below 0."""
    for name, value in values.items():
        if isinstance(value, int | float) and value < 0:
            raise UserError(f"method.{name} must be at least 0, not {value}")


def _check_network(section: str, values: Mapping[str, Any]) -> None:
    """Refuse numbers that a model file may not contain."""
    for name, value in values.items():
        if isinstance(value, int | float) and value > LARGEST:
            option = f"{section}.{name}"
            raise UserError(f"{option} must be at most {LARGEST}, not {value}", option=option)


def registered(section: str, name: Any) -> tuple[Any, Any]:
    """The class and its Config behind a name. Raises UserError with the names there are."""
    known = REGISTRIES[section]
    if not isinstance(name, str) or name not in known:
        near = did_you_mean(str(name), known)
        raise UserError(f"{section}.name is {name!r}{near}; there are {', '.join(known)}")
    return known[name]


def is_paired(method: str) -> bool:
    """Whether a method trains on pairs. Raises UserError if its class does not declare it."""
    method_class, _ = registered("method", method)
    try:
        paired = method_class.paired
    except AttributeError:
        paired = None
    if not isinstance(paired, bool):
        raise UserError(
            f"the class of method {method!r} does not declare whether it needs pairs; add "
            "paired: ClassVar[bool] = True (or False) to it",
            option="method.name",
        )
    return paired


def make_method(config: RunConfig) -> Method:
    """The method with fresh networks. Raises UserError where its settings contradict each other."""
    method_class, _ = METHODS[config.name("method")]
    generator, _ = GENERATORS[config.name("generator")]
    discriminator, _ = DISCRIMINATORS[config.name("discriminator")]
    channels = config.data.a.width, config.data.b.width
    if config.data.direction == "ba":
        channels = channels[::-1]
    try:
        method: Method = method_class(
            config.method,
            channels,
            lambda before, after: generator(config.generator, before, after),
            lambda before: discriminator(config.discriminator, before),
        )
    except ValueError as error:
        raise UserError(str(error)) from None
    return method


def on_disk(name: str, direction: str) -> str:
    """A direction or domain as it lies on disk: with `ba`, the method's a is the data's B."""
    swapped = name.translate(str.maketrans("ab", "ba"))
    return name if direction == "ab" else swapped


def model_files(folder: Path) -> list[Path]:
    """The translators in a run's folder."""
    return [
        path for path in (folder / "ab.safetensors", folder / "ba.safetensors") if path.is_file()
    ]
