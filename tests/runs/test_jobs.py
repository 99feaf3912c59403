"""The names of runs and of the jobs of a multirun."""

import shutil
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from vaelab.runs.jobs import find_jobs, name_run, read_jobs


@pytest.fixture
def multirun(tmp_path) -> Path:
    for job, words in enumerate((["data=mnist", "kl.beta=1"], ["data=mnist", "kl.beta=4"])):
        (tmp_path / str(job) / ".hydra").mkdir(parents=True)
        OmegaConf.save(OmegaConf.create(words), tmp_path / str(job) / ".hydra" / "overrides.yaml")
    (tmp_path / "multirun.yaml").touch()
    return tmp_path


def test_job_of_a_multirun_is_named_by_what_differs(multirun):
    assert [name_run(multirun / job) for job in "01"] == ["0: kl.beta=1", "1: kl.beta=4"]


def test_single_run_is_named_by_its_folder(multirun):
    (multirun / "multirun.yaml").unlink()
    assert name_run(multirun / "1") == "1"


def test_only_job_is_named_by_all_its_overrides(multirun):
    (multirun / "1" / ".hydra" / "overrides.yaml").unlink()
    (multirun / "1" / ".hydra").rmdir()
    assert name_run(multirun / "0") == "0: data=mnist kl.beta=1"


def test_jobs_are_found_in_nested_folders(multirun):
    nested = shutil.copytree(multirun / "0", multirun / "deeper" / "seed 0")
    assert nested in find_jobs(multirun)
    assert "deeper/seed 0" in {row["job"] for row in read_jobs(multirun)}
    assert name_run(nested).startswith("seed 0: ")


def test_folder_of_several_multiruns_is_not_one_of_them(multirun, tmp_path):
    above = tmp_path / "above"
    shutil.copytree(multirun, above / "first", ignore=lambda *_: ["above"])
    assert find_jobs(above) == []
    assert find_jobs(above / "first") == [above / "first" / "0", above / "first" / "1"]
