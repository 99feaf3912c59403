"""A multirun that was interrupted, or in which a job failed, resumes in its folder."""

import os
import re
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import ROOT, slow
from omegaconf import OmegaConf

import vaelab.train
from vaelab.cli.entry_point import _words_for_hydra
from vaelab.runtime.overrides import quote_override

QUICK = ["logger=none", "trainer=smoke", "samples=1", "callbacks.pictures.only=[]"]
SMALL = ["model.hidden=[4]", *QUICK]
WORDS = ["-m", "latent_dim=2,3,4", "hydra.sweep.dir=here", *SMALL]
RESUME_COMMANDS = {"the same command": WORDS, "resume": ["resume=here"]}
without_optuna = pytest.mark.skipif(
    not (find_spec("hydra_plugins") and find_spec("hydra_plugins.hydra_optuna_sweeper")),
    reason="the extra sweep is not installed: pip install 'vaelab[sweep]'",
)
with_stub = pytest.mark.usefixtures("stub_training")
OPTUNA = ["sweep=optuna", "optimizer.lr=interval(1e-4,1e-2)", "hydra.sweep.dir=here", *SMALL]


@pytest.fixture
def make_job_fail(monkeypatch):
    """Make the job with a number raise an error."""
    train = vaelab.train.train

    def set_failing_job(number, error):
        def train_or_fail(cfg, **settings):
            if Path(cfg.folder).name == str(number):
                raise error
            return train(cfg, **settings)

        monkeypatch.setattr(vaelab.train, "train", train_or_fail)

    return set_failing_job


