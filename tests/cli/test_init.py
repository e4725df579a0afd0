"""`viceversa init`: a recipe to edit, with a comment for each option."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from support import command_error, command_output

from viceversa.config.command_line import run_options, train_settings
from viceversa.config.recipes import read_recipe, recipes
from viceversa.config.run import resolve


@pytest.mark.slow
@pytest.mark.parametrize("recipe", recipes())
def test_the_file_has_the_settings_of_the_recipe(
    recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "my.toml"
    assert str(file) in command_output(capsys, "init", file, "--recipe", recipe)
    expected = resolve(read_recipe(recipe))
    assert resolve(read_recipe(str(file))).sections == expected.sections
    lines = file.read_text().splitlines()
    # Options that are commented out have their defaults: activating them changes nothing.
    active = [line.removeprefix("# ") if _is_option(line) else line for line in lines]
    file.write_text("\n".join(active))
    assert resolve(read_recipe(str(file))).sections == expected.sections
    keys = {key for key, _ in _flat(tomllib.loads(file.read_text()))}
    assert keys == {option.key for option in run_options(expected)}


def _is_option(line: str) -> bool:
    return line.startswith("# ") and line[2:].split(" = ")[0].isidentifier() and " = " in line


def _flat(table: dict[str, object], start: str = "") -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    for key, value in table.items():
        nested = isinstance(value, dict) and key != "lr_per_network"
        rows += _flat(value, f"{start}{key}.") if nested else [(start + key, value)]  # type: ignore[arg-type]
    return rows


def test_an_edited_value_is_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "my.toml"
    command_output(capsys, "init", file, "--recipe", "pix2pix")
    text = file.read_text()
    assert "lambda_l1 = 100.0" in text and "# schedule = " in text
    edited = text.replace("lambda_l1 = 100.0", "lambda_l1 = 7.0")
    file.write_text(edited.replace('# schedule = "linear"', 'schedule = "cosine"'))
    config = train_settings(str(file), ["data"])
    assert config.method.lambda_l1 == 7 and config.train.schedule == "cosine"
    assert config.train.run == "runs/my"


def test_an_existing_file_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "my.toml"
    file.write_text("existing text")
    assert "--overwrite" in command_error(capsys, "init", file)
    assert file.read_text() == "existing text"
    command_output(capsys, "init", file, "--overwrite")
    assert file.read_text() != "existing text"


@pytest.mark.parametrize(
    "arguments", ["my.txt", "my.toml --recipe pix2pxi", "no/folder/my.toml/ --x", ""]
)
def test_nothing_is_written_after_an_error(
    arguments: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    command_error(capsys, "init", *arguments.split())
    assert list(tmp_path.iterdir()) == []
