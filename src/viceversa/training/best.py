"""The best validation, when it was, and the models of it in best/."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..checkpoint import read_header
from ..checkpoint.container import Damaged
from ..errors import UserError
from ..metrics.registry import higher_is_better, split_name


@dataclass
class Best:
    """The best value of a `metric` so far, where it was, and the validations since."""

    metric: str
    value: float | None = None
    images: int = 0
    weights: str = "raw"
    """raw, or averaged."""
    since: int = 0
    last: int = -1
    """Images at the latest validation, so that a run which goes on does not count it twice."""
    of: str = ""
    """What tells the held-out images from others; empty where nothing is validated."""
    of_names: str = ""
    """The same as checkpoints of earlier versions have it: it may stand in their `of`."""

    def take(self, values: dict[str, float], images: int) -> str | None:
        """Look at a validation, weights -> value; the weights that are better than all before.

        A value that is not a number never is; the first one that is, always.
        """
        self.last = images
        sound = {name: value for name, value in values.items() if math.isfinite(value)}
        pick = max if higher_is_better(self.metric) else min
        name = pick(sound, key=lambda one: sound[one], default=None)
        if name is not None and self._better(sound[name]):
            self.value, self.images, self.weights, self.since = sound[name], images, name, 0
            return name
        self.since += 1
        return None

    def _better(self, value: float) -> bool:
        if self.value is None:
            return True
        return value > self.value if higher_is_better(self.metric) else value < self.value

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return asdict(self)

    def restore(self, state: dict[str, Any]) -> str:
        """Go on from `state`; from nothing where it can't be compared with what comes, and then
        returns why."""
        metric, of = state.get("metric"), state.get("of", self.of)
        if metric != self.metric:
            reason = f"validate.best_metric is now {self.metric}"
            return f"the best validation by {metric} is discarded: {reason}"
        if self.of and of not in ("", self.of, self.of_names):
            reason = "the held-out images are not the same"
            return f"the best validation by {metric} is discarded: {reason}"
        self.value, self.images = state["value"], state["images"]
        self.weights, self.since = state["weights"], state["since"]
        self.last, self.of = state["last"], self.of or of
        return ""


class BestModels:
    """The models of the best validation, in best/ of a run's folder.

    A validation writes them to checkpoints/best/, and the next checkpoint moves them to best/. So
    best/ always matches the newest checkpoint: where a run ends between the two, the resumed run
    repeats the validation.
    """

    def __init__(self, run: Path):
        self.folder, self.pending = run / "best", run / "checkpoints" / "best"
        self.abandoned = run / "best_abandoned"

    def stage(self, write: Callable[[Path], None]) -> None:
        """Let `write` write the models to a folder that no checkpoint belongs to yet."""
        self.discard()
        try:
            write(self.pending)
        except UserError:
            self.discard()
            raise

    def discard(self) -> None:
        """Remove the models that no checkpoint belongs to yet."""
        shutil.rmtree(self.pending, ignore_errors=True)

    def publish(self) -> None:
        """Move the models of the latest best validation to best/. Raises UserError."""
        try:
            for path in _models(self.pending):
                self.folder.mkdir(exist_ok=True)
                path.replace(self.folder / path.name)
        except OSError as error:
            raise UserError(
                f"{self.folder} could not be written: {error.strerror}", path=self.folder
            ) from None
        self.discard()

    def match(self, best: dict[str, Any]) -> str:
        """Let best/ be what a checkpoint's state of `Best` describes, if that is still there.

        Models of steps that the checkpoint does not continue are moved to best_abandoned/; returns
        a message about it, else "".
        """
        pending = _models(self.pending)
        if pending and all(_belongs(path, best) for path in pending):
            self.publish()  # the run ended right after the checkpoint
        self.discard()
        if all(_belongs(path, best) for path in _models(self.folder)):
            return ""
        shutil.rmtree(self.abandoned, ignore_errors=True)
        with suppress(OSError):  # the next best model replaces it
            self.folder.replace(self.abandoned)
        return (
            f"{self.folder} contains models of steps that this run does not continue; moved to "
            f"{self.abandoned}"
        )


def _models(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def _belongs(path: Path, best: dict[str, Any]) -> bool:
    """Whether a model is of the validation that a state of `Best` describes."""
    try:
        header = read_header(path)
    except Damaged:
        return False
    except UserError:  # it is unreadable now, and may be right
        return True
    return best.get("value") is not None and all(
        header.get(name) == best[key] for name, key in (("images_seen", "images"),
                                                       ("weights", "weights"))
    )  # fmt: skip


def in_words(values: dict[str, dict[str, float]], best: Best, better: bool) -> str:
    """A validation (weights -> metric -> value) for the terminal."""
    told = [
        ("EMA: " if weights == "ema" else "")
        # Of a metric of both ways the log has each, and the terminal the mean.
        + "  ".join(f"{n} {v:.4g}" for n, v in numbers.items() if not split_name(n)[1])
        for weights, numbers in values.items()
    ]
    if best.value is None:
        result = f"no best {best.metric} yet"
    elif better:
        result = f"new best {best.metric}"
    else:
        result = f"best {best.metric} {best.value:.4g} after {best.images} images"
    return f"validation: {'; '.join(told)}; {result}"
