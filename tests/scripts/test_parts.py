"""Test that docs/parts.md names every part and that scripts/parts.py fills in its tables."""

import json
import re
import shutil

import pytest
import yaml
from conftest import ROOT, options

PAGE = (ROOT / "docs" / "parts.md").read_text()
ROWS = re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)


@pytest.mark.parametrize(
    "group", ["model", "posterior", "prior", "kl", "loss", "objective", "sampler"]
)
def test_parts_page_names_every_option_and_no_other(group):
    named = set(re.findall(rf"`(?:[^`]* )?{group}=(\w+)", PAGE))
    assert named == set(options(group))


def test_experiments_named_on_the_parts_page_exist():
    named = set(re.findall(r"\| `(\w+)`(?: \(gaussian\))? \| [^|]+ \|$", PAGE, re.MULTILINE))
    assert named <= set(options("experiment"))
    assert len(named) > 15


def write_run(tmp_path, name, numbers, *overrides, **choices):
    """Write the files of a finished run that scripts/parts.py reads; return its folder."""
    folder = tmp_path / name
    (folder / ".hydra").mkdir(parents=True)
    base = {"data": "mnist", "model": "mlp", "experiment": "parts", "loss": "bce"}
    base |= {"posterior": "diagonal", "prior": "normal", "objective": "elbo", "kl": "constant"}
    numbers = {"pixels": "binary", "rmse": 0.1, "choices": base | choices} | numbers
    (folder / "metrics.json").write_text(json.dumps(numbers))
    (folder / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(list(overrides)))
    return str(folder)


NLL = {"nll": 91.234, "nll_se": 0.21, "kl": 25.02, "active_units": 17}
LEVELS = {
    "nll": 1000.4,
    "nll_se": 2.0,
    "pixels": "levels",
    "bits_per_dim": 1.8412,
    "kl": 30.0,
    "active_units": 9,
}


def test_script_fills_the_rows_of_the_given_runs(command, tmp_path):
    shutil.copy(ROOT / "docs" / "parts.md", tmp_path / "page.md")
    folders = [
        write_run(tmp_path, "a", NLL),
        write_run(tmp_path, "b", NLL | {"nll": 90.0}, posterior="vmf", prior="sphere"),
        write_run(tmp_path, "c", NLL | {"nll": 99.0}, "kl.beta=4"),
        write_run(tmp_path, "d", LEVELS, loss="categorical"),
        write_run(
            tmp_path, "e", {"rmse": 0.0912}, posterior="deterministic", objective="autoencoder"
        ),
        write_run(tmp_path, "f", NLL | {"nll": 1.0}, experiment="iaf"),
        write_run(tmp_path, "g", NLL | {"nll": 88.0}, model="conv"),
    ]
    status, output = command("scripts/parts.py", *folders, str(tmp_path), "--page", "page.md")
    assert status == 0
    assert "6 runs" in output
    lines = (tmp_path / "page.md").read_text().splitlines()
    cells = {line.split("`")[1]: line.split(" | ")[-1] for line in lines if line.startswith("| `")}
    assert cells["posterior=diagonal"] == "91.23 +- 0.21 (KL 25.0, 17 active) |"
    assert cells["posterior=vmf prior=sphere"].startswith("90.00")
    assert cells["model=conv"].startswith("88.00")
    assert cells["kl.beta=4"].startswith("99.00")
    assert cells["loss=categorical"] == "1000.40 +- 2.00 (1.841 bits/dim, KL 30.0, 9 active) |"
    assert cells["posterior=deterministic objective=autoencoder"] == "RMSE 0.0912 |"
    assert len(lines) == len(PAGE.splitlines())
    assert list(cells) == ROWS
