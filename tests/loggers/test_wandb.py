"""Offline W&B runs, read back from their files."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import slow
from PIL import Image

from vaelab.inference.encoding import encode_batches
from vaelab.inference.image_grid import make_image_grid
from vaelab.loggers import wandb_workspace
from vaelab.loggers.base import open_png
from vaelab.loggers.wandb import Wandb, choose_wandb_mode
from vaelab.runs.run import RunParts

QUICK = ["logger=wandb", "trainer=smoke", "samples=1", "model.hidden=[4]"]


def inspect_run(folder, *options):
    tool = [sys.executable, "-m", "wandb", "leet", "inspect", *options, "--json", str(folder)]
    done = subprocess.run(tool, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def read_artifacts(folder):
    """Read the type and the local files of each artifact that waits to be uploaded."""
    lines = [json.loads(line) for line in inspect_run(folder).splitlines()]
    artifacts = [line["artifact"] for line in lines if line["type"] == "artifact"]
    return [(artifact["type"], _find_files(artifact)) for artifact in artifacts]


def _find_files(artifact):
    files = artifact["manifest"]["contents"]
    return {file["path"]: Path(file["local_path"]) for file in files}


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """Remove keys and settings of the user from the environment."""
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_DATA_DIR", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))  # without a netrc


def test_run_without_a_key_is_offline_and_complete(command, tmp_path, offline):
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
    info = json.loads(inspect_run(folder, "--summary"))
    summary, config = info["summary"], info["config"]
    assert "kl.beta=2 latent_dim=3" in info["name"]
    assert info["exit_code"] == 0
    assert config["choices"]["model"] == "mlp"
    assert config["kl"]["beta"] == 2
    assert {"max", "last"} == summary["val/elbo"].keys()
    for panels in wandb_workspace.LAYOUT.values():  # every panel has data
        for kind, _, keys in panels:
            for key in keys:
                assert key in summary or kind == "images" or _has_key(config, key), key
    assert f"{wandb_workspace.LAYOUT['Latents'][0].keys[0]}_bars_table" in summary
    check_figures(folder, summary)
    check_table(folder)
    assert sum(summary["test/kl_per_dimension"]["values"]) == 3
    check_model(folder, tmp_path / "downloaded")
    for _, files in read_artifacts(folder):
        assert all(path.is_relative_to(folder.parent.parent) for path in files.values())


def _has_key(config, key):
    for part in key.split("."):
        config = config.get(part) if isinstance(config, dict) else None
    return config is not None


def check_figures(folder, summary):
    """Check that every figure of the run folder is logged without loss."""
    figures = sorted((folder.parent.parent / "figures").glob("*.png"))
    assert {path.stem for path in figures} == {"reconstructions", "samples", "curves", "mine"}
    for path in figures:
        (name,) = summary[f"figures/{path.stem}"]["filenames"]
        assert open_png(path).tobytes() == open_png(folder / "files" / name).tobytes()


def check_table(folder):
    """Check the table of the first test images and their ELBO terms."""
    tables = [files for kind, files in read_artifacts(folder) if kind == "run_table"]
    (files,) = [files for files in tables if "test/images.table.json" in files]
    table = json.loads(files["test/images.table.json"].read_text())
    named = ["reconstruction", "kl", "elbo"]
    assert table["columns"] == ["index", "label", "image", "decoded", *named]
    assert len(table["data"]) == 32
    run = RunParts.open(folder.parent.parent)
    batch = next(encode_batches(run.vae, run.data, "test"))
    for i, (index, label, image, decoded, *terms) in enumerate(table["data"]):
        assert (index, label) == (i, batch.label[i].item())
        with Image.open(files[image["path"]]) as image_file:
            assert image_file.tobytes() == make_image_grid(batch.x[i : i + 1], 1).tobytes()
        with Image.open(files[decoded["path"]]) as image_file:
            assert image_file.tobytes() == make_image_grid(batch.decoded[i : i + 1], 1).tobytes()
        assert terms == pytest.approx([batch.terms[name][i].item() for name in named], rel=1e-5)


def check_model(folder, place):
    """Check that the artifact is a run folder."""
    (files,) = [files for kind, files in read_artifacts(folder) if kind == "model"]
    for path, local in files.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(local, place / path)
    assert (place / "metrics.json").is_file()
    assert RunParts.open(place).step == 2


@pytest.mark.slow
def test_artifacts_can_be_disabled(train, offline):
    folder = train(*QUICK, "logger.wandb.artifacts=false", "latent_dim=3")["folder"]
    (run,) = folder.glob("wandb/offline-run-*")
    assert "model" not in [kind for kind, _ in read_artifacts(run)]
    summary = json.loads(inspect_run(run, "--summary"))["summary"]
    drawn = {path.stem for path in (folder / "figures").glob("*.png")}
    assert drawn == {key.removeprefix("figures/") for key in summary if "figures/" in key}


@pytest.mark.parametrize("host", ["api.wandb.ai", "api.forge.coreweave.com"])
def test_key_of_wandb_login_is_found(offline, tmp_path, host):
    assert choose_wandb_mode() == "offline"
    (tmp_path / ".netrc").write_text(f"machine {host} login user password {'a' * 40}")
    (tmp_path / ".netrc").chmod(0o600)
    assert choose_wandb_mode() == "online"


def test_key_of_another_server_is_ignored(offline, tmp_path, monkeypatch):
    (tmp_path / "keys").write_text(f"machine wandb.lab:8080 login user password {'a' * 40}")
    (tmp_path / "keys").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "keys"))
    assert choose_wandb_mode() == "offline"
    monkeypatch.setenv("WANDB_BASE_URL", "http://wandb.lab:8080")
    assert choose_wandb_mode() == "online"


@pytest.mark.slow
def test_failed_run_is_marked_as_failed(train, offline, tmp_path):
    with pytest.raises(ValueError, match="NaN or infinity in"):
        train(*QUICK, "optimizer.lr=1e30", "trainer.limit_train_batches=5")
    (folder,) = tmp_path.glob("run/wandb/offline-run-*")
    info = json.loads(inspect_run(folder, "--summary"))
    assert info["exit_code"] == 1
    assert "test/kl_per_dimension" not in info["summary"]


@pytest.mark.slow
def test_only_the_first_of_two_processes_logs(shell, tmp_path):
    words = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.max_epochs=1", *QUICK[2:]]
    output = shell("train.py", "logger=wandb", *words, WANDB_MODE="offline")
    assert output.count("wandb sync") == 1
    (folder,) = tmp_path.glob("runs/*/wandb/offline-run-*")
    assert json.loads(inspect_run(folder, "--summary"))["summary"]["test/images"]["nrows"] == 32


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
def test_numbers_without_meaning_are_missing(train, offline, words, columns):
    folder = train("logger=wandb", *words)["folder"]
    (run,) = folder.glob("wandb/offline-run-*")
    summary = json.loads(inspect_run(run, "--summary"))["summary"]
    table = json.loads((run / "files" / summary["test/images"]["path"]).read_text())
    assert table["columns"] == columns
    assert "test/kl_per_dimension" not in summary
    assert ("test/kl_per_layer" in summary) == ("model=ladder" in words)


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        ([], ["my-id-0", "my-id-1"]),
        *slow((["hydra.sweep.subdir='a/b ${hydra.job.num}'"], ["my-id-a-b-0", "my-id-a-b-1"])),
    ],
)
def test_jobs_of_a_multirun_have_ids_of_their_own(
    command, tmp_path, offline, monkeypatch, words, ids
):
    for name, value in {"ID": "my-id", "GROUP": "mine"}.items():
        monkeypatch.setenv(f"WANDB_RUN_{name}", value)
    monkeypatch.setenv("WANDB_RESUME", "allow")
    words = ["-m", "seed=0,1", "hydra.sweep.dir=here", *words]
    status, output = command("train.py", *words, "callbacks.pictures.only=[]", *QUICK)
    assert status == 0, output
    starts = [
        json.loads(inspect_run(folder).splitlines()[1])["run"]
        for folder in sorted((tmp_path / "here").rglob("offline-run-*"))
    ]
    assert sorted(start["run_id"] for start in starts) == ids
    assert {start["run_group"] for start in starts} == {"mine"}
    for each in ids:
        assert output.count(f"W&B: the id of this run is {each}, not WANDB_RUN_ID=my-id") == 1


@pytest.mark.parametrize("run_id", ["abc12345", "my-id-0", "2-3"])
def test_id_is_found_in_the_folder_of_a_run(tmp_path, offline, run_id):
    for prefix in ("run", "offline-run"):
        logger = Wandb(str(tmp_path / prefix))
        (tmp_path / prefix / "wandb" / f"{prefix}-20260101_010203-{run_id}").mkdir(parents=True)
        (tmp_path / prefix / "wandb" / "latest-run-of-mine").mkdir()
        logger.resume_from(1)
        assert logger.id == run_id


def test_single_run_takes_the_id_of_the_environment(tmp_path, offline, monkeypatch):
    monkeypatch.setenv("WANDB_RUN_ID", "my-id")
    assert Wandb(str(tmp_path / "run")).id is None  # W&B reads the variable


@pytest.mark.slow
def test_each_job_of_a_multirun_is_a_run_in_one_group(command, tmp_path):
    status, _ = command("train.py", "-m", "seed=0,1", *QUICK)
    assert status == 0
    (sweep,) = (tmp_path / "multirun").iterdir()
    folders = sorted(sweep.glob("*/wandb/offline-run-*"))
    assert [folder.parent.parent.name for folder in folders] == ["0", "1"]
    for folder in folders:
        started = json.loads(inspect_run(folder).splitlines()[1])
        assert started["run"]["run_group"] == sweep.name


@pytest.mark.slow
def test_missing_network_switches_to_offline_within_seconds(command, tmp_path, monkeypatch):
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
def test_resumed_run_keeps_its_wandb_id(shell, offline, tmp_path):
    shell("train.py", "hydra.run.dir=run", *QUICK)
    shell("train.py", "resume=run", "trainer.max_epochs=2")
    folders = sorted(tmp_path.glob("run/wandb/offline-run-*"))
    assert len(folders) == 2
    assert len({folder.name.rpartition("-")[2] for folder in folders}) == 1
    steps = [_steps(folder) for folder in folders]
    assert max(steps[0]) < min(steps[1])


def _steps(folder):
    lines = [json.loads(line) for line in inspect_run(folder).splitlines()]
    rows = [line["history"]["item"] for line in lines if line["type"] == "history"]
    return [row["trainer/global_step"] for row in rows if "train/elbo" in row]
