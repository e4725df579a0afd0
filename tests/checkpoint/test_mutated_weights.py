"""A file with any content is read or refused with a UserError (promise W5)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from mutated_weights import ALL_KINDS, MODEL_KINDS, Fuzz, unexpected_errors
from safetensors.torch import load

from viceversa.networks import GENERATORS

pytestmark = pytest.mark.slow


@pytest.fixture
def fuzz(tmp_path: Path) -> Fuzz:
    return Fuzz(tmp_path, seed=1)


def test_mutants_are_read_or_refused(fuzz: Fuzz) -> None:
    outcomes = fuzz.run(fuzz.file, ALL_KINDS, 2000)
    assert unexpected_errors(outcomes) == {}
    assert outcomes["refused"] > 200 and outcomes["read"] > 200


def test_mutants_are_refused_as_translators(fuzz: Fuzz) -> None:
    outcomes = fuzz.run(fuzz.translator, MODEL_KINDS, 1000)
    assert unexpected_errors(outcomes) == {}
    assert (
        outcomes["refused"] > 500 and outcomes["read"] > 5
    )  # some change only information about the run


def test_control_a_reader_that_trusts_the_header_fails(fuzz: Fuzz) -> None:
    def read_unchecked(path: Path) -> None:
        content = path.read_bytes()
        load(content)
        end = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(json.loads(content[8:end])["__metadata__"]["viceversa"])
        settings = {key: value for key, value in header["generator"].items() if key != "name"}
        network, config = GENERATORS[header["generator"]["name"]]
        with torch.device("meta"):
            network(config(**settings), 3, 3)

    # No sizes, because building huge networks would take forever.
    fuzz.header["generator"] = {"name": "unet", "norm": "batch", "init": "normal", "skip": True}
    assert len(unexpected_errors(fuzz.run(read_unchecked, ("of_header", "of_bytes"), 200))) > 5
