"""What is looked at while a run trains: samples, health, validation, the best so far."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..config.run import RunConfig
from ..data.open import Datasets
from ..errors import UserError
from ..files import finite, write_json
from ..methods.base import Method
from ..networks.norms import use_policy
from ..reports import write_run_page
from ..runtime.device import out_of_memory
from ..runtime.training import Runtime
from .best import Best, BestModels, in_words
from .checkpoint import Place, write_models
from .diagnostics import Finding, Health, signs
from .ema import Averages
from .intervals import Due, Schedule
from .log import Report
from .machine import began, machine
from .samples import sample_columns, sample_sheet
from .snapshot import Players, aside, verdicts, ways
from .validation import Validation

Networks = dict[str, nn.Module]
NO_MEMORY = (
    "not enough memory for whole images; lower data.load_size, or disable validation, diagnostics "
    "and sample grids with validate.every 0, validate.health 0 and train.samples 0"
)


class Interrupted(Exception):
    """A stop signal came during a look; the resumed run repeats the look."""


class Monitor:
    """Looks at a run at intervals, and remembers what it saw.

    All of it happens on copies of the networks and leaves the random numbers as they were: to look
    more often changes no weight. Of several processes the first one looks alone.
    """

    def __init__(
        self, config: RunConfig, folder: Path, method: Method, data: Datasets, runtime: Runtime,
        tell: Callable[[str], None], interrupt: Callable[[], bool] = lambda: False,
    ):  # fmt: skip
        """`interrupt` returns whether a stop signal interrupts a look."""
        self.config, self.folder, self.method, self.data = config, folder, method, data
        self.runtime, self.tell, self.interrupt = runtime, tell, interrupt
        self.first = runtime.ranks.first
        self.best = Best(config.validate.chosen(config.paired))
        self.best_models = BestModels(folder)
        self.schedule = Schedule(config)
        decay = config.train.ema * self.first
        self.averages = Averages(method.translators(), decay) if decay else None
        self.validation: Validation | None = None
        if self.first and config.validate.every and data.held_out is not None:
            self.validation = Validation(config, data, runtime.device, self._check)
            self.best.of, self.best.of_names = self.validation.of, self.validation.of_names
        self.health = self._health()
        self.norms: dict[str, Tensor] = {}  # of the latest step's gradients

    def _health(self, state: dict[str, Any] | None = None) -> Health:
        name = self.method.objective.name if self.method.objective else ""
        batch, paired = self.config.train.batch_size, self.config.paired
        return Health(name, paired, batch, self.method.advice, state)

    def begin(self, report: Report, images: int) -> None:
        """Say what will be looked at, and draw the networks as they start."""
        if not self.first:
            return
        if self.validation is not None:
            self.tell(f"{self.validation.told}; best models by {self.best.metric}")
        elif self.config.validate.every:
            self.tell("no validation: the data have no val or test split (see data.hold_out)")
        if not images:
            self._match_best({})
            self._apart(images, lambda players: self.draw(report, players))
        path = self.folder / "machine.json"
        since = began(path) if images else None
        columns = sample_columns(self.method.translators(), self.data.samples)
        write_json(path, machine(self.runtime, report.total, columns, since))
        self.page()

    def step(self, norms: dict[str, Tensor]) -> None:
        """The players have stepped, by gradients of these norms, which stay on the device."""
        self.norms = norms
        if self.averages is not None:
            self.averages.take()

    def look(self, report: Report, place: Place, last: bool = False) -> bool:
        """Look at whatever has become due since the last look; `last`: training is over.

        Returns whether anything was looked at. After an error, or an interruption by a stop signal,
        the state is as before, so that the resumed run repeats the look.
        """
        if not self.first:
            return False
        images = place.images
        draw, measure, examine = self.schedule.due(images)
        measure = (measure or last) and self.validation is not None and images != self.best.last
        measure &= not self.enough()  # what ends a step later, or is over, stays so
        due = Due(draw or (last and not self._drawn(images)), measure, examine)
        before = self.best.state(), self.health.state()
        if any(due):
            try:
                self._apart(images, lambda players: self._look(report, players, place, due))
            except Exception as error:
                self.best, self.health = Best(**before[0]), self._health(before[1])
                self.best_models.discard()
                if isinstance(error, Interrupted):
                    return False
                raise
        self.schedule.looked = images
        if due.draw or due.measure:
            self.page()
        return any(due)

    def _look(self, report: Report, players: Players, place: Place, due: Due) -> None:
        self._check()
        if due.examine:
            self.examine(report, players, place)
        self._check()
        if due.draw:
            self.draw(report, players)
        if due.measure:
            self.validate(report, players, place)

    def _apart(self, images: int, look: Callable[[Players], None]) -> None:
        """Look at copies of the networks; where the memory is not enough, leave it out."""
        try:
            with self._aside() as players:
                look(players)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            self.tell(f"skipped after {images} images: {NO_MEMORY}; training continues")

    def _check(self) -> None:
        """Raise Interrupted where a stop signal interrupts the look."""
        if self.interrupt():
            raise Interrupted

    def picture(self, report: Report, place: Place) -> None:
        """Draw a sample grid of a run that stops. It is saved: no failure to write costs it."""
        if not self.first or self._drawn(place.images):
            return
        try:
            self._apart(place.images, lambda players: self.draw(report, players))
        except UserError as error:
            self.tell(f"no sample grid: {error}")
        self.page()

    def _drawn(self, images: int) -> bool:
        """Whether there is a sample grid of the run after so many images, or none is wanted."""
        path = self.folder / "samples" / f"{images:08d}.png"
        return not self.config.train.samples or images == self.schedule.drawn or path.exists()

    def page(self) -> None:
        """Write the run's page."""
        try:
            write_run_page(self.folder)
        except UserError as error:  # it can be written again at any time
            self.tell(f"{error}; training continues")

    def enough(self) -> bool:
        """Whether so many validations have brought nothing better that training may end. The first
        process alone can tell: it knows what was validated on."""
        return self.first and 0 < self.config.validate.patience <= self.best.since

    def _aside(self) -> AbstractContextManager[Players]:
        return aside(self.method, self.runtime.device)

    def examine(self, report: Report, players: Players, place: Place) -> None:
        """Look for problems in a few translations and in the gradients."""
        norms = {name: float(norm) for name, norm in self.norms.items()}
        self._found(report, place, self.health.trained(place.images, norms))
        looks = ways(players, self.data.samples, self.config, self.runtime.device)
        for name, way in looks.items():
            self._found(report, place, self.health.look(place.images, name, signs(way)))

    def draw(self, report: Report, players: Players) -> None:
        """A sheet of samples, and what the discriminators say of the first."""
        count, device = self.config.train.samples, self.runtime.device
        self.schedule.drew(report.done)
        sheet = sample_sheet(players.generators, self.data.samples, count, device)
        if sheet is not None:
            self._written(lambda: report.picture("samples", sheet))
        said = verdicts(players, self.data.samples, self.config, device) if count else None
        if said is not None:
            self._written(lambda: report.picture("patch_maps", said))

    def validate(self, report: Report, players: Players, place: Place) -> None:
        """Measure the generators on images held out, and keep them where they are the best yet."""
        assert self.validation is not None
        images = place.images
        both = {"raw": players.generators}
        if self.averages is not None:
            both["ema"] = self.averages.networks()  # copies already
            for network in both["ema"].values():
                use_policy(network)
        values = {weights: self.validation(networks) for weights, networks in both.items()}
        while self.validation.missed:
            self.tell("validation without {}: {}".format(*self.validation.missed.popitem()))
        if not values["raw"]:
            self.tell(f"no validation: no image of {self.data.split} can be read")
            return
        metric, better = self.best.metric, None
        if any(metric in of for of in values.values()):  # else there is nothing to lose patience by
            better = self.best.take({w: v.get(metric, math.nan) for w, v in values.items()}, images)
        entry = {
            "split": self.data.split, "n": self.validation.measured, **values, "chosen_by": metric,
            "best": {
                "value": self.best.value, "images": self.best.images, "weights": self.best.weights,
            },
        }  # fmt: skip
        report.line({"images": images, "epoch": place.last_epoch, "validation": entry})
        self.tell(in_words(values, self.best, better is not None))
        if self.enough():
            self.tell(f"no improvement in {self.best.since} validations: training stops")
        if self.config.validate.health:
            errors = self.validation.errors(players, values["raw"])
            self._found(report, place, self.health.validated(images, *errors))
        if better is not None:
            about = {"images_seen": images, "weights": better, "validation": finite(entry)}
            self._written(lambda: self.best_models.stage(
                lambda folder: self.write(folder, both[better], about)))  # fmt: skip

    def _found(self, report: Report, place: Place, findings: list[Finding]) -> None:
        """Tell what begins or ends to be wrong, on the terminal and in the log."""
        for finding in findings:
            report.line({"images": place.images, "health": finding._asdict()})
            since = f"since {finding.since} images"
            if finding.state == "warning":
                self.tell(f"warning: {finding.name}, {since}: {finding.saw}. Try {finding.advice}")
            else:
                self.tell(f"no longer detected: {finding.name}, {since}")

    def write(self, folder: Path, generators: Networks, about: dict[str, Any]) -> None:
        """Write these generators as models, with the discriminators as they are."""
        about = {**about, "side_by_side": list(self.data.side_by_side)}
        domains, method = self.data.train.domains, self.method
        discriminators, objective = method.discriminators(), method.objective
        write_models(folder, self.config, domains, generators, discriminators, objective, about)

    def save(self, images: int) -> None:
        """Write the models of the run, and the averaged ones in a folder of their own."""
        self.best_models.publish()
        about = {"images_seen": images, "weights": "raw"}
        self.write(self.folder, self.method.translators(), about)
        if self.averages is not None:
            about = {"images_seen": images, "weights": "ema"}
            self.write(self.folder / "ema", self.averages.networks(), about)

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "best": self.best.state(),
            "health": self.health.state(),
            "averages": self.averages.state() if self.averages is not None else {},
            "norms": dict(self.norms), "looked": self.schedule.looked,
        }  # fmt: skip

    def restore(self, state: dict[str, Any], place: Place) -> None:
        """Go on from `state`. Raises UserError where it is not one of such a run."""
        try:
            # Checkpoints of earlier versions were saved after the looks, and without the norms.
            self.schedule.looked = state.get("looked", place.images)
            self.norms = state.get("norms", {})
            if forgotten := self.best.restore(state["best"]):
                self.tell(forgotten)
            self.health = self._health(state["health"])
            if self.averages is not None:
                self.averages.restore(state["averages"])
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise UserError(f"the checkpoint is not one of such a run: {error!r}") from None
        self._match_best(state["best"])

    def _match_best(self, best: dict[str, Any]) -> None:
        """Let best/ belong to the checkpoint whose state of the best this is."""
        if self.first and (moved := self.best_models.match(best)):
            self.best.value, self.best.since = None, 0
            self.tell(moved)

    def _written(self, write: Callable[[], object]) -> None:
        try:
            write()
        except UserError as error:
            if self.config.train.on_disk_full == "stop":
                raise
            self.tell(f"{error}; training continues")
