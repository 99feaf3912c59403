"""Test that docs/design.md describes the folders and the import order that the tests enforce."""

import re

from conftest import ROOT
from test_architecture import LAYERS

PAGE = (ROOT / "docs" / "design.md").read_text()


def test_import_order_is_the_tested_one():
    section = PAGE.split("\n## Import order\n")[1].split("\n## ")[0]
    lines = re.findall(r"^ {4}(\w.*)$", section, re.MULTILINE)
    assert [tuple(line.split(", ")) for line in lines] == list(LAYERS)


def test_every_folder_is_described():
    tables = PAGE.split("\n## Where things are\n")[1].split("\n## ")[0]
    described = re.findall(r"`([\w.]+)`", "\n".join(re.findall(r"^\| (`.*?) \|", tables, re.M)))
    names = {name for layer in LAYERS for name in layer}
    assert {name.removesuffix(".py") for name in described} == names


def test_api_pages_have_every_folder_with_an_api():
    pages = "".join(path.read_text() for path in (ROOT / "docs" / "api").glob("*.md"))
    documented = re.findall(r"^::: vaelab\.([\w.]+)$", pages, re.MULTILINE)
    for module in documented:
        path = ROOT / "src" / "vaelab" / module.replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").is_file(), module
    folders = {name for layer in LAYERS for name in layer}
    without_api = {"report", "explorer", "notes"}
    assert folders - without_api <= {module.partition(".")[0] for module in documented}
