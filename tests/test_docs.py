"""The site builds without network, says what the code says, and every code block in it runs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from click.testing import CliRunner

import marlrobust
from marlrobust.attacks import ATTACKS
from marlrobust.cli import main
from marlrobust.defenses.methods import METHODS
from marlrobust.rows import Decision, DecisionFacts, dictionary

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
ELSEWHERE = {"contributing.md"}
"""Pages whose blocks another test runs."""

FENCE = re.compile(r"^```(\w*)(?: title=\"(.+?)\")?\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """A piece of code in a page. title: the file that it is; empty for what is run; line: where it begins."""

    language: str
    title: str
    code: str
    line: int


def blocks(page: Path) -> list[Block]:
    """In their order."""
    text = page.read_text()
    return [Block(m[1], m[2] or "", m[3], text[: m.start(3)].count("\n")) for m in FENCE.finditer(text)]


def is_run(page: Path) -> bool:
    """Whether there is code in it that this test runs."""
    return page.name not in ELSEWHERE and any(block.language in ("python", "console") for block in blocks(page))


RUN = [page for page in (ROOT / "README.md", *sorted(DOCS.glob("*.md"))) if is_run(page)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to work in; what is imported from it, or registered, is forgotten, and one process
    does all work."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    for registry in (ATTACKS, METHODS):
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
def test_every_block_of_a_page_runs_in_order(page: Path, folder: Path) -> None:
    """As a reader would run them: python in a folder that holds the page's files, marlrobust in a terminal there."""
    namespace = {"__name__": "__main__"}
    for language, title, code, line in blocks(page):
        if title:
            (folder / title).write_text(code)
        elif language == "python":
            with pytest.MonkeyPatch.context() as patch:
                patch.syspath_prepend(folder)
                exec(compile("\n" * line + code, str(page), "exec"), namespace)
        elif language == "console":
            for command in re.findall(r"^\$ (.+)$", code, re.MULTILINE):
                typed(command)


def typed(command: str) -> None:
    """Runs it; a block holds nothing but commands of ours."""
    program, *arguments = shlex.split(command)
    assert program == "marlrobust", command
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, f"{command}\n{result.output}"


def test_code_is_marked_so_that_it_is_run() -> None:
    """What is marked as text, or not at all, is run by nobody."""
    for page in DOCS.glob("*.md"):
        for block in blocks(page):
            assert block.language in ("python", "console", "text", "toml", ""), page
            if block.language in ("text", ""):
                assert not re.search(r"^(\$|import|from|def|class) ", block.code, re.MULTILINE), (page, block.line)
        assert "```" not in FENCE.sub("", page.read_text()), page


class Page(HTMLParser):
    """loads: what a browser fetches for the page by itself; ids: the places in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids.add(given.get("id", ""))
        self.loads += [given[name] for name in ("src", "srcset", "data", "poster") if name in given]
        if tag == "link" and given.get("rel") not in ("canonical", "next", "prev"):
            self.loads.append(given["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built without a way into the network; every warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, **nowhere, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) >= len(list(DOCS.glob("*.md")))
    for page in pages:
        loads = Page(page.read_text()).loads
        assert loads
        assert not [url for url in loads if re.match(r"(https?:)?//", url)], page
    for style in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", style.read_text()), style


def test_the_reference_has_every_public_name_with_its_text(site: Path) -> None:
    page = (site / "api.html").read_text()
    ids = {place.rpartition(".")[2] for place in Page(page).ids}
    assert set(marlrobust.__all__) - {"__version__"} <= ids
    assert "inside a ball of radius" in page


def test_the_columns_are_those_of_the_schema(site: Path) -> None:
    page = (site / "columns.html").read_text()
    for table in (dictionary(), dictionary(DecisionFacts, Decision)):
        for column in table["column"]:
            assert f"<code>{column}</code>" in page
    assert "<!-- columns" not in page


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == marlrobust.__version__
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
