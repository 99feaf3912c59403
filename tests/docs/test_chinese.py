"""Each page has its twin in Chinese, with the same commands, figures and numbers."""

import re
from collections import Counter
from pathlib import Path

import pytest
from commands import lines, name
from conftest import ROOT
from test_notes import ENGLISH, FOLDER

INDEX = FOLDER / "README.md"
PAGES = [ROOT / "README.md", INDEX, *ENGLISH]
NOTES = [INDEX, *ENGLISH]


def twin(page: Path) -> Path:
    return page.with_suffix(".zh-CN.md")


def links(page: Path) -> list[str]:
    return re.findall(r"\]\(([^)]+)\)", page.read_text())


def turned(page: Path, link: str) -> str:
    """A link of an English page as its twin has it: to Chinese wherever there is some."""
    if link == twin(page).name:
        return page.name
    there = twin(page.parent / link)
    return str(Path(link).with_name(there.name)) if there.is_file() else link


def numbers(text: str) -> list[str]:
    return re.findall(r"\d+(?:[.,]\d+)*", text)


def rows(page: Path) -> list[str]:
    return [line for line in page.read_text().splitlines() if line.startswith("|")]


def cells(row: str) -> list[list[str]]:
    return [sorted(numbers(cell)) for cell in row.split("|")]


def code(page: Path) -> list[str]:
    """The indented lines, without comments."""
    indented = re.findall(r"^ {4}.*", page.read_text(), re.MULTILINE)
    return [line.partition("  #")[0].strip() for line in indented]


def test_no_page_is_in_chinese_only():
    found = [*ROOT.glob("*.zh-CN.md"), *(ROOT / "docs").rglob("*.zh-CN.md")]
    assert not [page for page in found if not Path(str(page).replace(".zh-CN", "")).is_file()]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_its_twin_is_in_chinese(page):
    text = twin(page).read_text()
    assert len(re.findall(r"[\u4e00-\u9fff]", text)) > 300


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_both_have_the_same_commands(page):
    assert lines(page) == lines(twin(page))


@pytest.mark.parametrize("page", NOTES, ids=name)
def test_both_have_the_same_code(page):
    ours, theirs = code(page), code(twin(page))
    assert len(ours) == len(theirs)
    assert not [line for line in theirs if line.isascii() and line not in ours]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_both_have_the_same_figures_and_links(page):
    assert Counter(turned(page, link) for link in links(page)) == Counter(links(twin(page)))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_both_have_the_same_numbers(page):
    ours, theirs = (Counter(numbers(each.read_text())) for each in (page, twin(page)))
    assert (ours - theirs, theirs - ours) == (Counter(), Counter())


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_cells_of_a_table_have_the_same_numbers(page):
    ours, theirs = ([*map(cells, rows(each))] for each in (page, twin(page)))
    assert ours == theirs


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_they_lead_to_each_other_before_anything_else_is_said(page):
    for here, there in ((page, twin(page)), (twin(page), page)):
        first = here.read_text().split("\n\n")[1]
        assert f"]({there.name})" in first
