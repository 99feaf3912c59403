"""The site of `make docs`: it is whole, needs no network, and finds what is searched for."""

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from browser import PATIENCE, browser, need_browser, requested
from conftest import ROOT

pytestmark = pytest.mark.slow
CHINESE = {
    "README.zh-CN.md": "# 主页\n\n[部件](docs/parts.md) [英文](README.md) [许可](LICENSE)\n",
    "docs/notes/98-probe.zh-CN.md": "# 样例\n\n## 先验\n\n[主页](../../README.zh-CN.md)\n",
}


def built(copy: Path, pages: dict[str, str]) -> subprocess.CompletedProcess:
    """`make docs` with these pages more, in a copy of the repository."""
    shutil.copytree(ROOT / "docs", copy / "docs")
    for path in ROOT.glob("README*.md"):
        shutil.copy(path, copy)
    for name in ("LICENSE", "conf", "scripts", "src", "tests"):
        (copy / name).symlink_to(ROOT / name)
    for path, text in pages.items():
        (copy / path).write_text(text)
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "-f", "docs/site/mkdocs.yml"],
        cwd=copy,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, with pages in Chinese."""
    copy = tmp_path_factory.mktemp("copy")
    done = built(copy, CHINESE)
    assert done.returncode == 0, done.stderr
    return copy / "site"


class Resources(HTMLParser):
    """What a page has a browser fetch, and what it links to."""

    def __init__(self, page: Path):
        super().__init__()
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {key: value or "" for key, value in attrs}
        (self.links if tag == "a" else self.fetched).append(said.get("href", ""))
        self.fetched += [said.get("src", ""), *said.get("srcset", "").split(",")]


def outside(addresses: list[str]) -> list[str]:
    return [each for each in addresses if re.match(r"\s*(\w+:)?//", each)]


def test_no_page_fetches_anything_from_outside(site):
    pages = [*site.rglob("*.html")]
    assert len(pages) > 35
    for page in pages:
        found = Resources(page)
        assert any(each.endswith(".css") for each in found.fetched)
        assert outside(found.fetched) == []
        text = page.read_text()
        assert not re.search(r"(@import|url\()\s*[\"']?(\w+:)?//", text)


def test_no_style_fetches_anything_from_outside(site):
    styles = [*site.rglob("*.css")]
    assert len(styles) > 2
    for style in styles:
        used = re.findall(r"(?:@import\s+|url\()\s*[\"']?([^\"')]+)", style.read_text())
        assert outside(used) == []


def test_every_page_of_the_docs_is_in_it(site):
    for page in (ROOT / "docs").rglob("*.md"):
        path = page.relative_to(ROOT / "docs").with_suffix(".html")
        assert (site / (path.with_stem("index") if path.stem == "README" else path)).is_file()


def test_pages_in_chinese_are_a_section_and_their_links_fit(site):
    assert "中文" in (site / "index.html").read_text()
    assert "../index.zh-CN.html" in Resources(site / "notes" / "98-probe.zh-CN.html").links
    home = (site / "index.zh-CN.html").read_text()
    assert {"parts.html", "index.html"} <= {*Resources(site / "index.zh-CN.html").links}
    assert "<code>许可</code>" in home


def test_the_contracts_are_there_with_their_docstrings(site):
    for group in ("posteriors", "priors", "likelihoods", "objectives", "kl", "samplers"):
        text = (site / "api" / f"{group}.html").read_text()
        assert f'id="vaelab.{group}.base"' in text
        for path in (ROOT / "src" / "vaelab" / group).glob("[a-z]*.py"):
            assert f'id="vaelab.{group}.{path.stem}' in text
    assert 'href="https://arxiv.org/abs/1602.02282"' in (site / "api" / "kl.html").read_text()


def test_signs_of_a_formula_are_not_read_as_markdown(site):
    assert "Codes (*, latent_dim) to p(x|z), with batch shape (*)" in (
        (site / "api" / "vae.html").read_text()
    )
    assert "null = &lt;root&gt;/.vaelab-cache" in (site / "api" / "data.html").read_text()


def test_links_that_lead_nowhere_fail_the_build(tmp_path):
    links = ("nowhere.md", "parts.md#no-place", "../src/nowhere.py")
    page = "\n".join(f"[here]({link})" for link in links)
    done = built(tmp_path, {"docs/results.md": f"# Results\n\n{page}\n"})
    assert done.returncode != 0
    assert all(f"'{link}'" in done.stderr for link in links)


@pytest.mark.parametrize("words", ["free bits", "先验"])
def test_the_search_works_on_a_double_click(site, tmp_path, words):
    need_browser()
    from selenium.webdriver.support.ui import WebDriverWait

    with browser(tmp_path) as page:
        page.get((site / "index.html").as_uri())
        page.execute_script("document.querySelector('#__search').click()")
        page.find_element("css selector", "[data-md-component=search-query]").send_keys(words)
        found = "return [...document.querySelectorAll('.md-search-result__link')].map(a => a.href)"
        links = WebDriverWait(page, PATIENCE).until(lambda page: page.execute_script(found))
        wanted = {"free bits": "api/kl.html", "先验": "notes/98-probe.zh-CN.html"}[words]
        assert any(wanted in link for link in links)
        assert requested(page) == set()
