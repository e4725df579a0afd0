"""`viceversa show`: recipes, and the model card of a model file."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from support import command_error, command_output, raises_user_error, small_model

from viceversa import Translator
from viceversa.checkpoint import read_header, save_network
from viceversa.config.recipes import read_recipe, recipes
from viceversa.config.run import resolve
from viceversa.images.domain import Domain, DomainConfig

FIXTURES = Path(__file__).parents[1] / "fixtures" / "format_1" / "runs"
MODELS = sorted(FIXTURES.glob("*/*.safetensors"))


@pytest.mark.parametrize("recipe", recipes())
def test_a_recipe_is_printed_as_toml_or_json(
    recipe: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sections = json.loads(json.dumps(resolve(read_recipe(recipe)).sections))
    assert json.loads(command_output(capsys, "show", recipe, "--json")) == sections
    assert tomllib.loads(command_output(capsys, "show", recipe)) == sections


@pytest.mark.parametrize("path", MODELS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_model_card_has_ten_lines(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = command_output(capsys, "show", path).splitlines()
    assert lines[0] == str(path) and 8 <= len(lines) - 1 <= 11
    card = {line.split()[0]: line for line in lines[1:]}
    header = read_header(path)
    kind = "discriminator" if path.stem.startswith("d_") else "generator"
    assert f"{kind} " in card["model"] and header["trained"]["method"]["name"] in card["model"]
    assert header[kind]["name"] in card["network"]
    assert "RGB image, uint8, 0 to 255" in card["source"]
    assert f"{header['images_processed']} images processed" in card["training"]
    command = "explain" if kind == "discriminator" else "translate"
    assert f"viceversa {command} {path} IMAGE" in card["use"]
    assert json.loads(command_output(capsys, "show", path, "--json")) == header


def test_a_card_counts_parameters_and_describes_domains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ct = Domain(DomainConfig(channels=1, range=(-1000.0, 2000.0)), "int16", (-1000,), (2000,))
    labels = DomainConfig(kind="labels", ids=7, nodata="none")
    names = replace(labels, class_names=("sky,wall", "tree", "door,roof,sea,land"))
    (tmp_path / "named").mkdir()
    of_names = small_model(tmp_path / "named", Domain(names), Domain(names))
    output = command_output(capsys, "show", of_names)
    assert output.count("label map of 7 classes: sky, wall, tree, door, roof, sea, land\n") == 2
    path = small_model(tmp_path, ct, Domain(labels))
    output = command_output(capsys, "show", path)
    assert "grey image, int16, -1000 to 2000 map to -1 to 1" in output
    assert "label map of 7 classes\n" in output
    count = sum(weight.numel() for weight in _weights(path).values())
    assert f"{count:,} in {len(_weights(path))} tensors" in output


def _weights(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(path)


def test_a_card_with_invalid_fields_has_no_control_characters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "ab.safetensors"
    header = {
        "kind": "translator",
        "direction": "ab",
        "generator": {"name": "unet\n\n", "width": [[]]},
        "source": {"config": {"kind": "image", "channels": {}}, "low": ["\x1b"], "high": 3},
        "target": {"config": {"kind": "labels", "classes": {"a": 1}, "class_names": {"b": 1}}},
        "trained": {"method": 5, "data": {"path": "\x07"}, "train": []},
    }
    save_network(path, {"x": torch.zeros(1)}, header)
    output = command_output(capsys, "show", path)
    assert output.count("\n") <= 12
    assert all(char.isprintable() for char in output if char != "\n")
    save_network(path, {"x": torch.zeros(1)}, header | {"direction": "ab\x1b[2J"})
    error = command_error(capsys, "show", path)
    assert "direction" in error and all(char.isprintable() for char in error.strip())


def test_a_missing_or_invalid_file_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "no model" in command_error(capsys, "show", tmp_path / "no.safetensors")
    path = tmp_path / "bad.safetensors"
    path.write_bytes(b"text, and long enough for a header")
    assert str(path) in command_error(capsys, "show", path)


@pytest.mark.parametrize("direction", ["ab", "ba"])
def test_a_folder_with_one_generator_stands_for_it(
    direction: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grey = Domain(DomainConfig(channels=1), "uint8", (0,), (255,))
    model = small_model(tmp_path, grey, grey).rename(tmp_path / f"{direction}.safetensors")
    assert command_output(capsys, "show", tmp_path) == command_output(capsys, "show", model)
    Image.new("L", (16, 16), 7).save(tmp_path / "x.png")
    for name, path in (("folder", tmp_path), ("file", model)):
        command_output(capsys, "translate", path, tmp_path / "x.png", "-o", tmp_path / name)
    results = [(tmp_path / name / "x.png").read_bytes() for name in ("folder", "file")]
    assert results[0] == results[1]
    assert Translator.load(tmp_path).description == Translator.load(model).description


@pytest.mark.parametrize("words", [["show"], ["translate", "-o", "out", "x.png"]])
def test_a_folder_with_two_generators_or_none_is_refused_with_files_that_exist(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grey = Domain(DomainConfig(channels=1), "uint8", (0,), (255,))
    run = tmp_path / "run"
    run.mkdir()
    assert "has neither" in command_error(capsys, words[0], run, *words[1:])
    model = small_model(run, grey, grey)
    shutil.copy(model, run / "ba.safetensors")
    message = command_error(capsys, words[0], run, *words[1:])
    assert f"name one: {model} or {run / 'ba.safetensors'}" in message
    with raises_user_error(path=run) as caught:
        read_header(run)
    assert str(caught.value).endswith(f"name a file in it: {model}, {run / 'ba.safetensors'}")


def test_a_model_card_needs_no_torch() -> None:
    code = (
        "import sys; from viceversa.cli import main; main(sys.argv[1:]); "
        "sys.exit('torch' in sys.modules)"
    )
    words = [sys.executable, "-c", code, "show", str(MODELS[0])]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "parameters" in done.stdout, done.stderr
