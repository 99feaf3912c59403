"""A multirun that was interrupted, or in which a job failed, goes on in its folder."""

import os
import re
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import ROOT
from omegaconf import OmegaConf

import vaelab.train
from vaelab.cli.entry_point import _expanded
from vaelab.runtime import overrides

QUICK = ["logger=none", "trainer=smoke", "samples=1", "callbacks.pictures.only=[]"]
SMALL = ["model.hidden=[4]", *QUICK]
WORDS = ["-m", "latent_dim=2,3,4", "hydra.sweep.dir=here", *SMALL]
AGAIN = {"the same command": WORDS, "resume": ["resume=here"]}
without_optuna = pytest.mark.skipif(
    not (find_spec("hydra_plugins") and find_spec("hydra_plugins.hydra_optuna_sweeper")),
    reason="the extra sweep is not installed: pip install -e '.[sweep]'",
)
OPTUNA = ["sweep=optuna", "optimizer.lr=interval(1e-4,1e-2)", "hydra.sweep.dir=here", *SMALL]


@pytest.fixture
def ends(monkeypatch):
    """Has the job with a number end by an error."""
    whole = vaelab.train.train

    def end_job(number, error):
        def train(cfg, **settings):
            if Path(cfg.folder).name == str(number):
                raise error
            return whole(cfg, **settings)

        monkeypatch.setattr(vaelab.train, "train", train)

    return end_job


def files(folder):
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in found}


@pytest.mark.parametrize("again", AGAIN)
def test_an_interrupted_multirun_does_only_what_is_missing(command, tmp_path, ends, again):
    ends(1, KeyboardInterrupt())
    status, output = command("train.py", *WORDS)
    assert status == 130
    assert output.rstrip().endswith("resume=here does what is missing of this multirun")
    metrics = tmp_path / "here" / "0" / "metrics.json"
    before = metrics.read_bytes()
    ends(0, AssertionError("job 0 is run twice"))
    status, output = command("train.py", *AGAIN[again])
    assert status == 0
    assert output.count("was finished before") == 1
    assert f"its value is {float((tmp_path / 'here/0/value.txt').read_text()):g}" in output
    assert metrics.read_bytes() == before
    for job, size in enumerate((2, 3, 4)):
        cfg = OmegaConf.load(tmp_path / "here" / str(job) / ".hydra" / "config.yaml")
        assert cfg.latent_dim == size
    assert (tmp_path / "here" / "table.csv").read_text().count("\n") == 4


def test_a_finished_multirun_has_nothing_to_do(command, tmp_path, monkeypatch):
    assert command("train.py", *WORDS)[0] == 0
    before = [files(tmp_path / "here" / job / "checkpoints") for job in "012"]
    monkeypatch.setattr(vaelab.train, "train", None)
    assert command("train.py", *WORDS)[0] == 0
    assert before == [files(tmp_path / "here" / job / "checkpoints") for job in "012"]


def test_a_value_that_was_half_written_is_found_again(command, tmp_path):
    assert command("train.py", *WORDS)[0] == 0
    value = tmp_path / "here" / "1" / "value.txt"
    whole = value.read_text()
    value.write_text("")
    assert command("train.py", "resume=here")[0] == 0
    assert value.read_text() == whole


def test_what_failed_is_tried_again(command, tmp_path, ends):
    ends(1, ValueError("no luck"))
    status, output = command("train.py", *WORDS)
    assert status == 1
    assert "resume=here does what is missing" in output
    assert (tmp_path / "here" / "1" / "failed.txt").read_text() == "no luck\n"
    ends(None, None)
    status, output = command("train.py", *WORDS)
    assert status == 0
    assert output.count("was finished before") == 2
    assert not (tmp_path / "here" / "1" / "failed.txt").exists()


@pytest.mark.parametrize(
    "words",
    [["-m", "latent_dim=2,3,5"], ["-m", "latent_dim=2,3,4", "seed=1"], ["-m"]],
    ids=" ".join,
)
def test_a_folder_that_holds_another_multirun_is_left_alone(command, tmp_path, words):
    assert command("train.py", *WORDS)[0] == 0
    before = files(tmp_path)
    status, _ = command("train.py", *words, "hydra.sweep.dir=here", *SMALL)
    assert "hydra.sweep.dir=here holds something else than this multirun" in status
    assert files(tmp_path) == before


def test_a_multirun_is_not_written_among_other_files(command, tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "thesis.tex").write_text("")
    assert "holds something else" in command("train.py", *WORDS)[0]
    assert len(files(tmp_path)) == 1


@pytest.mark.parametrize("name", ["a, b=[c]", "it's", "back\\slash\\"])
def test_a_folder_of_any_name_is_gone_on_with(command, tmp_path, name):
    words = ["-m", f"hydra.sweep.dir={overrides.quote_override(name)}", *SMALL]
    assert command("train.py", *words)[0] == 0
    status, output = command("train.py", f"resume={name}")
    assert status == 0
    assert "job 0 was finished before" in output
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    "word",
    ["hydra.sweeper.params={a:1}", "+hydra.callbacks.x._target_=os.abort", "hydra.launcher=x"],
)
def test_a_folder_from_elsewhere_cannot_start_a_program(command, tmp_path, word):
    assert command("train.py", *WORDS)[0] == 0
    record = tmp_path / "here" / "multirun.yaml"
    asked = OmegaConf.load(record)
    asked.hydra.overrides.hydra.append(word)
    OmegaConf.save(asked, record)
    status, _ = command("train.py", "resume=here")
    assert f"its command had {word}, which a folder from elsewhere may not ask for" in status


