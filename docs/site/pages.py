"""What mkdocs.yml cannot say: README is the home page, Chinese pages are one section, links fit.

Pages are written for readers of the repository too, so a link may lead to README.md or to code.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent.parent
HOMES = {"README.md": "index.md", "README.zh-CN.md": "index.zh-CN.md"}
LINK = re.compile(r"\[([^\]]*)\]\(((?![a-z]+:|#)[^)#]+)(#[^)]*)?\)")
ARXIV = re.compile(r"(?<![/>\w])arXiv:([\w./-]*\d)(\n(?=[A-Z]))?")

CODE = '<details class="mkdocstrings-source"'


def on_config(config: MkDocsConfig) -> None:
    """A section of the pages that are there in Chinese, the index of the notes first."""
    folder = Path(config.docs_dir)
    found = sorted(folder.rglob("*.zh-CN.md"), key=_after_index)
    pages = [path.relative_to(folder).as_posix() for path in found]
    if (ROOT / "README.zh-CN.md").exists():
        pages.insert(0, HOMES["README.zh-CN.md"])
    if pages:
        config.nav = [*(config.nav or []), {"中文": pages}]


def _after_index(path: Path) -> tuple[bool, Path]:
    return not path.name.startswith("README"), path


def on_files(files: Files, config: MkDocsConfig) -> None:
    for name, page in HOMES.items():
        if (ROOT / name).exists():
            files.append(File.generated(config, page, content=(ROOT / name).read_text()))


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Links to the pages of the site; of what lies outside docs only the name stays."""
    uri = page.file.src_uri
    place = "" if uri in HOMES.values() else posixpath.join("docs", posixpath.dirname(uri))
    here = posixpath.dirname(uri)

    def fitted(link: re.Match[str]) -> str:
        text, path, anchor = link[1], posixpath.normpath(posixpath.join(place, link[2])), link[3]
        target = HOMES.get(path) or path.removeprefix("docs/")
        if path in HOMES or path.startswith("docs/"):
            return f"[{text}]({posixpath.relpath(target, here or '.')}{anchor or ''})"
        return f"`{text}`" if (ROOT / path).exists() else link[0]

    return LINK.sub(fitted, markdown)


def on_page_content(html: str, **_: object) -> str:
    """An arXiv number of a docstring is a link, after which a list of papers has a new line.

    The search finds docstrings, not the source code that can be opened below them.
    """

    def linked(number: re.Match[str]) -> str:
        end = "<br>" if number[2] else ""
        return f'<a href="https://arxiv.org/abs/{number[1]}">arXiv:{number[1]}</a>{end}'

    return ARXIV.sub(linked, html.replace(CODE, f"{CODE} data-search-exclude"))
