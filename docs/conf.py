"""Settings of the documentation site: `make docs` builds it with Sphinx."""

import re
from typing import Any

import viceversa

project = "viceversa"
author = "the viceversa authors"
copyright = author
release = version = viceversa.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"viceversa {release}"
html_show_copyright = False

default_role = "code"  # `name` in docstrings

# The pages are read in the repository too: links to headings have the names that GitHub forms.
myst_heading_anchors = 4

napoleon_numpy_docstring = False
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True


def link_files(app: Any, page: str, source: list[str]) -> None:
    """Let links to Markdown files outside of docs/ open the file: they are no pages of the site."""
    source[0] = re.sub(r"\]\((\.\./[^)#]+\.md)(#[^)]*)?\)", r"](path:\1)", source[0])


HIDDEN = "\ue000"  # a character of no text


def hide_colons(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Napoleon takes what is before the first colon of an attribute's docstring for its type."""
    if what in ("attribute", "data", "property"):
        lines[:] = [line.replace(":", HIDDEN) for line in lines]


def restore_colons(*arguments: Any) -> None:
    lines: list[str] = arguments[-1]
    lines[:] = [line.replace(HIDDEN, ":") for line in lines]


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", link_files)
    app.connect("autodoc-process-docstring", hide_colons, priority=400)
    app.connect("autodoc-process-docstring", restore_colons, priority=600)  # napoleon: 500
