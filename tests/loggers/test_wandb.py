"""Offline W&B runs, read back from their files."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image
from wandb.util import get_core_path

from vaelab.cli.evaluate_folder import evaluate_folder
from vaelab.inference.encoding import encode_batches
from vaelab.inference.image_grid import make_image_grid
from vaelab.loggers import wandb_workspace
from vaelab.loggers.base import open_png
from vaelab.loggers.run_identity import read_tracking_id
from vaelab.loggers.wandb import Wandb, choose_summary, choose_wandb_mode
from vaelab.runs.run import RunParts
from vaelab.runtime.metric_names import METRICS

QUICK = ["logger=wandb", "trainer=smoke", "samples=1", "model.hidden=[4]"]


def inspect_run(folder, *options):
    """Print an offline run by what `wandb leet inspect` calls."""
    tool = [get_core_path(), "leet", "inspect", "--no-observability"]
    (file,) = folder.glob("*.wandb")
    tool += [*options, "--json", "--run-file", str(file), str(folder.parent)]
    done = subprocess.run(tool, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def read_summary(folder):
    return json.loads(inspect_run(folder, "--summary"))["summary"]


def read_start(folder):
    """Read the record with which a run starts."""
    return json.loads(inspect_run(folder).splitlines()[1])["run"]


def count_entries(node):
    """Count the values in nested dicts and lists."""
    if isinstance(node, dict | list):
        return sum(map(count_entries, node.values() if isinstance(node, dict) else node))
    return 1


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
    names = ("MODE", "API_KEY", "BASE_URL", "DATA_DIR", "ENTITY", "RUN_ID", "RUN_GROUP", "JOB_TYPE")
    for name in ("NETRC", *(f"WANDB_{name}" for name in names)):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))  # without a netrc


NUMBERS = {"test/elbo": -3.0, "test/nll": 2.5, "val/elbo": -4.0, "val/kl": 1.0, "val/loss": 4.0}
CURVES = {"train/elbo": -5.0, "train/lr": 0.1, "val/kl_weight": 1.0, "epoch": 3, "train/dip": 2.0}


def test_summary_holds_the_numbers_and_an_evaluation_joins_the_run(tmp_path, offline, capfd):
    run = tmp_path / "a run"
    logger = Wandb(str(run), tags=["one", "two"], notes="why", job_type="study", group="mine")
    logger.log_metrics({**NUMBERS, **CURVES}, 1)
    logger.log_metrics({**NUMBERS, "val/elbo": -4.5}, 2)
    logger.add_histogram("test/kl_per_dimension", [0.5] * 20, 2)
    logger.add_image("figures/samples", Image.new("RGB", (4, 4)), 2)
    logger.add_table("test/images", [{"index": 0, "image": Image.new("RGB", (4, 4))}], 2)
    run_id = logger.version
    logger.close()
    (training,) = run.glob("wandb/offline-run-*")
    assert f"To upload it:\nwandb sync '{run}/wandb'" in capfd.readouterr().out
    start = read_start(training)
    assert start["tags"] == ["one", "two"]
    assert (start["notes"], start["job_type"], start["run_group"]) == ("why", "study", "mine")
    summary = read_summary(training)
    assert summary.pop("test/images")["nrows"] == 1  # read by the table panel of W&B
    own = [key for key in summary if key.startswith("_")]  # of W&B itself
    assert summary.keys() - own == NUMBERS.keys()
    assert summary["val/elbo"] == {"max": -4.0}
    assert summary["val/loss"] == {"min": 4.0}
    assert (summary["test/elbo"], summary["val/kl"]) == (-3, 1)

    evaluation = run / "evaluation" / "test-best-5"
    logger = Wandb(str(evaluation), tags=["one", "two"])
    logger.join(run)
    logger.log_metrics({"test_best_5/nll": 2.25}, 2)
    logger.close()
    (joined,) = evaluation.glob("wandb/offline-run-*")
    start = read_start(joined)
    assert start["run_id"] == run_id == read_tracking_id(run, "wandb")
    assert start["resume"]  # `wandb sync` appends to the run instead of replacing it
    assert start.keys().isdisjoint({"display_name", "tags", "notes", "job_type", "run_group"})
    assert read_summary(joined)["test_best_5/nll"] == 2.25
    output = capfd.readouterr().out
    assert f"W&B: the numbers are added to run {run_id} of project vaelab\n" in output
    assert f"\nwandb sync '{run}/evaluation/test-best-5/wandb' '{run}/wandb'\n" in output


@pytest.mark.parametrize(
    ("key", "summary"),
    [
        ("val/elbo", "max"),
        ("val/log_p", "max"),
        ("val/nll", "min"),
        ("val/kl", "last"),
        ("val/kl_weight", "none"),
        ("train/elbo", "none"),
        ("test/elbo", "last"),
        ("test_best_100/fid", "last"),
        ("test/kl_layer_1", "none"),
        ("figures/samples", "none"),
        ("epoch", "none"),
        ("trainer/global_step", "none"),
    ],
)
def test_summary_of_a_key(key, summary):
    assert choose_summary(key) == summary


def test_hostile_ids_are_ignored(tmp_path, offline):
    run = tmp_path / "run"
    (run / "wandb" / "offline-run-20260101_010203-a b").mkdir(parents=True)
    (run / "tracking_ids.json").write_text('{"wandb": "../x y"}')
    logger = Wandb(str(run / "evaluation" / "test-best-5"))
    logger.join(run)
    assert (logger.id, logger.display_name) == (None, "run test-best-5")


def test_rerun_is_a_run_of_its_own_in_the_same_group(tmp_path, offline):
    (tmp_path / "sweep" / "0").mkdir(parents=True)
    (tmp_path / "sweep" / "multirun.yaml").write_text("hydra: {}")
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "rerun_of.txt").write_text(f"{tmp_path}/sweep/0\n")
    logger = Wandb(str(tmp_path / "again"))
    assert (logger.id, logger.group, logger.job_type) == (None, "sweep", "rerun")
    assert logger.notes == f"rerun of {tmp_path}/sweep/0"


@pytest.mark.slow
def test_run_without_a_key_is_offline_and_complete(command, tmp_path, offline):
    run = tmp_path / "run"
    (run / "figures").mkdir(parents=True)
    Image.new("RGBA", (30, 20), "red").save(run / "figures" / "mine.png")
    words = (f"hydra.run.dir={run}", "callbacks.pictures.only=[reconstructions,samples,curves]")
    words = (*words, "logger=default", "kl.beta=2", "latent_dim=3")
    status, output = command("train.py", *words, *QUICK[1:])
    assert status == 0
    (folder,) = tmp_path.glob("run/wandb/offline-run-*")
    assert f"\nwandb sync {folder.parent}\n" in output
    assert f"wandb leet {folder}" in output
    info = json.loads(inspect_run(folder, "--summary"))
    summary, config = info["summary"], info["config"]
    assert info["name"].startswith("callbacks.pictures.only=[reconstructions,samples,curves] kl.be")
    assert info["exit_code"] == 0
    assert config["choices"]["model"] == "mlp"
    assert config["kl"]["beta"] == 2
    history = read_history_keys(folder)
    for panels in wandb_workspace.LAYOUT.values():  # every panel has data
        for kind, _, keys in panels:
            for key in keys:
                is_curve = kind in ("lines", "kl", "images")
                found = key in (history if is_curve else summary)
                assert found or kind == "images" or _has_key(config, key), key
    numbers = {key for key in summary if not key.startswith("_")} - {"test/images"}
    assert {key.partition("/")[2] for key in numbers} <= {*METRICS, "criterion", "loss"}
    assert count_entries(summary) <= 30  # 221 before
    check_figures(folder)
    check_table(folder)
    check_model(folder, tmp_path / "downloaded")
    for _, files in read_artifacts(folder):
        assert all(path.is_relative_to(folder.parent.parent) for path in files.values())

    evaluate_folder(run, ["likelihood"], samples=1)
    (joined,) = run.glob("evaluation/test-best-1/wandb/offline-run-*")
    assert read_start(joined)["run_id"] == info["run_id"]
    assert "test_best_1/elbo" in read_summary(joined)


def read_history(folder):
    lines = [json.loads(line) for line in inspect_run(folder).splitlines()]
    return [line["history"]["item"] for line in lines if line["type"] == "history"]


def read_history_keys(folder):
    """Read the keys of all curves and media, without the parts of media."""
    return {key.partition(".")[0] for row in read_history(folder) for key in row}


def _has_key(config, key):
    for part in key.split("."):
        config = config.get(part) if isinstance(config, dict) else None
    return config is not None


def check_figures(folder):
    """Check that every figure of the run folder is logged without loss."""
    figures = sorted((folder.parent.parent / "figures").glob("*.png"))
    assert {path.stem for path in figures} == {"reconstructions", "samples", "curves", "mine"}
    for path in figures:
        (row,) = [row for row in read_history(folder) if f"figures/{path.stem}._type" in row]
        (name,) = row[f"figures/{path.stem}.filenames"]
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
    drawn = {f"figures/{path.stem}" for path in (folder / "figures").glob("*.png")}
    assert drawn == {key for key in read_history_keys(run) if key.startswith("figures/")}


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
    assert "test/elbo" not in info["summary"]


@pytest.mark.slow
def test_only_the_first_of_two_processes_logs(shell, tmp_path):
    words = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.max_epochs=1", *QUICK[2:]]
    output = shell("train.py", "logger=wandb", *words, WANDB_MODE="offline")
    assert output.count("\nwandb sync ") == 1
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
    history = read_history_keys(run)
    assert "test/kl_per_dimension" not in history
    assert ("test/kl_per_layer" in history) == ("model=ladder" in words)


@pytest.mark.parametrize("place", ["0", "a/b 1"])
def test_jobs_of_a_multirun_have_ids_of_their_own(tmp_path, offline, monkeypatch, place):
    for name, value in {"ID": "my-id", "GROUP": "mine"}.items():
        monkeypatch.setenv(f"WANDB_RUN_{name}", value)
    (tmp_path / "multirun.yaml").write_text("hydra: {}")
    logger = Wandb(str(tmp_path / place))
    assert (logger.id, logger.group) == (
        f"my-id-{place.replace('/', '-').replace(' ', '-')}",
        "mine",
    )


@pytest.mark.slow
def test_multirun_is_a_group_and_ends_with_one_command(command, tmp_path, offline, monkeypatch):
    monkeypatch.setenv("WANDB_RUN_ID", "my-id")
    words = ["-m", "seed=0,1", "kl.beta=2", "hydra.sweep.dir='my sweep'"]
    words += ["hydra.sweep.subdir='a/b ${hydra.job.num}'", "callbacks.pictures.only=[]", *QUICK]
    status, output = command("train.py", *words)
    assert status == 0, output
    folders = sorted((tmp_path / "my sweep").rglob("offline-run-*"))
    starts = [read_start(folder) for folder in folders]
    assert {start["run_id"] for start in starts} == {"my-id-a-b-0", "my-id-a-b-1"}
    assert {start["run_group"] for start in starts} == {"my sweep"}
    assert {start["display_name"] for start in starts} == {"seed=0", "seed=1"}
    for start in starts:
        warning = f"W&B: the id of this run is {start['run_id']}, not WANDB_RUN_ID=my-id"
        assert output.count(warning) == 1
    (line,) = [line for line in output.splitlines() if line.startswith("wandb sync ")]
    listed = line.replace("wandb sync", "printf '%s\\n'")
    done = subprocess.run(["bash", "-c", listed], capture_output=True, text=True, check=True)
    assert sorted(done.stdout.splitlines()) == sorted(str(folder.parent) for folder in folders)


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
    assert read_start(folders[1])["resume"]
    steps = [_steps(folder) for folder in folders]
    assert max(steps[0]) < min(steps[1])


def _steps(folder):
    return [row["trainer/global_step"] for row in read_history(folder) if "train/elbo" in row]
