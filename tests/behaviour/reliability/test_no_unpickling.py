"""No source file can unpickle data or run code from files (promise W2).

One module loads weights of other implementations: with `weights_only`, after it has checked that
the pickle refers to tensors alone.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FILES = [
    path
    for folder in ("src", "benchmarks", "tools")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
MODULES = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
CALLS = {
    "torch.load",
    "torch.jit.load",
    "torch.hub.load",
    "torch.package.PackageImporter",
    "torch.distributed.checkpoint.load",
    "torch.distributed.checkpoint.FileSystemReader",
    "torch.serialization.add_safe_globals",
    "yaml.load",
    "yaml.unsafe_load",
    "yaml.full_load",
    "pandas.read_pickle",
    "eval",
    "exec",
    "os.system",
    "runpy.run_path",
}


WEIGHTS = "src/viceversa/checkpoint/torch_files.py"


def unsafe_names(text: str) -> Iterator[str]:
    """Yield the full names of imports and calls that could run code from a file."""
    tree = ast.parse(text)
    known: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                root = alias.name.split(".")[0]
                known[alias.asname or root] = alias.name if alias.asname else root
                if root in MODULES:
                    yield alias.name
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                known[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                if node.module.split(".")[0] in MODULES:
                    yield node.module
    for node in ast.walk(tree):
        if not isinstance(node, ast.Name | ast.Attribute | ast.Call):
            continue
        name = _name(node.func if isinstance(node, ast.Call) else node, known)
        if name in CALLS:
            yield name
        if isinstance(node, ast.Call):
            options = {one.arg: one.value for one in node.keywords}
            allowed = options.get("allow_pickle")
            if allowed is not None and not (
                isinstance(allowed, ast.Constant) and allowed.value is False
            ):
                yield f"{name}(allow_pickle)"


def _name(node: ast.AST, known: dict[str, str]) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.insert(0, node.attr)
        node = node.value
    return ".".join([known.get(node.id, node.id), *parts]) if isinstance(node, ast.Name) else ""


@pytest.mark.slow
def test_no_source_file_runs_code_from_files() -> None:
    assert len(FILES) > 50
    found = {str(path.relative_to(ROOT)): list(unsafe_names(path.read_text())) for path in FILES}
    assert set(found.pop(WEIGHTS)) == {"torch.load"}
    assert {name: calls for name, calls in found.items() if calls} == {}


def loads_only_weights(text: str) -> bool:
    """Return whether every call of `torch.load` has the literal `weights_only=True`."""
    calls = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and _name(node.func, {}) == "torch.load"
    ]
    given = [{one.arg: one.value for one in call.keywords}.get("weights_only") for call in calls]
    return bool(calls) and all(isinstance(v, ast.Constant) and v.value is True for v in given)


def test_weights_are_loaded_without_code() -> None:
    text = (ROOT / WEIGHTS).read_text()
    assert loads_only_weights(text)
    assert text.count("torch.load") == 1  # not under another name either
    for other in ("torch.load(x)", "torch.load(x, weights_only=y)", "torch.load(x, None, False)"):
        assert not loads_only_weights(other)


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from pickle import loads",
        "def f():\n    import joblib as j",
        "import torch as t\nt.load('x', weights_only=True)",
        "from torch import load as l\nl('x')",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
        "import yaml\nyaml.load('x')",
        "import numpy as n\nn.load('x', allow_pickle=bool(1))",
        "eval('1')",
        "import torch.jit\ntorch.jit.load('x')",
        "import torch\nread = torch.load\nread('x')",
        "from torch.distributed import checkpoint as c\nc.load({})",
    ],
)
def test_unsafe_calls_are_detected(text: str) -> None:
    assert list(unsafe_names(text))


@pytest.mark.parametrize(
    "text",
    [
        "import numpy as np\nnp.load('x')",
        "import numpy as np\nnp.load('x', allow_pickle=False)",
        "import json\njson.loads('1')",
        "from .checkpoint import load\nload('x')",
        "import yaml\nyaml.safe_load('x')",
        "model.eval()",
    ],
)
def test_safe_calls_are_not_reported(text: str) -> None:
    assert not list(unsafe_names(text))