def snapshot_files(folder):
    """Return contents and modification times of all files by path."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


@with_stub
@pytest.mark.parametrize("resume", ["resume", *slow("the same command")])
def test_interrupted_multirun_resumes_with_its_missing_jobs(
    command, tmp_path, make_job_fail, resume
):
    make_job_fail(1, KeyboardInterrupt())
    status, output = command("train.py", *WORDS)
    assert status == 130
    assert re.search(r"interrupted; resume with: vaelab train resume=here$", output.rstrip())
    metrics = tmp_path / "here" / "0" / "metrics.json"
    before = metrics.read_bytes()
    make_job_fail(0, AssertionError("job 0 runs twice"))
    status, output = command("train.py", *RESUME_COMMANDS[resume])
    assert status == 0
    assert output.count("has finished before") == 1
    value = float((tmp_path / "here" / "0" / "value.txt").read_text())
    assert f"job 0 has finished before with value {value:g}" in output
    assert metrics.read_bytes() == before
    for job, size in enumerate((2, 3, 4)):
        cfg = OmegaConf.load(tmp_path / "here" / str(job) / ".hydra" / "config.yaml")
        assert cfg.latent_dim == size
    assert (tmp_path / "here" / "table.csv").read_text().count("\n") == 4


@with_stub
def test_finished_multirun_runs_no_job_again(command, tmp_path, monkeypatch):
    assert command("train.py", *WORDS)[0] == 0
    before = [snapshot_files(tmp_path / "here" / job / "checkpoints") for job in "012"]
    monkeypatch.setattr(vaelab.train, "train", None)
    assert command("train.py", *WORDS)[0] == 0
    assert before == [snapshot_files(tmp_path / "here" / job / "checkpoints") for job in "012"]


@pytest.mark.slow
def test_job_with_a_truncated_value_file_is_evaluated_again(command, tmp_path):
    assert command("train.py", *WORDS)[0] == 0
    value = tmp_path / "here" / "1" / "value.txt"
    text = value.read_text()
    value.write_text("")
    assert command("train.py", "resume=here")[0] == 0
    assert value.read_text() == text


@with_stub
@pytest.mark.slow
def test_failed_jobs_run_again(command, tmp_path, make_job_fail):
    make_job_fail(1, ValueError("it failed"))
    status, output = command("train.py", *WORDS)
    assert status == 1
    assert re.search(
        r"to run the failed jobs again: vaelab train resume=here$", output, re.MULTILINE
    )
    assert (tmp_path / "here" / "1" / "failed.txt").read_text() == "it failed\n"
    make_job_fail(None, None)
    status, output = command("train.py", *WORDS)
    assert status == 0
    assert output.count("has finished before") == 2
    assert not (tmp_path / "here" / "1" / "failed.txt").exists()


@with_stub
@pytest.mark.parametrize(
    "words",
    [
        ["-m", "latent_dim=2,3,5"],
        *slow(["-m", "latent_dim=2,3,4", "seed=1"], ["-m"]),
    ],
    ids=" ".join,
)
def test_folder_that_holds_another_multirun_is_not_changed(command, tmp_path, words):
    assert command("train.py", *WORDS)[0] == 0
    before = snapshot_files(tmp_path)
    status, _ = command("train.py", *words, "hydra.sweep.dir=here", *SMALL)
    assert "hydra.sweep.dir=here holds something other than this multirun" in status
    assert snapshot_files(tmp_path) == before


@with_stub
def test_multirun_is_not_written_into_a_folder_with_other_files(command, tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "thesis.tex").write_text("")
    assert "holds something other than this multirun" in command("train.py", *WORDS)[0]
    assert len(snapshot_files(tmp_path)) == 1


@with_stub
@pytest.mark.parametrize("name", ["a, b=[c]", *slow("it's", "back\\slash\\")])
def test_multirun_in_a_folder_of_any_name_resumes(command, tmp_path, name):
    words = ["-m", f"hydra.sweep.dir={quote_override(name)}", *SMALL]
    assert command("train.py", *words)[0] == 0
    status, output = command("train.py", f"resume={name}")
    assert status == 0
    assert "job 0 has finished before" in output
    assert [path.name for path in tmp_path.iterdir()] == [name]


@with_stub
@pytest.mark.parametrize(
    "word",
    [
        "+hydra.callbacks.x._target_=os.abort",
        *slow("hydra.sweeper.params={a:1}", "hydra.launcher=x"),
    ],
)
def test_untrusted_multirun_folder_cannot_start_a_program(command, tmp_path, word):
    assert command("train.py", *WORDS)[0] == 0
    record = tmp_path / "here" / "multirun.yaml"
    config = OmegaConf.load(record)
    config.hydra.overrides.hydra.append(word)
    OmegaConf.save(config, record)
    status, _ = command("train.py", "resume=here")
    assert f"the recorded command contains {word}, which is not accepted" in status


def read_trials(folder):
    import optuna

    storage = optuna.storages.RDBStorage(f"sqlite:///{folder}/optuna.db")
    return optuna.load_study(study_name="vaelab", storage=storage).trials


@without_optuna
def test_optuna_maximises_the_validation_elbo(command, tmp_path):
    status, output = command("train.py", *OPTUNA, "hydra.sweeper.n_trials=3")
    assert status == 0
    assert "Warning" not in output
    trials = read_trials(tmp_path / "here")
    assert len(trials) == 3
    for job, trial in enumerate(trials):
        folder = tmp_path / "here" / str(job)
        assert trial.value == float((folder / "value.txt").read_text())
        learning_rate = OmegaConf.load(folder / ".hydra/config.yaml").optimizer.lr
        assert trial.params == {"optimizer.lr": learning_rate}
    best = OmegaConf.load(tmp_path / "here" / "optimization_results.yaml").best_value
    assert best == max(trial.value for trial in trials)
    assert "python train.py -m sweep=optuna" in (tmp_path / "here" / "report.html").read_text()


@without_optuna
@pytest.mark.parametrize("words", [OPTUNA, ["resume=here"]], ids=["the same command", "resume"])
def test_interrupted_study_keeps_the_parameters_of_its_trials(
    command, tmp_path, make_job_fail, words
):
    count = "hydra.sweeper.n_trials=4"
    make_job_fail(2, KeyboardInterrupt())
    assert command("train.py", *OPTUNA, count)[0] == 130
    before = read_trials(tmp_path / "here")
    make_job_fail(0, AssertionError("job 0 runs twice"))
    status, output = command("train.py", *words, *([count] if words is OPTUNA else []))
    assert status == 0
    assert output.count("has finished before") == 2
    after = read_trials(tmp_path / "here")
    assert [trial.params for trial in after[:3]] == [trial.params for trial in before]
    assert [trial.value for trial in after[:2]] == [trial.value for trial in before[:2]]
    assert [trial.state.name for trial in after] == ["COMPLETE"] * 4
    assert sorted(path.name for path in (tmp_path / "here").iterdir() if path.is_dir()) == list(
        "0123"
    )


@without_optuna
def test_more_trials_continue_a_finished_study(command, tmp_path):
    assert command("train.py", *OPTUNA, "hydra.sweeper.n_trials=2")[0] == 0
    before = read_trials(tmp_path / "here")
    status, output = command("train.py", *OPTUNA, "hydra.sweeper.n_trials=4")
    assert status == 0
    assert output.count("has finished before") == 2
    after = read_trials(tmp_path / "here")
    assert [trial.params for trial in after[:2]] == [trial.params for trial in before]
    assert len({trial.params["optimizer.lr"] for trial in after}) == len(after) == 4


@without_optuna
@pytest.mark.parametrize(
    ("failing", "expected"), [([1], 1), ([0, 1, 2], "error: Record does not exist.")]
)
def test_failed_trial_neither_stops_nor_hides_the_others(
    command, tmp_path, monkeypatch, failing, expected
):
    train = vaelab.train.train

    def train_or_fail(cfg, **settings):
        if int(Path(cfg.folder).name) in failing:
            raise ValueError("it failed")
        return train(cfg, **settings)

    monkeypatch.setattr(vaelab.train, "train", train_or_fail)
    status, output = command("train.py", *OPTUNA, "hydra.sweeper.n_trials=3")
    assert status == expected
    states = [trial.state.name for trial in read_trials(tmp_path / "here")]
    assert states == ["FAIL" if job in failing else "COMPLETE" for job in range(3)]
    assert (tmp_path / "here" / "table.csv").read_text().count("it failed") == len(failing)
    assert "Traceback" not in output


@without_optuna
def test_study_stored_outside_its_folder_continues_in_a_new_folder(command, tmp_path):
    words = [word for word in OPTUNA if "sweep.dir" not in word]
    words += ["hydra.sweeper.n_trials=1", "hydra.sweeper.storage.url=sqlite:///optuna.db"]
    for folder in ("one", "two"):
        assert command("train.py", *words, f"hydra.sweep.dir={folder}")[0] == 0
    assert len(read_trials(tmp_path)) == 2
    status, _ = command("train.py", *words, "hydra.sweep.dir=one")
    assert "leave out hydra.sweep.dir" in status


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sweep", "stop"),
    [
        ("grid", signal.SIGINT),
        ("grid", signal.SIGTERM),
        ("grid", signal.SIGKILL),
        pytest.param("optuna", signal.SIGKILL, marks=without_optuna),
    ],
)
def test_stopped_multirun_resumes_where_it_stopped(tmp_path, shell, sweep, stop):
    words = [*OPTUNA, "hydra.sweeper.n_trials=3"] if sweep == "optuna" else WORDS
    words = [*words, "trainer.max_epochs=40"]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *words],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout
    with process:
        output = ""
        while not (tmp_path / "here/1/checkpoints/last.ckpt").exists():
            output += process.stdout.readline()
        process.send_signal(stop)
        output += process.stdout.read()
    assert process.returncode != 0
    assert output.count("resume=here") == 1 + (stop != signal.SIGKILL)
    assert not (tmp_path / "here/1/value.txt").exists()
    output = shell("train.py", "resume=here")
    assert len(re.findall("resuming after step [0-9]+", output)) == 1
    assert "job 0 has finished before" in output
    assert "job 1 has finished before" not in output
    assert (tmp_path / "here/table.csv").read_text().count("\n") == 4
    assert all((tmp_path / "here" / job / "value.txt").exists() for job in "012")


def test_multirun_flag_may_stand_anywhere():
    assert _words_for_hydra(["model=mlp", "-m", "kl.beta=1,2"]) == [
        "-m",
        "model=mlp",
        "kl.beta=1,2",
    ]
