"""A training run: what it trains, on which data, how far it is, and its files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from math import ceil
from pathlib import Path
from typing import Any

from torch import Tensor

from ..batch import Batch
from ..checkpoint import Checkpoints
from ..config.extensions import named
from ..config.run import RunConfig, make_method
from ..config.run_folder import with_location
from ..data.loader import Loader
from ..data.open_user import UserData
from ..data.sizes import check_sizes
from ..errors import UserError
from ..files import write_json
from ..methods.base import Losses
from ..runtime.distributed import Ranks
from ..runtime.random_state import seed_everything
from ..terminal import say, silent
from .checkpoint import run_state
from .faults import RecentSteps, explain, non_finite
from .functions import OnStep, OnValidation, UserFunctions
from .gradients import GradientStats
from .log import Log
from .loggers import open_loggers, refuse_missing
from .models import start_from
from .monitor import Monitor
from .preflight import check_disk, check_ranks, run_folder
from .progress import Progress, Step
from .requests import Request, Requests
from .setup import (
    check_best_metric,
    choose_formats,
    load_feature_networks,
    make_optimizers,
    open_run_data,
    open_runtime,
    set_learning_rates,
    trained_networks,
)
from .step import updater


class Run:
    """The parts of a training run, prepared but not started; `train_run` trains it.

    Args:
        config: The settings.
        ranks: The processes of the run; by default this one alone.
        user: Datasets to train on instead of files.
        on_step: Called after each step.
        on_validation: Called after each validation.

    Raises:
        UserError: The settings, the data or the device are invalid.
    """

    def __init__(
        self,
        config: RunConfig,
        ranks: Ranks | None = None,
        user: UserData | None = None,
        on_step: OnStep | None = None,
        on_validation: OnValidation | None = None,
    ):
        train = config.train
        ranks = ranks or Ranks()
        if ranks.first:
            refuse_missing(train.loggers)  # before the data is read
        self.folder = run_folder(config, user)
        self.say = say if ranks.first else silent
        seed_everything(train.seed)
        self.checkpoints = Checkpoints(self.folder / "checkpoints", train.keep_last)
        chosen: list[str] = []
        self.runtime, config = open_runtime(config, self.checkpoints, ranks, chosen.append)
        self.config = config
        self.data = open_run_data(config, self.folder, ranks, self.say, user)
        for text in chosen:  # only after the check of the data: it may raise an error
            self.say(text)
        self.say(f"data: {config.data.location}")
        check_ranks(ranks, self.data.train, train.batch_size)
        self.method = make_method(config)
        check_best_metric(self.method, config)
        check_sizes(self.method, self.data.train, ceil(train.batch_size / ranks.count))
        if train.init and ranks.first and not self.checkpoints.files():
            self.say(start_from(self.method, config, Path(train.init)))
        self.runtime.prepare(self.method, trained_networks(self.method))
        load_feature_networks(self.method, config, self.runtime.device)
        ranks.offset_seed()
        self.optimizers = make_optimizers(self.method, train, self.runtime)
        self.gradients = GradientStats(self.runtime.device)
        self.requests = Requests(train, ranks, lambda: self.monitor.patience_used_up())
        self.functions = UserFunctions(self.requests, on_step, on_validation)
        self.monitor = Monitor(
            config,
            self.folder,
            self.method,
            self.data,
            self.runtime,
            self.say,
            lambda: self.requests.interrupts_monitoring,
        )
        self._update = updater(
            self.method, self.optimizers, self.runtime, train.grad_clip, self.gradients, self.say
        )
        self._recent = RecentSteps(self.data.train, train.batch_size)
        self.progress = Progress()
        self.log: Log

    @contextmanager
    def logging(self, state: Mapping[str, Any] | None = None) -> Iterator[Log]:
        """Write config.json and open the log; `state` is that of the log in a checkpoint."""
        ranks, train = self.runtime.ranks, self.config.train
        if ranks.first:
            say(check_disk(self.method, self.folder, self.config))
            sections = with_location(self.config.sections, self.folder) | named()
            write_json(self.folder / "config.json", sections)
        done = self.progress.images
        loggers = train.loggers if ranks.first else ()
        left = self.progress.images_left(len(self.data.train), train.batch_size, train.epochs)
        self.log = Log(
            self.folder,
            done + left,
            done,
            train.log_every,
            state,
            ranks.first,
            open_loggers(loggers, self.folder, self.config.sections, done, self.say),
            self.monitor.schedule.monitored,
            train.epochs,
        )
        try:
            with self.requests.errors_end_run():
                self.monitor.begin(self.log, done)
            yield self.log
        finally:
            self.log.close()

    def steps(self) -> Iterator[Step]:
        """Yield one optimizer step after another, from the progress of the run to its last epoch.

        After an error in loading its images, such as too many invalid ones, a step is not to be
        taken: the error is a request to end the run.
        """
        train, dataset = self.config.train, self.data.train
        size, group = train.batch_size, train.accumulation_steps
        device, own_part = self.runtime.device, self.runtime.ranks.own_part
        loader = Loader(dataset, size, device, own_part, held=group)
        count = ceil(len(dataset) / size)
        done, start = self.progress.images, self.progress.batch
        self.method.train()
        for epoch in range(self.progress.epoch, train.epochs + 1):
            lr = set_learning_rates(self.optimizers, train, epoch)
            batches = loader.epoch(epoch, start)
            while start < count:
                # A resumed run may start within a group, and the last one of an epoch is smaller.
                end = min((start // group + 1) * group, count)
                loaded: list[Batch | None] = [None] * (end - start)
                with self.requests.errors_end_run():
                    loaded = list(islice(batches, end - start))
                images = min(end * size, len(dataset)) - start * size
                done += images
                after = Progress(epoch, end, done) if end < count else Progress(epoch + 1, 0, done)
                yield Step(epoch, start, loaded, images, lr, after)
                start = end
            start = 0

    def update(self, step: Step, counts: list[int]) -> tuple[Losses, dict[str, Tensor]]:
        """Take an optimizer step.

        Args:
            step: The step.
            counts: Valid images in each of its batches, in all processes.

        Returns:
            The losses and the gradient norms of all players; empty if there is no valid image.

        Raises:
            UserError: A setting or an image made the step fail.
        """
        micro_batches = step.micro_batches(counts, self.config.train.epochs, self.placeholder)
        if not micro_batches:
            return {}, {}
        self._recent.add(self.gradients.steps, step)
        try:
            losses = self._update(micro_batches)
        except (RuntimeError, MemoryError, ValueError) as error:
            images, files = micro_batches[0].images, self._recent.images()
            raise explain(
                error, images, self.method, self.config.train, self.runtime, files
            ) from None
        norms = self.gradients.norms()
        self.monitor.after_step(norms)
        return losses, norms

    def placeholder(self) -> Batch:
        """Return the first valid image pair, for a process without an image in a batch."""
        return self.data.train.first_batch().map(lambda one: one.to(self.runtime.device))

    def choose_formats(self, previous: str | None = None) -> None:
        """Choose the memory format, `previous` in a resumed run, and compile the networks."""
        each = ceil(self.config.train.batch_size / self.runtime.ranks.count)
        try:
            choose_formats(
                self.method,
                self.runtime,
                lambda: self.placeholder().a.repeat(each, 1, 1, 1),
                self.say,
                previous,
            )
        except (RuntimeError, MemoryError) as error:
            images, where = self.placeholder(), "the test of memory formats"
            raise explain(
                error, images, self.method, self.config.train, self.runtime, where
            ) from None

    def check_finite(self) -> None:
        """Raise UserError if a step since the last line was not finite; it changed no weight."""
        fault = self.gradients.first_fault()
        if fault is not None:
            losses, images = self.log.non_finite_losses(), self._recent.images(fault.step)
            raise non_finite(fault, self.method, losses, images)
        self._recent.clear()

    def report_invalid_files(self, epoch_end: bool) -> None:
        """Report files that turned out to be invalid; no other images replace them."""
        for line in self.data.new_invalid_files(epoch_end):
            say(f"left out: {line}")

    def monitor_if_due(self, last: bool = False) -> bool:
        """Draw, validate and diagnose what is due (`last`: as training is complete).

        Returns whether anything was due. An error ends the run once it is saved.
        """
        done, epochs = False, self.config.train.epochs
        if self.requests.error is None and (last or self.progress.epoch <= epochs):
            with self.requests.errors_end_run():
                done = self.monitor.run(self.log, self.progress, last)
            self.functions.on_validation(self.monitor.validated)
        return done

    def save(self, last: bool = False) -> None:
        """Write the checkpoint, and a file per generator and discriminator.

        Raises:
            UserError: It cannot be written, and this is the last one or `train.on_disk_full` is
                `stop`; or a step was not finite.
        """
        self.check_finite()
        self.requests.note_save(self.progress)
        state = run_state(
            self.config,
            self.data,
            self.method,
            self.optimizers,
            self.progress,
            self.log.state(),
            self.runtime,
            self.monitor.state(),
        )
        if not self.runtime.ranks.first:
            return
        try:
            self.checkpoints.save(state, self.progress.images)
            self.monitor.save(self.progress.images)
        except UserError as error:
            if last or self.config.train.on_disk_full == "stop":
                raise
            say(f"{error}; the previous checkpoint is kept, and training continues")

    def stop(self, request: Request) -> None:
        """End a saved run as requested, with a last sample grid; after an error, save it first."""
        if not request.failed:
            self.monitor.draw_last(self.log, self.progress)
            self.runtime.ranks.barrier()  # torchrun could kill the first process while it saves
        elif self.progress.images > self.requests.saved:
            self.save()
        raise self.requests.exception(request)

    def finish(self) -> None:
        """Save, monitor a last time, and save again: an error in monitoring costs no step."""
        self.save(last=True)
        monitored = int(self.monitor_if_due(last=True))
        self.report_invalid_files(epoch_end=True)
        (monitored,), request = self.requests.agree([monitored])
        if monitored:
            self.save(last=True)
        self.monitor.write_page()  # with links to the models that were just saved
        if request.ends_now:
            self.stop(request)
