"""Test that links of the docs resolve, that commands run, and that names exist."""

import ast
import os
import re
import runpy
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from commands import (
    FENCE,
    all_commands,
    block_commands,
    list_pages,
    needs_mnist,
    page_name,
    shorten_training,
)
from conftest import CONF, ROOT, options
from PIL import Image

DOCS = ROOT / "docs"
DOCS_PAGES = [page for page in list_pages() if page.parent != ROOT]  # README: test_readme.py
OUTSIDE = re.compile(r"https://(arxiv\.org/abs/|github\.com/[\w-]+/[\w.-]+|doi\.org/10\.\d{4,}/)")
ARXIV = re.compile(r"arXiv:([\w./-]*\d)")
PAPER = re.compile(r".{0,15} \([^()]+, \d{4}\)")  # end of a title, authors and year
READING = " ".join((DOCS / "reading.md").read_text().split())


def prose(page) -> str:
    """Return the text of a page without its code."""
    return re.sub(r"`[^`]*`", "", FENCE.sub("", page.read_text()))


def anchors(page) -> set[str]:
    """Return the anchors of a page: its headings, and those that it sets itself."""
    text = FENCE.sub("", page.read_text())
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    names = {re.sub(r"[^\w -]", "", head.lower()).strip().replace(" ", "-") for head in heads}
    return names | set(re.findall(r'<a id="([\w-]+)">', text))


