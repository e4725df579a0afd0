"""The training loop."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from ..checkpoint import lock_run
from ..runtime.distributed import join
from ..runtime.signals import collect_stop_signals
from .preflight import run_folder
from .resume import resume
from .run import Run

if TYPE_CHECKING:
    from ..config.run import RunConfig
    from ..data.open_user import UserData
    from .functions import OnStep, OnValidation


def train(
    config: RunConfig,
    user: UserData | None = None,
    on_step: OnStep | None = None,
    on_validation: OnValidation | None = None,
) -> Path:
    """Train, or resume training.

    Args:
        config: The settings, from `resolve`.
        user: Datasets to train on instead of files.
        on_step, on_validation: Functions of the user; an exception ends the run once it is saved.

    Returns:
        The run folder.

    Raises:
        UserError: The settings, the data or the checkpoint are invalid, or training became
            non-finite.
        RunStopped: A signal or `train.max_time` ended the run early; everything is saved.
    """
    ranks = join(config.train.rank_timeout)
    try:
        # Locked before anything is read or cached: a second run in the folder is refused at once.
        with lock_run(run_folder(config, user)) if ranks.first else nullcontext():
            run = Run(config, ranks, user, on_step, on_validation)
            train_run(run)
            ranks.barrier()
    except RuntimeError as error:
        raise ranks.explain(error) from None
    return run.folder


def train_run(run: Run) -> None:
    """Train from the newest checkpoint to the last epoch, or until a request ends it.

    The run is monitored before it is saved, since the checkpoint contains the state of monitoring.
    An error in that ends the run after the checkpoint.
    """
    with collect_stop_signals() as run.requests.signals, run.logging(resume(run)) as log:
        run.monitor_if_due()  # what an interrupted run left out at its checkpoint
        _, request = run.requests.agree()
        if request.ends_now:
            run.stop(request)
        for step in run.steps() if not request.early_stop else ():
            counts, request = run.requests.agree(step.counts)
            if request.failed:
                run.stop(request)
            losses, norms = run.update(step, counts)
            run.progress = step.end
            log.add(step.images, step.epoch, step.lr, losses, norms)
            run.functions.on_step(step, log.step, losses)
            if log.due:
                run.check_finite()
                log.write_line()
            run.report_invalid_files(epoch_end=step.end.batch == 0)
            if step.end.epoch > run.config.train.epochs:
                break
            run.monitor_if_due()
            request = run.requests.latest(request)
            if request.ends_run or run.requests.save_due(request, step.end):
                run.save(last=request.ends_run)
                request = run.requests.latest(request)
            if request.ends_run:
                run.stop(request)
            if request.early_stop:
                break
        run.finish()
