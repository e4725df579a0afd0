"""README and docs name existing code, files and options; their links work."""

from __future__ import annotations

import ast
import re
from itertools import takewhile
from pathlib import Path
from shlex import split
from typing import Any

import pytest
from cyclopts import CycloptsError
from support import check_networks

import viceversa
from viceversa.cli import app
from viceversa.config.command_line import check_settings, plan_settings, train_settings
from viceversa.config.extensions import take_imports
from viceversa.config.recipes import SECTIONS
from viceversa.config.study import study_settings
from viceversa.errors import UserError

SOURCE = Path(viceversa.__file__).parent
ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()


def documented_paths(text: str) -> set[str]:
    """Return the paths of the tree in docs/architecture.md, relative to the package."""
    tree = text.split("## Packages")[1].split("```")[1]
    found = set()
    for line in tree.splitlines():
        words = (word.rstrip(",") for word in line.split())
        found |= set(takewhile(lambda word: word.endswith((".py", "/", ".toml")), words))
    return found


def defined_names() -> set[str]:
    """Return all functions, classes and modules: `name`, `Class.name`, `module.name`."""
    found: set[str] = set()
    for path in SOURCE.rglob("*.py"):
        location = path.parent if path.stem == "__init__" else path.with_suffix("")
        parent, module = ["", *location.relative_to(SOURCE.parent).parts][-2:]
        found |= {module, f"{parent}.{module}"}
        for node in ast.parse(path.read_text()).body:
            if not isinstance(node, ast.FunctionDef | ast.ClassDef):
                continue
            found |= {node.name, f"{module}.{node.name}", f"{parent}.{module}.{node.name}"}
            for inner in ast.walk(node):
                if isinstance(inner, ast.FunctionDef):
                    found |= {inner.name, f"{node.name}.{inner.name}"}
    return found | {f"viceversa.{name}" for name in viceversa.__all__}


def code_names(text: str) -> list[str]:
    """Return dotted names and calls in backticks."""
    words = re.findall(r"`([A-Za-z_][\w.]*\.[\w.]*\w(?:\([\w, ]*\))?|\w+\([\w, ]*\))`", text)
    return [re.sub(r"\(.*", "", word) for word in words if not word.endswith((".py", ".md"))]


def unknown_names(text: str) -> list[str]:
    names = defined_names()
    outside = ("torch.", "nn.", "train.", "os.", "sys.")
    return [
        name
        for name in code_names(text)
        if name not in names
        and not name.startswith(outside)
        and not re.search(r"\.(json|jsonl|html|safetensors|png|toml)$", name)
    ]


def test_the_documented_tree_is_that_of_the_package() -> None:
    tree = documented_paths(ARCHITECTURE)
    missing = {name for name in tree if "*" not in name and not (SOURCE / name).exists()}
    assert missing == set()
    top = {path.name for path in SOURCE.glob("*.py")}
    top |= {f"{path.name}/" for path in SOURCE.iterdir() if list(path.glob("*.py"))}
    assert top - tree == set()


def test_an_outdated_tree_is_detected() -> None:
    old = ARCHITECTURE.replace("runtime/ ", "runtime.py")
    assert "runtime.py" in documented_paths(old) and "runtime/" not in documented_paths(old)


def anchors(text: str) -> set[str]:
    """Return the anchors of the headings of a page, formed as on GitHub."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def broken_links(page: Path, text: str) -> list[str]:
    """Return relative links of a page to missing files or headings."""
    broken = []
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        name, _, anchor = link.partition("#")
        target = (page.parent / name) if name else page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_work(page: Path) -> None:
    assert broken_links(page, page.read_text()) == []


def unlisted(index: str) -> set[str]:
    """Pages in docs/ that the table of contents of the site does not list."""
    trees = re.findall(r"^```{toctree}\n(.*?)^```$", index, re.MULTILINE | re.DOTALL)
    listed = {line for tree in trees for line in tree.splitlines() if line[:1] not in ("", ":")}
    return {page.stem for page in (ROOT / "docs").glob("*.md")} - listed - {"index"}


def test_the_site_lists_every_page() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    assert unlisted(index) == set()
    assert unlisted(index.replace("\nreliability\n", "\n")) == {"reliability"}


@pytest.mark.parametrize("link", ["docs/no_such.md", "docs/data.md#no-such-heading", "#nothing"])
def test_a_broken_link_is_detected(link: str) -> None:
    assert broken_links(ROOT / "README.md", f"See [this]({link}).") == [link]


def test_the_readme_lists_the_sections() -> None:
    text = README.split("### Options")[1].split("```")[0]
    numbers = {6: "six", 7: "seven", 8: "eight"}
    assert f"{numbers[len(SECTIONS)]} sections" in text
    listed = text.split("sections:")[1].split(".")[0]
    assert re.findall(r"`(\w+)`", listed) == list(SECTIONS)


def test_architecture_names_existing_code() -> None:
    assert len(code_names(ARCHITECTURE)) > 20
    assert unknown_names(ARCHITECTURE) == []


@pytest.mark.parametrize("name", ["`Pictures.finish`", "`loader.batches`", "`no_such()`"])
def test_an_undefined_name_is_detected(name: str) -> None:
    assert unknown_names(f"{name} does it.") == [name.strip("`()")]


def commands() -> list[str]:
    """Return every `viceversa` command in code blocks of all pages, once."""
    found = {}
    fence = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    command = re.compile(r"(?:^|\| |-m )viceversa (.*?)(?: [>|] .*)?$")
    for page in PAGES:
        for language, block in fence.findall(page.read_text()):
            if language not in ("", "sh"):
                continue
            for line in block.replace("\\\n", " ").splitlines():
                found |= {arguments: None for arguments in command.findall(line)}
    return list(found)


def parse(command: str) -> None:
    """Parse a command line as the command does. Raises an error for an unknown option or value."""
    arguments = take_imports(split(command))
    name, rest = arguments[0], arguments[1:]
    if name in ("train", "plan"):
        settings: Any = (train_settings if name == "train" else plan_settings)(rest[0], rest[1:])
        assert settings
        check_networks(settings if name == "train" else settings[1])
    elif name == "study":
        assert study_settings(rest[0], rest[1:])
    elif name == "check":
        assert check_settings(rest)
    elif name != "--help":
        arguments = ["./-" if word == "-" else word for word in arguments]
        app.parse_args(arguments, exit_on_error=False, print_error=False)


@pytest.mark.parametrize("command", commands())
def test_documented_commands_are_valid(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    parse(command)


@pytest.mark.parametrize(
    "command",
    [
        "train pix2pix data --train.keep 3",
        "train pix2pix data --data.load_size 143 --data.crop_size 128",
        "plan pix2pix --generator.depth 8 --data.crop_size 128",
        "translate ab.safetensors a.png --out_folder b",
    ],
)
def test_an_invalid_command_is_detected(command: str) -> None:
    assert len(commands()) > 30
    with pytest.raises((UserError, CycloptsError)):
        parse(command)
