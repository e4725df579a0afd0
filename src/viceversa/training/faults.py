"""What went wrong in a step, in the words of the settings and the files that can mend it."""

from __future__ import annotations

from collections import deque

from torch import Tensor

from ..config.train import TrainConfig
from ..data.dataset import ImageDataset
from ..data.sizes import check_images
from ..errors import UserError
from ..methods.base import Method
from ..runtime.device import out_of_memory
from ..runtime.training import Runtime
from .checkpoint import Place
from .diagnostics import Fault


class Recent:
    """The steps since the last check for non-finite values, to name the images of one of them."""

    def __init__(self, pictures: ImageDataset, batch_size: int):
        self.pictures, self.batch_size = pictures, batch_size
        self._steps: deque[tuple[int, int, int]] = deque()  # step, epoch, batch

    def add(self, step: int, place: Place) -> None:
        """Remember that a step uses the batch at a place."""
        self._steps.append((step, place.epoch, place.batch))

    def drop(self) -> None:
        """Forget the latest step: its batch had no image."""
        self._steps.pop()

    def clear(self) -> None:
        """Forget all steps: they were finite."""
        self._steps.clear()

    def files(self, place: Place, step: int | None = None) -> str:
        """The images of a step (default: the latest), and where it is."""
        now = (0, place.epoch, place.batch)
        steps = [one for one in self._steps if one[0] == step] or [*self._steps, now][-2:]
        _, epoch, batch = steps[0]
        first = batch * self.batch_size
        places = range(first, min(first + self.batch_size, len(self.pictures)))
        pairs = [" and ".join(self.pictures.names(epoch, position)) for position in places]
        return f"epoch {epoch}, batch {batch + 1}: {'; '.join(pairs[:4])}"


def explained(
    error: Exception,
    batch: tuple[Tensor, Tensor],
    method: Method,
    train: TrainConfig,
    runtime: Runtime,
    where: str,
) -> Exception:
    """A step's error as a UserError, where a setting or an image caused it; else as it is.

    `where`: which batch it was, and its files.
    """
    height, width = batch[0].shape[2:]
    if out_of_memory(error):
        advice = f"smaller images, such as --data.crop_size {height // 2}, or a smaller width"
        if train.batch_size > 1:
            advice = (
                f"--train.batch_size {train.batch_size // 2} "
                f"--train.accumulation_steps {2 * train.accumulation_steps}"
            )
        return UserError(
            f"the memory is not enough for batches of {train.batch_size} at {width}x{height}; try "
            f"{advice}"
        )
    if not isinstance(error, ValueError):
        try:  # a later image may have a size that the first had not
            check_images(method, (batch[0][0], batch[1][0]), len(batch[0]))
        except UserError as reason:
            error = reason
    if isinstance(error, ValueError):
        return UserError(f"{error}; the batch is of {width}x{height}: {where}")
    return runtime.explain(error)


def not_finite(fault: Fault, method: Method, losses: list[str], where: str) -> UserError:
    """The end of a run whose losses or gradients are no numbers any more."""
    names = {id(module): name for name, module in method.named_children()}
    networks = ", ".join(names[id(network)] for network in method.players()[fault.player])
    nor = f", nor were the losses {', '.join(losses)}" if losses else ""
    return UserError(
        f"training stopped: the gradient of the {fault.player} ({networks}) was not finite{nor}, "
        f"at {where}; no weight was touched by it, and the last checkpoint is sound; look at these "
        "images, or try a smaller train.lr"
    )
