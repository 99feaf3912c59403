"""scripts/impute.py: fill in missing values of a file, or of the data of a run."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import TINY

import vaelab
from vaelab.runtime.errors import UserError

RANDOM = np.random.default_rng(0)
TABLE = RANDOM.standard_normal((60, 3)) @ RANDOM.standard_normal((3, 3))


def with_gaps(x):
    return np.where(np.random.default_rng(1).random(x.shape) < 0.3, np.nan, x)


@pytest.fixture
def table_run(tmp_path):
    """Train briefly on a table with missing values."""
    data = vaelab.make_data(with_gaps(TABLE), missing="mask")
    vae = vaelab.make_model(data.shape, 2, loss="gaussian loss.scale=optimal", missing=True)
    return vaelab.fit(vae, data, folder=tmp_path / "run", max_epochs=1, samples=2)


@pytest.mark.slow
@pytest.mark.parametrize("samples", [0, 4])
def test_npz_file_is_filled(table_run, command, tmp_path, samples):
    x = with_gaps(TABLE[:7]).astype(np.float32)
    np.savez(tmp_path / "gaps.npz", x=x)
    words = ["--input", "gaps.npz", "--output", "filled.npz", "--samples", str(samples)]
    status, output = command("scripts/impute.py", str(table_run.folder), *words)
    assert status == 0, output
    assert f"{np.isnan(x).sum()} missing values in 7 rows" in output
    assert "NLL" not in output  # the truth is not known
    filled = np.load(tmp_path / "filled.npz")["x"]
    assert filled.shape == ((7, 4, 3) if samples else (7, 3))
    assert np.isfinite(filled).all()
    seen = np.broadcast_to((x if samples == 0 else x[:, None]), filled.shape)
    assert np.array_equal(filled[~np.isnan(seen)], seen[~np.isnan(seen)])


@pytest.mark.slow
def test_csv_file_is_filled_with_its_header(table_run, command, tmp_path):
    (tmp_path / "gaps.csv").write_text("a,b,c\n1.5,,2\n,nan,\n0,1,2\n", encoding="utf-8")
    words = ["--input", "gaps.csv", "--output", "filled.csv"]
    status, output = command("scripts/impute.py", str(table_run.folder), *words)
    assert status == 0, output
    assert "4 missing values in 3 rows" in output
    lines = (tmp_path / "filled.csv").read_text().splitlines()
    assert lines[0] == "a,b,c"
    filled = np.array([line.split(",") for line in lines[1:]], float)
    assert filled[0, [0, 2]].tolist() == [1.5, 2]
    assert filled[2].tolist() == [0, 1, 2]
    assert np.isfinite(filled).all()


@pytest.mark.slow
def test_standardized_table_is_filled_in_its_own_units(command, tmp_path):
    x = with_gaps(TABLE * [1000, 1, 0.01] + [5000, 0, 1])
    np.savetxt(tmp_path / "gaps.csv", x, delimiter=",", header="a,b,c", comments="")
    words = ["data=arrays", "data.path=gaps.csv", "data.standardize=true", "data.missing=mask"]
    words += ["loss=gaussian", "model.hidden=[8]", "latent_dim=2", "trainer.max_epochs=30"]
    words += ["logger=none", "samples=2", "hydra.run.dir=run", "data.batch_size=16"]
    status, output = command("train.py", *words)
    assert status == 0, output
    for source in (["--input", "gaps.csv"], []):
        status, output = command("scripts/impute.py", "run", *source, "--output", "filled.npz")
        assert status == 0, output
        filled = np.load(tmp_path / "filled.npz")["x"]
        assert np.isfinite(filled).all()
        assert 3000 < filled[:, 0].mean() < 7000
        assert filled[:, 2].std() < 0.1


@pytest.mark.slow
def test_counts_given_their_total_are_not_imputed():
    data = vaelab.make_data(np.random.default_rng(0).poisson(3, (60, 4)), kind="count")
    vae = vaelab.make_model((4,), 2, loss="poisson")
    run = vaelab.fit(vae, data, max_epochs=1, samples=2, logger="none")
    x = np.full((3, 4), 2.0)
    x[0, 0] = np.nan
    with pytest.raises(UserError, match="given the total of each x"):
        run.impute(x)


@pytest.mark.slow
@pytest.mark.parametrize("trained", [0.5, 0.0])
def test_deleted_pixels_are_compared_with_the_truth(finished_run, command, trained):
    folder = finished_run(*TINY, f"data.missing_fraction={trained}")["folder"]
    words = ["--missing-fraction", "0.3", "--images", "20", "--samples", "2", "--proposals", "3"]
    status, output = command("scripts/impute.py", str(folder), *words)
    assert status == 0, output
    assert "NLL of the missing values given the rest: " in output
    assert "RMSE of the missing values: " in output
    assert np.load(folder / "imputed.npz")["x"].shape == (20, 2, 1, 28, 28)
    with Image.open(folder / "imputed.png") as image:
        assert image.height == 2 * (5 * 30 + 2)


@pytest.mark.slow
def test_metrics_have_the_nll_of_an_observed_value(finished_run):
    numbers = finished_run(*TINY, "data.missing_fraction=0.5")
    observed = numbers["observed"]
    assert observed == pytest.approx(0.5, abs=0.01)
    assert numbers["nll_per_entry"] == pytest.approx(numbers["nll"] / 784 / observed)
    assert numbers["bits_per_dim"] == pytest.approx(numbers["nll_per_entry"] / np.log(2))
    data = json.loads((numbers["folder"] / "data.json").read_text())
    assert data["missing"] > 1_500_000


@pytest.mark.slow
def test_run_opens_and_imputes_without_its_data(table_run):
    x = with_gaps(TABLE[:5])
    expected = table_run.impute(x)
    samples = table_run.impute(x, samples=3)
    opened = vaelab.load(table_run.folder)
    assert torch.equal(opened.impute(x), expected)
    assert torch.equal(opened.impute(x, samples=3), samples)
    assert samples.shape == (5, 3, 3)
    assert table_run.nll(x).shape == (5,)


@pytest.mark.slow
def test_evaluation_leaves_out_what_compares_whole_images(finished_run, command):
    folder = finished_run(*TINY, "data.missing_fraction=0.5")["folder"]
    status, output = command("scripts/evaluate.py", str(folder), "--images", "30", "--samples", "2")
    assert status == 0, output
    (path,) = (folder / "evaluation").rglob("numbers.json")
    numbers = json.loads(path.read_text())
    assert {"likelihood", "latents", "generalisation"} <= numbers["parts"].keys()
    left_out = {"reconstructions", "samples", "neighbours"}
    assert left_out <= numbers["absent"].keys()
    assert all("missing values" in numbers["absent"][part] for part in left_out)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "the data of this run have no missing values: name a file with --input"),
        (("--input", "nowhere.npz"), "nowhere.npz: there is no such file"),
        (("--proposals", "0"), "--proposals at least 1"),
        (("--input", "x.npz", "--missing-fraction", "0.5"), "leave out --input"),
    ],
)
def test_what_cannot_be_imputed_is_refused(finished_run, command, words, message):
    status, output = command("scripts/impute.py", str(finished_run(*TINY)["folder"]), *words)
    assert message in f"{status}{output}"


@pytest.mark.slow
def test_autoencoders_have_no_importance_weights(finished_run, command):
    words = ("posterior=deterministic", "objective=autoencoder")
    folder = finished_run(*TINY, *words)["folder"]
    status, output = command("scripts/impute.py", str(folder), "--missing-fraction", "0.5")
    assert "imputation needs importance weights" in f"{status}{output}"
