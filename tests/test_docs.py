"""README and docs/architecture.md name what is in the package."""

from __future__ import annotations

import ast
import re
from itertools import takewhile
from pathlib import Path

import pytest

import viceversa
from viceversa.config import SECTIONS

SOURCE = Path(viceversa.__file__).parent
ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()


def drawn(text: str) -> set[str]:
    """Paths, relative to the package, of the tree in the README."""
    tree = text.split("## What is in src/viceversa")[1].split("```")[1]
    found, folder = set(), ""
    for line in tree.splitlines():
        if not line.strip():
            continue
        words = (word.rstrip(",") for word in line.split())
        names = list(takewhile(lambda word: word.endswith((".py", "/", ".toml")), words))
        inner = line.startswith("    ")
        folder = folder if inner else ""
        for name in names:
            found.add(folder + name)
        if not inner and names[0].endswith("/"):
            folder = names[0]
    return found


def defined() -> set[str]:
    """Every function, class and module: `name`, `Class.name`, `module.name`."""
    found: set[str] = set()
    for path in SOURCE.rglob("*.py"):
        place = path.parent if path.stem == "__init__" else path.with_suffix("")
        parent, module = ["", *place.relative_to(SOURCE.parent).parts][-2:]
        found |= {module, f"{parent}.{module}"}
        for node in ast.parse(path.read_text()).body:
            if not isinstance(node, ast.FunctionDef | ast.ClassDef):
                continue
            found |= {node.name, f"{module}.{node.name}", f"{parent}.{module}.{node.name}"}
            for inner in ast.walk(node):
                if isinstance(inner, ast.FunctionDef):
                    found |= {inner.name, f"{node.name}.{inner.name}"}
    return found | {f"viceversa.{name}" for name in viceversa.__all__}


def named(text: str) -> list[str]:
    """Dotted names and calls in backticks."""
    words = re.findall(r"`([A-Za-z_][\w.]*\.[\w.]*\w(?:\([\w, ]*\))?|\w+\([\w, ]*\))`", text)
    return [re.sub(r"\(.*", "", word) for word in words if not word.endswith((".py", ".md"))]


def unknown(text: str) -> list[str]:
    known = defined()
    outside = ("torch.", "train.", "os.", "sys.")
    return [
        name
        for name in named(text)
        if name not in known
        and not name.startswith(outside)
        and not re.search(r"\.(json|jsonl|html|safetensors|png|toml)$", name)
    ]


def test_the_tree_in_the_readme_is_that_of_the_package() -> None:
    tree = drawn(README)
    missing = {name for name in tree if "*" not in name and not (SOURCE / name).exists()}
    assert missing == set()
    top = {path.name for path in SOURCE.glob("*.py")}
    top |= {f"{path.name}/" for path in SOURCE.iterdir() if list(path.glob("*.py"))}
    assert top - tree == set()


def test_a_tree_that_is_out_of_date_is_found() -> None:
    old = README.replace("runtime/  ", "runtime.py")
    assert "runtime.py" in drawn(old) and "runtime/" not in drawn(old)


def test_the_readme_lists_the_sections() -> None:
    text = README.split("### Options")[1].split("```")[0]
    numbers = {6: "six", 7: "seven", 8: "eight"}
    assert f"{numbers[len(SECTIONS)]} sections" in text
    listed = text.split("sections:")[1].split(".")[0]
    assert re.findall(r"`(\w+)`", listed) == list(SECTIONS)


def test_architecture_names_what_is_defined() -> None:
    assert len(named(ARCHITECTURE)) > 20
    assert unknown(ARCHITECTURE) == []


@pytest.mark.parametrize("name", ["`Pictures.finish`", "`loader.batches`", "`no_such()`"])
def test_a_name_that_is_not_defined_is_found(name: str) -> None:
    assert unknown(f"{name} does it.") == [name.strip("`()")]
