"""Error messages about a training step, with the settings and files that may have caused it."""

from __future__ import annotations

from collections import deque

from ..batch import Batch
from ..config.train import TrainConfig
from ..data.sizes import check_images
from ..data.user import SplitDataset
from ..errors import UserError
from ..fields import as_typed, pixels_text
from ..methods.base import Method
from ..runtime.device import out_of_memory
from ..runtime.training import Runtime
from .gradients import Fault
from .progress import Step

NAMED = 4  # images of a step that a message names


class RecentSteps:
    """The steps since the last check for non-finite values, to name the images of one of them."""

    def __init__(self, dataset: SplitDataset, batch_size: int):
        self.dataset, self.batch_size = dataset, batch_size
        self._steps: deque[tuple[int, Step]] = deque()

    def add(self, number: int, step: Step) -> None:
        """Add a step; `number` counts steps as `GradientStats` does."""
        self._steps.append((number, step._replace(batches=[])))  # images need memory

    def clear(self) -> None:
        """Forget all steps: they were finite."""
        self._steps.clear()

    def images(self, number: int | None = None) -> str:
        """Return the epoch, batch and files of a step (default: the latest), for a message."""
        steps = [step for count, step in self._steps if count == number]
        step = (steps or [step for _, step in self._steps])[-1]
        first = step.first * self.batch_size
        positions = range(first, min(first + step.images, first + NAMED))
        files = [" and ".join(self.dataset.names(step.epoch, position)) for position in positions]
        return f"epoch {step.epoch}, batch {step.first + 1}: {'; '.join(files)}"


def explain(
    error: Exception,
    images: Batch,
    method: Method,
    train: TrainConfig,
    runtime: Runtime,
    where: str,
) -> Exception:
    """Return a UserError if a setting or an image caused an error in a step, else the error itself.

    Args:
        error: The error.
        images: A batch of the step.
        method: The method.
        train: Settings of training.
        runtime: Device and processes.
        where: Epoch, batch and files of the step.
    """
    height, width = images.a.shape[2:]
    size = pixels_text(height, width)
    if out_of_memory(error):
        half = (height // 2,) if height == width else (height // 2, width // 2)
        crop = f"--data.crop_size {as_typed(half)}"
        advice = f"smaller images, such as {crop}, or a smaller width of the networks"
        if train.batch_size > 1:
            advice = (
                f"--train.batch_size {train.batch_size // 2} "
                f"--train.accumulation_steps {2 * train.accumulation_steps}"
            )
        return UserError(
            f"out of memory with batches of {train.batch_size} at {size}; try {advice}",
            option="train.batch_size",
        )
    if not isinstance(error, ValueError):
        try:  # a later image may have another size than the first one
            check_images(method, (images[0][0], images[1][0]), len(images[0]))
        except UserError as reason:
            error = reason
    if isinstance(error, ValueError):
        return UserError(f"{error}; the batch is {size}: {where}")
    return runtime.explain(error)


def non_finite(fault: Fault, method: Method, losses: list[str], where: str) -> UserError:
    """Return the error that ends a run with non-finite losses or gradients."""
    names = {id(module): name for name, module in method.named_children()}
    networks = ", ".join(names[id(network)] for network in method.players()[fault.player])
    also = f" and the losses {', '.join(losses)} were" if losses else " was"
    return UserError(
        f"training stopped: the gradient of the {fault.player} ({networks}){also} not finite, "
        f"at {where}; no weight was changed by it, and the last checkpoint is valid; check these "
        "images, or try a lower train.lr",
        option="train.lr",
    )
