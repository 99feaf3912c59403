"""Every link of the docs leads somewhere, every command runs, and what they name is there."""

import ast
import os
import re
import runpy
import shlex
import shutil
import tomllib
from collections.abc import Iterator

import pytest
from commands import FENCE, commands, lines, name, needs_mnist, pages, smoked
from conftest import CONF, ROOT, options

DOCS = ROOT / "docs"
OTHERS = [page for page in pages() if page.parent != ROOT]  # tests/docs/test_readme.py has the README
OUTSIDE = re.compile(r"https://(arxiv\.org/abs/|github\.com/[\w-]+/[\w.-]+|doi\.org/10\.\d{4,}/)")
ARXIV = re.compile(r"arXiv:([\w./-]*\d)")
PAPER = re.compile(r".{0,15} \([^()]+, \d{4}\)")  # the end of a title, its authors and year
READING = " ".join((DOCS / "reading.md").read_text().split())


def prose(page) -> str:
    """A page without its code."""
    return re.sub(r"`[^`]*`", "", FENCE.sub("", page.read_text()))


def anchors(page) -> set[str]:
    """The places of a page that a link can lead to."""
    heads = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).strip().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", pages(), ids=name)
def test_every_link_leads_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" in link:
            assert OUTSIDE.match(link), link
            continue
        path, _, place = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not place or place in anchors(target), link


@pytest.mark.parametrize("page", pages(), ids=name)
def test_a_link_to_arxiv_says_its_number(page):
    for text, number in re.findall(r"\[([^\]]*)\]\(https://arxiv\.org/abs/([^)]+)\)", prose(page)):
        assert text == f"arXiv:{number}"


# The parts that a page adds itself.
OWN = {page.name: {"kl=mine"} for page in ROOT.glob("README*.md")}
OWN |= {"docs/add-a-part.md": {"kl=sigmoid", "prior=laplace"}}
GROUPS = [path.name for path in CONF.iterdir() if path.is_dir()]


@pytest.mark.parametrize("page", pages(), ids=name)
def test_every_option_that_a_page_names_is_there(page):
    named = set(re.findall(rf"\b((?:{'|'.join(GROUPS)})=[a-z]\w*)", page.read_text()))
    there = {f"{group}={option}" for group in GROUPS for option in options(group)}
    assert named - there - OWN.get(name(page), set()) == set()


@pytest.mark.parametrize("page", pages(), ids=name)
def test_every_test_that_a_page_names_is_there(page):
    code = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for test in re.findall(r"`(test_\w+)`", page.read_text()):
        assert f"def {test}(" in code, test


def docstrings() -> Iterator[str]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    for path in sorted((ROOT / "src" / "vaelab").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, kinds):
                yield ast.get_docstring(node) or ""


def referred() -> set[str]:
    """What follows the word Reference in docstrings, up to an empty line."""
    blocks = [re.findall(r"References?:((?:.+|\n(?!\n))*)", text) for text in docstrings()]
    return {" ".join(block.split()) for found in blocks for block in found}


def test_the_reading_page_has_every_paper_that_the_code_refers_to():
    wanted = {paper.lstrip() for block in referred() for paper in PAPER.findall(block)}
    assert len(wanted) > 60
    assert not {paper for paper in wanted if paper not in READING}


def test_every_arxiv_number_of_the_code_is_on_the_reading_page_and_back():
    code = {number for text in docstrings() for number in ARXIV.findall(text)}
    others = [*CONF.rglob("*.yaml"), *(DOCS / "notes").glob("*.md")]
    others = {number for path in others for number in ARXIV.findall(path.read_text())}
    listed = set(ARXIV.findall(READING))
    assert code <= listed <= code | others


@pytest.mark.parametrize(
    "group", ["posterior", "prior", "loss", "objective", "kl", "model", "sampler", "data"]
)
def test_a_part_whose_code_names_a_paper_is_on_the_reading_page(group):
    folder = {"loss": "likelihoods", "kl": "kl", "data": "data"}.get(group, f"{group}s")
    for path in (ROOT / "src" / "vaelab" / folder).glob("*.py"):
        switch = f"{group}={path.stem}"
        if path.stem in options(group) and "Reference" in path.read_text():
            assert f"`{switch}`" in READING, switch


