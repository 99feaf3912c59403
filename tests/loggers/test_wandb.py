"""Real offline runs, read back from the files that W&B wrote."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from vaelab.inference.encoding import encode_batches
from vaelab.inference.image_grid import make_image_grid
from vaelab.loggers import wandb_workspace
from vaelab.loggers.base import open_png
from vaelab.loggers.wandb import choose_wandb_mode
from vaelab.runs.run import Run

QUICK = ["logger=wandb", "trainer=smoke", "samples=1", "model.hidden=[4]"]


def inspect(folder, *options):
    tool = [sys.executable, "-m", "wandb", "leet", "inspect", *options, "--json", str(folder)]
    done = subprocess.run(tool, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def artifacts(folder):
    """What waits to be uploaded: of each artifact its type, and where its files lie."""
    lines = [json.loads(line) for line in inspect(folder).splitlines()]
    found = [line["artifact"] for line in lines if line["type"] == "artifact"]
    return [
        (each["type"], {file["path"]: Path(file["local_path"]) for file in _files(each)})
        for each in found
    ]


def _files(artifact):
    return artifact["manifest"]["contents"]


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No key, and nothing of the user's in the way."""
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_DATA_DIR", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))  # where there is no netrc


def test_without_a_key_a_run_is_offline_and_has_all_that_makes_a_dashboard(
    command, tmp_path, offline
):
    run = tmp_path / "run"
    (run / "figures").mkdir(parents=True)
    Image.new("RGBA", (30, 20), "red").save(run / "figures" / "mine.png")
    words = (f"hydra.run.dir={run}", "callbacks.pictures.only=[reconstructions,samples,curves]")
    words = (*words, "logger=default", "kl.beta=2", "latent_dim=3")
    status, output = command("train.py", *words, *QUICK[1:])
    assert status == 0
    (folder,) = tmp_path.glob("run/wandb/offline-run-*")
    assert f"wandb sync {folder}" in output
    assert f"wandb leet {folder}" in output
    said = json.loads(inspect(folder, "--summary"))
    summary, config = said["summary"], said["config"]
    assert "kl.beta=2 latent_dim=3" in said["name"]
    assert said["exit_code"] == 0
    assert config["choices"]["model"] == "mlp"
    assert config["kl"]["beta"] == 2
    assert {"max", "last"} == summary["val/elbo"].keys()
    for panels in wandb_workspace.LAYOUT.values():  # the saved view shows nothing that is not there
        for kind, _, keys in panels:
            for key in keys:
                assert key in summary or kind == "pictures" or _held(config, key), key
    assert f"{wandb_workspace.LAYOUT['Latents'][0].keys[0]}_bars_table" in summary
    check_pictures(folder, summary)
    check_table(folder)
    assert sum(summary["test/kl_per_dimension"]["values"]) == 3
    check_model(folder, tmp_path / "downloaded")
    for _, files in artifacts(folder):
        assert all(path.is_relative_to(folder.parent.parent) for path in files.values())


def _held(config, key):
    for part in key.split("."):
        config = config.get(part) if isinstance(config, dict) else None
    return config is not None


def check_pictures(folder, summary):
    """Every figure of the run folder, to the pixel."""
    figures = sorted((folder.parent.parent / "figures").glob("*.png"))
    assert {path.stem for path in figures} == {"reconstructions", "samples", "curves", "mine"}
    for path in figures:
        (name,) = summary[f"figures/{path.stem}"]["filenames"]
        assert open_png(path).tobytes() == open_png(folder / "files" / name).tobytes()


def check_table(folder):
    """The first test images, with the terms that evaluation took its means of."""
    tables = [files for kind, files in artifacts(folder) if kind == "run_table"]
    (files,) = [files for files in tables if "test/images.table.json" in files]
    table = json.loads(files["test/images.table.json"].read_text())
    named = ["reconstruction", "kl", "elbo"]
    assert table["columns"] == ["index", "label", "image", "decoded", *named]
    assert len(table["data"]) == 32
    run = Run.open(folder.parent.parent)
    batch = next(encode_batches(run.vae, run.data, "test"))
    for i, (index, label, image, decoded, *terms) in enumerate(table["data"]):
        assert (index, label) == (i, batch.label[i].item())
        with Image.open(files[image["path"]]) as found:
            assert found.tobytes() == make_image_grid(batch.x[i : i + 1], 1).tobytes()
        with Image.open(files[decoded["path"]]) as found:
            assert found.tobytes() == make_image_grid(batch.decoded[i : i + 1], 1).tobytes()
        assert terms == pytest.approx([batch.terms[name][i].item() for name in named], rel=1e-5)


def check_model(folder, place):
    """The artifact is a run folder."""
    (files,) = [files for kind, files in artifacts(folder) if kind == "model"]
    for path, local in files.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(local, place / path)
    assert (place / "metrics.json").is_file()
    assert Run.open(place).step == 2


