"""Test that the commands of docs/own-project.md run, one after the other."""

import os
import re
import shlex
import subprocess
import sys

import pytest
from commands import FENCE, block_commands
from conftest import ROOT

PAGE = ROOT / "docs" / "own-project.md"
SHORT = ["trainer.max_epochs=1", "samples=2", "logger=csv"]


@pytest.mark.slow
def test_commands_of_the_page_run(tmp_path):
    folder = tmp_path
    for line in block_commands(PAGE):
        words = shlex.split(line)
        if words[0] == "cd":
            folder /= words[1]
            continue
        variables = dict(word.split("=", 1) for word in words[: words.index("vaelab")])
        words = words[words.index("vaelab") + 1 :]
        short = SHORT if words[0] == "train" and "--help" not in words else []
        done = subprocess.run(
            [sys.executable, "-P", "-m", "vaelab", *words, *short],
            cwd=folder,
            env=os.environ | variables | {"PYTHONPATH": str(ROOT / "src")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{line}: {done.stderr[-2000:]}"
    configs = [path.read_text() for path in folder.glob("runs/*/.hydra/config.yaml")]
    assert any(re.search(r"lr: 0\.003$", text, re.MULTILINE) for text in configs)
    for path in re.findall(r"^ {4}(waves/\S+)", PAGE.read_text(), re.MULTILINE):
        assert (tmp_path / path).is_file()


def test_python_of_the_page_is_valid():
    for info, code in FENCE.findall(PAGE.read_text()):
        if info == "python":
            compile(code, str(PAGE), "exec")
