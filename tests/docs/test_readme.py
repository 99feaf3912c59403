"""The README is short, and every command in it runs."""

import os
import re
import shlex
import shutil
import subprocess

import numpy as np
import pytest
from commands import lines, needs_mnist, smoked
from conftest import ROOT
from PIL import Image
from test_celeba import official

README = (ROOT / "README.md").read_text()
LINES = lines(ROOT / "README.md")
COMMANDS = [line for line in LINES if line.startswith("python train.py")]
SCRIPTS = [line.removeprefix("python ") for line in LINES if line.startswith("python scripts/")]
ELSEWHERE = (
    "scripts/explore.py runs/<run>",  # which tests/explorer drives in a browser
    "scripts/reproduce.py",  # tests/reproduction/test_reproduce.py
)


def test_it_is_under_100_lines():
    assert len(README.splitlines()) < 100


def test_its_pictures_are_there():
    for name in re.findall(r"!\[.*?\]\((.*?)\)", README):
        with Image.open(ROOT / name) as picture:
            assert min(picture.size) > 100


def test_every_line_is_a_command_that_is_tested_here():
    others = {"make demo", "export VAELAB_DATA=<folder>"}
    others |= {f"python {script}" for script in SCRIPTS}
    assert set(LINES) - set(COMMANDS) == others
    assert set(ELSEWHERE) <= set(SCRIPTS)


def test_every_script_for_a_run_is_in_it():
    named = {path.name for path in (ROOT / "scripts").glob("*.py") if path.name in README}
    inward = {
        "benchmark.py",
        "parts.py",
        "features.py",
    }  # of docs/performance.md, parts, evaluation
    assert {path.name for path in (ROOT / "scripts").glob("*.py")} == named | inward


@pytest.mark.slow
def test_the_commands_for_a_finished_run_work(shell, tmp_path):
    shutil.copytree(ROOT / "results", tmp_path / "results")
    shell(*smoked(["train.py", "model.hidden=[8]", "latent_dim=3", "hydra.run.dir=runs/one"]))
    for script in SCRIPTS:
        if script not in ELSEWHERE:
            words = script.replace("<run>", "one").replace("--samples 500", "--samples 2")
            assert shell(*shlex.split(words))
    made = {path.suffix for path in (tmp_path / "runs" / "one").rglob("*")}
    assert {".json", ".png", ".svg", ".html", ".npz", ".onnx", ".safetensors", ".parquet"} <= made


def test_make_demo_trains_the_convolutional_net():
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
    """The user's own data, in the folder where the commands are typed."""
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).normal(size=(200, 3)))
    (tmp_path / "faces").mkdir()
    official(tmp_path / "faces")
    for i in range(30):
        pixels = np.random.default_rng(i).integers(0, 256, (80, 70, 3), dtype=np.uint8)
        path = tmp_path / "pictures" / f"class{i % 2}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("line", COMMANDS)
def test_the_command_runs(line, folder, shell):
    if needs_mnist(line) and not os.environ["VAELAB_REAL_DATA"]:
        pytest.skip("VAELAB_DATA is not set: the real MNIST files are needed")
    place = "faces" if "celeba" in line else "pictures"
    words = shlex.split(line.replace("<folder>", str(folder / place)))[1:]
    if "--help" not in words:
        words = smoked(words)
    data = {"VAELAB_DATA": str(ROOT / os.environ["VAELAB_REAL_DATA"])}
    output = shell(*words, **data)
    if "--help" in words:
        assert "objective=" in output
        return
    last = output.rstrip().splitlines()[-1]
    assert (folder / last).is_dir()
    if "-m" not in words:
        words = ["--samples", "2", "--images", "50", "--parts", "likelihood"]
        shell("scripts/evaluate.py", last, *words, **data)
