"""docs/add-a-part.md is right: in a copy of the repository its files are found, and train."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import FENCE, lines, smoked
from conftest import ROOT

PAGE = ROOT / "docs" / "add-a-part.md"
TITLE = re.compile(r'\w+ title="(.+)"')
BLOCKS = {
    title[1]: code for info, code in FENCE.findall(PAGE.read_text()) if (title := TITLE.match(info))
}
TESTS = [line for line in lines(PAGE) if " pytest " in line]
TRAININGS = [line for line in lines(PAGE) if " train.py " in line]


def test_its_files_are_new_and_where_others_of_their_kind_are():
    assert len(BLOCKS) == 5
    for path in BLOCKS:
        assert not (ROOT / path).exists()
        assert any((ROOT / path).parent.glob(f"*{Path(path).suffix}"))


def test_each_yaml_names_a_class_of_the_page():
    for path, code in BLOCKS.items():
        if path.endswith(".yaml"):
            module, _, name = re.findall(r"_target_: (.+)", code)[0].rpartition(".")
            assert f"class {name}(" in BLOCKS[f"src/{module.replace('.', '/')}.py"]


def test_every_line_is_one_that_is_run_here():
    assert {*lines(PAGE)} == {*TESTS, *TRAININGS}
    assert len(TESTS) == 2
    assert len(TRAININGS) == 4


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """This repository with the files of the page."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("conf", "src", "tests", "docs", "scripts"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("train.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder)
    for path, code in BLOCKS.items():
        (folder / path).write_text(code)
    return folder


def run(copy: Path, words: list[str], code: int = 0) -> str:
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
def test_the_contract_tests_find_it(copy, line):
    output = run(copy, [*shlex.split(line)[1:], "-v"])
    name = line.rpartition(" ")[2]
    found = re.findall(rf"(\w+)\.py::\w+\[.*\b{name}\b.*\] PASSED", output)
    assert {"test_contract", "test_conf"} <= {*found}


@pytest.mark.slow
def test_they_find_what_is_wrong_with_it(copy):
    code = copy / "src" / "vaelab" / "kl" / "sigmoid.py"
    right = code.read_text()
    try:
        code.write_text(right.replace("return self.beta", "return -self.beta"))
        output = run(copy, ["-m", "pytest", "tests/kl/test_contract.py", "-k", "sigmoid"], code=1)
    finally:
        code.write_text(right)
    assert "test_a_weight_is_a_number_that_follows_from_the_step_alone[sigmoid]" in output


@pytest.mark.slow
@pytest.mark.parametrize("line", TRAININGS)
def test_it_trains(copy, line):
    output = run(copy, smoked(shlex.split(line)[1:]))
    assert (copy / output.rstrip().splitlines()[-1]).is_dir()


@pytest.mark.slow
def test_the_page_and_the_reading_page_miss_it(copy):
    """What the page says of a part that goes into the repository."""
    words = ["tests/scripts/test_parts.py", "tests/docs/test_docs.py", "-k", "every_option or names_a_paper"]
    output = run(copy, ["-m", "pytest", "-m", "not slow", *words], code=1)
    failed = set(re.findall(r"^FAILED tests/(\w+)\.py::(\w+)\[kl\]", output, re.MULTILINE))
    assert {file for file, _ in failed} == {"test_parts", "test_docs"}


@pytest.mark.slow
def test_its_code_is_in_the_style_of_the_rest(copy):
    code = [path for path in BLOCKS if path.endswith(".py")]
    for words in (["check"], ["format", "--check"]):
        run(copy, ["-m", "ruff", *words, *code])
