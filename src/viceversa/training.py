"""A run: the loop around `update`, its samples, its checkpoint and its files."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import Tensor

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
from .data import Pictures, batches, find
from .errors import UserError
from .images import to_tensor
from .methods import PAIRED, Method
from .networks import check_size, use_policy
from .report import Report, say
from .runtime import Runtime, asked_to_stop, random_state, restore_random_state, seed_everything
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
        self.pictures = self._open("train")
        self.shown = next(
            (split for split in map(self._open_others, ("val", "test")) if split), self.pictures
        )
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
            report.samples(self.samples())
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
        for batch in batches(self.pictures, train.batch_size, self.epoch, self.batch):
            source, target = (side.to(self.runtime.device) for side in batch)
            part = self.batch % train.accumulate
            # The batches left over at the end of an epoch make a smaller group of their own.
            parts = min(train.accumulate, count - (self.batch - part))
            losses = update(
                self.method,
                (source, target),
                self.optimizers,
                self.runtime,
                train.clip,
                part,
                parts,
            )
            before, self.images = self.images, self.images + len(source)
            self.batch += 1
            report.step(len(source), self.epoch, losses, lr)
            if _crossed(before, self.images, train.sample_every):
                report.samples(self.samples())
            if self.batch == count:
                self.epoch, self.batch = self.epoch + 1, 0
            due = self.stopping or _crossed(self.saved, self.images, train.save_every)
            if due and part == parts - 1 and self.epoch <= train.epochs:
                self.save()
                if self.stopping:
                    raise KeyboardInterrupt

    @torch.no_grad()
    def samples(self) -> list[list[Tensor]]:
        """Rows of images: source, translation, and target (paired) or the way back (unpaired).

        Copies translate, so that drawing samples changes nothing in training.
        """
        copies = {name: copy.deepcopy(g) for name, g in self.method.translators().items()}
        for network in copies.values():
            use_policy(network)
        rows = []
        for position in range(min(self.train.samples, len(self.shown))):
            source, target = (
                to_tensor(side)[None].to(self.runtime.device) for side in self.shown[1, position]
            )
            row = [source, fake := copies["ab"](source)]
            if self.paired:
                row.append(target)
            elif "ba" in copies:
                row += [copies["ba"](fake), target, back := copies["ba"](target)]
                row.append(copies["ab"](back))
            rows.append([image[0] for image in row])
        return rows

    def save(self) -> None:
        """Write the checkpoint, and a file per translator and discriminator."""
        self.saved = self.images
        save_state(self.state_file, {
            "sections": self.config.sections,
            "epoch": self.epoch, "batch": self.batch, "images": self.images,
            "method": self.method.state_dict(),
            "optimizers": {name: o.state_dict() for name, o in self.optimizers.items()},
            "random": random_state(),
        })  # fmt: skip
        direction, sections = self.config.data.direction, self.config.sections
        about = {"images_seen": self.images, "weights": "raw", "trained": sections}
        channels = dict(zip("ab", self.config.data.channels, strict=True))
        for name, network in self.method.translators().items():
            way = on_disk(name, direction)
            header = {
                "kind": "translator", "direction": way, "generator": sections["generator"],
                "channels": [channels[way[0]], channels[way[1]]], **about,
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

    def _open(self, split: str) -> Pictures:
        found = find(Path(self.config.data.path), split, self.paired)
        assert found is not None
        say(f"{split}: {found.layout}, {len(found.a)} of A, {len(found.b)} of B")
        return Pictures(found, self.config.data, self.paired, self.train.seed, training=True)

    def _open_others(self, split: str) -> Pictures | None:
        found = find(Path(self.config.data.path), split, self.paired)
        if found is None:
            return None
        return Pictures(found, self.config.data, self.paired, self.train.seed, training=False)

    def _check_sizes(self) -> None:
        """Look at a first image, and refuse what the networks could not train on."""
        source, target = self.pictures[1, 0]
        batch = self.train.batch_size
        if len(self.pictures) % batch == 1:
            batch = 1  # the last batch of an epoch holds a single image
        try:
            for name, network in self.method.translators().items():
                one = source if name == "ab" else target
                check_size(network, one.shape[2], one.shape[0], one.shape[1], batch)
            for domain, (network, wants_pair) in self.method.judges().items():
                one, other = (source, target) if domain == "a" else (target, source)
                channels = one.shape[2] + (other.shape[2] if wants_pair else 0)
                check_size(network, channels, one.shape[0], one.shape[1], batch)
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
