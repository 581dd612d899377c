"""The docs as a site: built from the repository's Markdown as it is, every link leads somewhere, nothing comes from
elsewhere."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from handbook.site import CONFIGURATION, SiteError, build
from stack.layout import REPOSITORY

LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}
COUNTED = ("h1", "h2", "h3", "li", "ol", "ul", "tr", "pre", "img", "strong")


class Page(HTMLParser):
    """What a page loads, and how many of each element its text has."""

    def __init__(self, html: str, *, whole: bool = False) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.elements: Counter[str] = Counter()
        self._inside = whole
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.loaded += [value for name in (LOADED.get(tag),) if name and (value := given.get(name))]
        self._inside = self._inside or tag == "article"
        if self._inside and tag in COUNTED:
            self.elements[tag] += 1

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag != "article"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Mapping[Path, Page]:
    """Each page of Markdown, with what became of it."""
    folder = tmp_path_factory.mktemp("docs") / "site"
    build(folder)
    found = {}
    for file in folder.rglob("*.html"):
        source = file.relative_to(folder).with_suffix(".md")
        source = source.with_name("README.md") if source.name == "index.md" else source
        found[source] = Page(file.read_text())
    return found


def test_every_page_is_in_it_and_reads_as_on_a_git_host(site: Mapping[Path, Page]) -> None:
    markdown = MarkdownIt("commonmark").enable("table")
    command = ["git", "ls-files", "*.md"]
    pages = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.split()
    assert len(pages) > 50
    differences = {}
    for name in pages:
        there = Page(markdown.render((REPOSITORY / name).read_text()), whole=True).elements
        here = site[Path(name)].elements
        if there != here:
            differences[name] = {tag: (there[tag], here[tag]) for tag in COUNTED if there[tag] != here[tag]}
    assert differences == {}, "an empty line before a list or table, or four spaces before what belongs to an item"


def test_the_navigation_has_every_page_of_docs_and_decisions_by_their_list() -> None:
    shown = set(re.findall(r'"(docs/[^"]+\.md)"', CONFIGURATION.read_text()))
    pages = {str(file.relative_to(REPOSITORY)) for file in (REPOSITORY / "docs").rglob("*.md")}
    assert {page for page in pages if not re.fullmatch(r"docs/decisions/\d{4}-.+", page)} == shown


def test_nothing_is_loaded_from_elsewhere(site: Mapping[Path, Page]) -> None:
    loaded = {address for page in site.values() for address in page.loaded}
    assert any(address.endswith("images/dashboard.png") for address in loaded)
    assert {address for address in loaded if "//" in address} == set()


def test_a_file_that_is_no_page_has_one(site: Mapping[Path, Page]) -> None:
    assert site[Path("plugins/etar/alerts/alerts.yml.md")].elements["pre"] == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[a](nowhere.md)", "README.md: there is no file nowhere.md"),
        ("[a](other/)", "README.md: there is no file other"),
        ("![a](other/none.png)", "README.md: there is no file other/none.png"),
        ("[a](other/page.md#nothing)", "anchor"),
        ("[a](#nothing)", "anchor"),
    ],
)
def test_a_link_that_leads_nowhere_fails_the_build(tmp_path: Path, text: str, said: str) -> None:
    repository = tmp_path / "repository"
    (repository / "other").mkdir(parents=True)
    (repository / "README.md").write_text(f"# One\n\n{text}\n")
    (repository / "other" / "page.md").write_text("# Two\n\n[back](../README.md#one)\n")
    subprocess.run(["git", "init", "--quiet"], cwd=repository, check=True)
    configuration = tmp_path / "zensical.toml"
    configuration.write_text('[project]\nsite_name = "etar"\ndocs_dir = "pages"\n')
    with pytest.raises(SiteError, match=said):
        build(tmp_path / "site", repository=repository, configuration=configuration)
    assert not (tmp_path / "site").exists()
