"""Rules for the source: imports, sizes, names, formatting (docs/architecture.md)."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import viceversa

SOURCE = Path(viceversa.__file__).parent
FILES = {
    ".".join(["viceversa", *path.relative_to(SOURCE).with_suffix("").parts]): path
    for path in sorted(SOURCE.rglob("*.py"))
}


def dotted(module: str, text: str) -> Iterator[str]:
    """Yield the full names that a source uses: imports, names and attributes.

    `from torch import optim as o; o.Adam` uses torch.optim and torch.optim.Adam.
    """
    tree = ast.parse(text)
    known: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
                if alias.asname:
                    known[alias.asname] = alias.name
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: -node.level] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                yield f"{origin}.{alias.name}"
                known[alias.asname or alias.name] = f"{origin}.{alias.name}"
    for node in ast.walk(tree):
        parts: list[str] = []
        inner: ast.AST = node
        while isinstance(inner, ast.Attribute):
            parts.insert(0, inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name):
            yield ".".join([known.get(inner.id, inner.id), *parts])


def within(name: str, *roots: str) -> bool:
    return any(name == root or name.startswith(root + ".") for root in roots)


def ours(*names: str) -> tuple[str, ...]:
    return tuple(f"viceversa.{name}" for name in names)


def only(*names: str) -> Callable[[str], bool]:
    return lambda used: within(used, "viceversa") and not within(used, *ours(*names))


def never(*names: str) -> Callable[[str], bool]:
    return lambda used: within(used, *names)


def inside(*names: str) -> Callable[[str], bool]:
    return lambda module: within(module, *ours(*names))


def outside(*names: str) -> Callable[[str], bool]:
    return lambda module: not within(module, *ours(*names))


class Rule(NamedTuple):
    binds: Callable[[str], bool]
    """Whether the rule applies to a module."""
    forbidden: Callable[[str], bool]
    """Whether these modules must not use a name."""
    module: str
    source: str
    """Module and source code that break the rule (the control)."""


REPORTS = ("reports", "config.compatibility", "errors", "files", "metrics.registry", "run_log")
FEATURES = ("evaluation.features", "checkpoint", "files", "errors")
RULES: dict[str, Rule] = {
    "networks import only fields": Rule(
        inside("networks"), only("networks", "fields"), "networks.x", "from ..losses import l1"
    ),
    "losses import nothing of the package": Rule(
        inside("losses"), only("losses"), "losses", "from .networks import UNet"
    ),
    "metrics import nothing of the package": Rule(
        inside("metrics"), only("metrics"), "metrics.x", "from ..images import load"
    ),
    "feature networks import only checkpoint, files and errors": Rule(
        inside("evaluation.features"),
        only(*FEATURES),
        "evaluation.features.x",
        "from ...images import files",
    ),
    "methods import only networks, losses, batch, fields and directions": Rule(
        inside("methods"),
        only("methods", "networks", "losses", "batch", "fields", "directions"),
        "methods.x",
        "from .. import training",
    ),
    "methods use no optimizer, process or command line": Rule(
        inside("methods"),
        never("torch.optim", "torch.distributed", "torch.amp", "os", "argparse"),
        "methods.x",
        "import torch as t\nt.optim.Adam",
    ),
    "inference imports nothing of training": Rule(
        inside("inference"),
        never(*ours("methods", "training", "data", "config.run", "evaluation")),
        "inference.patch_scores.x",
        "def f():\n    from ...config.run import resolve",
    ),
    "serve and page import nothing of training": Rule(
        inside("serve", "page"),
        never(*ours("methods", "training", "data", "config.run", "evaluation")),
        "serve.x",
        "from ..training.loop import train",
    ),
    "evaluation imports nothing of training": Rule(
        inside("evaluation"),
        never(*ours("methods", "training", "config.run")),
        "evaluation.x",
        "from ..config.run import resolve",
    ),
    "only runtime uses processes and, except before torch is loaded, the environment": Rule(
        outside("runtime", "environment"),
        never("torch.distributed", "os.environ", "os.getenv"),
        "data.x",
        "from os import environ as e\ne['X']",
    ),
    "only checkpoint reads and writes weights": Rule(
        outside("checkpoint"),
        never("torch.save", "torch.load", "safetensors"),
        "training.x",
        "import torch\ntorch.load('x')",
    ),
    "only cli and terminal print": Rule(
        outside("cli", "terminal"), never("print"), "data.x", "print('x')"
    ),
    "only cli ends the process": Rule(
        outside("cli"),
        never("sys.exit", "SystemExit", "exit", "quit", "os._exit"),
        "files",
        "import sys\nsys.exit(1)",
    ),
    "study runs commands and imports no torch": Rule(
        inside("study"),
        never("torch", *ours("training", "inference", "evaluation")),
        "study.x",
        "from ..training.loop import train",
    ),
    "reports import only what a run folder needs, and no torch": Rule(
        inside("reports"),
        lambda used: within(used, "torch") or only(*REPORTS)(used),
        "reports.x",
        "from ..images import write",
    ),
    "the metrics registry imports no torch": Rule(
        inside("metrics.registry"),
        never("torch", "numpy"),
        "metrics.registry",
        "from torch import Tensor",
    ),
    "config imports no torch": Rule(
        inside("config"), never("torch", "numpy"), "config", "from torch import Tensor"
    ),
}
LIMITS = {
    "methods.pix2pix": 105,
    "methods.cyclegan": 115,
    "methods.cut": 130,
    "methods.cut_paired": 130,
    "methods.reggan": 130,
}


def broken(rule: str, module: str, text: str) -> list[str]:
    if not RULES[rule].binds(module):
        return []
    return [used for used in dotted(module, text) if RULES[rule].forbidden(used)]


def too_long(module: str, text: str) -> bool:
    return len(text.splitlines()) > LIMITS.get(module.removeprefix("viceversa."), 300)


@pytest.mark.parametrize("rule", RULES)
def test_the_source_follows_the_rule(rule: str) -> None:
    bound = [module for module in FILES if RULES[rule].binds(module)]
    assert bound, "the rule applies to no module: has one been renamed?"
    assert {m: found for m in bound if (found := broken(rule, m, FILES[m].read_text()))} == {}


@pytest.mark.parametrize("rule", RULES)
def test_the_rule_detects_a_violation(rule: str) -> None:
    assert broken(rule, f"viceversa.{RULES[rule].module}", RULES[rule].source)


def test_modules_are_short() -> None:
    assert {f"viceversa.{name}" for name in LIMITS} <= FILES.keys()
    lengths = {m: len(p.read_text().splitlines()) for m, p in FILES.items()}
    assert {m: lengths[m] for m, path in FILES.items() if too_long(m, path.read_text())} == {}


def test_long_modules_are_detected() -> None:
    assert too_long("viceversa.terminal", "x\n" * 301) and not too_long("viceversa.x", "x\n" * 300)
    assert too_long("viceversa.methods.pix2pix", "x\n" * 106)


def test_the_step_and_the_loop_are_short() -> None:
    """Together with the method files they are the ten-minute read."""
    texts = [FILES[f"viceversa.training.{name}"].read_text() for name in ("step", "loop")]
    assert sum(len(text.splitlines()) for text in texts) <= 250


def classes(text: str) -> list[str]:
    """Return the names of the classes at the top level of a source."""
    return [node.name for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]


def test_no_two_classes_of_the_package_have_the_same_name() -> None:
    names = [name for path in FILES.values() for name in classes(path.read_text())]
    assert {name for name in names if names.count(name) > 1} == set()
    assert classes("class X: pass\nclass Y: pass") == ["X", "Y"]


def test_the_training_step_loads_few_modules() -> None:
    code = "import sys, viceversa.training.step; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = [name for name in done.stdout.split() if within(name, "viceversa")]
    assert "viceversa.training.step" in loaded and len(loaded) <= 12


def test_settings_and_the_command_load_without_torch() -> None:
    """So does everything that a check of a dataset needs."""
    modules = ", ".join(ours("cli", "config.command_line", "data.check.check", "terminal"))
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_inference_loads_no_module_that_imports_torch_distributed() -> None:
    """torch itself loads torch.distributed; the test is about modules of the package."""
    imports = {
        module
        for module, path in FILES.items()
        if any(within(name, "torch.distributed") for name in dotted(module, path.read_text()))
    }
    assert imports == {"viceversa.runtime.distributed"}
    code = "import sys; from viceversa import Translator, evaluate; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not imports & loaded and "viceversa.runtime.training" not in loaded


CODE_FOLDERS = ("benchmarks", "docs", "examples", "src", "tests", "tools")


def unformatted(text: str) -> bool:
    """Return whether a source has a comment that excludes code from formatting."""
    return re.search(r"#\s*(fmt|yapf)\s*:\s*(skip|off|disable)", text) is not None


def test_ruff_formats_all_code() -> None:
    root = Path(__file__).parents[1]
    for folder in CODE_FOLDERS:
        files = list((root / folder).rglob("*.py"))
        assert files, f"{folder} has no Python file: has it been renamed?"
        assert [path for path in files if unformatted(path.read_text())] == []


@pytest.mark.parametrize("comment", ["fmt: skip", "fmt:skip", "fmt: off", "yapf: disable"])
def test_comments_that_exclude_code_from_formatting_are_detected(comment: str) -> None:
    assert unformatted(f"x = 1  # {comment}\n") and not unformatted(f"x = 1  # no {comment}\n")


def test_test_modules_have_different_names() -> None:
    """pytest imports them by their names without folder."""
    names = [path.name for path in Path(__file__).parent.rglob("*.py")]
    assert len(names) == len(set(names)), [name for name in set(names) if names.count(name) > 1]


def test_runs_from_a_checkout_that_is_not_installed(tmp_path: Path) -> None:
    """The package is imported without the metadata of an installation."""
    path = tmp_path / "machine.json"
    script = (
        "import importlib.metadata as m\n"
        "def version(name): raise m.PackageNotFoundError(name)\n"
        "m.version = version\n"
        "import viceversa.training.loop, viceversa.evaluation, viceversa.cli\n"
        "from viceversa.training.machine import write_machine\n"
        "from viceversa.runtime.training import Runtime\n"
        "from pathlib import Path\n"
        f"write_machine(Path({str(path)!r}), Runtime('cpu'), 1, {{}}, False)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    assert json.loads(path.read_text())["viceversa"] == viceversa.__version__
