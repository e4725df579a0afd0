"""Monitoring of a run: sample grids, patch maps, diagnostics, validation, and the best model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from ..config.run import RunConfig
from ..data.open import Datasets
from ..errors import UserError
from ..files import finite
from ..methods.base import Method
from ..networks.norms import use_policy
from ..reports import RunPage
from ..run_log import dotted
from ..runtime.device import out_of_memory
from ..runtime.training import Runtime
from .best import Best, BestModels, validation_entry, validation_line, validation_values
from .diagnostics import Diagnostics, Finding, signs
from .ema import EMA
from .info import ValidationInfo, validation_info
from .intervals import Due, Schedule
from .log import Log
from .machine import write_machine
from .models import write_models
from .progress import Progress
from .requests import Interrupted
from .samples import page_info, sample_images
from .snapshot import Generators, Snapshot, snapshot, translations
from .validation import Validation

NO_MEMORY = (
    "not enough memory for whole images; lower data.load_size, or disable validation, diagnostics "
    "and sample grids with validate.every 0, validate.health 0 and train.samples 0"
)


class Monitor:
    """Draw, validate and diagnose a run at intervals.

    It works on copies of the networks and restores the random numbers, so it changes no weight.
    With several processes only the first one monitors. `interrupt`: whether a signal interrupts it.
    """

    def __init__(
        self,
        config: RunConfig,
        folder: Path,
        method: Method,
        data: Datasets,
        runtime: Runtime,
        report: Callable[[str], None],
        interrupt: Callable[[], bool] = lambda: False,
    ):
        self.config, self.folder, self.method, self.data = config, folder, method, data
        self.runtime, self.report, self.interrupt = runtime, report, interrupt
        self.first = runtime.ranks.first  # whether this process monitors
        self.best = Best(config.validate.chosen(config.paired))
        self.best_models = BestModels(folder)
        self.page = RunPage(folder)
        self.schedule = Schedule(config)
        decay = config.train.ema * self.first
        self.ema = EMA(method.translators(), decay) if decay else None
        self.validation: Validation | None = None
        self.validated: ValidationInfo | None = None  # the latest one, until it is reported
        if self.first and config.validate.every and data.held_out is not None:
            self.validation = Validation(config, data, runtime.device, self._check)
            self.best.of, self.best.of_names = self.validation.of, self.validation.of_names
        self.diagnostics = self._diagnostics()
        self.norms: dict[str, Tensor] = {}  # gradient norms of the latest step, by player

    def begin(self, log: Log, images: int) -> None:
        """Report what will be validated; draw the networks of a new run before their first step."""
        if not self.first:
            return
        if self.validation is not None:
            self.report(f"{self.validation.description}; best models by {self.best.metric}")
        elif self.config.validate.every:
            self.report(f"no validation: {self.data.without_held_out}")
        if not images:
            self._match_best({})
            self._on_copies(images, lambda copies: self.draw(log, copies))
        about = page_info(self.method.translators(), self.data)
        write_machine(self.folder / "machine.json", self.runtime, log.total, about, images > 0)
        self.write_page()

    def after_step(self, norms: dict[str, Tensor]) -> None:
        """Update the EMA after an optimizer step with these gradient norms (on the device)."""
        self.norms = norms
        if self.ema is not None:
            self.ema.update()

    def run(self, log: Log, progress: Progress, last: bool = False) -> bool:
        """Do what has become due since the last call; `last`: training is complete.

        After an error, or an interruption by a stop signal, the state is as before, so that the
        resumed run repeats it.

        Returns:
            Whether anything was due.
        """
        if not self.first:
            return False
        images = progress.images
        draw, validate, diagnose = self.schedule.due(images)
        validate = (validate or last) and self.validation is not None and images != self.best.last
        validate &= not self.patience_used_up()  # the run ends one step after that
        due = Due(draw or (last and not self._drawn(images)), validate, diagnose)
        before = self.best.state(), self.diagnostics.state()
        if any(due):
            try:
                self._on_copies(images, lambda copies: self._run_due(log, copies, progress, due))
            except Exception as error:
                self.best, self.diagnostics = Best(**before[0]), self._diagnostics(before[1])
                self.best_models.discard()
                if isinstance(error, Interrupted):
                    return False
                raise
        self.schedule.monitored = images
        if due.draw or due.validate:
            self.write_page()
        return any(due)

    def _run_due(self, log: Log, copies: Snapshot, progress: Progress, due: Due) -> None:
        self._check()
        if due.diagnose:
            self.diagnose(log, copies, progress)
        self._check()
        if due.draw:
            self.draw(log, copies)
        if due.validate:
            self.validate(log, copies, progress)

    def _on_copies(self, images: int, look: Callable[[Snapshot], None]) -> None:
        """Call a function with copies of the networks; leave it out if it runs out of memory."""
        try:
            with snapshot(self.method) as copies:
                look(copies)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            self.report(f"skipped after {images} images: {NO_MEMORY}; training continues")

    def _check(self) -> None:
        """Raise Interrupted if a stop signal interrupts monitoring."""
        if self.interrupt():
            raise Interrupted

    def draw_last(self, log: Log, progress: Progress) -> None:
        """Draw a sample grid of a run that stops; it is saved, so an error is only reported."""
        if self.first and not self._drawn(progress.images):
            try:
                self._on_copies(progress.images, lambda copies: self.draw(log, copies))
            except UserError as error:
                self.report(f"no sample grid: {error}")
        self.write_page()

    def _drawn(self, images: int) -> bool:
        """Return whether a sample grid of that progress exists, or none is wanted."""
        path = self.folder / "samples" / f"{images:08d}.png"
        return not self.config.train.samples or images == self.schedule.drawn or path.exists()

    def write_page(self) -> None:
        """Write report.html."""
        if not self.first:
            return
        try:
            self.page.write()
        except UserError as error:  # it can be written again at any time
            self.report(f"{error}; training continues")

    def patience_used_up(self) -> bool:
        """Return whether `validate.patience` validations in a row brought no better model."""
        return self.first and 0 < self.config.validate.patience <= self.best.since

    def diagnose(self, log: Log, copies: Snapshot, progress: Progress) -> None:
        """Look for problems in a few translations and in the gradients."""
        norms = {name: float(norm) for name, norm in self.norms.items()}
        self._report_findings(log, self.diagnostics.training(progress.images, norms))
        examples = translations(copies, self.data.samples, self.config, self.runtime.device)
        for name, example in examples.items():
            findings = self.diagnostics.translations(progress.images, name, signs(example))
            self._report_findings(log, findings)

    def draw(self, log: Log, copies: Snapshot) -> None:
        """Write a sample grid, and the patch maps of the first sample."""
        self.schedule.note_drawn(log.done)
        for kind, image in sample_images(
            copies, self.data.samples, self.config, self.runtime.device
        ):
            self._write(partial(log.write_grid, kind, *image))

    def validate(self, log: Log, copies: Snapshot, progress: Progress) -> None:
        """Evaluate the generators on held-out images; keep the models of the best validation."""
        assert self.validation is not None
        images, metric = progress.images, self.best.metric
        networks = {"raw": copies.generators}
        if self.ema is not None:
            networks["ema"] = self.ema.networks()  # copies already
            for network in networks["ema"].values():
                use_policy(network)
        values = {weights: self.validation(generators) for weights, generators in networks.items()}
        while self.validation.unavailable:
            name, reason = self.validation.unavailable.popitem()
            self.report(f"validation without {name}: {reason}")
        if not values["raw"]:
            self.report(f"no validation: no image of {self.data.split} can be read")
            return
        better = None
        if any(metric in of for of in values.values()):  # else there is nothing to compare
            chosen = {weights: of.get(metric, math.nan) for weights, of in values.items()}
            better = self.best.update(chosen, images)
        entry = validation_entry(self.data.split, self.validation.evaluated, values, self.best)
        log.append("validation", validation_values(entry))
        self.report(validation_line(values, self.best, better is not None))
        if self.patience_used_up():
            self.report(f"no improvement in {self.best.since} validations: training stops")
        if self.config.validate.health:
            errors = self.validation.errors(copies, values["raw"])
            self._report_findings(log, self.diagnostics.validated(images, *errors))
        if better is not None:
            about = {"images_processed": images, "weights": better, "validation": finite(entry)}
            generators = networks[better]
            self._write(
                lambda: self.best_models.stage(
                    lambda folder: self._models(folder, generators, about)
                )
            )
        self.validated = validation_info(progress.last_epoch, images, entry, better is not None)

    def save(self, images: int) -> None:
        """Write the models of the run, the best ones, and those with EMA weights in ema/."""
        self.best_models.publish()
        about = {"images_processed": images, "weights": "raw"}
        self._models(self.folder, self.method.translators(), about)
        if self.ema is not None:
            about = {"images_processed": images, "weights": "ema"}
            self._models(self.folder / "ema", self.ema.networks(), about)

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {
            "best": self.best.state(),
            "diagnostics": self.diagnostics.state(),
            "ema": self.ema.state() if self.ema is not None else {},
            "norms": dict(self.norms),
            "monitored": self.schedule.monitored,
        }

    def restore(self, state: dict[str, Any], progress: Progress) -> None:
        """Restore `state`. Raises UserError if it does not match the run."""
        try:
            # Checkpoints of earlier versions were saved after monitoring, and without the norms.
            self.schedule.monitored = state.get("monitored", progress.images)
            self.norms = state.get("norms", {})
            if message := self.best.restore(state["best"]):
                self.report(message)
            self.diagnostics = self._diagnostics(state["diagnostics"])
            if self.ema is not None:
                self.ema.restore(state["ema"])
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise UserError(f"the checkpoint does not match this run: {error!r}") from None
        self._match_best(state["best"])

    def _diagnostics(self, state: dict[str, Any] | None = None) -> Diagnostics:
        name = self.method.objective.name if self.method.objective else ""
        batch_size, paired = self.config.train.batch_size, self.config.paired
        return Diagnostics(name, paired, batch_size, self.method.advice, state)

    def _report_findings(self, log: Log, findings: list[Finding]) -> None:
        """Report problems that began or ended, on the terminal and in the log."""
        for finding in findings:
            log.append("diagnostic", dotted("diagnostic", finding._asdict()))
            self.report(finding.line)

    def _models(self, folder: Path, generators: Generators, about: Mapping[str, Any]) -> None:
        about = {**about, "side_by_side": list(self.data.side_by_side)}
        write_models(folder, self.config, self.data.train.domains, self.method, generators, about)

    def _match_best(self, best: dict[str, Any]) -> None:
        """Make best/ match the checkpoint whose state of the best model this is."""
        if self.first and (message := self.best_models.match(best)):
            self.best.value, self.best.since = None, 0
            self.report(message)

    def _write(self, write: Callable[[], object]) -> None:
        """Call a function that writes a file; a full disk ends the run only if it is to."""
        try:
            write()
        except UserError as error:
            if self.config.train.on_disk_full == "stop":
                raise
            self.report(f"{error}; training continues")
