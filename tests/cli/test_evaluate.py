"""scripts/evaluate.py: its numbers, files and records, and resumed evaluations."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import torch
from conftest import ROOT
from omegaconf import OmegaConf

from vaelab.cli.evaluate_folder import _read_samples, evaluate_folder
from vaelab.data.base import choose_subset
from vaelab.evaluation import likelihood
from vaelab.evaluation.base import EvaluationConfig, NotApplicable
from vaelab.evaluation.parts import DEFAULT_PARTS, evaluate_run
from vaelab.reproduction import records
from vaelab.runs.run import RunParts
from vaelab.runtime import precision
from vaelab.samplers.prior import PriorSampler

SMALL = ("model.hidden=[16]", "latent_dim=4")
FEW = ("likelihood", "generalisation")


class Interrupted(Exception):
    """Stands for a kill of the process."""


@pytest.fixture
def folder(finished_run):
    return finished_run(*SMALL)["folder"]


def record_bounds(monkeypatch, stop_after=None):
    """Return a list that receives the size of each batch whose bound is computed.

    Arguments:
        stop_after: The number of batches after which the evaluation is interrupted.
    """
    batch_sizes = []
    bound = likelihood.importance_bound

    def importance_bound(vae, x, samples):
        if len(batch_sizes) == stop_after:
            raise Interrupted
        batch_sizes.append(len(x))
        return bound(vae, x, samples)

    monkeypatch.setattr(likelihood, "importance_bound", importance_bound)
    return batch_sizes


def without(numbers, *names):
    return {name: value for name, value in numbers.items() if name not in names}


def test_interrupted_evaluation_resumes_to_the_same_numbers(folder, tmp_path, monkeypatch):
    run = RunParts.open(folder)
    uninterrupted = evaluate_run(
        run, EvaluationConfig(samples=3, folder=tmp_path / "uninterrupted"), FEW
    )
    with monkeypatch.context() as patch:
        record_bounds(patch, stop_after=3)
        with pytest.raises(Interrupted):
            evaluate_run(run, EvaluationConfig(samples=3, folder=tmp_path / "resumed"), FEW)
    batch_sizes = record_bounds(monkeypatch)
    resumed = evaluate_run(run, EvaluationConfig(samples=3, folder=tmp_path / "resumed"), FEW)
    assert len(batch_sizes) == 4 - 3 + 4 + 4  # the rest of likelihood, and both splits of the gap
    assert without(resumed, "parts") == without(uninterrupted, "parts")


def test_finished_parts_are_not_computed_again(folder, tmp_path, monkeypatch):
    run, config = RunParts.open(folder), EvaluationConfig(samples=2, folder=tmp_path / "evaluation")
    first = evaluate_run(run, config, ["likelihood"])
    batch_sizes = record_bounds(monkeypatch)
    assert evaluate_run(run, config, ["likelihood"]) == first
    assert not batch_sizes
    assert evaluate_run(run, config, FEW).keys() > first.keys()
    assert len(batch_sizes) == 4 + 4


def test_other_weights_or_settings_start_a_new_evaluation(folder, tmp_path, monkeypatch):
    run = RunParts.open(folder)
    first = evaluate_run(run, EvaluationConfig(samples=2, folder=tmp_path / "evaluation"), FEW)
    evaluate_run(run, EvaluationConfig(samples=2, seed=1, folder=tmp_path / "evaluation"), FEW)
    with torch.no_grad():
        run.vae.decoder.layers[-1].bias.add_(1)
    batch_sizes = record_bounds(monkeypatch)
    third = evaluate_run(run, EvaluationConfig(samples=2, folder=tmp_path / "evaluation"), FEW)
    assert batch_sizes
    assert third["nll"] > first["nll"] + 10


def test_bf16_applies_to_the_networks_and_hardly_changes_the_numbers(folder):
    run = RunParts.open(folder)
    dtypes = set()
    run.vae.decoder.register_forward_hook(lambda *call: dtypes.add(call[-1].dtype))
    single, half = (
        evaluate_run(run, EvaluationConfig(samples=5, precision=name), ["likelihood"])
        for name in ("32-true", "bf16-mixed")
    )
    assert dtypes == {torch.float32, torch.bfloat16}
    assert single["nll"] != half["nll"]
    assert half["nll"] == pytest.approx(single["nll"], abs=0.1)
    assert single["asked"] != half["asked"]


@pytest.mark.parametrize(("fast", "chosen"), [(True, "bf16-mixed"), (False, "32-true")])
def test_auto_precision_is_bf16_if_the_machine_supports_it(folder, monkeypatch, fast, chosen):
    monkeypatch.setattr(precision, "is_bf16_fast", lambda on_cpu: fast)
    numbers = evaluate_folder(folder, ["likelihood"], samples=2, precision="auto")
    assert numbers["asked"]["precision"] == chosen


@pytest.mark.parametrize("fast", [True, False])
def test_bf16_warns_on_a_machine_where_it_is_slow(train, monkeypatch, caplog, fast):
    monkeypatch.setattr(precision, "is_bf16_fast", lambda on_cpu: fast)
    words = ("trainer.accelerator=cpu", "trainer.precision=bf16-mixed")
    folder = train(*SMALL, *words)["folder"]
    evaluate_folder(folder, ["likelihood"], samples=2, precision="bf16-mixed")
    warnings = [entry.getMessage() for entry in caplog.records if entry.name == precision.__name__]
    reason = "this CPU has no bf16 instructions, 32-true is much faster"
    options = ("trainer.precision=bf16-mixed", "--precision bf16-mixed")
    assert warnings == ([] if fast else [f"{option}: {reason}" for option in options])


@pytest.mark.slow
def test_compiled_decoder_gives_the_same_numbers(folder):
    plain, compiled = (
        evaluate_run(RunParts.open(folder), EvaluationConfig(samples=5, compile=on), ["likelihood"])
        for on in (False, True)
    )
    assert compiled["nll"] == pytest.approx(plain["nll"], abs=1e-3)


def test_images_option_takes_a_random_subset_of_the_split(folder):
    run = RunParts.open(folder)
    numbers = evaluate_run(run, EvaluationConfig(samples=2, images=150), ["likelihood"])
    expected = likelihood.evaluate_likelihood(run.vae, run.data, "test", 2, 0, 150)
    assert (numbers["images"], numbers["all_images"]) == (150, 500)
    assert numbers["elbo"] == expected["elbo"]
    run.data.splits["test"] = type(run.data.splits["test"])(
        *(part[choose_subset(500, 150)] for part in run.data.splits["test"])
    )
    expected = likelihood.evaluate_likelihood(run.vae, run.data, "test", 2)
    assert numbers["elbo"] == expected["elbo"]


def test_inapplicable_part_gives_its_reason(train):
    run = RunParts.open(train(*SMALL, "objective=autoencoder")["folder"])
    numbers = evaluate_run(run, EvaluationConfig(samples=2), FEW)
    assert "Deterministic has no density" in numbers["absent"]["generalisation"]
    assert not {"elbo", "nll", "kl"} & numbers.keys()


def test_inapplicable_part_is_tried_again(folder, monkeypatch):
    def refuse(run, config):
        raise NotApplicable("there is no network")

    settings = {"parts": ["latents"], "samples": 2}
    with monkeypatch.context() as patch:
        patch.setattr("vaelab.evaluation.latents.evaluate", refuse)
        numbers = evaluate_folder(folder, **settings)
        assert numbers["absent"] == {"latents": "there is no network"}
    numbers = evaluate_folder(folder, **settings)
    assert numbers["absent"] == {}
    assert numbers["parts"].keys() == {"latents"}


def test_generalisation_gap_uses_as_many_training_as_test_images(folder):
    run = RunParts.open(folder)
    numbers = evaluate_run(run, EvaluationConfig(samples=2), FEW)
    train = likelihood.evaluate_likelihood(run.vae, run.data, "train", 2, 0, 500)
    assert numbers["generalisation_images"] == 500
    assert numbers["elbo_gap"] == train["elbo"] - numbers["elbo"]
    assert numbers["nll_gap"] == numbers["nll"] - train["nll"]


@pytest.fixture
def evaluate(folder, tmp_path):
    """Evaluate a run, and write its record to tmp_path."""

    def evaluate_with(**settings):
        return evaluate_folder(folder, record_folder=tmp_path / "results", **settings)

    return evaluate_with


def read_records(tmp_path):
    return [json.loads(path.read_text()) for path in (tmp_path / "results").glob("*.json")]


def test_evaluation_writes_json_markdown_a_logger_row_and_a_record(train, tmp_path):
    folder = train(*SMALL, "logger=csv")["folder"]
    before = (folder / "metrics.json").read_bytes()
    numbers = evaluate_folder(folder, FEW, samples=3, record_folder=tmp_path / "results")
    output = folder / "evaluation" / "test-best-3"
    assert json.loads((output / "numbers.json").read_text())["nll"] == numbers["nll"]
    page = (output / "numbers.md").read_text()
    row = re.search(r"NLL \(3 samples\) \(nats per image\) \| ([\d.]+) ± ([\d.]+) \|", page)
    assert float(row[1]) == pytest.approx(numbers["nll"], abs=0.1 * numbers["nll_se"])
    assert float(row[2]) == pytest.approx(numbers["nll_se"], rel=0.05)
    header, row = (output / "metrics.csv").read_text().splitlines()
    logged = dict(zip(header.split(","), row.split(","), strict=True))
    assert float(logged["test/nll"]) == numbers["nll"]
    assert sorted(path.name for path in output.iterdir()) == [
        "metrics.csv",
        "numbers.json",
        "numbers.md",
    ]
    (record,) = read_records(tmp_path)
    names = "data binarize split images samples bits_sha256 nll nll_se elbo seed epochs wall_s"
    assert {*names.split(), "command", "config", "versions", "published"} <= record.keys()
    assert record["config"]["latent_dim"] == 4
    assert record["config"]["objective"]["kl"] == "${kl}"  # interpolations are not resolved
    assert record["threads"] == 1
    assert record["machine"]["gpus"] == []
    assert (folder / "metrics.json").read_bytes() == before


def test_records_with_fewer_images_or_samples_are_not_in_the_table(evaluate, tmp_path):
    evaluate(samples=2)
    evaluate(samples=5000, images=1)
    (record,) = read_records(tmp_path)
    assert (record["images"], record["all_images"], record["samples"]) == (1, 500, 5000)
    assert "Not shown: 1" in records.render_record_table(tmp_path / "results")
    assert "+-" not in records.render_record_table(tmp_path / "results")


def test_has_at_least_compares_split_samples_and_images():
    record = {"split": "test", "images": 100, "all_images": 500, "samples": 50}
    assert records.has_at_least(record, 50, 100)
    assert records.has_at_least(record | {"images": 500}, 50)
    assert records.has_at_least(record | {"images": 500}, 50, 1000)
    assert not records.has_at_least(record, 50)
    assert not records.has_at_least(record, 51, 100)
    assert not records.has_at_least(record, 50, 101)
    assert not records.has_at_least(record | {"split": "val"}, 50, 100)


@pytest.mark.slow
def test_complete_record_is_in_the_table_and_not_replaced_by_an_incomplete_one(
    evaluate, tmp_path, monkeypatch
):
    monkeypatch.setattr(records, "RECORD_SAMPLES", 3)
    nll = evaluate(samples=3)["nll"]
    evaluate(samples=2)
    (record,) = read_records(tmp_path)
    assert record["nll"] == nll
    assert f"| {nll:.2f} +- " in records.render_record_table(tmp_path / "results")


def test_replacing_a_record_of_other_weights_prints_a_message(evaluate, tmp_path, capsys):
    evaluate(samples=2)
    (record,) = read_records(tmp_path)
    records.save_record(record, tmp_path / "results")
    assert "replaced" not in capsys.readouterr().out
    records.save_record(record | {"weights_sha256": "other"}, tmp_path / "results")
    message = "replaced a record of other weights; rename the run folder to keep both"
    assert message in capsys.readouterr().out


def test_other_likelihoods_are_in_separate_tables(evaluate, tmp_path, monkeypatch):
    monkeypatch.setattr(records, "RECORD_SAMPLES", 2)
    evaluate(samples=2)
    (record,) = read_records(tmp_path)
    other = record | {"name": "other", "loss": "gaussian", "measure": "density"}
    records.save_record(other, tmp_path / "results")
    assert records.render_record_table(tmp_path / "results").count("## mnist5k") == 2


def test_unknown_part_is_refused_by_name(command, folder):
    status, _ = command("scripts/evaluate.py", str(folder), "--parts", "likelihood,taste")
    assert "--parts taste: choose from likelihood, " in status


def test_folder_that_is_not_a_run_is_refused_before_any_run_is_evaluated(command, folder, tmp_path):
    status, _ = command("scripts/evaluate.py", str(folder), "missing", "--samples", "2")
    assert "missing is not a run folder" in status
    assert not (folder / "evaluation").exists()


def test_multirun_folder_stands_for_its_jobs(command, folder, tmp_path):
    (tmp_path / "multirun.yaml").write_text("")
    words = ["--samples", "2", "--parts", "likelihood", "--images", "100", "--record"]
    status, output = command("scripts/evaluate.py", str(tmp_path), *words)
    assert status == 0
    *_, left_out, path = output.splitlines()
    assert left_out == "Not shown: 1 with fewer images or fewer than 5000 samples."
    assert path == "results/table.md"
    assert (folder / "evaluation" / "test-best-2-random100" / "numbers.json").is_file()
    assert [record["name"] for record in read_records(tmp_path)] == [f"{tmp_path.name}-run"]


def test_unfinished_jobs_of_a_multirun_are_skipped(command, folder, tmp_path):
    (tmp_path / "multirun.yaml").write_text("")
    for name in ("failed", "interrupted"):
        shutil.copytree(folder, tmp_path / name)
    (tmp_path / "failed" / "failed.txt").write_text("it failed")
    (tmp_path / "interrupted" / "metrics.json").unlink()
    words = ["--samples", "2", "--parts", "likelihood", "--images", "100", "--record"]
    status, output = command("scripts/evaluate.py", str(tmp_path), *words)
    assert status == 0
    assert "skipped unfinished jobs: failed, interrupted" in output
    assert [record["name"] for record in read_records(tmp_path)] == [f"{tmp_path.name}-run"]


def test_last_weights_have_a_separate_record_from_the_best(command, folder, tmp_path):
    for checkpoint in ("best", "last"):
        words = ["--samples", "2", "--parts", "likelihood", "--checkpoint", checkpoint, "--record"]
        assert command("scripts/evaluate.py", str(folder), *words)[0] == 0
    assert sorted(record["name"] for record in read_records(tmp_path)) == ["run", "run-last"]


@pytest.mark.parametrize("word", ["samples=3", "evaluate.samples=3"])
def test_samples_of_the_run_are_the_default(config, word):
    assert _read_samples(config(word)) == 3


def test_default_without_a_setting_is_100_samples_and_older_runs_keep_theirs(config):
    assert _read_samples(config()) == 100
    assert _read_samples(OmegaConf.create({"samples": 7})) == 7


def test_without_record_only_the_run_folders_are_written(command, folder, tmp_path):
    runs = [folder, shutil.copytree(folder, tmp_path / "second")]
    before = set(tmp_path.iterdir())
    words = ["--samples", "2", "--parts", "likelihood", "--images", "100"]
    assert command("scripts/evaluate.py", *map(str, runs), *words)[0] == 0
    assert set(tmp_path.iterdir()) == before
    assert (folder / "evaluation" / "rate_distortion.png").is_file()


@pytest.mark.parametrize("images", [0, -50])
def test_images_option_below_one_is_refused(command, folder, images):
    status, _ = command("scripts/evaluate.py", str(folder), "--images", str(images))
    assert status == f"error: --images {images}: it must be at least 1"


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [(), ("data.binarize=none", "data.dequantize=true", "loss=gaussian")]
)
def test_two_processes_give_the_numbers_of_one_process(finished_run, words):
    folder = finished_run(*SMALL, *words)["folder"]
    one = evaluate_folder(folder, samples=2, sampler=PriorSampler())
    path = folder / "evaluation" / "test-best-2" / "numbers.json"
    path.unlink()
    words = ["--nproc-per-node", "2", str(ROOT / "scripts" / "evaluate.py"), str(folder)]
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *words, "--samples", "2"],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        cwd=folder,
        check=True,
        capture_output=True,
    )
    two = json.loads(path.read_text())
    differing = {"parts", "command"}
    assert without(two, *differing) == without(json.loads(json.dumps(one)), *differing)
    assert set(two["absent"]) == {"disentanglement"}  # digits have no known factors
    assert set(two["parts"]) == set(DEFAULT_PARTS) - set(two["absent"])
