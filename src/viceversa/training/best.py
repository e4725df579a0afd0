"""The best validation so far, and its models in best/."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..checkpoint import read_header
from ..checkpoint.header import Damaged
from ..errors import UserError
from ..metrics.registry import higher_is_better, split_name
from ..run_log import dotted


@dataclass
class Best:
    """The best value of a metric so far, and the validations since."""

    metric: str
    value: float | None = None
    images: int = 0
    weights: str = "raw"
    """`raw` or `ema`."""
    since: int = 0
    last: int = -1
    """Images at the latest validation, so that a resumed run does not count it twice."""
    of: str = ""
    """Digest of the held-out images; empty without validation."""
    of_names: str = ""
    """The same digest of checkpoints of earlier versions, which may have it in `of`."""

    def update(self, values: Mapping[str, float], images: int) -> str | None:
        """Add a validation; return the weights that are better than all before, None if none are.

        Args:
            values: Weights (`raw`, `ema`) -> value of the metric; NaN is never better.
            images: Images processed.
        """
        self.last = images
        valid = {name: value for name, value in values.items() if math.isfinite(value)}
        pick = max if higher_is_better(self.metric) else min
        name = pick(valid, key=lambda one: valid[one], default=None)
        if name is not None and self._better(valid[name]):
            self.value, self.images, self.weights, self.since = valid[name], images, name, 0
            return name
        self.since += 1
        return None

    def _better(self, value: float) -> bool:
        if self.value is None:
            return True
        return value > self.value if higher_is_better(self.metric) else value < self.value

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return asdict(self)

    def restore(self, state: dict[str, Any]) -> str:
        """Restore `state`.

        Returns:
            A message if it is dropped, because it cannot be compared with later validations;
            else "".
        """
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
        """Write the models to a temporary folder, to which no checkpoint belongs yet."""
        self.discard()
        try:
            write(self.pending)
        except UserError:
            self.discard()
            raise

    def discard(self) -> None:
        """Remove the models to which no checkpoint belongs."""
        shutil.rmtree(self.pending, ignore_errors=True)

    def publish(self) -> None:
        """Move the models of the best validation to best/. Raises UserError if that fails."""
        try:
            for path in _models(self.pending):
                self.folder.mkdir(exist_ok=True)
                path.replace(self.folder / path.name)
        except OSError as error:
            raise UserError(
                f"{self.folder} cannot be written: {error.strerror}", path=self.folder
            ) from None
        self.discard()

    def match(self, best: dict[str, Any]) -> str:
        """Make best/ match a checkpoint's state of `Best`.

        Models of steps that the checkpoint does not continue are moved to best_abandoned/.

        Returns:
            A message if models were moved; else "".
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
    """Return whether a model belongs to a state of `Best`."""
    try:
        header = read_header(path)
    except Damaged:
        return False
    except UserError:  # unreadable now, but it may belong
        return True
    if best.get("value") is None:
        return False
    images, weights = header.get("images_processed"), header.get("weights")
    return bool(images == best["images"] and weights == best["weights"])


def validation_entry(
    split: str, count: int, values: Mapping[str, Mapping[str, float]], best: Best
) -> dict[str, Any]:
    """Return the result of a validation for the header of its models.

    Args:
        split: Name of the held-out split.
        count: Images evaluated.
        values: Weights (`raw`, `ema`) -> metric -> value.
        best: The best validation so far.
    """
    reached = {"value": best.value, "images": best.images, "weights": best.weights}
    return {"split": split, "n": count, **values, "chosen_by": best.metric, "best": reached}


def validation_values(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result of `validation_entry` as the values of its entry in the log."""
    return {
        "split": entry["split"],
        "n": entry["n"],
        **dotted("val", entry["raw"]),
        **dotted("val_ema", entry.get("ema", {})),
        "best.metric": entry["chosen_by"],
        **dotted("best", entry["best"]),
    }


def validation_line(values: Mapping[str, Mapping[str, float]], best: Best, better: bool) -> str:
    """Return a line about a validation for the terminal.

    Args:
        values: Weights (`raw`, `ema`) -> metric -> value.
        best: The best validation so far.
        better: Whether it is this one.
    """
    words = [
        ("EMA: " if weights == "ema" else "")
        # Of a metric of both directions, the log contains each, and the terminal the mean.
        + "  ".join(f"{n} {v:.4g}" for n, v in numbers.items() if not split_name(n)[1])
        for weights, numbers in values.items()
    ]
    if best.value is None:
        result = f"no best {best.metric} yet"
    elif better:
        result = f"new best {best.metric}"
    else:
        result = f"best {best.metric} {best.value:.4g} after {best.images} images"
    return f"validation: {'; '.join(words)}; {result}"
