"""The public names of the package: real types, tab completion, a quick import."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from mypy import api as mypy

import viceversa

ROOT = Path(__file__).parents[1]
SCRIPT = """
from pathlib import Path

import torch
from torch.utils.data import Dataset, TensorDataset

import viceversa
from viceversa import StepInfo, Translator, UserError, ValidationInfo, evaluate


def translate(model: Path, photo: Path) -> None:
    translator: Translator = Translator.load(model, policy="image")
    for image in translator([photo]):
        image.save("result.png")
    try:
        score: float = evaluate("runs/x", "data")["directions"]["ab"]["means"]["l1"]["mean"]
    except UserError as error:
        print(error.option)


class Pairs(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.zeros(3, 256, 256), torch.zeros(3, 256, 256)


def log(info: StepInfo) -> None:
    print(info.epoch, info.losses["g_l1"])


def validated(info: ValidationInfo) -> None:
    print(info.values["l1"], info.better["l1"])


def train(images: torch.Tensor, data: Dataset[torch.Tensor]) -> Path:
    viceversa.train("pix2pix", "photos", epochs=5, generator={"width": 32}, on_step=log)
    viceversa.train("pix2pix", Pairs(), val_data=Pairs(), on_validation=validated, quiet=True)
    viceversa.train("cyclegan", (data, TensorDataset(images)), run=Path("runs/x"))
    viceversa.train("pix2pix", {"path": Pairs(), "direction": "ba"}, device="cpu")
    return viceversa.train(viceversa.resolve(viceversa.read_recipe("pix2pix")))
"""
WRONG = """
import viceversa

viceversa.Translator.load(7)
viceversa.Translator.load("x", policy="best")
viceversa.train(5.0)
viceversa.train("pix2pix", precision="fp8")
viceversa.no_such_name
number: int = viceversa.UserError("x").option
"""


def test_names_load_on_first_use() -> None:
    code = (
        "import sys, viceversa; assert 'torch' not in sys.modules; dir(viceversa); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_name_is_listed_typed_and_there() -> None:
    tree = ast.parse(Path(viceversa.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    typed = {
        alias.asname: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == viceversa._HOMES
    assert sorted([*typed, "__version__"]) == sorted(viceversa.__all__) == sorted(dir(viceversa))
    for name, module in typed.items():
        home = importlib.import_module(f"viceversa.{module}")
        assert getattr(viceversa, name) is getattr(home, name)
    with pytest.raises(AttributeError, match="no_such_name"):
        viceversa.no_such_name  # noqa: B018


def check(script: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the report of `mypy --strict` on a user's script."""
    script.write_text(text)
    monkeypatch.chdir(ROOT)  # for the cache: without it, torch takes half a minute
    monkeypatch.setenv("MYPYPATH", str(ROOT / "src"))
    report, errors, _ = mypy.run(["--strict", "--config-file", "pyproject.toml", str(script)])
    assert not errors
    return report


@pytest.mark.slow
def test_a_script_of_a_user_is_type_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Success" in check(tmp_path / "script.py", SCRIPT, monkeypatch)
    report = check(tmp_path / "wrong.py", WRONG, monkeypatch)
    for line, kind in (
        (4, "arg-type"),
        (5, "arg-type"),
        (6, "arg-type"),
        (7, "arg-type"),
        (8, "attr-defined"),
        (9, "assignment"),
    ):
        assert f"wrong.py:{line}: error:" in report and f"[{kind}]" in report, report
