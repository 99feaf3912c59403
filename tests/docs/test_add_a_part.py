"""Test docs/add-a-part.md: its parts are found, tested and trained in a copy of the repository."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import FENCE, block_commands, shorten_training
from conftest import ROOT

PAGE = ROOT / "docs" / "add-a-part.md"
TITLE = re.compile(r'\w+ title="(.+)"')
BLOCKS = {
    title[1]: code for info, code in FENCE.findall(PAGE.read_text()) if (title := TITLE.match(info))
}
TESTS = [line for line in block_commands(PAGE) if " pytest " in line]
TRAININGS = [line for line in block_commands(PAGE) if " train.py " in line]


def test_files_of_the_page_are_new_and_lie_beside_others_of_their_kind():
    assert len(BLOCKS) == 5
    for path in BLOCKS:
        assert not (ROOT / path).exists()
        assert any((ROOT / path).parent.glob(f"*{Path(path).suffix}"))


def test_each_yaml_names_a_class_of_the_page():
    for path, code in BLOCKS.items():
        if path.endswith(".yaml"):
            module, _, name = re.findall(r"_target_: (.+)", code)[0].rpartition(".")
            assert f"class {name}(" in BLOCKS[f"src/{module.replace('.', '/')}.py"]


def test_every_command_of_the_page_is_run_below():
    assert {*block_commands(PAGE)} == {*TESTS, *TRAININGS}
    assert len(TESTS) == 2
    assert len(TRAININGS) == 4


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """Copy the repository and add the files of the page."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("conf", "src", "tests", "docs", "scripts"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("train.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder)
    for path, code in BLOCKS.items():
        (folder / path).write_text(code)
    return folder


def run_in(copy: Path, words: list[str], code: int = 0) -> str:
    """Run Python in the copy, check its exit status and return its standard output."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=copy,
        env=os.environ | {"PYTHONPATH": str(copy / "src")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == code, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("line", TESTS)
def test_contract_tests_find_the_new_part(copy, line):
    output = run_in(copy, [*shlex.split(line)[1:], "-v"])
    name = line.rpartition(" ")[2]
    passed = re.findall(rf"(\w+)\.py::\w+\[.*\b{name}\b.*\] PASSED", output)
    assert {"test_contract", "test_conf"} <= {*passed}


@pytest.mark.slow
def test_contract_tests_find_a_mistake_in_the_new_part(copy):
    code = copy / "src" / "vaelab" / "kl" / "sigmoid.py"
    text = code.read_text()
    try:
        code.write_text(text.replace("return self.beta", "return -self.beta"))
        output = run_in(
            copy, ["-m", "pytest", "tests/kl/test_contract.py", "-k", "sigmoid"], code=1
        )
    finally:
        code.write_text(text)
    assert re.search(r"^FAILED .*::\w*weight\w*\[sigmoid\]", output, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("line", TRAININGS)
def test_training_command_works(copy, line):
    output = run_in(copy, shorten_training(shlex.split(line)[1:]))
    assert (copy / output.rstrip().splitlines()[-1]).is_dir()


@pytest.mark.slow
def test_parts_and_reading_pages_must_name_the_new_part(copy):
    """As the page says: a part of this repository is listed on both pages."""
    words = ["tests/scripts/test_parts.py", "tests/docs/test_docs.py", "-m", "not slow"]
    words += ["-k", "every_option or cites_a_paper"]
    output = run_in(copy, ["-m", "pytest", *words], code=1)
    failed = set(re.findall(r"^FAILED [\w/]*/(\w+)\.py::(\w+)\[kl\]", output, re.MULTILINE))
    assert {file for file, _ in failed} == {"test_parts", "test_docs"}


@pytest.mark.slow
def test_code_of_the_page_passes_ruff(copy):
    code = [path for path in BLOCKS if path.endswith(".py")]
    for words in (["check"], ["format", "--check"]):
        run_in(copy, ["-m", "ruff", *words, *code])
