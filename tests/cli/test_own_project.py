"""Options and packages of the user's own project: found, trusted, recorded, and used again."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from omegaconf import OmegaConf

from vaelab.runs.compose import compose_config
from vaelab.runs.run import RunParts
from vaelab.runtime import own_project, trusted_config
from vaelab.runtime.errors import UserError

PARTS = ROOT / "tests" / "fixtures" / "own_parts"
OWN = ["experiment=own", "trainer=smoke", "trainer.accelerator=cpu"]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A copy of the project in tests/fixtures, as the working folder."""
    folder = shutil.copytree(PARTS, tmp_path / "project")
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    for name in (own_project.CONF_VARIABLE, own_project.TRUST_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "ownparts"]:
        del sys.modules[name]


def write_option(path, text="# An option\n"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_one_folder_of_options_is_used_and_a_flag_comes_first(project, tmp_path, monkeypatch):
    other, third = tmp_path / "other" / "conf", tmp_path / "third"
    write_option(other / "kl" / "mine.yaml")
    third.mkdir()
    assert own_project.find_own_conf() == project / "conf"
    monkeypatch.setenv("VAELAB_CONF", str(other))
    assert own_project.find_own_conf() == other
    for flag in (["--config-dir", str(third)], [f"--config-dir={third}"], ["-cd", str(third)]):
        with own_project.project_environment(["loss=bce", *flag, "-m"]) as words:
            assert words == ["loss=bce", "-m"]
            assert own_project.find_own_conf() == third
        assert own_project.find_own_conf() == other
    monkeypatch.setenv("VAELAB_CONF", "")
    assert own_project.find_own_conf() is None


def test_options_of_a_run_folder_are_never_used(project, tmp_path, monkeypatch):
    """Neither those of the working folder, nor those of a folder that the user names."""
    for name in (".hydra/config.yaml", "multirun.yaml"):
        run = tmp_path / name.partition("/")[0].strip(".") / "run"
        write_option(run / name)
        write_option(run / "deep" / "conf" / "kl" / "mine.yaml")
        monkeypatch.chdir(run / "deep")
        assert own_project.find_own_conf() is None
        with (
            pytest.raises(UserError, match="lies in a run folder"),
            own_project.project_environment(["--config-dir", "conf"]),
        ):
            pass


def test_conf_of_a_clone_is_not_taken_for_own_options(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert own_project.find_own_conf() is None


@pytest.mark.parametrize("name", ["train.yaml", "loss/bce.yaml", "experiment/iwae.yaml"])
def test_own_option_cannot_replace_one_of_vaelab(command, tmp_path, name):
    write_option(tmp_path / "conf" / name)
    status, _ = command("train.py", "loss=mse")
    assert f"conf/{name}: vaelab has {name} already" in status
    assert "\n" not in status


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("os", "opening a run could then start any program"),
        ("torch.utils", "opening a run could then start any program"),
        ("vaelab", "opening a run could then start any program"),
        ("my-package", "give the name of a package"),
        ("mine,", "give the name of a package"),
        ("mine.", "give the name of a package"),
        ("class", "give the name of a package"),
        ("../mine", "give the name of a package"),
    ],
)
def test_package_that_cannot_be_trusted_is_refused(command, names, message):
    status, _ = command("train.py", "--trust", names)
    assert status.startswith("error: trust=")
    assert message in status


def test_trust_is_added_up(monkeypatch):
    monkeypatch.setenv("VAELAB_TRUST", "one")
    words = ["--trust", "two,three.four", "--trust=five", "--trust", "one"]
    with own_project.project_environment(words) as others:
        assert others == []
        assert own_project.trusted_packages() == ["one", "two", "three.four", "five"]
    assert own_project.trusted_packages() == ["one"]


def test_only_what_a_trusted_package_defines_is_accepted(project):
    def check(target):
        trusted_config.check_config(OmegaConf.create({"x": {"_target_": target}}), ["ownparts"])

    for target in ("Squares", "make_squares", "Squares.load"):
        check(f"ownparts.parts.{target}")
    for target in ("Path", "torch.load", "math.prod", "compute_mean_image"):
        with pytest.raises(UserError, match="is not"):
            check(f"ownparts.parts.{target}")
    with pytest.raises(UserError, match="there is no such class"):
        check("ownparts.parts.Missing")
    with pytest.raises(UserError, match=r"x: ownpartsevil\.f is not trusted"):
        check("ownpartsevil.f")


def test_run_cannot_trust_its_own_package(project, tmp_path):
    cfg = compose_config("train", OWN)
    OmegaConf.update(cfg, "trust", ["ownparts"], force_add=True)
    folder = tmp_path / "run"
    (folder / ".hydra").mkdir(parents=True)
    OmegaConf.save(cfg, folder / ".hydra" / "config.yaml")
    hydra = {"hydra": {"job": {"env_set": {"VAELAB_TRUST": "ownparts"}}}}
    OmegaConf.save(OmegaConf.create(hydra), folder / ".hydra" / "hydra.yaml")
    with pytest.raises(UserError, match=r"ownparts\.parts\.\w+ is not trusted"):
        RunParts.open(folder)


def test_run_of_own_parts_trains_and_opens_in_process(project, train):
    cfg = compose_config("train", OWN)
    trusted_config.check_config(cfg, ["ownparts"])
    run = RunParts.build(cfg)
    assert type(run.vae.likelihood).__name__ == "UnitLaplace"
    assert type(run.module.objective).__name__ == "DoubledELBO"


