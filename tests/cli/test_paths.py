"""The data folder, the run folder and the file of a command may have any name."""

import json
import shlex
import shutil

import numpy as np
import pytest
from conftest import ROOT, slow
from omegaconf import OmegaConf
from PIL import Image

SHORT = ("trainer=smoke", "trainer.accelerator=cpu", "samples=1", "logger=csv", "model=mlp")
SHORT += ("model.hidden=[4]", "latent_dim=2", "callbacks.pictures.only=[]", "data=image_folder")
SHORT += ("data.shape=[1,8,8]",)
NAMES = [
    "a b=1",
    "née",
    "图片 (新)",
    "#",
    "[1]",
    "{a}",
    "$HOME",
    "%",
    "it's",
    "a,b",
    "x ",
    "C:\\x",
    "~",
    "*",
]


def write_images(folder):
    folder.mkdir(parents=True)
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")


@pytest.fixture
def run(command, monkeypatch):
    """Run a command of vaelab that has to succeed, in tmp_path; return its output."""

    def run_command(*words, script="train.py"):
        status, output = command(script, *words)
        assert status == 0, (status, output)
        return output

    return run_command


@pytest.mark.parametrize("name", ["图片 (a, b=1)", *slow(*NAMES)])
def test_folders_of_any_name_go_through_every_command(run, command, tmp_path, name):
    literal = name if name != "~" else "./~"  # ~ itself is the home folder
    write_images(tmp_path / "data" / name)
    data, folder = f"data.root={tmp_path}/data/{name}", tmp_path / literal / "run"
    run(*SHORT, data, f"data.cache={tmp_path}/cache/{name}", f"hydra.run.dir={literal}/run")
    assert list((tmp_path / "cache" / name).iterdir())
    recorded = OmegaConf.load(folder / ".hydra" / "config.yaml")
    assert recorded.data.root == f"{tmp_path}/data/{name}"
    assert "is finished" in command("train.py", f"resume={literal}/run")[0]
    run(f"resume={literal}/run", "trainer.max_epochs=2")
    assert json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["epochs"] == 2
    path = str(folder)
    run(path, "--parts", "likelihood", "--samples", "1", script="scripts/evaluate.py")
    run(path, "n=2", f"out={literal}/samples", script="scripts/sample.py")
    assert (tmp_path / literal / "samples" / "prior.npz").is_file()
    run(path, script="scripts/report.py")
    run(path, "--out", f"{tmp_path / literal}/z.parquet", script="scripts/encode.py")
    run(*SHORT, data, f"start={literal}/run", f"hydra.run.dir={literal}/second")


@pytest.mark.parametrize("name", slow(*NAMES))
def test_multirun_of_any_name_resumes(run, tmp_path, name):
    literal = name if name != "~" else "./~"
    write_images(tmp_path / "data" / name)
    words = [*SHORT, f"data.root={tmp_path}/data/{name}", "seed=0,1"]
    run("-m", *words, f"hydra.sweep.dir={literal}/sweep")
    folder = tmp_path / literal / "sweep"
    (folder / "1" / "value.txt").unlink(missing_ok=True)
    shutil.rmtree(folder / "1")
    output = run(f"resume={literal}/sweep")
    assert "job 0 has finished before" in output
    assert (folder / "1" / "metrics.json").is_file()
    hint = output.partition("interruption: ")[2].splitlines()[0]
    assert f"resume={literal}/sweep" in shlex.split(hint)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a b=1", "图片 (新)"])
def test_processes_of_ddp_and_a_repeated_run_find_folders_of_any_name(shell, tmp_path, name):
    write_images(tmp_path / name)
    words = [*SHORT, f"data.root={name}", f"hydra.run.dir={name}-run"]
    shell("train.py", *words, "trainer=ddp", "trainer.max_epochs=1", "data.batch_size=4")
    shell("scripts/rerun.py", f"{name}-run", "--out", f"{name}-again")
    assert (tmp_path / f"{name}-again" / "metrics.json").is_file()


def test_tilde_is_the_home_folder(run, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.setenv("VAELAB_DATA", "~/my pics")
    write_images(tmp_path / "home" / "my pics")
    run(*SHORT, "hydra.run.dir=~/run")
    assert (tmp_path / "home" / "run" / "metrics.json").is_file()
    run(*SHORT, "data.root=~/my pics", "start=~/run", "hydra.run.dir=~/second")
    run("resume=~/second", "trainer.max_epochs=2")
    run("~/second", "n=2", "out=~/new", script="scripts/sample.py")
    run("~/second", "--parts", "likelihood", script="scripts/evaluate.py")
    assert (tmp_path / "home" / "new" / "prior.npz").is_file()
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize("name", ["a b=1", *slow("图片 (新)", "#", "[1]", "%20", "~x")])
def test_folder_of_own_options_may_have_any_name(command, tmp_path, name):
    (tmp_path / name / "kl").mkdir(parents=True)
    text = (ROOT / "conf" / "kl" / "constant.yaml").read_text(encoding="utf-8")
    (tmp_path / name / "kl" / "mine.yaml").write_text(text, encoding="utf-8")
    words = ["--config-dir", name, "--cfg", "job", "kl=mine", "kl.beta=7"]
    status, output = command("train.py", *words)
    assert status == 0, (status, output)
    assert "beta: 7" in output


def test_word_that_the_shell_has_split_is_answered_with_the_word_to_type(command):
    status, _ = command("train.py", "data=image_folder", "data.root=/my", "pics")
    assert status == "error: pics: this word sets nothing; type 'data.root=/my pics'"
