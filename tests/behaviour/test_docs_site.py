"""The documentation site: Sphinx builds it without a warning, and it opens from disk."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote

import pytest

import viceversa

DOCS = Path(__file__).parents[2] / "docs"
PACKAGES = "sphinx", "myst_parser", "furo"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(map(find_spec, PACKAGES)), reason="Sphinx is not installed: pip install '.[docs]'"
    ),
]


def build(source: Path, out: Path, config: Path = DOCS) -> subprocess.CompletedProcess[str]:
    """Build a site as `make docs` does."""
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "sphinx",
            "-W",
            "-E",
            "--keep-going",
            "-q",
            "-c",
            str(config),
            str(source),
            str(out),
        ],
        capture_output=True,
        text=True,
        check=False,
    )


class Links(HTMLParser):
    """What a page links to, and what a browser loads to show it."""

    def __init__(self, page: Path):
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.anchors.add(values.get("id") or "")
        if tag == "a" and values.get("href"):
            self.links.append(values["href"] or "")
        elif address := values.get("src") or (values.get("href") if tag == "link" else None):
            self.loaded.append(address)


def test_the_site_is_complete_and_opens_from_disk(tmp_path: Path) -> None:
    done = build(DOCS, tmp_path)
    assert done.returncode == 0, done.stderr
    pages = {path.stem: Links(path) for path in tmp_path.glob("*.html")}
    written = {path.stem for path in DOCS.glob("*.md")}
    assert written <= pages.keys() and len(written) > 12
    for name in written:
        page = pages[name]
        assert not [one for one in page.loaded if re.match("(https?:)?//", one)], name
        local = [one for one in page.links + page.loaded if not re.match(r"\w+:", one)]
        for link in local:
            path, _, anchor = unquote(link).partition("#")
            path = path.partition("?")[0]
            target = tmp_path / path if path else tmp_path / f"{name}.html"
            assert target.exists(), (name, link)
            if anchor and target.parent == tmp_path and target.suffix == ".html":
                assert anchor in pages[target.stem].anchors, (name, link)
    contents = {link.partition(".html")[0] for link in pages["index"].links}
    assert written - {"index"} <= contents
    # Every public name is in the reference.
    names = {name for name in viceversa.__all__ if name != "__version__"}
    text = (tmp_path / "api.html").read_text()
    assert {
        name for name in names if not re.search(rf'id="viceversa[\w.]*\.{name}"', text)
    } == set()
    assert "Adversarial loss: bce" in text  # the help of an option is not split at its colon


@pytest.mark.parametrize(
    "text",
    ["[gone](nowhere.md)", "[gone](index.md#nowhere)", "```{autofunction} viceversa.gone\n```"],
)
def test_a_broken_page_fails(text: str, tmp_path: Path) -> None:
    (tmp_path / "index.md").write_text("# Title\n\nText.\n")
    assert build(tmp_path, tmp_path / "out").returncode == 0
    (tmp_path / "index.md").write_text(f"# Title\n\n{text}\n")
    assert build(tmp_path, tmp_path / "out").returncode != 0
