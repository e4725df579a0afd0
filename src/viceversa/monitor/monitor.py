"""What is looked at while a run trains: samples, health, validation, the best so far."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..build import RunConfig
from ..data.open import Opened
from ..errors import UserError
from ..files import write_json
from ..health import Finding, Health, signs
from ..methods import Method
from ..metric_names import parted
from ..networks import use_policy
from ..pages import write_run_page
from ..report import Report, finite
from ..runtime import Runtime, out_of_memory
from ..saving import Place, write_models
from .averages import Averages
from .best import Best
from .looks import Players, verdicts, ways
from .machine import began, machine
from .samples import sample_sheet
from .validation import Validation

Networks = dict[str, nn.Module]
NO_MEMORY = (
    "the memory is not enough to look at whole images; a smaller data.load_size needs less, and "
    "validate.every 0, validate.health 0 and train.samples 0 leave the looks out"
)


class Monitor:
    """Looks at a run at intervals, and remembers what it saw.

    All of it happens on copies of the networks and leaves the random numbers as they were: to look
    more often changes no weight. Of several processes the first one looks alone.
    """

    def __init__(
        self, config: RunConfig, folder: Path, method: Method, data: Opened, runtime: Runtime,
        tell: Callable[[str], None],
    ):  # fmt: skip
        self.config, self.folder, self.method, self.data = config, folder, method, data
        self.runtime, self.tell = runtime, tell
        self.first = runtime.ranks.first
        self.best = Best(config.validate.chosen(config.paired))
        self.drawn = -1  # images at the latest sheets
        decay = config.train.ema if self.first else 0.0
        self.averages = Averages(method.translators(), decay) if decay else None
        self.validation = Validation(config, data, runtime.device) if self._validates else None
        if self.validation is not None:
            self.best.of = self.validation.of
        self.health = self._health()
        self.norms: dict[str, Tensor] = {}  # of the latest step's gradients

    def _health(self, state: dict[str, Any] | None = None) -> Health:
        config, method = self.config, self.config.sections["method"]
        return Health(
            str(method.get("gan_loss", "")), config.paired, config.train.batch_size,
            method.get("d_weight", 0.5), state,
        )  # fmt: skip

    @property
    def _validates(self) -> bool:
        return self.first and bool(self.config.validate.every) and self.data.held_out is not None

    def begin(self, report: Report, images: int) -> None:
        """Say what will be looked at, and draw the networks as they start."""
        if not self.first:
            return
        if self.validation is not None:
            self.tell(f"{self.validation.told}; the best by {self.best.metric} is kept")
        elif self.config.validate.every:
            self.tell("no validation: there is no val or test split to hold out")
        if not images:
            with self._aside() as players:
                self.draw(report, players)
        path = self.folder / "machine.json"
        since = began(path) if images else None
        write_json(path, machine(self.runtime, report.total, since))
        self.page(True)

    def step(self, norms: dict[str, Tensor]) -> None:
        """The players have stepped, by gradients of these norms, which stay on the device."""
        self.norms = norms
        if self.averages is not None:
            self.averages.take()

    def look(self, report: Report, before: int, place: Place) -> None:
        """Whatever is due, now that the run stands at a place, and not at `before` images."""
        if not self.first:
            return
        train, validate = self.config.train, self.config.validate
        every = train.sample_every, validate.every, validate.health
        self._look(report, place, *(crossed(before, place.images, each) for each in every))

    def end(self, report: Report, place: Place) -> None:
        """Training is over: draw and measure once more."""
        self._look(report, place, draw=True, measure=True, examine=False)

    def _look(self, report: Report, place: Place, draw: bool, measure: bool, examine: bool) -> None:
        draw &= place.images != self.drawn
        measure &= self.validation is not None and place.images != self.best.last
        measure &= not self.enough()  # what ends a step later, or is over, stays so
        if not self.first or not (draw or measure or examine):
            return
        try:
            with self._aside() as players:
                if examine:
                    self.examine(report, players, place)
                if draw:
                    self.draw(report, players)
                if measure:
                    self.validate(report, players, place)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            self.tell(f"left out after {place.images} images: {NO_MEMORY}; training goes on")
        self.page(draw or measure)

    def page(self, changed: bool) -> None:
        """Write the run's page anew, where there is anything new on it."""
        if not changed:
            return
        try:
            write_run_page(self.folder)
        except UserError as error:  # it can be written again at any time
            self.tell(f"{error}; training goes on")

    def enough(self) -> bool:
        """Whether so many validations have brought nothing better that training may end. The first
        process alone can tell: it knows what was validated on."""
        return self.first and 0 < self.config.validate.patience <= self.best.since

    @contextmanager
    def _aside(self) -> Iterator[Players]:
        """Copies of the networks as they are used, apart from training's random numbers."""
        devices = [self.runtime.device] if self.runtime.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            yield Players(
                in_use(self.method.translators()),
                {
                    domain: (in_use({domain: judge})[domain], wants_pair)
                    for domain, (judge, wants_pair) in self.method.judges().items()
                },
            )

    def examine(self, report: Report, players: Players, place: Place) -> None:
        """Look at the health of a few translations, of the losses and of the gradients."""
        losses, norms = report.means(), {name: float(norm) for name, norm in self.norms.items()}
        self._found(report, place, self.health.trained(place.images, losses, norms))
        looks = ways(players, self.data.shown, self.config, self.runtime.device)
        for name, way in looks.items():
            self._found(report, place, self.health.look(place.images, name, signs(way)))

    def draw(self, report: Report, players: Players) -> None:
        """A sheet of samples, and what the discriminators say of the first."""
        count, device = self.config.train.samples, self.runtime.device
        self.drawn = report.done
        sheet = sample_sheet(players.generators, self.data.shown, count, device)
        if sheet is not None:
            self._written(lambda: report.picture("samples", sheet))
        said = verdicts(players, self.data.shown, self.config, device) if count else None
        if said is not None:
            self._written(lambda: report.picture("verdicts", said))

    def validate(self, report: Report, players: Players, place: Place) -> None:
        """Measure the generators on images held out, and keep them where they are the best yet."""
        assert self.validation is not None
        images = place.images
        both = {"raw": players.generators}
        if self.averages is not None:
            both["averaged"] = self.averages.networks()  # copies already
            for network in both["averaged"].values():
                use_policy(network)
        values = {weights: self.validation(networks) for weights, networks in both.items()}
        while self.validation.missed:
            name, reason = self.validation.missed.popitem()
            self.tell(f"validation without {name}: {reason}")
        if not values["raw"]:
            self.tell(f"no validation: no image of {self.data.split} can be read any more")
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
        epoch = min(place.epoch, self.config.train.epochs)  # after the last step it is one more
        report.line({"images": images, "epoch": epoch, "validation": entry})
        self.tell(self._words(values, better))
        if self.enough():
            self.tell(f"nothing better in {self.best.since} validations: training ends here")
        if self.config.validate.health:
            errors = self.validation.errors(players, values["raw"])
            self._found(report, place, self.health.validated(images, *errors))
        if better is not None:
            about = {"images_seen": images, "weights": better, "validation": finite(entry)}
            self._written(lambda: self.write(self.folder / "best", both[better], about))

    def _found(self, report: Report, place: Place, findings: list[Finding]) -> None:
        """Tell what begins or ends to be wrong, on the terminal and in the log."""
        for finding in findings:
            report.line({"images": place.images, "health": finding._asdict()})
            since = f"since {finding.since} images"
            if finding.state == "warning":
                self.tell(f"warning: {finding.name}, {since}: {finding.saw}. Try {finding.advice}")
            else:
                self.tell(f"over: {finding.name}, {since}")

    def write(self, folder: Path, generators: Networks, about: dict[str, Any]) -> None:
        """Write these generators as models, with the discriminators as they are."""
        domains, judges = self.data.train.domains, self.method.judges()
        about = {**about, "side_by_side": list(self.data.side_by_side)}
        write_models(folder, self.config, domains, generators, judges, about)

    def save(self, images: int) -> None:
        """Write the models of the run, and the averaged ones in a folder of their own."""
        about = {"images_seen": images, "weights": "raw"}
        self.write(self.folder, self.method.translators(), about)
        if self.averages is not None:
            about = {"images_seen": images, "weights": "averaged"}
            self.write(self.folder / "averaged", self.averages.networks(), about)

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "best": self.best.state(),
            "health": self.health.state(),
            "averages": self.averages.state() if self.averages is not None else {},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`. Raises UserError where it is not one of such a run."""
        try:
            if forgotten := self.best.restore(state["best"]):
                self.tell(forgotten)
            self.health = self._health(state["health"])
            if self.averages is not None:
                self.averages.restore(state["averages"])
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise UserError(f"the checkpoint is not one of such a run: {error!r}") from None

    def _words(self, values: dict[str, dict[str, float]], better: str | None) -> str:
        told = [
            ("averaged: " if weights == "averaged" else "")
            # Of a metric of both ways the log has each, and the terminal the mean.
            + "  ".join(f"{n} {v:.4g}" for n, v in numbers.items() if not parted(n)[1])
            for weights, numbers in values.items()
        ]
        best, verdict = self.best, "none yet"
        if best.value is not None:
            verdict = "now" if better else f"{best.value:.4g} at {best.images} images"
        return f"validation: {'; '.join(told)}; the best {best.metric}: {verdict}"

    def _written(self, write: Callable[[], object]) -> None:
        try:
            write()
        except UserError as error:
            if self.config.train.on_full == "stop":
                raise
            self.tell(f"{error}; training goes on")


@torch.no_grad()
def in_use(networks: Networks) -> Networks:
    """Copies of networks as they are used: batch norm by each image alone, no dropout."""
    copies = {name: copy.deepcopy(network) for name, network in networks.items()}
    for network in copies.values():
        use_policy(network)
    return copies


def crossed(before: int, after: int, every: int) -> bool:
    """Whether what is due each `every` images (0: never) has become due."""
    return bool(every) and after // every > before // every
