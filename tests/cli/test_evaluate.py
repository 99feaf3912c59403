import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from conftest import ROOT

from vaelab.cli.evaluate import evaluate_folder
from vaelab.evaluation import likelihood
from vaelab.evaluation.base import EvaluationConfig, NotApplicable
from vaelab.evaluation.parts import DEFAULT_PARTS, evaluate_run
from vaelab.reproduction import records
from vaelab.runs.run import Run
from vaelab.runtime import precision
from vaelab.samplers.prior import PriorSampler

SMALL = ("model.hidden=[16]", "latent_dim=4")
FEW = ("likelihood", "generalisation")


class Stopped(Exception):
    """As if the process were killed."""


@pytest.fixture
def folder(train):
    return train(*SMALL, "data.batch_size=100")["folder"]


def counted(monkeypatch, stop_after=None):
    """The numbers of batches whose bound was computed; the next one after so many stops it."""
    computed = []
    bound = likelihood.importance_bound

    def importance_bound(vae, x, samples):
        if len(computed) == stop_after:
            raise Stopped
        computed.append(len(x))
        return bound(vae, x, samples)

    monkeypatch.setattr(likelihood, "importance_bound", importance_bound)
    return computed


def without(numbers, *names):
    return {name: value for name, value in numbers.items() if name not in names}


def test_an_evaluation_that_was_stopped_goes_on_to_the_same_numbers(folder, tmp_path, monkeypatch):
    run = Run.open(folder)
    whole = evaluate_run(run, EvaluationConfig(samples=3, folder=tmp_path / "whole"), FEW)
    with monkeypatch.context() as patch:
        counted(patch, stop_after=3)
        with pytest.raises(Stopped):
            evaluate_run(run, EvaluationConfig(samples=3, folder=tmp_path / "parts"), FEW)
    computed = counted(monkeypatch)
    again = evaluate_run(run, EvaluationConfig(samples=3, folder=tmp_path / "parts"), FEW)
    assert len(computed) == 5 - 3 + 5 + 5  # of likelihood what is left, of the gap both splits
    assert without(again, "parts") == without(whole, "parts")


def test_what_is_there_is_not_computed_again(folder, tmp_path, monkeypatch):
    run, asked = Run.open(folder), EvaluationConfig(samples=2, folder=tmp_path / "evaluation")
    first = evaluate_run(run, asked, ["likelihood"])
    computed = counted(monkeypatch)
    assert evaluate_run(run, asked, ["likelihood"]) == first
    assert not computed
    assert evaluate_run(run, asked, FEW).keys() > first.keys()
    assert len(computed) == 10


def test_other_weights_or_settings_are_evaluated_anew(folder, tmp_path, monkeypatch):
    run = Run.open(folder)
    first = evaluate_run(run, EvaluationConfig(samples=2, folder=tmp_path / "evaluation"), FEW)
    evaluate_run(run, EvaluationConfig(samples=2, seed=1, folder=tmp_path / "evaluation"), FEW)
    with torch.no_grad():
        run.vae.decoder.layers[-1].bias.add_(1)
    computed = counted(monkeypatch)
    third = evaluate_run(run, EvaluationConfig(samples=2, folder=tmp_path / "evaluation"), FEW)
    assert computed
    assert third["nll"] > first["nll"] + 10


def test_bf16_is_for_the_nets_and_hardly_moves_the_numbers(folder):
    run = Run.open(folder)
    seen = set()
    run.vae.decoder.register_forward_hook(lambda *call: seen.add(call[-1].dtype))
    single, half = (
        evaluate_run(run, EvaluationConfig(samples=5, precision=name), ["likelihood"])
        for name in ("32-true", "bf16-mixed")
    )
    assert seen == {torch.float32, torch.bfloat16}
    assert single["nll"] != half["nll"]
    assert half["nll"] == pytest.approx(single["nll"], abs=0.1)
    assert single["asked"] != half["asked"]


@pytest.mark.parametrize(("fast", "chosen"), [(True, "bf16-mixed"), (False, "32-true")])
def test_auto_is_bf16_where_the_machine_computes_in_it(folder, monkeypatch, fast, chosen):
    monkeypatch.setattr(precision, "is_bf16_fast", lambda on_cpu: fast)
    numbers = evaluate_folder(folder, ["likelihood"], samples=2, precision="auto")
    assert numbers["asked"]["precision"] == chosen


@pytest.mark.parametrize("fast", [True, False])
def test_bf16_says_where_it_is_slow(train, monkeypatch, caplog, fast):
    monkeypatch.setattr(precision, "is_bf16_fast", lambda on_cpu: fast)
    words = ("trainer.accelerator=cpu", "trainer.precision=bf16-mixed")
    folder = train(*SMALL, *words, "data.batch_size=100")["folder"]
    evaluate_folder(folder, ["likelihood"], samples=2, precision="bf16-mixed")
    said = [entry.getMessage() for entry in caplog.records if entry.name == precision.__name__]
    end = "this CPU has no bf16, 32-true is much faster"
    named = ("trainer.precision=bf16-mixed", "--precision bf16-mixed")
    assert said == ([] if fast else [f"{name}: {end}" for name in named])