COMMANDS = sorted({line for page in OTHERS for line in commands(page)})
ELSEWHERE = (
    "python scripts/notes.py ",  # tests/notes/test_pages.py
    "python train.py resume=",  # tests/cli/test_resume.py
    "make ",  # the Makefile is what CI goes by
    "python scripts/rerun.py",  # tests/reproduction/test_rerun.py
    "python scripts/reproduce.py",  # tests/reproduction/test_reproduce.py
    "python -m pytest ",  # tests/docs/test_add_a_part.py, where that part is there
    "python train.py kl=sigmoid",
    "python train.py -m kl=constant,warmup,sigmoid",
    "python train.py prior=laplace",
    "python scripts/benchmark.py",  # below
    "benchmark.py ",
    "pip install ",
)
SCALE = lines(DOCS / "scale.md")  # tests/docs/test_scale.py and tests/runtime/test_slurm.py
RECORD = lines(DOCS / "results.md")  # tests/reproduction/test_reproduce.py
OTHER_TESTS = {*SCALE, *RECORD}
HERE = [line for line in COMMANDS if not line.startswith(ELSEWHERE) and line not in OTHER_TESTS]
TRAININGS = [line for line in HERE if line.startswith("python train.py")]
SCRIPTS = [line for line in HERE if "scripts/" in line]  # for a finished run
FEW = {"evaluate.py": "--samples 2 --images 50 --parts likelihood", "sample.py": ""}


@pytest.mark.slow
@pytest.mark.parametrize("line", TRAININGS)
def test_the_command_runs(line, shell, tmp_path):
    real = os.environ["VAELAB_REAL_DATA"]
    if needs_mnist(line) and not real:
        pytest.skip("VAELAB_DATA is not set: the real MNIST files are needed")
    words = shlex.split(line.removesuffix(" ..."))[1:]
    if "--help" in words:
        assert "objective=" in shell(*words)
        return
    output = shell(*smoked(words), VAELAB_DATA=str(ROOT / real))
    assert (tmp_path / output.rstrip().splitlines()[-1]).is_dir()


def shortened(line: str, run: str) -> str:
    """A line for the run, as the shell fixture takes it, of few images and samples."""
    line = re.sub(r"(runs/)?<run>|\.\.\.$", run, line.replace("[runs/<other> ...]", ""))
    line = re.sub(r"--samples \d+", "", line.replace(" scripts/", f" {ROOT}/scripts/"))
    line = line.replace("torchrun", "python -m torch.distributed.run")
    return f"{line} {next(few for script, few in FEW.items() if script in line)}"


@pytest.mark.slow
def test_the_commands_for_a_finished_run_work(shell, tmp_path):
    run = "runs/one"
    shutil.copytree(ROOT / "results", tmp_path / "results")  # the weights that a page samples
    shell(*smoked(["train.py", "model.hidden=[8]", "latent_dim=3", f"hydra.run.dir={run}"]))
    for line in sorted({shortened(line, run) for line in SCRIPTS}):
        assert shell(*shlex.split(line)[1:], CUDA_VISIBLE_DEVICES="")
    made = {path.name for path in (tmp_path / run).rglob("*")}
    assert {"numbers.json", "samples"} <= made


def test_every_line_is_of_a_kind_that_is_tested():
    imported = 'python -c "import torch, pytorch_lightning"'  # every test does that
    assert {*HERE} == {*TRAININGS, *SCRIPTS, imported}


def test_extras_that_pages_install_are_there():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {extra for line in COMMANDS for extra in re.findall(r"^pip .*\[(\w+)\]", line)}
    assert named
    assert named <= project["optional-dependencies"].keys()


def test_the_benchmark_has_the_sections_that_pages_name():
    known = runpy.run_path(str(ROOT / "scripts" / "benchmark.py"))["sections"](ROOT, 1)
    named = [shlex.split(line)[1:] for line in COMMANDS if line.startswith("benchmark.py ")]
    assert len(named) > 2
    assert all(words[0] in known for words in named)


@pytest.mark.slow
def test_the_benchmark_takes_the_words_of_the_pages(shell):
    for line in COMMANDS:
        if "benchmark.py" in line:
            words = shlex.split(line.partition("benchmark.py")[2])
            assert "--rounds" in shell("scripts/benchmark.py", *words, "--help")
