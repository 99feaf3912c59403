"""Test docs/python-api.md and docs/notebooks: their code runs."""

import ast
import re

import pytest
from commands import FENCE
from conftest import ROOT

PAGE = ROOT / "docs" / "python-api.md"
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.py"))
TEXT = PAGE.read_text()
TITLED = {
    title[1]: code
    for info, code in FENCE.findall(TEXT)
    if (title := re.match(r'python title="(.+)"', info))
}


def count_lines(code: str) -> int:
    """Return the number of lines that are not blank."""
    return sum(bool(line.strip()) for line in code.splitlines())


def join_blocks() -> str:
    """Return the Python code of the page at the lines of the page, so that tracebacks fit."""
    lines = TEXT.splitlines()
    script = [""] * len(lines)
    for block in re.finditer(r"^```python\n((?:.*\n)*?)```$", TEXT, re.MULTILINE):
        start = TEXT[: block.start(1)].count("\n")
        code = block[1].splitlines()
        script[start : start + len(code)] = code
    return "\n".join(script)


def test_blocks_are_python_code_and_call_the_whole_api():
    tree = ast.parse(join_blocks())
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    functions = {"run_training", "make_data", "make_model", "fit", "load", "VAEModule"}
    methods = {"encode", "reconstruct", "sample", "impute", "elbo", "nll", "evaluate", "report"}
    methods |= {"figures"}
    assert functions | methods | {"metrics", "history", "save"} <= used


def test_comparison_states_the_number_of_lines():
    assert count_lines(TITLED["vaelab"]) == 15
    assert "it takes 15 lines" in TEXT
    assert f"pythae 0.1.2 needs {count_lines(TITLED['pythae'])} lines" in TEXT
    assert all(ast.parse(code) for code in TITLED.values())


@pytest.mark.slow
def test_blocks_of_the_page_run(shell, tmp_path):
    (tmp_path / "page.py").write_text(join_blocks())
    shell(str(tmp_path / "page.py"))
    names = {path.name for path in (tmp_path / "runs").iterdir()}
    assert {"first", "words", "own", "table"} <= names
    assert (tmp_path / "first.safetensors").is_file()


@pytest.mark.slow
def test_comparison_runs_and_its_latents_tell_digits(shell, tmp_path):
    (tmp_path / "vaelab_digits.py").write_text(TITLED["vaelab"])
    output = shell(str(tmp_path / "vaelab_digits.py"))
    assert float(output.splitlines()[-1]) > 0.6  # accuracy; 0.1 without information


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_has_text_before_each_section_of_code(path):
    cells = re.split(r"^# %%", path.read_text(), flags=re.MULTILINE)[1:]
    assert cells[0].startswith(" [markdown]\n# # ")
    ast.parse(path.read_text())
    assert sum(cell.startswith(" [markdown]") for cell in cells) >= len(cells) / 3


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, shell, tmp_path):
    shell(str(path), MPLBACKEND="Agg")
    assert [*tmp_path.iterdir()] == []  # it writes to temporary folders of its own
