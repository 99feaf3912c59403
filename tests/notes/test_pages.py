"""The pages of docs/notes: their commands run, and their numbers are the recorded ones."""

import json
from importlib import import_module
from pathlib import Path

import pytest
from commands import block_commands
from conftest import ROOT
from PIL import Image

from vaelab.notes.base import format_value

FOLDER = ROOT / "docs" / "notes"
FIGURES = FOLDER / "figures"
PAGES = sorted(FOLDER.glob("[01]*.md"))
ENGLISH = [page for page in PAGES if not page.name.endswith(".zh-CN.md")]


def page_file_name(page: Path) -> str:
    return page.name


def test_there_are_thirteen_notes():
    assert [page.name[:2] for page in ENGLISH] == [f"{number:02}" for number in range(1, 14)]


@pytest.mark.parametrize("page", PAGES, ids=page_file_name)
def test_page_names_the_command_of_its_note(page):
    assert f"python scripts/notes.py {int(page.name[:2])}" in block_commands(page)
    module = page.name.split(".")[0][3:].replace("-", "_")
    assert callable(import_module(f"vaelab.notes.{module}").make_note)


@pytest.mark.parametrize("page", PAGES, ids=page_file_name)
def test_page_contains_every_recorded_number(page):
    record = json.loads((FIGURES / f"{page.name[:2]}.json").read_text())
    text = page.read_text()
    cells = [*record["numbers"].values()]
    cells += [cell for row in record["rows"] for cell in row.values()]
    numbers = [cell for cell in cells if not isinstance(cell, str)]
    assert not [number for number in numbers if format_value(number) not in text]
    assert f"{record['processor_s']} s" in text


@pytest.mark.parametrize("page", ENGLISH, ids=page_file_name)
def test_page_contains_the_recorded_table_and_its_titles(page):
    record = json.loads((FIGURES / f"{page.name[:2]}.json").read_text())
    text = page.read_text().splitlines()
    assert f"| {' | '.join(record['rows'][0])} |" in text
    for row in record["rows"]:
        assert f"| {' | '.join(format_value(cell) for cell in row.values())} |" in text
    for title, number in record["numbers"].items():
        assert f"- {title}: {format_value(number)}" in text


@pytest.mark.parametrize("index", ["README.md", "README.zh-CN.md"])
def test_index_links_every_page_of_its_language(index):
    text = (FOLDER / index).read_text()
    chinese = index.endswith(".zh-CN.md")
    assert all((f"]({page.name})" in text) == ((page in ENGLISH) != chinese) for page in PAGES)


def test_figures_are_small_and_shown_on_a_page():
    text = "".join(page.read_text() for page in ENGLISH)
    for path in FIGURES.iterdir():
        if path.suffix == ".json":
            continue
        assert path.stat().st_size < (500_000 if path.suffix == ".gif" else 125_000), path
        assert f"(figures/{path.name})" in text
        with Image.open(path) as image:
            assert min(image.size) > 100


@pytest.mark.slow
@pytest.mark.parametrize("page", ENGLISH, ids=page_file_name)
def test_note_writes_its_figures_in_a_smoke_test(page, shell, tmp_path):
    number = page.name[:2]
    shell("scripts/notes.py", str(int(number)), "--smoke", "--out", str(tmp_path / "out"))
    expected = {path.name for path in FIGURES.glob(f"{number}*")}
    assert {path.name for path in (tmp_path / "out").iterdir()} == expected
