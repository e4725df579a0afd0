"""Put a question to a finished discriminator: what does it say of this image, and why?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from ...checkpoint import read_header
from ...errors import UserError
from ...images.domain import Domain
from ...images.preprocessing import Part
from ...images.values import to_rgb
from ..translator import Translator
from .figure import Row
from .scorer import PatchScorer, look
from .scores import on_common_scale


class ExplainOptions(NamedTuple):
    """A model, an image, and what may belong to them."""

    model: Path
    """A run's folder, a translator, or a discriminator."""
    image: Path
    """What a translator translates, or a discriminator judges as it is."""
    real: Path | None = None
    """An image to judge beside it: the real target."""
    source: Path | None = None
    """What `image` was made from, for a discriminator that judges pairs."""
    half: Part = None
    """Of files with A and B side by side, the half that `image` is; its partner is the other."""
    beside: Path | None = None
    """Another discriminator, asked the same."""
    device: str = "auto"
    max_megapixels: int = 64
    size: str = "own"
    """Size of the images: own, trained (as in training, not cropped), or pixels a side."""

    @property
    def partner(self) -> tuple[Path, Part] | None:
        """The other half of the image's own file."""
        if self.half in (None, "whole"):
            return None
        return self.image, "right" if self.half == "left" else "left"

    @property
    def other(self) -> Part:
        """The part of every other file: all of it, if the image is said to be whole."""
        return "whole" if self.half == "whole" else None

    def look(
        self, path: Path, judge: PatchScorer, half: Part, notes: list[str], source: bool = False
    ) -> Tensor:
        """An image of the judge's domain (or of its source) in [-1, 1]."""
        domain = judge.source if source and judge.source else judge.domain
        return look(path, domain, half, self.max_megapixels, judge.framing, self.size, notes)


class Answer(NamedTuple):
    """A row for each image and each judge, and the source for the eye, (3, h, w), if there is."""

    judge: Path
    rows: list[Row]
    source: Tensor | None
    notes: list[str]
    """What to know about the images."""


class _Case(NamedTuple):
    """Images by name, each (channels, h, w) in [-1, 1], and what they were made from."""

    path: Path
    judge: PatchScorer
    images: dict[str, Tensor]
    source: Tensor | None
    of: Domain | None
    """What the source is an image of."""
    notes: list[str]

    @property
    def source_seen(self) -> Tensor | None:
        """The source for the eye, (3, h, w)."""
        if self.source is None or self.of is None:
            return None
        return to_rgb(self.source[None], self.of)[0]


def explain(asked: ExplainOptions) -> Answer:
    """Translate if there is a translator, and judge. Raises UserError for what does not fit."""
    file = named_model(asked.model)
    kind = read_header(file).get("kind")
    if kind not in ("translator", "discriminator"):
        raise UserError(f"{file} holds {kind}, neither a translator nor a discriminator")
    case = _translated(asked, file) if kind == "translator" else _as_it_is(asked, file)
    judges = [("", case.judge), *_others(asked, case)]
    rows = []
    for name, judge in judges:
        verdicts = on_common_scale(*(judge(image, case.source) for image in case.images.values()))
        for (what, image), verdict in zip(case.images.items(), verdicts, strict=True):
            rows.append(Row(what, _seen(image, case), verdict, name))
    rows.sort(key=lambda row: list(case.images).index(row.name))
    return Answer(case.path, rows, case.source_seen, case.notes)


def named_model(path: Path) -> Path:
    """The file that is meant. Raises UserError where a folder has none, or more than one."""
    if not path.is_dir():
        return path
    files = [path / f"{way}.safetensors" for way in ("ab", "ba")]
    files = [file for file in files if file.is_file()]
    if not files:
        raise UserError(f"the folder {path} holds no ab.safetensors or ba.safetensors")
    if len(files) > 1:
        raise UserError(f"{path} translates both ways; name one: {files[0]} or {files[1]}")
    return files[0]


def _translated(asked: ExplainOptions, file: Path) -> _Case:
    """A translator makes the image; the discriminator beside it judges."""
    if asked.source:
        raise UserError("the image is the source of what is made of it; --source is for a "
                        "discriminator's own file")  # fmt: skip
    if asked.real and asked.partner:
        raise UserError("--half says that the real target is the other half; leave out --real")
    translator = Translator.load(
        file, asked.device, max_megapixels=asked.max_megapixels, size=asked.size
    )
    path = file.with_name(f"d_{read_header(file)['direction'][1:]}.safetensors")
    if not path.is_file():
        raise UserError(f"there is no discriminator {path.name} beside {file} to judge what it "
                        "makes; a run's folder has one")  # fmt: skip
    judge = PatchScorer.load(path, asked.device)
    if judge.domain != translator.target or judge.source not in (None, translator.source):
        raise UserError(f"{path} judges other images than {file} makes; they are not of one run")
    notes: list[str] = []
    source = look(
        asked.image, translator.source, asked.half, asked.max_megapixels, translator.framing,
        asked.size, notes,
    )  # fmt: skip
    images = {"made": translator.tensor(source[None])[0]}
    if real := (asked.real, asked.other) if asked.real else asked.partner:
        images["real"] = asked.look(real[0], judge, real[1], [])
    return _Case(path, judge, images, source, translator.source, notes)


def _as_it_is(asked: ExplainOptions, path: Path) -> _Case:
    """A discriminator judges the image itself, as what was made of the source."""
    judge = PatchScorer.load(path, asked.device)
    judge.framing.check(asked.size, path, asked.max_megapixels * 10**6)
    given = (asked.source, asked.other) if asked.source else asked.partner
    if judge.source is None:
        if asked.source:
            raise UserError(f"{path} judges an image by itself; leave out --source")
        given = None
    elif given is None:
        raise UserError(f"{path} judges pairs; name what the image was made from with --source, or "
                        "the --half that it is of a file with both side by side")  # fmt: skip
    notes: list[str] = []
    source = asked.look(given[0], judge, given[1], [], source=True) if given else None
    images = {"the image": asked.look(asked.image, judge, asked.half, notes)}
    if asked.real:
        images["real"] = asked.look(asked.real, judge, asked.other, [])
    return _Case(path, judge, images, source, judge.source, notes)


def _others(asked: ExplainOptions, case: _Case) -> Iterator[tuple[str, PatchScorer]]:
    """The discriminator to compare with, under the names of its folder and itself."""
    if asked.beside is None:
        return
    other = PatchScorer.load(asked.beside, asked.device)
    if other.domain != case.judge.domain:
        raise UserError(f"{asked.beside} judges other images than {case.path} does")
    if other.source and case.source is None:
        raise UserError(f"{asked.beside} judges pairs, and {case.path} an image by itself; name "
                        "them the other way round, with --source")  # fmt: skip
    if other.source not in (None, case.of):
        raise UserError(f"{asked.beside} judges pairs with sources of another kind than those of "
                        f"{case.path}")  # fmt: skip
    yield f"{asked.beside.absolute().parent.name}/{asked.beside.stem}", other


def _seen(image: Tensor, case: _Case) -> Tensor:
    """An image for the eye: colours of Lab are joined to the lightness that they were made for."""
    source, lightness = case.source, None
    if source is not None and source.shape[0] == 1 and source.shape[1:] == image.shape[1:]:
        lightness = source[None]
    return to_rgb(image[None], case.judge.domain, lightness)[0]