@pytest.mark.slow
def test_a_compiled_decoder_gives_the_same_numbers(folder):
    plain, compiled = (
        evaluate_run(Run.open(folder), EvaluationConfig(samples=5, compile=on), ["likelihood"])
        for on in (False, True)
    )
    assert compiled["nll"] == pytest.approx(plain["nll"], abs=1e-3)


def test_fewer_images_are_the_first_of_the_split(folder):
    run = Run.open(folder)
    some = evaluate_run(run, EvaluationConfig(samples=2, images=150), ["likelihood"])
    found = likelihood.evaluate_likelihood(run.vae, run.data, "test", 2, 0, 150)
    assert (some["images"], some["all_images"]) == (150, 500)
    assert some["elbo"] == found["elbo"]
    run.data.splits["test"] = type(run.data.splits["test"])(
        *(part[:150] for part in run.data.splits["test"])
    )
    assert likelihood.evaluate_likelihood(run.vae, run.data, "test", 2)["elbo"] == some["elbo"]


def test_a_part_without_a_meaning_says_why(train):
    run = Run.open(train(*SMALL, "objective=autoencoder")["folder"])
    numbers = evaluate_run(run, EvaluationConfig(samples=2), FEW)
    assert "Deterministic is no density" in numbers["absent"]["generalisation"]
    assert not {"elbo", "nll", "kl"} & numbers.keys()


def test_a_part_without_a_meaning_is_asked_again(folder, monkeypatch):
    def absent(run, asked):
        raise NotApplicable("no net is at hand")

    part, where = "vaelab.evaluation.latents.evaluate", {"parts": ["latents"], "samples": 2}
    with monkeypatch.context() as patch:
        patch.setattr(part, absent)
        assert evaluate_folder(folder, **where)["absent"] == {"latents": "no net is at hand"}
    numbers = evaluate_folder(folder, **where)
    assert numbers["absent"] == {}
    assert numbers["parts"].keys() == {"latents"}


def test_the_gap_is_that_of_as_many_images_on_both_sides(folder):
    run = Run.open(folder)
    numbers = evaluate_run(run, EvaluationConfig(samples=2), FEW)
    train = likelihood.evaluate_likelihood(run.vae, run.data, "train", 2, 0, 500)
    assert numbers["generalisation_images"] == 500
    assert numbers["elbo_gap"] == train["elbo"] - numbers["elbo"]
    assert numbers["nll_gap"] == numbers["nll"] - train["nll"]


@pytest.fixture
def evaluated(folder, tmp_path):
    def evaluate(**settings):
        return evaluate_folder(folder, results_folder=tmp_path / "results", **settings)

    return evaluate


def written_records(tmp_path):
    return [json.loads(path.read_text()) for path in (tmp_path / "results").glob("*.json")]


def test_it_leaves_json_markdown_a_row_in_the_logger_and_a_record(train, tmp_path):
    folder = train(*SMALL, "logger=csv")["folder"]
    before = (folder / "metrics.json").read_bytes()
    numbers = evaluate_folder(folder, FEW, samples=3, results_folder=tmp_path / "results")
    where = folder / "evaluation" / "test-best-3"
    assert json.loads((where / "numbers.json").read_text())["nll"] == numbers["nll"]
    assert f"| NLL (nats per image) | {numbers['nll']:.6g} +-" in (where / "numbers.md").read_text()
    head, row = (where / "metrics.csv").read_text().splitlines()
    assert (
        float(dict(zip(head.split(","), row.split(","), strict=True))["test/nll"])
        == (numbers["nll"])
    )
    assert sorted(path.name for path in where.iterdir()) == [
        "metrics.csv",
        "numbers.json",
        "numbers.md",
    ]
    (found,) = written_records(tmp_path)
    names = "data binarize split images samples bits_sha256 nll nll_se elbo seed epochs wall_s"
    assert {*names.split(), "command", "config", "versions", "published"} <= found.keys()
    assert found["config"]["latent_dim"] == 4
    assert found["config"]["objective"]["kl"] == "${kl}"  # as it was composed
    assert found["threads"] == 1
    assert found["machine"]["gpus"] == []
    assert (folder / "metrics.json").read_bytes() == before


def test_fewer_images_or_samples_never_enter_the_table(evaluated, tmp_path):
    evaluated(samples=2)
    evaluated(samples=5000, images=1)
    (found,) = written_records(tmp_path)
    assert (found["images"], found["all_images"], found["samples"]) == (1, 500, 5000)
    assert "Not shown: 1" in records.render_record_table(tmp_path / "results")
    assert "+-" not in records.render_record_table(tmp_path / "results")


