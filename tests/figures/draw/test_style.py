import ast
import subprocess
import sys

import matplotlib
import pytest
from conftest import ROOT
from matplotlib.colors import to_rgb
from PIL import Image

from vaelab.figures.draw.style import (
    DPI,
    FORMATS,
    LOOK,
    PALETTE,
    latent_symbol,
    new_figure,
    plot_style,
    save_figure,
)


def line():
    drawn = new_figure(2, 1)
    drawn.add_subplot().plot([0, 1], [1, 0])
    return drawn


def imported(path):
    """What a module imports as soon as it is itself imported."""
    body = ast.parse(path.read_text()).body
    names = [node.names for node in body if isinstance(node, ast.Import)]
    from_ = [node.module or "" for node in body if isinstance(node, ast.ImportFrom)]
    return [alias.name for each in names for alias in each] + from_


def test_what_draws_is_imported_by_the_function_that_draws():
    for folder in ("src", "scripts"):
        for path in (ROOT / folder).rglob("*.py"):
            heavy = [name for name in imported(path) if name.startswith(("matplotlib", "umap"))]
            assert not heavy, path


@pytest.mark.slow
def test_figures_and_the_menu_are_there_without_matplotlib():
    files = (ROOT / "src" / "vaelab" / "figures").glob("[!_]*.py")
    modules = ["sys", "vaelab.cli.entry_point", *(f"vaelab.figures.{each.stem}" for each in files)]
    program = f"import {', '.join(modules)}; sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_the_look_ends_with_the_figure():
    before = matplotlib.rcParams["axes.spines.top"]
    with plot_style():
        assert matplotlib.rcParams["axes.spines.top"] == LOOK["axes.spines.top"] != before
    assert matplotlib.rcParams["axes.spines.top"] == before


def test_the_colours_of_ten_classes_differ_in_grey_or_in_hue():
    colours = [to_rgb(each) for each in PALETTE]
    assert len(colours) == 10
    apart = [sum((a - b) ** 2 for a, b in zip(x, y, strict=True)) for x in colours for y in colours]
    assert sorted(apart)[10] > 0.05  # after the ten that are compared with themselves


@pytest.mark.parametrize("format", FORMATS)
def test_a_figure_is_saved_in_the_format_that_the_path_ends_in(tmp_path, format):
    path = save_figure(line(), tmp_path / f"line.{format}")
    start = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[format]
    assert path.read_bytes().startswith(start)


@pytest.mark.parametrize("format", ["png", "svg"])
def test_the_same_figure_is_the_same_file(tmp_path, format):
    first, again = (save_figure(line(), tmp_path / f"{name}.{format}") for name in "ab")
    assert first.read_bytes() == again.read_bytes()


def test_a_picture_keeps_its_pixels(tmp_path):
    picture = Image.new("RGB", (30, 20), (255, 128, 0))
    with Image.open(save_figure(picture, tmp_path / "a.png")) as found:
        assert found.size == (30, 20)
        assert found.getpixel((15, 10)) == (255, 128, 0)
    text = save_figure(picture, tmp_path / "a.svg").read_text()
    assert f'width="{30 * 72 / DPI}pt" height="{20 * 72 / DPI}pt"' in text


def test_names_are_printed_with_a_subscript():
    assert latent_symbol("z12") == "$z_{12}$"
    assert latent_symbol("z1.3") == "$z_{1,3}$"
