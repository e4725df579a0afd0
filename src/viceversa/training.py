"""A run: the loop around `update`, its samples, its checkpoint and its files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .build import RunConfig, make_method, model_files, on_disk
from .checkpoint import (
    fit_weights,
    load_state,
    read_header,
    read_weights,
    save_network,
    save_state,
    write_json,
)
from .config import plain
from .data.loader import Loader
from .data.open import open_data
from .errors import UserError
from .images import Pixels
from .methods import PAIRED, Method
from .networks import check_size
from .report import Report, counter, say
from .runtime import Runtime, asked_to_stop, random_state, restore_random_state, seed_everything
from .samples import sample_sheet
from .update import make_optimizers, set_rates, update


class Run:
    """A run's folder and everything that trains in it. `train` is the way in."""

    def __init__(self, config: RunConfig):
        if not config.data.path:
            raise UserError("there is no data folder to train on; name it behind the recipe")
        self.config, self.train = config, config.train
        self.folder = Path(config.train.run or f"runs/{config.name('method')}")
        self.state_file = self.folder / "checkpoints" / "latest.pt"
        self.paired = config.name("method") in PAIRED
        seed_everything(config.train.seed)
        self.runtime = Runtime(config.train.device, config.train.precision)
        with counter("checking the images") as progress:
            self.data = open_data(
                config.data, self.paired, config.train.seed, self.folder, say, progress
            )
        self.pictures = self.data.train
        self.loader = Loader(self.pictures, config.train.batch_size, self.runtime.device)
        self.method = make_method(config)
        self._check_sizes()
        if config.train.init:
            start_from(self.method, config, Path(config.train.init))
        self.runtime.place(self.method)
        self.optimizers = make_optimizers(self.method, config.train, self.runtime)
        self.epoch, self.batch, self.images = 1, 0, 0
        self.saved = 0  # images at the last checkpoint
        self.stopping: list[int] = []  # signals that asked for an end

    def go(self) -> None:
        """Train to the end, from the checkpoint where there is one."""
        self._resume()
        total = len(self.pictures) * self.train.epochs
        write_json(self.folder / "config.json", self.config.sections)
        report = Report(self.folder, total, self.images, self.train.log_every)
        if not self.images:
            report.samples(self._samples())
        try:
            with asked_to_stop() as self.stopping:
                while self.epoch <= self.train.epochs:
                    self._train_epoch(report)
        except UserError:  # a bad image: what was learnt until then is kept
            if self.images > self.saved and self.batch % self.train.accumulate == 0:
                self.save()
            raise
        finally:
            report.close()
        self.save()

    def _train_epoch(self, report: Report) -> None:
        train = self.train
        lr = set_rates(self.optimizers, train, self.epoch)
        count = -(-len(self.pictures) // train.batch_size)
        self.method.train()
        for batch in self.loader.epoch(self.epoch, self.batch):
            seen = min(train.batch_size, len(self.pictures) - self.batch * train.batch_size)
            part = self.batch % train.accumulate
            # The batches left over at the end of an epoch make a smaller group of their own.
            parts = min(train.accumulate, count - (self.batch - part))
            losses = {} if batch is None else update(
                self.method, batch, self.optimizers, self.runtime, train.clip, part, parts
            )  # fmt: skip
            before, self.images = self.images, self.images + seen
            self.batch += 1
            report.step(seen, self.epoch, losses, lr)
            self._tell_bad()
            if _crossed(before, self.images, train.sample_every):
                report.samples(self._samples())
            if self.batch == count:
                self.epoch, self.batch = self.epoch + 1, 0
            due = self.stopping or _crossed(self.saved, self.images, train.save_every)
            if due and part == parts - 1 and self.epoch <= train.epochs:
                self.save()
                if self.stopping:
                    raise KeyboardInterrupt

    def _samples(self) -> Pixels:
        return sample_sheet(self.method, self.data.shown, self.train.samples, self.runtime.device)

    def _tell_bad(self) -> None:
        """Say which files turned out bad since; nothing took their place."""
        while self.pictures.bad.news:
            say(f"left out: {self.pictures.bad.news.pop(0)}")

    def _domains(self) -> dict[str, dict[str, Any]]:
        return {name: plain(one) for name, one in self.pictures.domains.items()}

    def save(self) -> None:
        """Write the checkpoint, and a file per translator and discriminator."""
        self.saved = self.images
        save_state(self.state_file, {
            "sections": self.config.sections, "domains": self._domains(),
            "epoch": self.epoch, "batch": self.batch, "images": self.images,
            "method": self.method.state_dict(),
            "optimizers": {name: o.state_dict() for name, o in self.optimizers.items()},
            "random": random_state(),
        })  # fmt: skip
        direction, sections = self.config.data.direction, self.config.sections
        about = {"images_seen": self.images, "weights": "raw", "trained": sections}
        domains = self._domains()
        for name, network in self.method.translators().items():
            way = on_disk(name, direction)
            header = {
                "kind": "translator", "direction": way, "generator": sections["generator"],
                "source": domains[way[0]], "target": domains[way[1]], **about,
            }  # fmt: skip
            save_network(self.folder / f"{way}.safetensors", network.state_dict(), header)
        for name, (network, wants_pair) in self.method.judges().items():
            domain = on_disk(name, direction)
            header = {
                "kind": "discriminator", "domain": domain, "pair": wants_pair,
                "discriminator": sections["discriminator"], **about,
            }  # fmt: skip
            save_network(self.folder / f"d_{domain}.safetensors", network.state_dict(), header)

    def _resume(self) -> None:
        if not self.state_file.exists():
            return
        state = load_state(self.state_file)
        for section in ("method", "generator", "discriminator"):
            if state["sections"][section] != self.config.sections[section]:
                raise UserError(
                    f"{self.folder} holds a run with another {section}; choose another train.run, "
                    "or the settings of that run (its config.json)"
                )
        for name, domain in self._domains().items():
            if state["domains"][name] != domain:
                raise UserError(
                    f"{self.folder} learnt domain {name.upper()} with another range or kind of "
                    f"values (its config.json and model files say which); give data.{name}.range "
                    "in numbers to go on"
                )
        self.method.load_state_dict(state["method"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        restore_random_state(state["random"])
        self.epoch, self.batch, self.images = state["epoch"], state["batch"], state["images"]
        self.saved = self.images
        if state["sections"]["train"]["batch_size"] != self.train.batch_size and self.batch:
            raise UserError(
                f"{self.folder} stands in the middle of an epoch with train.batch_size "
                f"{state['sections']['train']['batch_size']}; keep that size to go on"
            )
        say(f"going on from {self.state_file}: epoch {self.epoch}, {self.images} images seen")

    def _check_sizes(self) -> None:
        """Look at a first image, and refuse what the networks could not train on."""
        source, target = self.pictures.first()
        batch = self.train.batch_size
        if len(self.pictures) % batch == 1:
            batch = 1  # the last batch of an epoch holds a single image
        try:
            for name, network in self.method.translators().items():
                one = source if name == "ab" else target
                channels, height, width = one.shape
                check_size(network, channels, height, width, batch)
            for domain, (network, wants_pair) in self.method.judges().items():
                one, other = (source, target) if domain == "a" else (target, source)
                channels = one.shape[0] + (other.shape[0] if wants_pair else 0)
                check_size(network, channels, one.shape[1], one.shape[2], batch)
        except ValueError as error:
            raise UserError(
                f"{error} (data.crop_size and data.preprocess decide the size, "
                "generator.depth and the norms what fits)"
            ) from None


def start_from(method: Method, config: RunConfig, path: Path) -> None:
    """Begin with finished translators instead of fresh weights (fine-tuning)."""
    files = model_files(path) if path.is_dir() else [path]
    if not files:
        raise UserError(f"train.init: the folder {path} holds no ab.safetensors or ba.safetensors")
    translators = {
        on_disk(name, config.data.direction): network
        for name, network in method.translators().items()
    }
    for file in files:
        header = read_header(file)
        if header.get("kind") != "translator":
            raise UserError(f"train.init: {file} is a {header.get('kind')}, not a translator")
        if header["direction"] not in translators:
            if path.is_dir():
                continue
            raise UserError(
                f"train.init: {file} translates {header['direction']}, this run "
                f"{' and '.join(translators)}"
            )
        fit_weights(translators[header["direction"]], read_weights(file), file)


def _crossed(before: int, after: int, every: int) -> bool:
    return after // every > before // every


def train(config: RunConfig) -> Path:
    """Train, or go on training, and return the run's folder. Raises UserError for bad input."""
    run = Run(config)
    run.go()
    return run.folder
