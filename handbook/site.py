"""``python -m handbook.site FOLDER``: builds the docs as a site, whose pages load nothing from elsewhere.

Pages and what they link to are put side by side as they are in the repository, so that a link works there, in the site
and on a Git host. Where a page links to a file that is no page, such as a program, the site has it as a page. A link or
an anchor that leads nowhere fails the build.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Set
from pathlib import Path
from tempfile import TemporaryDirectory

from stack.layout import REPOSITORY

CONFIGURATION = Path(__file__).with_name("zensical.toml")

_LINK = re.compile(r"(?<=\]\()(?P<target>[^)\s#:]+)(?=[)#])")
"""The file of a link, as Markdown has it; not of one to another host, nor within the page."""
_PICTURES = (".png", ".svg")


class SiteError(RuntimeError):
    """The site cannot be built: a page links to something that is not there."""


def build(site: Path, *, repository: Path = REPOSITORY, configuration: Path = CONFIGURATION) -> None:
    """Build the site of all pages of ``repository`` into the folder ``site``, in place of what it has.

    Raises:
        SiteError: a link or an anchor leads nowhere; says which, of all of them.
    """
    with TemporaryDirectory(prefix="etar-site-") as name:
        folder = Path(name)
        _lay_out(repository, folder / "pages")
        shutil.copy(configuration, folder / "zensical.toml")
        built = subprocess.run(
            [sys.executable, "-m", "zensical", "build", "--strict"],
            cwd=folder,
            env=os.environ | {"NO_COLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if built.returncode:
            raise SiteError(_without_traceback(built.stdout + built.stderr))
        shutil.rmtree(site, ignore_errors=True)
        shutil.move(folder / "site", site)


def _lay_out(repository: Path, pages: Path) -> None:
    """Write every page of the repository, and what they link to, into ``pages``."""
    known = _files(repository)
    linked: set[Path] = set()
    broken = []
    for page in sorted(path for path in known if path.suffix == ".md"):
        text, missing = _page(repository, page, known, linked)
        broken += missing
        _write(pages / page, text)
    if broken:
        raise SiteError("\n".join(broken))
    for path in linked:
        if path.suffix in _PICTURES:
            (pages / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(repository / path, pages / path)
        else:
            text = (repository / path).read_text()
            _write(pages / _as_page(path), f"# {path}\n\n~~~~{path.suffix[1:]}\n{text}\n~~~~\n")


def _files(repository: Path) -> Set[Path]:
    """What is in the repository, or would be with the next commit."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True).stdout
    return {Path(line) for line in listed.splitlines() if (repository / line).is_file()}


def _page(repository: Path, page: Path, known: Set[Path], linked: set[Path]) -> tuple[str, list[str]]:
    """The text of a page with links as the site has them, and what is wrong with the others; ``linked`` grows by the
    files that are no pages."""
    missing = []

    def as_in_the_site(found: re.Match[str]) -> str:
        target = found["target"]
        path = Path(os.path.normpath(page.parent / target))
        if path not in known:
            missing.append(
                f"{page}: there is no file {path}, which it links to (a folder is none: link to a file of it)"
            )
        elif path.suffix != ".md":
            linked.add(path)
            if path.suffix not in _PICTURES:
                return os.path.relpath(_as_page(path), page.parent)
        return target

    return _LINK.sub(as_in_the_site, (repository / page).read_text()), missing


def _as_page(path: Path) -> Path:
    """The page of a file that is none: of ``.env.example`` it is ``env.example.md``, as names with a dot are hidden."""
    return path.with_name(path.name.lstrip(".") + ".md")


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def _without_traceback(output: str) -> str:
    return output.partition("\nTraceback")[0]


def main() -> None:
    site = Path(sys.argv[1])
    try:
        build(site)
    except SiteError as error:
        sys.exit(f"{error}\netar: the site is not built")
    print(f"the docs are {site}/index.html")


if __name__ == "__main__":
    main()
