"""A run: the loop around `update`, its samples, its checkpoints and its files."""

from __future__ import annotations

from contextlib import nullcontext
from itertools import chain
from pathlib import Path
from typing import Any

from torch import Tensor

from ..checkpoint import Checkpoints, age, hold
from ..config.compatibility import current_state, rename_folders
from ..config.extensions import named
from ..config.run import RunConfig, make_method
from ..config.run_folder import with_location
from ..data.loader import Loader
from ..data.open import open_data
from ..data.sizes import check_sizes
from ..errors import UserError
from ..files import write_json
from ..runtime.distributed import Ranks, join
from ..runtime.random_state import seed_everything
from ..runtime.signals import asked_to_stop
from ..runtime.training import Runtime
from ..terminal import counter, say, silent
from .checkpoint import Place, restore, start_from, state_of
from .diagnostics import Watch
from .faults import Recent, explained, not_finite
from .log import Report
from .monitor import Monitor
from .preflight import check_disk, check_ranks, run_folder
from .requests import RequestFlags, Requests
from .resume import going_on, refuse_other_run
from .step import make_optimizers, set_rates
from .steps import Steps
from .tensorboard_log import summary_writer


class Run:
    """A run's folder and everything that trains in it. `train` is the way in."""

    def __init__(self, config: RunConfig, ranks: Ranks | None = None):
        self.config, self.train = config, config.train
        self.ranks = ranks = ranks or Ranks()
        if config.train.loggers and ranks.first:
            summary_writer()  # refused before the data is read if it is not installed
        self.folder = run_folder(config)
        self.checkpoints = Checkpoints(self.folder / "checkpoints", config.train.keep_last)
        seed_everything(config.train.seed)
        train, speed = config.train, config.speed
        self.runtime = Runtime(train.device, train.precision, train.deterministic, speed, ranks)
        self.say = say if ranks.first else silent
        with ranks.first_rank_first(), counter("checking the images") as progress:
            self.data = open_data(
                config.data, config.paired, config.train.seed, self.folder, self.say, progress,
                config.validate.pairs and not config.paired,
            )  # fmt: skip
        self.say(f"data: {Path(config.data.path).absolute()}")
        self.pictures = self.data.train
        batch_size, device = config.train.batch_size, self.runtime.device
        check_ranks(ranks, self.pictures, batch_size)
        self.loader = Loader(self.pictures, batch_size, device, ranks.own_part)
        self.method = make_method(config)
        check_sizes(self.method, self.pictures, -(-batch_size // ranks.count))
        if config.train.init and ranks.first and not self.checkpoints.files():
            self.say(start_from(self.method, config, Path(config.train.init)))
        networks = list(chain.from_iterable(self.method.players().values()))
        self.runtime.prepare(self.method, networks)
        ranks.offset_seed()
        self.optimizers = make_optimizers(self.method, config.train, self.runtime)
        self.watch = Watch(self.runtime.device)
        self.requests = Requests(config.train, ranks, lambda: self.monitor.enough())
        self.monitor = Monitor(
            config, self.folder, self.method, self.data, self.runtime, self.say,
            lambda: self.requests.interrupt,
        )  # fmt: skip
        self.steps = Steps(
            self.method, self.optimizers, self.runtime, config.train, self.watch,
            self.pictures.first, self.say,
        )  # fmt: skip
        self.place = Place()
        self.enough = False  # nothing has become better for long
        self.recent = Recent(self.pictures, config.train.batch_size)

    def go(self) -> None:
        """Train to the end, from the checkpoint where there is one.

        Raises RunStopped, with everything saved, where a signal or `train.max_time` asked for an end.
        """
        with asked_to_stop() as self.requests.signals:
            self._go()

    def _go(self) -> None:
        with self.ranks.first_rank_first():
            if self.ranks.first:
                self.checkpoints.clean()
                rename_folders(self.folder)
        log = self._resume()
        if self.ranks.first:
            say(check_disk(self.method, self.folder, self.config))
            sections = with_location(self.config.sections, self.folder) | named()
            write_json(self.folder / "config.json", sections)
        left = self.place.left(len(self.pictures), self.train.batch_size, self.train.epochs)
        total = self.place.images + left
        report = Report(
            self.folder, total, self.place.images, self.train.log_every, log, self.ranks.first,
            "tensorboard" in self.train.loggers, self.monitor.schedule.looked, self.train.epochs,
        )  # fmt: skip
        try:
            self.monitor.begin(report, self.place.images)
            self._catch_up(report)
            while not self._over():
                self._train_epoch(report)
            self._finish(report)
        finally:
            report.close()

    def _catch_up(self, report: Report) -> None:
        """Look where the checkpoint was saved before a look; stop if a signal came until now."""
        if self.place.epoch <= self.train.epochs:
            self.monitor.look(report, self.place)
        _, asked = self.requests.agree()
        self.enough = bool(asked.enough)
        if asked.stop:
            self._stop(report, asked)

    def _finish(self, report: Report) -> None:
        """Save, look for the last time, and save again: no failure in the look costs the run."""
        self._save(report, last=True)
        looked = int(self.monitor.look(report, self.place, last=True))
        self._tell_bad(last=True)
        looked, asked = self.requests.agree(looked)
        if looked:
            self._save(report, last=True)
        if asked.stop:
            self._stop(report, asked)

    def _over(self) -> bool:
        return self.enough or self.place.epoch > self.train.epochs

    def _train_epoch(self, report: Report) -> None:
        train, place = self.train, self.place
        lr = set_rates(self.optimizers, train, place.epoch)
        count = -(-len(self.pictures) // train.batch_size)
        self.method.train()
        batches = self.loader.epoch(place.epoch, place.batch)
        while place.batch < count:
            part = place.batch % train.accumulation_steps
            # The batches left over at the end of an epoch make a smaller group of their own.
            parts = min(train.accumulation_steps, count - (place.batch - part))
            try:
                batch = next(batches)
            except Exception:  # such as too many bad images: the steps until then are kept
                if part == 0 and place.images > self.requests.saved:
                    self._save(report)
                raise
            losses, asked = self._step(batch, part, parts)
            seen = min(train.batch_size, len(self.pictures) - place.batch * train.batch_size)
            if report.due(seen):
                self._refuse_non_finite(report, losses)
            epoch, place.batch, place.images = place.epoch, place.batch + 1, place.images + seen
            if part == parts - 1:
                norms = self.watch.norms()
                report.norms(norms)
                self.monitor.step(norms)
            report.step(seen, epoch, losses, lr)
            self._tell_bad(last=place.batch == count)
            if place.batch == count:
                place.epoch, place.batch = epoch + 1, 0
            # Within a group nothing can be saved. The end of a run looks and saves by itself.
            if part == parts - 1 and place.epoch <= train.epochs:
                self._look(report)
                self._save_or_stop(report, asked)
            if place.batch == 0 or self.enough:
                return

    def _step(
        self, batch: tuple[Tensor, Tensor] | None, part: int, parts: int
    ) -> tuple[dict[str, Tensor], RequestFlags]:
        """The losses of a step on a batch, and what to do after it."""
        steps = self.steps
        self.recent.add(self.watch.steps, self.place)
        try:
            losses, asked = steps.take(batch, part, parts, self.requests)
        except (RuntimeError, MemoryError, ValueError) as error:
            shown = batch or steps.stand_in()
            files = self.recent.files(self.place)
            raise explained(error, shown, self.method, self.train, self.runtime, files) from None
        if losses is None:
            self.recent.drop()
        return losses or {}, asked

    def _look(self, report: Report) -> None:
        """Look at the run where that is due; a failure ends the run, but only once it is saved."""
        if self.requests.failure is not None:
            return
        try:
            self.monitor.look(report, self.place)
        except Exception as error:
            self.requests.failure = error

    def _refuse_non_finite(self, report: Report, losses: dict[str, Tensor]) -> None:
        """Stop where a step since the last line was not finite: it left no trace in any weight."""
        fault = self.watch.fault()
        if fault is None:
            self.recent.clear()
            return
        names = report.not_finite(losses)
        files = self.recent.files(self.place, fault.step)
        raise not_finite(fault, self.method, names, files)

    def _save_or_stop(self, report: Report, asked: RequestFlags) -> None:
        """Save where it is due; end where a signal or the time asked for it."""
        asked = self.requests.update(asked)
        due, ending = self.requests.save_due(asked, self.place), bool(asked.late or asked.stop)
        if due or ending:
            self._save(report, last=ending)
            asked = self.requests.update(asked)
        self.enough = bool(asked.enough)
        if asked.stop or asked.late:
            self._stop(report, asked)

    def _stop(self, report: Report, asked: RequestFlags) -> None:
        """End a run that is saved."""
        if self.requests.failure is None:
            self.monitor.picture(report, self.place)
            self.ranks.barrier()  # else torchrun could kill the first process while it saves
        raise self.requests.stopped(asked)

    def _save(self, report: Report, last: bool = False) -> None:
        """Write the checkpoint, and a file per translator and discriminator.

        Raises UserError where that fails, unless training may go on without.
        """
        self._refuse_non_finite(report, {})
        place = self.place
        self.requests.note_save(place)
        state = state_of(
            self.config, self.data, self.method, self.optimizers, place, report.state(),
            self.runtime, self.monitor.state(),
        )  # fmt: skip
        if not self.ranks.first:
            return
        try:
            self.checkpoints.save(state, place.images)
            self.monitor.save(place.images)
        except UserError as error:
            if last or self.train.on_disk_full == "stop":
                raise
            say(f"{error}; the previous checkpoint is kept, and training continues")

    def _resume(self) -> dict[str, Any] | None:
        """Go on from the newest checkpoint that is whole; returns the log's state in it."""
        # The others are given what the first one reads: they may be on other machines.
        newest = self.checkpoints.latest(say) if self.ranks.first else None
        told: Any = newest and [newest[0], str(newest[1]), f"written {age(newest[1])}"]
        found = self.ranks.broadcast(told)
        if found is None:
            self.steps.settle(None)
            return None
        state, path, when = current_state(found[0]), Path(found[1]), found[2]
        news = refuse_other_run(state, self.config, self.data, path)
        self.steps.settle(state["runtime"].get("format"))
        self.place = restore(state, self.method, self.optimizers, self.runtime)
        self.monitor.restore(state["monitor"], self.place)
        self.watch.restore(self.monitor.norms)
        self.requests.saved = self.place.images
        if news.restart:
            self.place.batch = 0
        rate = set_rates(self.optimizers, self.train, self.place.epoch)
        told = going_on(state["sections"], self.config, self.place, f"{path}, {when}", rate)
        for line in told + news.lines:
            self.say(line)
        log: dict[str, Any] = state["log"]
        return log

    def _tell_bad(self, last: bool) -> None:
        """Report the files that turned out bad since the last call; nothing replaces them."""
        for line in self.data.new_invalid_files(last):
            say(f"left out: {line}")


def train(config: RunConfig) -> Path:
    """Train, or go on training, and return the run's folder.

    Raises UserError for bad input, RunStopped where a signal or the time ended the run early.
    """
    ranks = join(config.train.rank_timeout)
    try:
        # Locked before anything is read or cached: a second run in the folder is refused at once.
        with hold(run_folder(config)) if ranks.first else nullcontext():
            run = Run(config, ranks)
            run.go()
            ranks.barrier()
    except RuntimeError as error:
        raise ranks.explain(error) from None
    return run.folder
