"""Test the site of `make docs`: it is complete, needs no network, and its search works."""

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from browser import TIMEOUT, open_browser, requested_hosts, require_browser
from conftest import ROOT

pytestmark = pytest.mark.slow
CHINESE = {
    "README.zh-CN.md": "# 主页\n\n[部件](docs/parts.md) [英文](README.md) [许可](LICENSE)\n",
    "docs/notes/98-probe.zh-CN.md": "# 样例\n\n## 先验\n\n[主页](../../README.zh-CN.md)\n",
}


def build_site(copy: Path, pages: dict[str, str]) -> subprocess.CompletedProcess:
    """Build the site with additional pages in a copy of the repository, as `make docs` does.

    The notebooks are not run here: tests/docs/test_python_api.py runs them.
    """
    shutil.copytree(ROOT / "docs", copy / "docs")
    for path in ROOT.glob("[A-Z]*.md"):
        shutil.copy(path, copy)
    for name in ("CITATION.cff", "LICENSE", "conf", "scripts", "src", "tests"):
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
    """Build the site with two Chinese pages and return its folder."""
    copy = tmp_path_factory.mktemp("copy")
    done = build_site(copy, CHINESE)
    assert done.returncode == 0, done.stderr
    return copy / "site"


class Resources(HTMLParser):
    """The addresses that a page makes a browser fetch, and its links."""

    def __init__(self, page: Path):
        super().__init__()
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {key: value or "" for key, value in attrs}
        (self.links if tag == "a" else self.fetched).append(attributes.get("href", ""))
        self.fetched += [attributes.get("src", ""), *attributes.get("srcset", "").split(",")]


def external(addresses: list[str]) -> list[str]:
    return [address for address in addresses if re.match(r"\s*(\w+:)?//", address)]


def test_pages_fetch_nothing_from_other_hosts(site):
    pages = [*site.rglob("*.html")]
    assert len(pages) > 35
    for page in pages:
        resources = Resources(page)
        assert any(address.endswith(".css") for address in resources.fetched)
        assert external(resources.fetched) == []
        text = page.read_text()
        assert not re.search(r"(@import|url\()\s*[\"']?(\w+:)?//", text)


def test_styles_fetch_nothing_from_other_hosts(site):
    styles = [*site.rglob("*.css")]
    assert len(styles) > 2
    for style in styles:
        addresses = re.findall(r"(?:@import\s+|url\()\s*[\"']?([^\"')]+)", style.read_text())
        assert external(addresses) == []


def test_site_has_every_page_of_the_docs(site):
    for page in (ROOT / "docs").rglob("*.md"):
        path = page.relative_to(ROOT / "docs").with_suffix(".html")
        assert (site / (path.with_stem("index") if path.stem == "README" else path)).is_file()


def test_site_has_the_notebooks_and_the_pages_of_the_root(site):
    for path in (ROOT / "docs" / "notebooks").glob("*.py"):
        page = (site / "notebooks" / f"{path.stem}.html").read_text()
        assert "make_model" in page or "run_training" in page
        assert f'href="../notebooks/{path.stem}.html"' in (site / "api" / "kl.html").read_text()
    assert "pull request" in (site / "contributing.html").read_text()
    assert "0.1.0" in (site / "changelog.html").read_text()


@pytest.mark.parametrize("width", [1440, 1024, 500])
def test_nothing_is_wider_than_the_window(site, tmp_path, width):
    require_browser()
    with open_browser(tmp_path) as page:
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        for name in ("index", "parts", "results", "migration", "choose-prior", "api/kl"):
            page.get((site / f"{name}.html").as_uri())
            is_wider = "return document.documentElement.scrollWidth > innerWidth"
            assert not page.execute_script(is_wider), name
            wide = "return [...document.querySelectorAll('.md-typeset__scrollwrap')]"
            wide += ".filter(e => e.scrollWidth > e.clientWidth + 1).length"
            assert page.execute_script(wide) == 0, name


def test_notebook_page_requests_nothing_from_other_hosts(site, tmp_path):
    require_browser()
    with open_browser(tmp_path) as page:
        page.get((site / "notebooks" / "quick_start.html").as_uri())
        assert page.find_elements("css selector", ".jp-CodeCell")
        assert requested_hosts(page) == set()


def test_chinese_pages_are_a_section_with_working_links(site):
    assert "中文" in (site / "index.html").read_text()
    assert "../index.zh-CN.html" in Resources(site / "notes" / "98-probe.zh-CN.html").links
    home = (site / "index.zh-CN.html").read_text()
    assert {"parts.html", "index.html"} <= {*Resources(site / "index.zh-CN.html").links}
    assert "<code>许可</code>" in home


def test_site_has_the_docstrings_of_every_contract_and_part(site):
    for group in ("posteriors", "priors", "likelihoods", "objectives", "kl", "samplers"):
        text = (site / "api" / f"{group}.html").read_text()
        assert f'id="vaelab.{group}.base"' in text
        for path in (ROOT / "src" / "vaelab" / group).glob("[a-z]*.py"):
            assert f'id="vaelab.{group}.{path.stem}' in text
    assert 'href="https://arxiv.org/abs/1602.02282"' in (site / "api" / "kl.html").read_text()


def test_formulas_in_docstrings_are_not_read_as_markdown(site):
    assert "Return p(x|z) with batch shape (*) for latents z (*, latent_dim)." in (
        (site / "api" / "vae.html").read_text()
    )
    assert "null = &lt;root&gt;/.vaelab-cache" in (site / "api" / "data.html").read_text()


def test_formulas_are_drawn_without_a_script(site):
    page = (site / "choose-likelihood.html").read_text()
    assert page.count("<math") > 0
    assert "arithmatex" not in page
    field = (site / "notes" / "13-kl-field.html").read_text()
    assert 'display="block"' in field
    assert "\\mathrm" not in field
    assert (site / "site" / "stix-two-math.woff2").is_file()


def test_a_formula_that_cannot_be_drawn_fails_the_build(tmp_path):
    done = build_site(tmp_path, {"docs/results.md": "# Results\n\n$\\nosuchsign$\n"})
    assert done.returncode != 0
    assert "results.md: cannot render $\\nosuchsign$" in done.stderr


def test_cells_of_tables_name_their_column(site):
    page = (site / "choose-prior.html").read_text()
    assert '<td data-label="NLL (nats)">95.44' in page


def test_broken_links_fail_the_build(tmp_path):
    links = ("nowhere.md", "parts.md#no-place", "../src/nowhere.py")
    page = "\n".join(f"[here]({link})" for link in links)
    done = build_site(tmp_path, {"docs/results.md": f"# Results\n\n{page}\n"})
    assert done.returncode != 0
    assert all(f"'{link}'" in done.stderr for link in links)


@pytest.mark.parametrize("words", ["free bits", "先验"])
def test_search_works_without_a_web_server(site, tmp_path, words):
    require_browser()
    from selenium.webdriver.support.ui import WebDriverWait

    with open_browser(tmp_path) as page:
        page.get((site / "index.html").as_uri())
        page.execute_script("document.querySelector('#__search').click()")
        page.find_element("css selector", "[data-md-component=search-query]").send_keys(words)
        script = "return [...document.querySelectorAll('.md-search-result__link')].map(a => a.href)"
        links = WebDriverWait(page, TIMEOUT).until(lambda page: page.execute_script(script))
        expected = {"free bits": "api/kl.html", "先验": "notes/98-probe.zh-CN.html"}[words]
        assert any(expected in link for link in links)
        assert requested_hosts(page) == set()
