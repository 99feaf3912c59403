"""Run folders with damaged or malicious files: reports are written, and nothing in them runs."""

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
def test_metrics_of_wrong_types_are_reported(make_run, page, tmp_path, key, value):
    folder = make_run("0", **{key: value})
    wrong = f"{key} is not a number" in page(write_report(folder)).text
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
def test_invalid_metrics_json_does_not_stop_the_report(make_run, tmp_path, text):
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
def test_invalid_csv_files_do_not_stop_the_report(make_run, text):
    folder = make_run()
    for name in ("metrics.csv", "figures/kl_per_dimension.csv"):
        (folder / name).write_text(text)
    write_report(folder)
    for read, name in (
        (read_metric_curves, "metrics.csv"),
        (read_kl_history, "figures/kl_per_dimension.csv"),
    ):
        message = None
        try:
            read(folder / name)
        except ValueError as error:
            message = str(error)
        assert message is None or message.startswith(f"{folder / name} is damaged: ")


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "a: &a [x]\nb: [*a, *a]", "5", "- 1", "\x00", "a: ["]
)
@pytest.mark.parametrize("name", ["config.yaml", "hydra.yaml", "overrides.yaml"])
def test_invalid_configs_do_not_stop_the_report(make_run, tmp_path, name, text):
    folder = make_run("0")
    (folder / ".hydra" / name).write_text(text)
    write_report(folder)
    write_report(tmp_path)


@pytest.mark.parametrize("name", ["objective", "data", "model", "optimizer", "kl", "latent_dim"])
def test_config_nodes_of_wrong_types_do_not_stop_the_report(make_run, tmp_path, name):
    folder = make_run("0")
    path = folder / ".hydra" / "config.yaml"
    for value in (5, "x", None, [1, [2]], {"a": {"b": None}}):
        cfg = OmegaConf.load(path)
        cfg[name] = value
        OmegaConf.save(cfg, path)
        write_report(folder)


def test_pipes_are_not_read(make_run, tmp_path):
    folder = make_run("0")
    for name in ("metrics.json", "metrics.csv", ".hydra/overrides.yaml", "figures/pipe.png"):
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)
    write_report(folder)
    jobs.read_jobs(tmp_path)


def test_interpolations_are_not_resolved(make_run, tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", SECRET)
    folder = make_run(
        "0", overrides=["model=${oc.env:SECRET}"], choices={"data": "${oc.env:SECRET}"}
    )
    for path in (write_report(folder), write_report(tmp_path)):
        assert "${oc.env:SECRET}" in path.read_text()
        assert SECRET not in path.read_text()
    assert SECRET not in str(jobs.read_jobs(tmp_path))


def make_evil_folder(folder):
    """Copy the run, with markup in everything that a page shows."""
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
    image = next((target / "figures").glob("*.png"))
    image.rename(image.with_name(EVIL.replace("/", "")[:100] + ".png"))
    (target / "evaluation" / "<x-evil>").mkdir(parents=True)
    shutil.copy(path, target / "evaluation" / "<x-evil>" / "numbers.json")
    failed = target.with_name("failed")
    shutil.copytree(target, failed)
    (failed / "failed.txt").write_text(EVIL)
    return target


def test_markup_of_a_run_is_escaped(make_run, page):
    path = make_evil_folder(make_run())
    for report, scripts in ((write_report(path), 2), (write_report(path.parent), 3)):
        tags = page(report).elements
        assert not [tag for tag, _ in tags if tag.startswith("x-")]
        assert not [name for _, attributes in tags for name in attributes if name.startswith("on")]
        assert sum(tag == "script" for tag, _ in tags) == scripts
        assert all(
            attributes["src"].startswith("data:")
            for tag, attributes in tags
            if tag == "img" and attributes.get("src")
        )
        assert "<script>alert" not in report.read_text()