def test_training_is_refused_fast_and_leaves_nothing(command, tmp_path):
    shutil.copytree(PARTS, tmp_path, dirs_exist_ok=True)
    before = sorted(tmp_path.rglob("*"))
    status, _ = command("train.py", *OWN)
    assert "is not trusted: if you trust the package, add --trust ownparts" in status
    assert "\n" not in status
    assert sorted(tmp_path.rglob("*")) == before


def test_help_and_errors_list_own_options(command, tmp_path):
    shutil.copytree(PARTS, tmp_path, dirs_exist_ok=True)
    status, output = command("train.py", "--help")
    assert status == 0
    assert "squares (own)" in output
    status, output = command("train.py", "--help", "data")
    assert "squares              (own) Bright squares" in output
    status, _ = command("train.py", "loss=zzz")
    assert "unit_laplace (own)" in status
    status, _ = command("train.py", "experiment=own", "model.widt=3")
    assert status == "error: model.widt: there is no such key; did you mean model.width?"
    status, _ = command("train.py", "experiment=owm")
    assert status == "error: experiment=owm: there is no such option; did you mean experiment=own?"


def test_misspelt_key_in_an_own_file_gets_the_nearest_one(command, tmp_path):
    shutil.copytree(PARTS, tmp_path, dirs_exist_ok=True)
    file = tmp_path / "conf" / "loss" / "unit_laplace.yaml"
    file.write_text(file.read_text().replace("width", "widht"))
    status, _ = command("train.py", *OWN, "--trust", "ownparts")
    assert status == "error: loss.widht: there is no such key; did you mean loss.width?"


def run_command(*words, cwd, wait=True, **environment):
    """Run `vaelab ...` in a process that finds the package in the working folder's parent only."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "vaelab", *words],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    if not wait:
        return process
    output, errors = process.communicate(timeout=300)
    return process.returncode, output, errors


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="it kills a process by SIGKILL")
@pytest.mark.parametrize("way", ["flag", "variable"])
def test_whole_cycle_with_own_parts(tmp_path, way):
    """Train, sweep, kill, resume, evaluate, sample, encode, export, draw, report and rerun."""
    folder = shutil.copytree(PARTS, tmp_path / "project")
    trust = ["--trust", "ownparts"] if way == "flag" else []
    environment = {} if way == "flag" else {"VAELAB_TRUST": "ownparts"}

    def vaelab(*words):
        status, output, errors = run_command(*words, *trust, cwd=folder, **environment)
        assert status == 0, errors[-2000:]
        return output

    status, _, errors = run_command("train", "experiment=own", cwd=folder)
    assert status == 1
    assert errors.splitlines()[-1].startswith("error: ")
    assert "is not trusted" in errors
    assert not (folder / "runs").exists()

    output = vaelab("train", "experiment=own", "hydra.run.dir=runs/a")
    assert output.splitlines()[-1] == str(folder / "runs" / "a")
    assert (folder / "runs" / "a" / "steps.txt").read_text() == "20\n"
    assert "elbo" in (folder / "runs" / "a" / "lines.txt").read_text()

    vaelab("train", "-m", "experiment=own", "seed=0,1", "trainer=smoke", "hydra.sweep.dir=sweep")
    (folder / "sweep" / "1" / "value.txt").unlink()
    assert "job 0 has finished before" in vaelab("resume", "sweep")
    assert (folder / "sweep" / "table.csv").read_text().count("\n") == 3

    long = ["trainer.max_epochs=100000", "hydra.run.dir=runs/killed"]
    killed = run_command(
        "train", "experiment=own", *long, *trust, cwd=folder, wait=False, **environment
    )
    for _ in range(600):
        if (folder / "runs/killed/checkpoints/last.ckpt").is_file() or killed.poll() is not None:
            break
        time.sleep(0.1)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    epochs = 2 + max(
        torch.load(path, weights_only=True)["epoch"]
        for path in (folder / "runs" / "killed" / "checkpoints").glob("*.ckpt")
    )
    output = vaelab("resume", "runs/killed", f"trainer.max_epochs={epochs}")
    assert "resuming after step" in output

    assert "runs/a" in vaelab("evaluate", "runs/a", "--samples", "2", "--parts", "likelihood")
    assert "samples" in vaelab("sample", "runs/a", "n=4")
    assert ".parquet" in vaelab("encode", "runs/a")
    assert "encoder.onnx" in vaelab("export", "runs/a")
    assert "traversals" in vaelab("figures", "runs/a", "--only", "traversals")
    assert "report.html" in vaelab("report", "runs/a")
    assert "bit-identical" in vaelab("rerun", "runs/a", "--out", "runs/b")
    status, _, errors = run_command("evaluate", "runs/a", cwd=folder)
    assert status == 1
    assert "is not trusted" in errors


def test_project_is_found_from_another_folder(tmp_path):
    folder = shutil.copytree(PARTS, tmp_path / "project")
    words = ["--config-dir", str(folder / "conf"), "--trust", "ownparts", "--cfg", "job"]
    status, output, errors = run_command("train", "experiment=own", *words, cwd=tmp_path)
    assert status == 0, errors
    assert "ownparts.parts.Squares" in output
    assert errors == f"own options: {folder}/conf\n"
    assert Path(tmp_path, "runs").exists() is False