def trials(folder):
    import optuna

    storage = optuna.storages.RDBStorage(f"sqlite:///{folder}/optuna.db")
    return optuna.load_study(study_name="vaelab", storage=storage).trials


@without_optuna
def test_optuna_maximises_the_validation_elbo(command, tmp_path):
    status, output = command("train.py", *OPTUNA, "hydra.sweeper.n_trials=3")
    assert status == 0
    assert "Warning" not in output
    found = trials(tmp_path / "here")
    assert len(found) == 3
    for job, trial in enumerate(found):
        folder = tmp_path / "here" / str(job)
        assert trial.value == float((folder / "value.txt").read_text())
        rate = OmegaConf.load(folder / ".hydra/config.yaml").optimizer.lr
        assert trial.params == {"optimizer.lr": rate}
    best = OmegaConf.load(tmp_path / "here" / "optimization_results.yaml").best_value
    assert best == max(trial.value for trial in found)
    assert "python train.py -m sweep=optuna" in (tmp_path / "here" / "report.html").read_text()


@without_optuna
@pytest.mark.parametrize("again", [OPTUNA, ["resume=here"]], ids=["the same command", "resume"])
def test_an_interrupted_study_keeps_what_it_chose(command, tmp_path, ends, again):
    count = "hydra.sweeper.n_trials=4"
    ends(2, KeyboardInterrupt())
    assert command("train.py", *OPTUNA, count)[0] == 130
    before = trials(tmp_path / "here")
    ends(0, AssertionError("job 0 is run twice"))
    status, output = command("train.py", *again, *([count] if again is OPTUNA else []))
    assert status == 0
    assert output.count("was finished before") == 2
    after = trials(tmp_path / "here")
    assert [trial.params for trial in after[:3]] == [trial.params for trial in before]
    assert [trial.value for trial in after[:2]] == [trial.value for trial in before[:2]]
    assert [trial.state.name for trial in after] == ["COMPLETE"] * 4
    assert sorted(path.name for path in (tmp_path / "here").iterdir() if path.is_dir()) == list(
        "0123"
    )


@without_optuna
def test_more_trials_go_on_where_a_study_ended(command, tmp_path):
    assert command("train.py", *OPTUNA, "hydra.sweeper.n_trials=2")[0] == 0
    before = trials(tmp_path / "here")
    status, output = command("train.py", *OPTUNA, "hydra.sweeper.n_trials=4")
    assert status == 0
    assert output.count("was finished before") == 2
    after = trials(tmp_path / "here")
    assert [trial.params for trial in after[:2]] == [trial.params for trial in before]
    assert len({trial.params["optimizer.lr"] for trial in after}) == len(after) == 4


@without_optuna
@pytest.mark.parametrize(
    ("broken", "end"), [([1], 1), ([0, 1, 2], "error: Record does not exist.")]
)
def test_a_failed_trial_neither_stops_nor_hides_the_others(
    command, tmp_path, monkeypatch, broken, end
):
    whole = vaelab.train.train

    def train(cfg, **settings):
        if int(Path(cfg.folder).name) in broken:
            raise ValueError("no luck")
        return whole(cfg, **settings)

    monkeypatch.setattr(vaelab.train, "train", train)
    status, output = command("train.py", *OPTUNA, "hydra.sweeper.n_trials=3")
    assert status == end
    states = [trial.state.name for trial in trials(tmp_path / "here")]
    assert states == ["FAIL" if job in broken else "COMPLETE" for job in range(3)]
    assert (tmp_path / "here" / "table.csv").read_text().count("no luck") == len(broken)
    assert "Traceback" not in output


@without_optuna
def test_a_study_kept_elsewhere_goes_on_in_a_new_folder(command, tmp_path):
    words = [word for word in OPTUNA if "sweep.dir" not in word]
    words += ["hydra.sweeper.n_trials=1", "hydra.sweeper.storage.url=sqlite:///optuna.db"]
    for folder in ("one", "two"):
        assert command("train.py", *words, f"hydra.sweep.dir={folder}")[0] == 0
    assert len(trials(tmp_path)) == 2
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
def test_a_stopped_multirun_goes_on_where_it_was(tmp_path, shell, sweep, stop):
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
    again = shell("train.py", "resume=here")
    assert len(re.findall("goes on after step [0-9]+", again)) == 1
    assert "job 0 was finished before" in again
    assert "job 1 was finished before" not in again
    assert (tmp_path / "here/table.csv").read_text().count("\n") == 4
    assert all((tmp_path / "here" / job / "value.txt").exists() for job in "012")


def test_the_word_for_many_may_stand_anywhere():
    assert _expanded(["model=mlp", "-m", "kl.beta=1,2"]) == ["-m", "model=mlp", "kl.beta=1,2"]
