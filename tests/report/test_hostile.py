"""Run folders that say what no run does: pages are made all the same, and nothing in them acts."""

import json
import os
import shutil

import pytest
from omegaconf import OmegaConf

from vaelab.report.write import write_report
from vaelab.runs import jobs
from vaelab.runs.history import read_kl_history, read_metric_curves
from vaelab.sweeps import job_table

SECRET = "the-secret-of-this-machine"
EVIL = (
    """'"></script><x-evil onload=alert(1)><img src=x onerror=alert(2)><script>alert(3)</script>"""
)


@pytest.mark.parametrize("value", ["many", [1], {"a": 1}, True, 10**400, 1e308, -1e200, None])
@pytest.mark.parametrize("key", ["elbo", "nll_se", "val_elbo", "wall_s"])
def test_a_number_that_is_none_is_said(make_run, page, tmp_path, key, value):
    folder = make_run("0", **{key: value})
    wrong = f"{key} is no number" in page(write_report(folder)).text
    assert wrong == (value in ("many", [1], {"a": 1}) or value is True)
    make_run("1")
    write_report(tmp_path)
    rows = jobs.read_jobs(tmp_path)
    job_table.print_job_tables(rows)
    assert ("failed" in rows[-1]) == wrong


@pytest.mark.parametrize(
    "text",
    ["[1]", "5", "null", "{", '{"a": NaN, "elbo": "x"}', "[" * 100_000, "\xff", "9" * 5000]
    + [
        json.dumps({key: value})
        for key in ("choices", "shape", "kl_per_dimension", "monitor", "git", "parameters_of")
        for value in (5, "x", [["x"]], {"a": ["x"]}, "", None)
    ],
)
def test_numbers_of_no_run_end_no_report(make_run, tmp_path, text):
    folder = make_run("0")
    (folder / "metrics.json").write_text(text, encoding="latin-1")
    write_report(folder)
    write_report(tmp_path)
    job_table.print_job_tables(jobs.read_jobs(tmp_path))


@pytest.mark.parametrize(
    "text",
    [
        "step,val/elbo\n0,1,2,3\n",
        "step,val/elbo\nabc,def\n1\n",
        "step,val/elbo\n0,1e308\n1,-1e308\n2,nan\n",
        "step,val/elbo\n1e308,1\n-5,2\ninf,3\nnan,4\n",
        "val/elbo\n1\n",
        "epoch,val/elbo,step\n-1,1,1\n",
        ",,,\n1,2,3,4\n",
        "step,val/" + "x" * 200_000 + "\n0,1\n",
        "step,val/elbo\n0,\x00\n",
        "step,step\n1,2\n",
        "epoch,step,1\n0,0,1\n1,1\n",
    ],
)
def test_curves_that_are_none_end_no_report_and_no_figure(make_run, text):
    folder = make_run()
    for name in ("metrics.csv", "figures/kl_per_dimension.csv"):
        (folder / name).write_text(text)
    write_report(folder)
    for read, name in (
        (read_metric_curves, "metrics.csv"),
        (read_kl_history, "figures/kl_per_dimension.csv"),
    ):
        said = None
        try:
            read(folder / name)
        except ValueError as refused:
            said = str(refused)
        assert said is None or said.startswith(f"{folder / name} is damaged: ")


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "a: &a [x]\nb: [*a, *a]", "5", "- 1", "\x00", "a: ["]
)
@pytest.mark.parametrize("name", ["config.yaml", "hydra.yaml", "overrides.yaml"])
def test_configs_that_are_none_end_no_report(make_run, tmp_path, name, text):
    folder = make_run("0")
    (folder / ".hydra" / name).write_text(text)
    write_report(folder)
    write_report(tmp_path)


@pytest.mark.parametrize("name", ["objective", "data", "model", "optimizer", "kl", "latent_dim"])
def test_a_config_of_other_shape_ends_no_report(make_run, tmp_path, name):
    folder = make_run("0")
    path = folder / ".hydra" / "config.yaml"
    for value in (5, "x", None, [1, [2]], {"a": {"b": None}}):
        cfg = OmegaConf.load(path)
        cfg[name] = value
        OmegaConf.save(cfg, path)
        write_report(folder)


def test_a_pipe_is_no_file(make_run, tmp_path):
    folder = make_run("0")
    for name in ("metrics.json", "metrics.csv", ".hydra/overrides.yaml", "figures/pipe.png"):
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)
    write_report(folder)
    jobs.read_jobs(tmp_path)


def test_what_hydra_wrote_is_not_evaluated(make_run, tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", SECRET)
    folder = make_run(
        "0", overrides=["model=${oc.env:SECRET}"], choices={"data": "${oc.env:SECRET}"}
    )
    for path in (write_report(folder), write_report(tmp_path)):
        assert "${oc.env:SECRET}" in path.read_text()
        assert SECRET not in path.read_text()
    assert SECRET not in str(jobs.read_jobs(tmp_path))


def evil_folder(folder):
    """A copy of the run with markup in all that a page shows."""
    target = folder.parent / "sweep" / EVIL.replace("/", "")[:120]
    shutil.copytree(folder, target)
    path = target / "metrics.json"
    numbers = json.loads(path.read_text())
    words = dict.fromkeys(("measure", "split", "pixels", "command", "bits_sha256"), EVIL)
    choices = numbers["choices"] | {"model": EVIL, EVIL: EVIL}
    more = {EVIL: EVIL, "git": {"commit": EVIL}, "versions": {EVIL: EVIL}, "collapse": EVIL}
    path.write_text(json.dumps(numbers | words | {"choices": choices} | more))
    cfg = target / ".hydra" / "config.yaml"
    cfg.write_text(f"# {EVIL}\n" + cfg.read_text() + f"{json.dumps(EVIL)}: {json.dumps(EVIL)}\n")
    OmegaConf.save(OmegaConf.create([f"model={EVIL}", EVIL]), target / ".hydra" / "overrides.yaml")
    (target / "metrics.csv").write_text(f'step,"val/{EVIL[2:]}",train/kl\n0,1,2\n1,2,3\n')
    picture = next((target / "figures").glob("*.png"))
    picture.rename(picture.with_name(EVIL.replace("/", "")[:100] + ".png"))
    (target / "evaluation" / "<x-evil>").mkdir(parents=True)
    shutil.copy(path, target / "evaluation" / "<x-evil>" / "numbers.json")
    failed = target.with_name("failed")
    shutil.copytree(target, failed)
    (failed / "failed.txt").write_text(EVIL)
    return target


def test_no_markup_of_a_run_gets_into_a_page(make_run, page):
    path = evil_folder(make_run())
    for found, scripts in ((write_report(path), 1), (write_report(path.parent), 3)):
        tags = page(found).elements
        assert not [tag for tag, _ in tags if tag.startswith("x-")]
        assert not [each for _, attributes in tags for each in attributes if each.startswith("on")]
        assert sum(tag == "script" for tag, _ in tags) <= scripts
        assert all(
            each["src"].startswith("data:")
            for tag, each in tags
            if tag == "img" and each.get("src")
        )
        assert "<script>alert" not in found.read_text()
