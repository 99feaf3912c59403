"""The progress of a training: one bar in a terminal, a few lines in a file."""

import os
import pty
import re
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT

from vaelab.callbacks.progress import Progress

SMALL = ("model.hidden=[16]", "latent_dim=4", "logger=none", "callbacks.pictures.only=[]")
MESSAGES = ("available: False", "Trainer.fit", "it/s", "Validation")


def start(words, folder, **pipes):
    command = [sys.executable, str(ROOT / "train.py"), *SMALL, *words]
    return subprocess.Popen([*command, "hydra.run.dir=run"], cwd=folder, **pipes)


def read_terminal(number):
    """Read what a process writes to a terminal until it ends."""
    text = b""
    while True:
        try:
            part = os.read(number, 4096)
        except OSError:  # Linux, after the process has closed the terminal
            return text.decode()
        if not part:
            return text.decode()
        text += part


def test_file_receives_plain_lines(tmp_path):
    words = ("trainer.max_epochs=3", "trainer.limit_train_batches=2")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with start(words, tmp_path, **pipes) as process:
        output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert "\r" not in output
    assert "\x1b" not in output
    assert re.search(r"^epoch 2/3, step 4, val/elbo -\d+\.\d+, \d+ s left$", output, re.MULTILINE)
    assert re.search(r"^trained 6 steps, 3 epochs, in \d+ s, val/elbo", output, re.MULTILINE)
    assert not any(message in output for message in MESSAGES)


@pytest.mark.slow
@pytest.mark.parametrize("columns", [80, 120])
def test_terminal_shows_one_bar(tmp_path, columns):
    own, other = pty.openpty()
    subprocess.run(["stty", "rows", "24", "cols", str(columns)], stdin=other, check=True)
    process = start(("trainer.max_epochs=20",), tmp_path, stdin=other, stdout=other, stderr=other)
    os.close(other)
    output = read_terminal(own)
    assert process.wait(timeout=300) == 0, output
    assert re.search(r"epoch 20/20 \|.*\| +\d+% \[", output)
    training = re.split(r"trained \d", output)[0]  # the evaluation has a bar of its own
    assert not any(message in training for message in MESSAGES)
    assert max(len(line) for line in re.split(r"[\r\n]+", output) if "|" in line) <= columns


@pytest.mark.parametrize("epochs", [3, -1])
def test_number_of_lines_is_limited(epochs):
    progress = Progress()
    progress.total = 1000 if epochs > 0 else float("inf")
    progress.printed, progress.printed_batches = time.monotonic(), 0
    assert not progress._is_line_due(49)
    assert progress._is_line_due(50) == (epochs > 0)


@pytest.mark.slow
def test_interrupted_run_prints_the_command_that_resumes_it(tmp_path):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with start(("trainer.max_epochs=1000",), tmp_path, **pipes) as process:
        for _ in range(3000):
            if (tmp_path / "run" / "checkpoints" / "last.ckpt").exists():
                break
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    line = errors.strip().splitlines()[-1]
    assert re.match(r"stopped by Ctrl-C after step \d+; resume with: .*resume=", line)
    assert "Traceback" not in errors
