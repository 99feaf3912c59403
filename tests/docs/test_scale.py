"""Test that the commands of docs/scale.md run; tests/runtime/test_slurm.py has those for Slurm."""

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec

import pytest
from commands import block_commands
from conftest import ROOT

SCALE = ROOT / "docs" / "scale.md"
PAGE = SCALE.read_text()
LINES = block_commands(SCALE)
RESUME = "python train.py resume=multirun/<folder>"
RAY = [line for line in LINES if "launcher=ray" in line]
SLURM = [line for line in LINES if re.search("launcher=slurm|srun|sbatch", line)]
LOCAL = [line for line in LINES if line not in (RESUME, *RAY, *SLURM)]
QUICK = ["logger=none", "trainer.max_epochs=1", "trainer.limit_train_batches=2", "samples=1"]
QUICK += ["trainer.limit_val_batches=2", "callbacks.pictures.only=[]", "trainer.accelerator=cpu"]
EXTRAS = {"sweep=": "optuna_sweeper", "launcher=joblib": "joblib_launcher"}
EXTRAS |= {"launcher=ray": "ray_launcher", "launcher=slurm": "submitit_launcher"}


def shorten_command(line):
    """Return the words of a command after `python`, with settings that make it short."""
    missing = [name for word, name in EXTRAS.items() if word in line and not _is_installed(name)]
    if missing:
        pytest.skip(f"not installed: hydra_{', hydra_'.join(missing)}")
    words = shlex.split(line.partition("python ")[2])
    trials = ["hydra.sweeper.n_trials=2"] if "sweep=" in line and "n_trials" not in line else []
    return [*words, *trials, *QUICK]


def _is_installed(plugin):
    return find_spec("hydra_plugins") and find_spec(f"hydra_plugins.hydra_{plugin}")


def read_job_table(tmp_path):
    """Return the folder of the only multirun and the rows of its table."""
    (folder,) = (tmp_path / "multirun").iterdir()
    with (folder / "table.csv").open() as file:
        return folder, list(csv.DictReader(file))


@pytest.mark.slow
@pytest.mark.parametrize("line", LOCAL)
def test_command_for_one_machine_works(line, shell, tmp_path):
    shell(*shorten_command(line))
    folder, rows = read_job_table(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["multirun"]
    assert len(rows) > 1
    assert not any(row["failed"] for row in rows)
    assert {row["job"] for row in rows} == {path.parent.name for path in folder.glob("*/value.txt")}
    assert (folder / "report.html").exists()
    if "<folder>" in LINES[LINES.index(line) + 1]:
        output = shell("train.py", f"resume=multirun/{folder.name}")
        assert output.count("has finished before") == len(rows)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
def test_parallel_jobs_divide_the_cores(shell, tmp_path, monkeypatch, count):
    (line,) = (line for line in LOCAL if "-m hydra/launcher=joblib" in line)
    monkeypatch.delenv("OMP_NUM_THREADS")
    words = [word for word in shorten_command(line) if "n_jobs" not in word]
    shell(*words, f"hydra.launcher.n_jobs={count}")
    folder, rows = read_job_table(tmp_path)
    cores = len(os.sched_getaffinity(0))
    for row in rows:
        numbers = json.loads((folder / row["job"] / "metrics.json").read_text())
        assert numbers["threads"] == max(cores // count, 1)


@pytest.mark.slow
def test_optuna_with_ddp_runs_each_job_once_with_its_own_choices(shell, tmp_path, monkeypatch):
    (line,) = (line for line in LOCAL if "trainer=ddp" in line and "optuna" in line)
    (tmp_path / "site").mkdir()
    log = tmp_path / "site" / "commands"
    spy = (
        f"import sys\nwith open({str(log)!r}, 'a') as file:\n    print(sys.orig_argv, file=file)\n"
    )
    (tmp_path / "site" / "sitecustomize.py").write_text(spy)
    paths = [str(tmp_path / "site"), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    shell(*shorten_command(line), PYTHONPATH=os.pathsep.join(paths))
    folder, rows = read_job_table(tmp_path)
    commands = [line for line in log.read_text().splitlines() if "hydra.output_subdir=null" in line]
    assert len(rows) == len(commands) == 2
    for row, command in zip(sorted(rows, key=lambda row: row["job"]), commands, strict=True):
        assert f"{folder / row['job']}'" in command
        chosen = (folder / row["job"] / ".hydra" / "overrides.yaml").read_text()
        for word in re.findall(r"^- ['\"]?(.*?)['\"]?$", chosen, re.MULTILINE):
            assert word in command


@pytest.mark.slow
@pytest.mark.parametrize("line", RAY)
def test_ray_runs_the_jobs_of_a_multirun(line, shell, tmp_path):
    home = tmp_path / "home"  # Ray writes a token there
    home.mkdir()
    shell(*shorten_command(line), HOME=str(home), RAY_USAGE_STATS_ENABLED="0")
    folder, rows = read_job_table(tmp_path)
    assert [row["failed"] for row in rows] == ["", ""]
    assert {path.parent.name for path in folder.glob("*/value.txt")} == {"0", "1"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "extra"),
    [
        (["sweep=optuna_mlp"], "sweep"),
        (["-m", "hydra/launcher=joblib"], "sweep"),
        (["-m", "hydra/launcher=ray"], "ray"),
        (["-m", "hydra/launcher=slurm"], "slurm"),
    ],
    ids=str,
)
def test_error_for_a_missing_plugin_names_its_extra(tmp_path, words, extra):
    hide = "import runpy, sys; sys.modules['hydra_plugins'] = None; sys.argv = sys.argv[1:]; "
    python = [sys.executable, "-c", hide + "runpy.run_path(sys.argv[0], run_name='__main__')"]
    command = [*python, str(ROOT / "train.py"), *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"is not installed: run pip install 'vaelab[{extra}]'" in done.stderr
    assert done.stderr.count("\n") == 1