@pytest.mark.slow
def test_artifacts_can_be_left_out(train, offline):
    folder = train(*QUICK, "logger.wandb.artifacts=false", "latent_dim=3")["folder"]
    (run,) = folder.glob("wandb/offline-run-*")
    assert "model" not in [kind for kind, _ in artifacts(run)]
    summary = json.loads(inspect(run, "--summary"))["summary"]
    drawn = {path.stem for path in (folder / "figures").glob("*.png")}
    assert drawn == {key.removeprefix("figures/") for key in summary if "figures/" in key}


@pytest.mark.parametrize("host", ["api.wandb.ai", "api.forge.coreweave.com"])
def test_a_key_of_wandb_login_is_found(offline, tmp_path, host):
    assert choose_wandb_mode() == "offline"
    (tmp_path / ".netrc").write_text(f"machine {host} login user password {'a' * 40}")
    (tmp_path / ".netrc").chmod(0o600)
    assert choose_wandb_mode() == "online"


def test_a_key_of_another_server_is_none_of_this_one(offline, tmp_path, monkeypatch):
    (tmp_path / "keys").write_text(f"machine wandb.lab:8080 login user password {'a' * 40}")
    (tmp_path / "keys").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "keys"))
    assert choose_wandb_mode() == "offline"
    monkeypatch.setenv("WANDB_BASE_URL", "http://wandb.lab:8080")
    assert choose_wandb_mode() == "online"


@pytest.mark.slow
def test_a_run_that_fails_is_a_failed_run(train, offline, tmp_path):
    with pytest.raises(ValueError, match="not finite"):
        train(*QUICK, "optimizer.lr=1e30", "trainer.limit_train_batches=5")
    (folder,) = tmp_path.glob("run/wandb/offline-run-*")
    said = json.loads(inspect(folder, "--summary"))
    assert said["exit_code"] == 1
    assert "test/kl_per_dimension" not in said["summary"]


@pytest.mark.slow
def test_only_the_first_of_two_processes_logs(shell, tmp_path):
    words = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.max_epochs=1", *QUICK[2:]]
    output = shell("train.py", "logger=wandb", *words, WANDB_MODE="offline")
    assert output.count("wandb sync") == 1
    (folder,) = tmp_path.glob("runs/*/wandb/offline-run-*")
    assert json.loads(inspect(folder, "--summary"))["summary"]["test/images"]["nrows"] == 32


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "columns"),
    [
        (
            ["model=ladder", "model.hidden=[8,6]", "model.latents=[2,1]", "latent_dim=3"],
            ["index", "label", "image", "decoded", "reconstruction", "kl", "elbo"],
        ),
        (
            ["posterior=deterministic", "objective=autoencoder", "model.hidden=[4]"],
            ["index", "label", "image", "decoded", "reconstruction"],
        ),
    ],
)
def test_what_a_model_does_not_have_is_left_out(train, offline, words, columns):
    folder = train("logger=wandb", *words)["folder"]
    (run,) = folder.glob("wandb/offline-run-*")
    summary = json.loads(inspect(run, "--summary"))["summary"]
    table = json.loads((run / "files" / summary["test/images"]["path"]).read_text())
    assert table["columns"] == columns
    assert "test/kl_per_dimension" not in summary
    assert ("test/kl_per_layer" in summary) == ("model=ladder" in words)


@pytest.mark.slow
def test_each_job_of_a_multirun_is_one_run_in_the_group_of_the_sweep(command, tmp_path):
    status, _ = command("train.py", "-m", "seed=0,1", *QUICK)
    assert status == 0
    (sweep,) = (tmp_path / "multirun").iterdir()
    folders = sorted(sweep.glob("*/wandb/offline-run-*"))
    assert [folder.parent.parent.name for folder in folders] == ["0", "1"]
    for folder in folders:
        started = json.loads(inspect(folder).splitlines()[1])
        assert started["run"]["run_group"] == sweep.name


@pytest.mark.slow
def test_with_a_key_and_no_network_it_goes_on_offline_within_seconds(
    command, tmp_path, monkeypatch
):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    status, output = command("train.py", *QUICK, "logger.wandb.timeout=3")
    assert status == 0
    assert "recorded offline" in output
    assert "a" * 40 not in output
    assert list(tmp_path.glob("runs/*/wandb/offline-run-*"))
    for path in Path(tmp_path, "runs").rglob("*"):
        assert not path.is_file() or b"a" * 40 not in path.read_bytes()


@pytest.mark.slow
def test_a_run_that_goes_on_is_the_same_run_of_wandb(shell, offline, tmp_path):
    shell("train.py", "hydra.run.dir=run", *QUICK)
    shell("train.py", "resume=run", "trainer.max_epochs=2")
    folders = sorted(tmp_path.glob("run/wandb/offline-run-*"))
    assert len(folders) == 2
    assert len({folder.name.rpartition("-")[2] for folder in folders}) == 1
    steps = [_steps(folder) for folder in folders]
    assert max(steps[0]) < min(steps[1])


def _steps(folder):
    lines = [json.loads(line) for line in inspect(folder).splitlines()]
    rows = [line["history"]["item"] for line in lines if line["type"] == "history"]
    return [row["trainer/global_step"] for row in rows if "train/elbo" in row]
