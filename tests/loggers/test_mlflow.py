"""MLflow runs in a local SQLite database, read back with the client of MLflow."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from vaelab.cli.evaluate_folder import evaluate_folder
from vaelab.loggers.mlflow import Mlflow
from vaelab.loggers.run_identity import read_tracking_id
from vaelab.runtime.errors import MissingExtraError, UserError

QUICK = ["logger=mlflow", "trainer=smoke", "samples=1", "model.hidden=[4]", "latent_dim=3"]
needs_mlflow = pytest.mark.skipif(
    find_spec("mlflow") is None, reason="MLflow is not installed: pip install 'vaelab[mlflow]'"
)


@pytest.fixture(autouse=True)
def working_folder(monkeypatch, tmp_path):
    """Work in an empty folder, without a server."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.chdir(tmp_path)


def open_client():
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{Path.cwd()}/mlflow.db")


def find_runs(client):
    (experiment,) = [each for each in client.search_experiments() if each.name == "vaelab"]
    return client.search_runs([experiment.experiment_id])


def read_steps(client, run, key):
    return [point.step for point in client.get_metric_history(run.info.run_id, key)]


def test_missing_package_is_named_before_the_training(tmp_path, monkeypatch):
    monkeypatch.setattr("vaelab.runtime.errors.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"run pip install 'vaelab\[mlflow\]'$"):
        Mlflow(str(tmp_path / "run"))


@needs_mlflow
def test_other_processes_open_no_database(tmp_path, monkeypatch):
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    logger = Mlflow(str(tmp_path / "run"))
    logger.log_hyperparams({"seed": 1})
    logger.log_metrics({"train/elbo": 1.0}, 1)
    logger.close()
    assert list(tmp_path.iterdir()) == []


@needs_mlflow
def test_no_setting_chooses_the_database(tmp_path, monkeypatch):
    assert Mlflow(str(tmp_path)).uri == f"sqlite:///{tmp_path}/mlflow.db"
    with pytest.raises(TypeError, match="uri"):
        Mlflow(str(tmp_path), uri="http://elsewhere")
    (tmp_path / "a?b").mkdir()
    monkeypatch.chdir(tmp_path / "a?b")
    assert Mlflow(str(tmp_path)).uri == "sqlite:///mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mine:5000")
    assert Mlflow(str(tmp_path)).uri == "http://mine:5000"


