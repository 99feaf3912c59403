"""Test that every page and its Chinese translation have the same commands, figures and numbers."""

import re
from collections import Counter
from pathlib import Path

import pytest
from commands import NOTES, block_commands, list_english_notes, page_name
from conftest import ROOT

NOTE_PAGES = [NOTES / "README.md", *list_english_notes()]
NOTEBOOK = ROOT / "docs/notebooks/quick_start.py"
CHOOSE_PAGES = [*(ROOT / "docs").glob("choose-*.md")]
CHOOSE_PAGES = [page for page in CHOOSE_PAGES if ".zh-CN" not in page.name]
PAGES = [ROOT / "README.md", *CHOOSE_PAGES, *NOTE_PAGES]


def translation(page: Path) -> Path:
    """Return the path of the Chinese translation of a page."""
    return page.with_suffix(".zh-CN.md")


def links(page: Path) -> list[str]:
    return re.findall(r"\]\(([^)]+)\)", page.read_text())


def translated_link(page: Path, link: str) -> str:
    """Return a link as the translation has it: to the Chinese page wherever there is one."""
    if link == translation(page).name:
        return page.name
    target = translation(page.parent / link)
    return str(Path(link).with_name(target.name)) if target.is_file() else link


def numbers(text: str) -> list[str]:
    return re.findall(r"\d+(?:[.,]\d+)*", text)


def table_rows(page: Path) -> list[str]:
    return [line for line in page.read_text().splitlines() if line.startswith("|")]


def numbers_per_cell(row: str) -> list[list[str]]:
    return [sorted(numbers(cell)) for cell in row.split("|")]


def indented_code(page: Path) -> list[str]:
    """Return the indented lines of a page without their comments."""
    indented = re.findall(r"^ {4}.*", page.read_text(), re.MULTILINE)
    return [line.partition("  #")[0].strip() for line in indented]


def test_every_chinese_page_has_an_english_page():
    pages = [*ROOT.glob("*.zh-CN.md"), *(ROOT / "docs").rglob("*.zh-CN.md")]
    english = [Path(str(page).replace(".zh-CN", "")) for page in pages]
    assert [page for page in english if not page.is_file()] == [NOTEBOOK.with_suffix(".md")]


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_the_translation_is_in_chinese(page):
    text = translation(page).read_text()
    assert len(re.findall(r"[\u4e00-\u9fff]", text)) > 300


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_both_languages_have_the_same_commands(page):
    assert block_commands(page) == block_commands(translation(page))


@pytest.mark.parametrize("page", NOTE_PAGES, ids=page_name)
def test_both_languages_have_the_same_code(page):
    english, chinese = indented_code(page), indented_code(translation(page))
    assert len(english) == len(chinese)
    assert not [line for line in chinese if line.isascii() and line not in english]


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_both_languages_have_the_same_figures_and_links(page):
    english = Counter(translated_link(page, link) for link in links(page))
    assert english == Counter(links(translation(page)))


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_both_languages_have_the_same_numbers(page):
    english, chinese = (Counter(numbers(p.read_text())) for p in (page, translation(page)))
    assert (english - chinese, chinese - english) == (Counter(), Counter())


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_table_cells_have_the_same_numbers_in_both_languages(page):
    english, chinese = ([*map(numbers_per_cell, table_rows(p))] for p in (page, translation(page)))
    assert english == chinese


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_the_first_paragraph_links_to_the_other_language(page):
    for source, target in ((page, translation(page)), (translation(page), page)):
        paragraph = source.read_text().split("\n\n")[1]
        assert f"]({target.name})" in paragraph


def test_the_chinese_quick_start_has_the_code_of_the_notebook():
    notebook, chinese = NOTEBOOK.read_text(), translation(NOTEBOOK.with_suffix(".md")).read_text()
    cells = re.findall(r"^# %%(?! \[markdown\]).*\n((?:.*\n)*?)(?=# %%|\Z)", notebook, re.MULTILINE)
    blocks = re.findall(r"^```python\n((?:.*\n)*?)```$", chinese, re.MULTILINE)
    assert [block.strip() for block in blocks] == [cell.strip() for cell in cells]
    headings = (len(re.findall(p, t, re.M)) for p, t in ((r"^# ##", notebook), (r"^##", chinese)))
    assert len({*headings}) == 1
