"""Bundle ES modules into one classic script, since browsers do not load modules from files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from graphlib import TopologicalSorter

IMPORT = re.compile(r'^import \{ ([\w, ]+) \} from "\./([\w.]+)";$', re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const) (\w+))", re.MULTILINE)
OTHER = re.compile(r"^(?:import|export)\b.*|import\.meta|^.*\bimport\(.*", re.MULTILINE)


def bundle(modules: Mapping[str, str]) -> str:
    """Return modules as one script, each as a function that returns its exports.

    Only two forms are supported, each in one line: `import { one, other } from "./file.js";`, and
    `export` before a function, a class or a constant.

    Args:
        modules: Source code by file name.

    Raises:
        ValueError: A module imports or exports in another way, or imports a name that the other
            module does not export.
    """
    for name, text in modules.items():
        for names, file in IMPORT.findall(text):
            if missing := set(names.split(", ")) - set(EXPORT.findall(modules[file])):
                raise ValueError(f"{name}: {file} does not export {', '.join(sorted(missing))}")
    needed = {name: {file for _, file in IMPORT.findall(text)} for name, text in modules.items()}
    parts = [_function(name, modules[name]) for name in TopologicalSorter(needed).static_order()]
    return "\n".join(['"use strict";', "(() => {", "const modules = {};", *parts, "})();", ""])


def _function(name: str, text: str) -> str:
    exported = ", ".join(EXPORT.findall(text))
    body = EXPORT.sub("", IMPORT.sub(r'const { \1 } = modules["\2"];', text))
    if found := OTHER.search(body):
        raise ValueError(f"{name} cannot be bundled: {found[0]}")
    return f'modules["{name}"] = (() => {{\n{body.strip()}\nreturn {{ {exported} }};\n}})();'
