"""Hooks of MkDocs: root pages, a section of Chinese pages, links, formulas and tables.

The pages are also read in the repository, so a link may lead to README.md or to code.
"""

import html
import posixpath
import re
from pathlib import Path

from math_core import LatexError, LatexToMathML
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
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

FORMULA = re.compile(r'<(span|div) class="arithmatex">\s*\\([(\[])(.*?)\\[)\]]\s*</\1>', re.DOTALL)
TO_MATHML = LatexToMathML(fancy_error=False)
TABLE = re.compile(r"<table>.*?</table>", re.DOTALL)
TITLE = re.compile(r"<th\b[^>]*>(.*?)</th>", re.DOTALL)
CELL = re.compile(r"<td\b")
TAG = re.compile(r"<[^>]+>")
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


def on_page_content(content: str, page: Page, **_: object) -> str:
    """Render formulas, name the column in each cell, and link the arXiv numbers of docstrings.

    Source code and what notebooks print are hidden from search.
    """
    content = FORMULA.sub(lambda formula: _render_formula(formula, page), content)
    content = TABLE.sub(_label_cells, content)
    content = NOT_SEARCHED.sub(r"\g<0> data-search-exclude", content)
    return ARXIV.sub(_link_paper, content)


def _render_formula(formula: re.Match[str], page: Page) -> str:
    """Return the MathML of a formula, which browsers draw without a script."""
    latex = html.unescape(formula[3])
    try:
        return TO_MATHML.convert_with_local_state(latex, displaystyle=formula[1] == "div")
    except LatexError as error:
        raise PluginError(f"{page.file.src_uri}: cannot render ${latex}$: {error}") from error


def _label_cells(table: re.Match[str]) -> str:
    """Add the title of its column to each cell: style.css shows it where a screen is narrow."""
    titles = [TAG.sub("", title).replace('"', "&quot;") for title in TITLE.findall(table[0])]

    def label_row(row: str) -> str:
        labels = iter(titles)
        return CELL.sub(lambda cell: f'{cell[0]} data-label="{next(labels, "")}"', row)

    return "<tr>".join(map(label_row, table[0].split("<tr>")))


def _link_paper(number: re.Match[str]) -> str:
    """Return a link to a paper, which ends its line."""
    end = "<br>" if number[2] else ""
    return f'<a href="https://arxiv.org/abs/{number[1]}">arXiv:{number[1]}</a>{end}'
