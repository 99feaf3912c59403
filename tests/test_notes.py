"""The pages of docs/notes: every command runs, every number was measured, every link leads on."""

import json
import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest
from conftest import ROOT
from PIL import Image

from vaelab.notes.base import told

FOLDER = ROOT / "docs" / "notes"
FIGURES = FOLDER / "figures"
PAGES = sorted(FOLDER.glob("[01]*.md"))
ENGLISH = [page for page in PAGES if not page.name.endswith(".zh-CN.md")]
SMOKE = {
    "trainer.max_epochs=1": "trainer.max_epochs",
    "trainer.limit_train_batches=1": "trainer.limit_train_batches",
    "trainer.limit_val_batches=1": "trainer.limit_val_batches",
    "samples=1": "samples",
    "logger=csv": "logger",
    "~callbacks.pictures": "pictures",
}


def commands(page: Path) -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL)
    return [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines()]


def name(page: Path) -> str:
    return page.name


TRAININGS = sorted({line for page in PAGES for line in commands(page) if " train.py" in line})


def test_there_are_thirteen():
    assert [page.name[:2] for page in ENGLISH] == [f"{number:02}" for number in range(1, 14)]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_page_shows_its_note_by_its_command(page):
    assert f"python scripts/notes.py {int(page.name[:2])}" in commands(page)
    module = page.name.split(".")[0][3:].replace("-", "_")
    assert callable(import_module(f"vaelab.notes.{module}").show)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_line_of_a_page_is_a_command_that_is_tested_here(page):
    known = ("python train.py ", f"python scripts/notes.py {int(page.name[:2])}")
    assert all(line.startswith(known) for line in commands(page))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_page_tells_every_number_that_was_measured(page):
    found = json.loads((FIGURES / f"{page.name[:2]}.json").read_text())
    text = page.read_text()
    cells = [*found["numbers"].values()]
    cells += [cell for row in found["rows"] for cell in row.values()]
    assert not [each for each in cells if not isinstance(each, str) and told(each) not in text]
    assert f"{found['processor_s']} s" in text


@pytest.mark.parametrize("page", ENGLISH, ids=name)
def test_the_tables_of_a_page_are_those_of_its_command(page):
    found = json.loads((FIGURES / f"{page.name[:2]}.json").read_text())
    lines = page.read_text().splitlines()
    for row in found["rows"]:
        assert f"| {' | '.join(told(each) for each in row.values())} |" in lines


@pytest.mark.parametrize("page", [*FOLDER.glob("*.md")], ids=name)
def test_every_link_of_a_page_leads_to_a_file(page):
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    assert links
    for link in links:
        assert link.startswith("https://") or (page.parent / link).is_file(), link


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


@pytest.mark.slow
@pytest.mark.parametrize("line", TRAININGS)
def test_the_command_runs(line, shell, tmp_path):
    words = shlex.split(line)[1:]
    words += [word for word, key in SMOKE.items() if f"{key}=" not in line]
    last = shell(*words).rstrip().splitlines()[-1]
    assert (tmp_path / last).is_dir()
