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
    PALETTE,
    RC_PARAMS,
    format_latent_symbol,
    new_figure,
    plot_style,
    save_figure,
)


def plot_line():
    figure = new_figure(2, 1)
    figure.add_subplot().plot([0, 1], [1, 0])
    return figure


def list_imports(path):
    """List what a module imports at its top level."""
    body = ast.parse(path.read_text()).body
    names = [node.names for node in body if isinstance(node, ast.Import)]
    from_ = [node.module or "" for node in body if isinstance(node, ast.ImportFrom)]
    return [alias.name for aliases in names for alias in aliases] + from_


def test_matplotlib_is_not_imported_at_module_level():
    for folder in ("src", "scripts"):
        for path in (ROOT / folder).rglob("*.py"):
            heavy = [name for name in list_imports(path) if name.startswith(("matplotlib", "umap"))]
            assert not heavy, path


@pytest.mark.slow
def test_importing_drawing_functions_and_menu_does_not_import_matplotlib():
    files = (ROOT / "src" / "vaelab" / "figures" / "draw").glob("[!_]*.py")
    names = (".".join(path.relative_to(ROOT / "src").with_suffix("").parts) for path in files)
    modules = ["sys", "vaelab.cli.entry_point", *names]
    program = f"import {', '.join(modules)}; sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_plot_style_restores_rcparams():
    before = matplotlib.rcParams["axes.spines.top"]
    with plot_style():
        assert matplotlib.rcParams["axes.spines.top"] == RC_PARAMS["axes.spines.top"] != before
    assert matplotlib.rcParams["axes.spines.top"] == before


def test_ten_class_colours_are_distinct():
    colours = [to_rgb(colour) for colour in PALETTE]
    assert len(colours) == 10
    distances = [
        sum((a - b) ** 2 for a, b in zip(x, y, strict=True)) for x in colours for y in colours
    ]
    assert sorted(distances)[10] > 0.05  # the first ten compare a colour with itself


@pytest.mark.parametrize("format", FORMATS)
def test_figure_is_saved_in_the_format_of_the_suffix(tmp_path, format):
    path = save_figure(plot_line(), tmp_path / f"line.{format}")
    start = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[format]
    assert path.read_bytes().startswith(start)


@pytest.mark.parametrize("format", ["png", "svg"])
def test_equal_figures_are_equal_files(tmp_path, format):
    first, again = (save_figure(plot_line(), tmp_path / f"{name}.{format}") for name in "ab")
    assert first.read_bytes() == again.read_bytes()


def test_saved_image_keeps_its_pixels(tmp_path):
    image = Image.new("RGB", (30, 20), (255, 128, 0))
    with Image.open(save_figure(image, tmp_path / "a.png")) as saved:
        assert saved.size == (30, 20)
        assert saved.getpixel((15, 10)) == (255, 128, 0)
    text = save_figure(image, tmp_path / "a.svg").read_text()
    assert f'width="{30 * 72 / DPI}pt" height="{20 * 72 / DPI}pt"' in text


def test_latent_symbols_have_subscripts():
    assert format_latent_symbol("z12") == "$z_{12}$"
    assert format_latent_symbol("z1.3") == "$z_{1,3}$"
