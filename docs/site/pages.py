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
ARXIV = re.compile(r"(?<![/>\w])arXiv:([\w./-]*\d)")


def on_config(config: MkDocsConfig) -> None:
    """A section of the pages that are there in Chinese, the index of the notes first."""
    found = [name for name in HOMES if name != "README.md" and (ROOT / name).exists()]
    pages = [HOMES[name] for name in found]
    folder = Path(config.docs_dir)
    notes = sorted(folder.rglob("*.zh-CN.md"), key=lambda path: (path.name[0] != "R", path))
    pages += [path.relative_to(folder).as_posix() for path in notes]
    if pages:
        config.nav.append({"中文": pages})


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
    """An arXiv number of a docstring is a link."""
    return ARXIV.sub(r'<a href="https://arxiv.org/abs/\1">arXiv:\1</a>', html)