@pytest.mark.parametrize("page", list_pages(), ids=page_name)
def test_every_link_resolves(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" in link:
            assert OUTSIDE.match(link), link
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", list_pages(), ids=page_name)
def test_links_to_arxiv_show_their_number(page):
    for text, number in re.findall(r"\[([^\]]*)\]\(https://arxiv\.org/abs/([^)]+)\)", prose(page)):
        assert text == f"arXiv:{number}"


# Parts that exist only in the examples of a page.
EXAMPLES = {page.name: {"kl=mine"} for page in ROOT.glob("README*.md")}
EXAMPLES |= {"docs/add-a-part.md": {"kl=sigmoid", "prior=laplace"}}
EXAMPLES |= {"docs/migration.md": {"debug=fdr"}}  # of lightning-hydra-template
EXAMPLES |= {"docs/own-project.md": {"experiment=wave", "data=wave", "loss=noisy_gaussian"}}
GROUPS = [path.name for path in CONF.iterdir() if path.is_dir()]


@pytest.mark.parametrize("page", list_pages(), ids=page_name)
def test_options_named_on_a_page_exist(page):
    named = set(re.findall(rf"\b((?:{'|'.join(GROUPS)})=[a-z]\w*)", page.read_text()))
    known = {f"{group}={option}" for group in GROUPS for option in options(group)}
    assert named - known - EXAMPLES.get(page_name(page), set()) == set()


@pytest.mark.parametrize("page", list_pages(), ids=page_name)
def test_tests_named_on_a_page_exist(page):
    code = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for test in re.findall(r"`(test_\w+)`", page.read_text()):
        assert f"def {test}(" in code, test


def docstrings() -> Iterator[str]:
    """Yield every docstring of the package."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    for path in sorted((ROOT / "src" / "vaelab").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, kinds):
                yield ast.get_docstring(node) or ""


def references() -> set[str]:
    """Return the `Reference:` paragraphs of all docstrings."""
    blocks = [re.findall(r"References?:((?:.+|\n(?!\n))*)", text) for text in docstrings()]
    return {" ".join(block.split()) for texts in blocks for block in texts}


def test_reading_page_has_every_paper_that_the_code_cites():
    cited = {paper.lstrip() for block in references() for paper in PAPER.findall(block)}
    assert len(cited) > 60
    assert not {paper for paper in cited if paper not in READING}


def test_code_and_reading_page_have_the_same_arxiv_numbers():
    code = {number for text in docstrings() for number in ARXIV.findall(text)}
    other_files = [*CONF.rglob("*.yaml"), *(DOCS / "notes").glob("*.md")]
    others = {number for path in other_files for number in ARXIV.findall(path.read_text())}
    listed = set(ARXIV.findall(READING))
    assert code <= listed <= code | others


@pytest.mark.parametrize(
    "group", ["posterior", "prior", "loss", "objective", "kl", "model", "sampler", "data"]
)
def test_parts_whose_code_cites_a_paper_are_on_the_reading_page(group):
    folder = {"loss": "likelihoods", "kl": "kl", "data": "data"}.get(group, f"{group}s")
    for path in (ROOT / "src" / "vaelab" / folder).glob("*.py"):
        switch = f"{group}={path.stem}"
        if path.stem in options(group) and "Reference" in path.read_text():
            assert f"`{switch}`" in READING, switch


COMMANDS = sorted({line for page in DOCS_PAGES for line in all_commands(page)})
TESTED_IN_OTHER_FILES = (
    "python scripts/notes.py ",  # tests/notes/test_pages.py
    "python train.py resume=",  # tests/cli/test_resume.py
    "make ",  # CI runs the targets of the Makefile
    "python scripts/rerun.py",  # tests/reproduction/test_rerun.py
    "python scripts/impute.py",  # tests/cli/test_impute.py
    "python scripts/reproduce.py",  # tests/reproduction/test_reproduce.py
    "python -m pytest ",  # tests/docs/test_add_a_part.py, with the parts of that page
    "python train.py kl=sigmoid",
    "python train.py -m kl=constant,warmup,sigmoid",
    "python train.py prior=laplace",
    "python train.py experiment=cifar10_deep",  # tests/conf/test_conf.py, on small data
    "python train.py experiment=latent_flow start=",  # the same, as all that start from a run
    "python train.py experiment=fsq_prior start=",
    "python scripts/benchmark.py",  # at the end of this file
    "benchmark.py ",
    "pip install ",
)
TESTED_PAGES = (
    "own-project.md",  # tests/docs/test_own_project.py
    "scale.md",  # tests/docs/test_scale.py and tests/runtime/test_slurm.py
    "results.md",  # tests/reproduction/test_reproduce.py
)
TESTED_LINES = {line for page in TESTED_PAGES for line in block_commands(DOCS / page)}
TESTED_HERE = [
    line
    for line in COMMANDS
    if not line.startswith(TESTED_IN_OTHER_FILES) and line not in TESTED_LINES
]
TRAININGS = [line for line in TESTED_HERE if line.startswith("python train.py")]
SCRIPTS = [line for line in TESTED_HERE if "scripts/" in line]  # for finished runs
SMALL = {
    "evaluate.py": "--samples 2 --images 50 --parts likelihood",
    "sample.py": "",
    "report.py": "",
}


@pytest.mark.slow
@pytest.mark.parametrize("line", TRAININGS)
def test_training_command_runs(line, shell, tmp_path):
    real = os.environ["VAELAB_REAL_DATA"]
    if needs_mnist(line) and not real:
        pytest.skip("VAELAB_DATA is not set: the real MNIST files are needed")
    words = shlex.split(line.removesuffix(" ..."))[1:]
    if "--help" in words:
        assert "objective " in shell(*words)
        return
    if "data.root=photos" in words:
        write_photos(tmp_path / "photos")
    for name, shape in (("series", (40, 2, 32)), ("volumes", (40, 1, 8, 8, 8))):
        x = np.random.default_rng(0).random(shape)
        np.savez(tmp_path / f"{name}.npz", x=x if name == "series" else x > 0.5)
    if "data=arrays" in words:
        write_arrays(tmp_path)
    output = shell(*shorten_training(words), VAELAB_DATA=str(ROOT / real))
    assert (tmp_path / output.rstrip().splitlines()[-1]).is_dir()


def write_photos(folder: Path) -> None:
    """Write 40 color images of random pixels."""
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 30, 3), dtype=np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{number}.png")


def write_arrays(folder: Path) -> None:
    """Write table.csv, with labels and factors, table.npz, of all kinds, and images.npy."""
    random = np.random.default_rng(0)
    rows = ["age,height,kind,size"]
    for number, (age, height) in enumerate(random.normal(size=(60, 2)).tolist()):
        rows.append(f"{age},{height},{'cat' if number % 2 else 'dog'},{number % 3}")
    (folder / "table.csv").write_text("\n".join(rows))
    category = np.eye(3)[random.integers(0, 3, 60)]
    columns = (random.normal(size=(60, 2)), random.integers(0, 2, 60), category)
    x = np.column_stack([*columns, random.poisson(3.0, 60)])
    np.savez(folder / "table.npz", x=x.astype(np.float32))
    np.save(folder / "images.npy", random.integers(0, 256, (60, 1, 8, 8), np.uint8))


def shorten_command(line: str, run: str) -> str:
    """Return a command for the given run, as the shell fixture takes it, with few images."""
    line = re.sub(r"(runs/)?<run>|\.\.\.$", run, line.replace("[runs/<other> ...]", ""))
    line = re.sub(r"--samples \d+", "", line.replace(" scripts/", f" {ROOT}/scripts/"))
    line = line.replace("torchrun", "python -m torch.distributed.run")
    return f"{line} {next(words for script, words in SMALL.items() if script in line)}"


@pytest.mark.slow
def test_commands_for_finished_runs_work(shell, tmp_path):
    run = "runs/one"
    shutil.copytree(ROOT / "results", tmp_path / "results")  # weights that a page samples from
    words = ["train.py", "model.hidden=[8]", "latent_dim=3", f"hydra.run.dir={run}"]
    shell(*shorten_training(words))
    for line in sorted({shorten_command(line, run) for line in SCRIPTS}):
        assert shell(*shlex.split(line)[1:], CUDA_VISIBLE_DEVICES="")
    names = {path.name for path in (tmp_path / run).rglob("*")}
    assert {"numbers.json", "samples"} <= names


def test_every_command_is_tested():
    import_command = 'python -c "import torch, pytorch_lightning"'  # every test imports them
    assert {*TESTED_HERE} == {*TRAININGS, *SCRIPTS, import_command}


def test_extras_named_on_pages_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {extra for line in COMMANDS for extra in re.findall(r"^pip .*\[(\w+)\]", line)}
    assert named
    assert named <= project["optional-dependencies"].keys()


def test_benchmark_sections_named_on_pages_exist():
    known = runpy.run_path(str(ROOT / "scripts" / "benchmark.py"))["list_sections"](ROOT, 1)
    named = [shlex.split(line)[1:] for line in COMMANDS if line.startswith("benchmark.py ")]
    assert len(named) > 2
    assert all(words[0] in known for words in named)


@pytest.mark.slow
def test_benchmark_accepts_the_options_named_on_pages(shell):
    for line in COMMANDS:
        if "benchmark.py" in line:
            words = shlex.split(line.partition("benchmark.py")[2])
            assert "--rounds" in shell("scripts/benchmark.py", *words, "--help")
