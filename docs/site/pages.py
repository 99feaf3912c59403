"""Hooks of MkDocs: pages of the repository's root, a section of Chinese pages, links out of docs/.

The pages are also read in the repository, so a link may lead to README.md or to code.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent.parent
ROOT_PAGES = {
    "README.md": "index.md",
    "README.zh-CN.md": "index.zh-CN.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
LINK = re.compile(r"\[([^\]]*)\]\(((?![a-z]+:|#)[^)#]+)(#[^)]*)?\)")
ARXIV = re.compile(r"(?<![/>\w])arXiv:([\w./-]*\d)(\n(?=[A-Z]))?")

NOT_SEARCHED = re.compile(
    r'<details class="mkdocstrings-source"|<div class="jp-RenderedText[^>]*>\s*<pre'
)


def on_config(config: MkDocsConfig) -> None:
    """Add a navigation section with the Chinese pages, the index of the notes first."""
    folder = Path(config.docs_dir)
    paths = sorted(folder.rglob("*.zh-CN.md"), key=_index_first)
    pages = [path.relative_to(folder).as_posix() for path in paths]
    if (ROOT / "README.zh-CN.md").exists():
        pages.insert(0, ROOT_PAGES["README.zh-CN.md"])
    if pages:
        config.nav = [*(config.nav or []), {"中文": pages}]


def _index_first(path: Path) -> tuple[bool, Path]:
    return not path.name.startswith("README"), path


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the pages of the repository's root."""
    for name, page in ROOT_PAGES.items():
        if (ROOT / name).exists():
            files.append(File.generated(config, page, content=(ROOT / name).read_text()))


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Rewrite links to pages for the site; of a link to a file outside docs/ keep the text."""
    uri = page.file.src_uri
    source = "" if uri in ROOT_PAGES.values() else posixpath.join("docs", posixpath.dirname(uri))
    folder = posixpath.dirname(uri)

    def rewrite_link(link: re.Match[str]) -> str:
        text, path, anchor = link[1], posixpath.normpath(posixpath.join(source, link[2])), link[3]
        target = ROOT_PAGES.get(path) or path.removeprefix("docs/")
        if path in ROOT_PAGES or path.startswith("docs/"):
            return f"[{text}]({posixpath.relpath(target, folder or '.')}{anchor or ''})"
        return f"`{text}`" if (ROOT / path).exists() else link[0]

    return LINK.sub(rewrite_link, markdown)


def on_page_content(html: str, **_: object) -> str:
    """Link the arXiv numbers of docstrings, one paper a line.

    Source code and what notebooks print are hidden from search.
    """

    def link_paper(number: re.Match[str]) -> str:
        end = "<br>" if number[2] else ""
        return f'<a href="https://arxiv.org/abs/{number[1]}">arXiv:{number[1]}</a>{end}'

    return ARXIV.sub(link_paper, NOT_SEARCHED.sub(r"\g<0> data-search-exclude", html))
