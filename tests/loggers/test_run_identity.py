"""The names, groups and ids of runs in tracking services."""

import json
from pathlib import Path

import pytest
import yaml

from vaelab.loggers import run_identity


def write_words(folder, words):
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(words))


def write_multirun(folder, words):
    folder.mkdir(parents=True, exist_ok=True)
    record = {"hydra": {"overrides": {"task": words}}}
    (folder / "multirun.yaml").write_text(yaml.safe_dump(record))


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (
            ["model=conv", "loss=bce", "logger=[wandb,csv]", "logger.wandb.tags=[a]"],
            "model=conv loss=bce",
        ),
        (["logger=wandb"], "default"),
        ([], "default"),
        ([f"data.root={'x' * 200}"], f"data.root={'x' * 115}..."),
    ],
)
def test_name_of_a_run_is_the_words_of_its_command(tmp_path, words, name):
    write_words(tmp_path / "run", words)
    assert run_identity.describe_choices(tmp_path / "run") == name


def test_name_of_a_job_is_the_words_that_differ(tmp_path):
    words = ["trainer.max_epochs=2", "model=mlp,conv", "loss=bce", "seed=0,1", "logger=wandb"]
    write_multirun(tmp_path / "sweep", words)
    job = tmp_path / "sweep" / "a" / "1"
    write_words(job, ["trainer.max_epochs=2", "model=conv", "loss=bce", "seed=1", "logger=wandb"])
    assert run_identity.describe_choices(job) == "model=conv seed=1"
    assert run_identity.find_group(job) == "sweep"
    again = tmp_path / "again"
    write_words(again, ["trainer.max_epochs=2", "model=conv", "loss=bce", "seed=1"])
    (again / "rerun_of.txt").write_text(f"{job}\n")
    assert run_identity.describe_choices(again) == "model=conv seed=1"
    assert run_identity.find_group(again) == "sweep"


def test_multirun_of_one_job_keeps_all_words(tmp_path):
    write_multirun(tmp_path, ["model=conv", "seed=1"])
    write_words(tmp_path / "0", ["model=conv", "seed=1"])
    assert run_identity.describe_choices(tmp_path / "0") == "model=conv seed=1"


@pytest.mark.parametrize("record", ["", "[", "hydra: 5", "hydra: {overrides: {task: 5}}"])
def test_damaged_record_of_a_multirun_names_its_jobs_by_all_words(tmp_path, record):
    (tmp_path / "multirun.yaml").write_text(record)
    write_words(tmp_path / "0", ["seed=1"])
    assert run_identity.describe_choices(tmp_path / "0") == "seed=1"


def test_ids_of_several_services_are_recorded(tmp_path):
    run_identity.record_tracking_id(tmp_path, "wandb", "abc")
    run_identity.record_tracking_id(tmp_path, "mlflow", "12-3.x")
    run_identity.record_tracking_id(tmp_path, "wandb", "def")
    found = [run_identity.read_tracking_id(tmp_path, name) for name in ("wandb", "mlflow", "x")]
    assert found == ["def", "12-3.x", None]


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"wandb": 5}', '{"wandb": "a/b"}', '{"wandb": ""}']
)
def test_damaged_ids_are_ignored(tmp_path, text):
    (tmp_path / "tracking_ids.json").write_text(text)
    assert run_identity.read_tracking_id(tmp_path, "wandb") is None
    run_identity.record_tracking_id(tmp_path, "mlflow", "good")
    assert json.loads((tmp_path / "tracking_ids.json").read_text())["mlflow"] == "good"


@pytest.mark.parametrize("text", ["", "a\x1b[31m", "a\nb"])
def test_original_of_a_damaged_record_is_none(tmp_path, text):
    (tmp_path / "rerun_of.txt").write_text(text)
    assert run_identity.find_original(tmp_path) is None
    assert run_identity.find_group(tmp_path) is None


def test_original_of_a_rerun(tmp_path):
    (tmp_path / "rerun_of.txt").write_text("/runs/first\n")
    assert run_identity.find_original(tmp_path) == Path("/runs/first")