@needs_mlflow
@pytest.mark.slow
def test_run_is_resumed_without_duplicates_and_joined(tmp_path, capsys):
    run = tmp_path / "run"
    logger = Mlflow(str(run), tags={"stage": "baseline", "fold": 2})
    logger.log_hyperparams({"seed": 1, "trainer": {"max_epochs": 1}, "hidden": [4, 8]})
    for step in (1, 2, 3):
        logger.log_metrics({"val/elbo": -float(step)}, step)
    logger.add_image("figures/samples", Image.new("RGB", (4, 4)), 3)
    logger.close(failed=True)
    client = open_client()
    (first,) = find_runs(client)
    assert first.info.status == "FAILED"
    assert first.info.run_name == "default"
    assert first.data.params == {
        "seed": "1",
        "trainer.max_epochs": "1",
        "hidden.0": "4",
        "hidden.1": "8",
    }
    assert first.data.tags.items() >= {"stage": "baseline", "fold": "2"}.items()
    assert first.data.tags["vaelab.folder"] == str(run)
    (image,) = client.list_artifacts(first.info.run_id, "figures")
    assert image.path == "figures/samples.png"

    logger = Mlflow(str(run))
    logger.resume_from(2)
    logger.log_hyperparams({"seed": 1, "trainer": {"max_epochs": 2}, "hidden": [4, 8]})
    for step in (2, 3, 4):
        logger.log_metrics({"val/elbo": -float(step)}, step)
    assert find_runs(client)[0].info.status == "RUNNING"
    logger.close()
    (resumed,) = find_runs(client)
    assert resumed.info.status == "FINISHED"
    assert read_steps(client, resumed, "val/elbo") == [1, 2, 3, 4]
    assert resumed.data.params["trainer.max_epochs"] == "1"
    assert resumed.data.tags["resumed.trainer.max_epochs"] == "2"

    for _ in range(2):
        logger = Mlflow(str(run / "evaluation" / "test-best-5"))
        logger.join(run)
        logger.log_metrics({"test_best_5/nll": 3.0}, 4)
        logger.close()
    (joined,) = find_runs(client)
    assert joined.data.metrics["test_best_5/nll"] == 3
    assert read_steps(client, joined, "test_best_5/nll") == [4]
    assert joined.info.status == "FINISHED"

    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "rerun_of.txt").write_text(str(run))
    logger = Mlflow(str(tmp_path / "again"))
    logger.log_metrics({"val/elbo": 1.0}, 1)
    logger.close()
    (repeated,) = [each for each in find_runs(client) if each.info.run_id != joined.info.run_id]
    assert repeated.data.tags["mlflow.parentRunId"] == joined.info.run_id
    assert repeated.data.tags["vaelab.rerun_of"] == str(run)

    (tmp_path / "other" / "tracking_ids.json").parent.mkdir()
    (tmp_path / "other" / "tracking_ids.json").write_text('{"mlflow": "unknown"}')
    capsys.readouterr()
    logger = Mlflow(str(tmp_path / "other" / "evaluation" / "test-best-5"))
    logger.join(tmp_path / "other")
    logger.log_metrics({"test_best_5/nll": 3.0}, 4)
    logger.close()
    assert "has no run unknown: a new one is started" in capsys.readouterr().out
    assert "other test-best-5" in [each.info.run_name for each in find_runs(client)]

    client.delete_experiment(joined.info.experiment_id)
    with pytest.raises(UserError, match="was deleted in MLflow: restore it by"):
        Mlflow(str(tmp_path / "third")).log_metrics({"val/elbo": 1.0}, 1)


@needs_mlflow
@pytest.mark.slow
def test_jobs_of_a_multirun_are_runs_and_an_evaluation_joins_its_run(command, tmp_path):
    words = ["-m", "seed=0,1", "hydra.sweep.dir=sweep", "callbacks.pictures.only=[]", *QUICK]
    status, output = command("train.py", *words)
    assert status == 0, output
    client = open_client()
    runs = {run.info.run_name: run for run in find_runs(client)}
    assert runs.keys() == {"seed=0", "seed=1"}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert {run.data.tags["vaelab.group"] for run in runs.values()} == {"sweep"}
    assert runs["seed=1"].data.params["seed"] == "1"
    assert {"test/elbo", "val/elbo"} <= runs["seed=1"].data.metrics.keys()
    evaluate_folder(tmp_path / "sweep" / "1", ["likelihood"], samples=3)
    found = {run.info.run_name: run for run in find_runs(client)}
    assert found.keys() == runs.keys()
    assert "test_best_3/nll" in found["seed=1"].data.metrics
    assert found["seed=1"].info.run_id == read_tracking_id(tmp_path / "sweep" / "1", "mlflow")


@needs_mlflow
@pytest.mark.slow
def test_two_processes_log_one_run_that_is_resumed(shell, tmp_path):
    words = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.max_epochs=1", "hydra.run.dir=run"]
    words += ["trainer.limit_train_batches=2", "trainer.log_every_n_steps=1", *QUICK[2:]]
    shell("train.py", "logger=mlflow", *words)
    client = open_client()
    (run,) = find_runs(client)
    assert read_steps(client, run, "train/elbo") == [0, 1]
    shell("train.py", "resume=run", "trainer.max_epochs=2")
    (resumed,) = find_runs(client)
    assert read_steps(client, resumed, "train/elbo") == [0, 1, 2, 3]
    assert resumed.data.tags["resumed.trainer.max_epochs"] == "2"
