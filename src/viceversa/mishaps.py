"""What went wrong in a step, in the words of the settings and the files that can mend it."""

from __future__ import annotations

from .build import TrainConfig
from .errors import UserError
from .health import Fault
from .methods import Batch, Method
from .preflight import check_images
from .runtime import Runtime, out_of_memory


def explained(
    error: Exception, batch: Batch, method: Method, train: TrainConfig, runtime: Runtime, where: str
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
                f"--train.accumulate {2 * train.accumulate}"
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
    return runtime.explained(error)


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