def test_a_record_covers_what_is_of_as_many_samples_and_images_or_less():
    found = {"split": "test", "images": 100, "all_images": 500, "samples": 50}
    assert records.has_at_least(found, 50, 100)
    assert records.has_at_least(found | {"images": 500}, 50)
    assert records.has_at_least(found | {"images": 500}, 50, 1000)
    assert not records.has_at_least(found, 50)
    assert not records.has_at_least(found, 51, 100)
    assert not records.has_at_least(found, 50, 101)
    assert not records.has_at_least(found | {"split": "val"}, 50, 100)


def test_a_whole_record_is_shown_and_not_replaced_by_less(evaluated, tmp_path, monkeypatch):
    monkeypatch.setattr(records, "RECORD_SAMPLES", 3)
    nll = evaluated(samples=3)["nll"]
    evaluated(samples=2)
    (found,) = written_records(tmp_path)
    assert found["nll"] == nll
    assert f"| {nll:.2f} +- " in records.render_record_table(tmp_path / "results")


def test_a_record_of_other_weights_is_not_replaced_in_silence(evaluated, tmp_path, capsys):
    evaluated(samples=2)
    (found,) = written_records(tmp_path)
    records.save_record(found, tmp_path / "results")
    assert "replaced" not in capsys.readouterr().out
    records.save_record(found | {"weights_sha256": "other"}, tmp_path / "results")
    assert "was of other weights, and is replaced: name runs apart" in capsys.readouterr().out


def test_other_likelihoods_and_bits_stand_in_other_tables(evaluated, tmp_path, monkeypatch):
    monkeypatch.setattr(records, "RECORD_SAMPLES", 2)
    evaluated(samples=2)
    (found,) = written_records(tmp_path)
    other = found | {"name": "other", "loss": "gaussian", "measure": "density"}
    records.save_record(other, tmp_path / "results")
    assert records.render_record_table(tmp_path / "results").count("## mnist5k") == 2


def test_the_command_names_parts_that_it_does_not_know(command, folder):
    status, _ = command("scripts/evaluate.py", str(folder), "--parts", "likelihood,taste")
    assert "--parts taste: choose from likelihood, " in status


def test_a_folder_that_is_no_run_is_found_before_another_is_evaluated(command, folder, tmp_path):
    status, _ = command("scripts/evaluate.py", str(folder), "elsewhere", "--samples", "2")
    assert "elsewhere is no run folder" in status
    assert not (folder / "evaluation").exists()


def test_a_multirun_stands_for_its_jobs(command, folder, tmp_path):
    (tmp_path / "multirun.yaml").write_text("")
    words = ["--samples", "2", "--parts", "likelihood", "--images", "100"]
    status, output = command("scripts/evaluate.py", str(tmp_path), *words)
    assert status == 0
    *_, left_out, path = output.splitlines()
    assert left_out == "Not shown: 1 without all images or 5000 samples."
    assert path == "results/table.md"
    assert (folder / "evaluation" / "test-best-2-first100" / "numbers.json").is_file()
    assert [each["name"] for each in written_records(tmp_path)] == [f"{tmp_path.name}-run"]


def test_jobs_of_a_multirun_that_are_not_finished_are_passed_over(command, folder, tmp_path):
    (tmp_path / "multirun.yaml").write_text("")
    for name in ("failed", "stopped"):
        shutil.copytree(folder, tmp_path / name)
    (tmp_path / "failed" / "failed.txt").write_text("too steep")
    (tmp_path / "stopped" / "metrics.json").unlink()
    words = ["--samples", "2", "--parts", "likelihood", "--images", "100"]
    status, output = command("scripts/evaluate.py", str(tmp_path), *words)
    assert status == 0
    assert "passed over what is not finished: failed, stopped" in output
    assert [each["name"] for each in written_records(tmp_path)] == [f"{tmp_path.name}-run"]


def test_the_last_weights_have_a_record_beside_that_of_the_best(command, folder, tmp_path):
    for checkpoint in ("best", "last"):
        words = ["--samples", "2", "--parts", "likelihood", "--checkpoint", checkpoint]
        assert command("scripts/evaluate.py", str(folder), *words)[0] == 0
    assert sorted(each["name"] for each in written_records(tmp_path)) == ["run", "run-last"]


@pytest.mark.parametrize("images", [0, -50])
def test_there_is_at_least_one_image(command, folder, images):
    status, _ = command("scripts/evaluate.py", str(folder), "--images", str(images))
    assert status == f"error: --images {images}: it must be at least 1"


@pytest.mark.slow
def test_two_processes_give_the_numbers_of_one(folder):
    one = evaluate_folder(folder, samples=2, sampler=PriorSampler())
    where = folder / "evaluation" / "test-best-2" / "numbers.json"
    where.unlink()
    words = ["--nproc-per-node", "2", str(ROOT / "scripts" / "evaluate.py"), str(folder)]
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *words, "--samples", "2"],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        cwd=folder,
        check=True,
        capture_output=True,
    )
    two = json.loads(where.read_text())
    named = {"parts", "command"}
    assert without(two, *named) == without(json.loads(json.dumps(one)), *named)
    assert set(two["absent"]) == {"disentanglement"}  # the factors of digits are not known
    assert set(two["parts"]) == set(DEFAULT_PARTS) - set(two["absent"])
