"""Test that the README is short and that every command in it runs."""

import os
import re
import shlex
import shutil
import subprocess

import numpy as np
import pytest
from commands import block_commands, needs_mnist, shorten_training
from conftest import ROOT
from PIL import Image
from test_celeba import write_celeba

README = (ROOT / "README.md").read_text()
LINES = block_commands(ROOT / "README.md")
COMMANDS = [line for line in LINES if line.startswith("python train.py")]
SCRIPTS = [line.removeprefix("python ") for line in LINES if line.startswith("python scripts/")]
TESTED_IN_OTHER_FILES = (
    "scripts/explore.py runs/<run>",  # tests/explorer, in a browser
)


def test_readme_is_under_100_lines():
    assert len(README.splitlines()) < 100


def test_images_of_the_readme_exist():
    for name in re.findall(r"!\[.*?\]\((.*?)\)", README):
        with Image.open(ROOT / name) as image:
            assert min(image.size) > 100


def test_every_command_is_tested():
    others = {"make demo"}
    others |= {f"python {script}" for script in SCRIPTS}
    assert set(LINES) - set(COMMANDS) == others
    assert set(TESTED_IN_OTHER_FILES) <= set(SCRIPTS)


def test_pages_name_every_script_for_runs():
    pages = [README, *(page.read_text() for page in (ROOT / "docs").glob("*.md"))]
    for path in {*(ROOT / "scripts").glob("*.py")} - {ROOT / "scripts" / "parts.py"}:
        names = (f"scripts/{path.name}", f"vaelab {path.stem}")
        assert any(name in page for name in names for page in pages), path.name


@pytest.mark.slow
def test_commands_for_finished_runs_work(shell, tmp_path):
    shutil.copytree(ROOT / "results", tmp_path / "results")
    words = ["train.py", "model.hidden=[8]", "latent_dim=3", "hydra.run.dir=runs/one"]
    shell(*shorten_training(words))
    for script in SCRIPTS:
        if script not in TESTED_IN_OTHER_FILES:
            words = script.replace("<run>", "one").replace("--samples 500", "--samples 2")
            assert shell(*shlex.split(words))
    suffixes = {path.suffix for path in (tmp_path / "runs" / "one").rglob("*")}
    assert {".json", ".png", ".html"} <= suffixes


def test_make_demo_trains_the_convolutional_model():
    done = subprocess.run(
        ["make", "--no-print-directory", "-n", "demo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.rstrip().endswith("train.py model=conv loss=bce")


@pytest.fixture
def folder(tmp_path):
    """Return a folder with the data of a user: x.npz, CelebA and a folder of images."""
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).normal(size=(200, 3)))
    (tmp_path / "faces").mkdir()
    write_celeba(tmp_path / "faces")
    for i in range(30):
        pixels = np.random.default_rng(i).integers(0, 256, (80, 70, 3), dtype=np.uint8)
        path = tmp_path / "images" / f"class{i % 2}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("line", COMMANDS)
def test_training_command_runs(line, folder, shell):
    if needs_mnist(line) and not os.environ["VAELAB_REAL_DATA"]:
        pytest.skip("VAELAB_DATA is not set: the real MNIST files are needed")
    data_folder = "faces" if "celeba" in line else "images"
    words = shlex.split(line.replace("<folder>", str(folder / data_folder)))[1:]
    if "--help" not in words:
        words = shorten_training(words)
    data = {"VAELAB_DATA": str(ROOT / os.environ["VAELAB_REAL_DATA"])}
    output = shell(*words, **data)
    if "--help" in words:
        assert "objective " in output
        return
    last = output.rstrip().splitlines()[-1]
    assert (folder / last).is_dir()
    if "-m" not in words:
        words = ["--samples", "2", "--images", "50", "--parts", "likelihood"]
        shell("scripts/evaluate.py", last, *words, **data)
