"""The pages of docs/notes: every note is shown and every number was measured."""

import json
from importlib import import_module
from pathlib import Path

import pytest
from commands import lines
from conftest import ROOT
from PIL import Image

from vaelab.notes.base import format_value

FOLDER = ROOT / "docs" / "notes"
FIGURES = FOLDER / "figures"
PAGES = sorted(FOLDER.glob("[01]*.md"))
ENGLISH = [page for page in PAGES if not page.name.endswith(".zh-CN.md")]


def name(page: Path) -> str:
    return page.name


def test_there_are_thirteen():
    assert [page.name[:2] for page in ENGLISH] == [f"{number:02}" for number in range(1, 14)]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_page_shows_its_note_by_its_command(page):
    assert f"python scripts/notes.py {int(page.name[:2])}" in lines(page)
    module = page.name.split(".")[0][3:].replace("-", "_")
    assert callable(import_module(f"vaelab.notes.{module}").show)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_page_tells_every_number_that_was_measured(page):
    found = json.loads((FIGURES / f"{page.name[:2]}.json").read_text())
    text = page.read_text()
    cells = [*found["numbers"].values()]
    cells += [cell for row in found["rows"] for cell in row.values()]
    assert not [
        each for each in cells if not isinstance(each, str) and format_value(each) not in text
    ]
    assert f"{found['processor_s']} s" in text


@pytest.mark.parametrize("page", ENGLISH, ids=name)
def test_the_tables_of_a_page_are_those_of_its_command(page):
    found = json.loads((FIGURES / f"{page.name[:2]}.json").read_text())
    text = page.read_text().splitlines()
    for row in found["rows"]:
        assert f"| {' | '.join(format_value(each) for each in row.values())} |" in text


@pytest.mark.parametrize("index", ["README.md", "README.zh-CN.md"])
def test_every_page_is_in_the_index(index):
    text = (FOLDER / index).read_text()
    chinese = index.endswith(".zh-CN.md")
    assert all((f"]({page.name})" in text) == ((page in ENGLISH) != chinese) for page in PAGES)


def test_figures_are_small_and_on_a_page():
    text = "".join(page.read_text() for page in ENGLISH)
    for path in FIGURES.iterdir():
        if path.suffix == ".json":
            continue
        assert path.stat().st_size < (500_000 if path.suffix == ".gif" else 125_000), path
        assert f"(figures/{path.name})" in text
        with Image.open(path) as picture:
            assert min(picture.size) > 100


@pytest.mark.slow
@pytest.mark.parametrize("page", ENGLISH, ids=name)
def test_the_note_is_shown(page, shell, tmp_path):
    number = page.name[:2]
    shell("scripts/notes.py", str(int(number)), "--smoke", "--out", str(tmp_path / "out"))
    wanted = {path.name for path in FIGURES.glob(f"{number}*")}
    assert {path.name for path in (tmp_path / "out").iterdir()} == wanted
