"""Whatever is in a file, it is read or refused with our own error (promise W5)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from mutants import ANY, OF_MODELS, Fuzz, strange
from safetensors.torch import load

from viceversa.networks import GENERATORS


@pytest.fixture
def fuzz(tmp_path: Path) -> Fuzz:
    return Fuzz(tmp_path, seed=1)


def test_mutants_are_read_or_refused(fuzz: Fuzz) -> None:
    ended = fuzz.run(fuzz.file, ANY, 2000)
    assert strange(ended) == {}
    assert ended["refused"] > 200 and ended["read"] > 200


def test_mutants_are_refused_as_translators(fuzz: Fuzz) -> None:
    ended = fuzz.run(fuzz.translator, OF_MODELS, 1000)
    assert strange(ended) == {}
    assert ended["refused"] > 500 and ended["read"] > 5  # ... some say other things of the run


def test_a_reader_that_trusts_the_header_fails(fuzz: Fuzz) -> None:
    def trusting(path: Path) -> None:
        whole = path.read_bytes()
        load(whole)
        end = 8 + int.from_bytes(whole[:8], "little")
        header = json.loads(json.loads(whole[8:end])["__metadata__"]["viceversa"])
        settings = {key: value for key, value in header["generator"].items() if key != "name"}
        made, config = GENERATORS[header["generator"]["name"]]
        with torch.device("meta"):
            made(config(**settings), 3, 3)

    # None of a size, which would build for ever.
    fuzz.header["generator"] = {"name": "unet", "norm": "batch", "init": "normal", "skip": True}
    assert len(strange(fuzz.run(trusting, ("of_header", "of_bytes"), 200))) > 5
