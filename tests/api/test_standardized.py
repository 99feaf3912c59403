"""A run on standardized data keeps mean and deviation, and answers in the units of the data."""

import numpy as np
import pytest
import torch

import vaelab

MEAN, DEVIATION = [1000.0, -5.0, 0.0], [100.0, 0.1, 1.0]
X = np.random.default_rng(0).normal(size=(300, 3)) * DEVIATION + MEAN

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    data = vaelab.make_data(X, standardize=True, batch_size=32)
    settings = {"loss": "gaussian", "model": "mlp model.hidden=[8]"}
    vae = vaelab.make_model((3,), 2, **settings)
    return vaelab.fit(vae, data, folder=folder / "run", max_epochs=20, enable_progress_bar=False)


def check_units(x):
    assert torch.allclose(x.mean(0), torch.tensor(MEAN), atol=50, rtol=0.05)
    assert (x.std(0) < 2 * torch.tensor(DEVIATION)).all()


@pytest.mark.parametrize("way", ["same", "folder", "file", "without data"])
def test_samples_and_reconstructions_have_the_units_of_the_data(run, tmp_path, way):
    opened = run
    if way == "file":
        run.save(tmp_path / "model.safetensors")
        opened = vaelab.load(tmp_path / "model.safetensors")
    elif way != "same":
        opened = vaelab.load(run.folder)
    if way == "without data":
        opened._parts.data.path = str(tmp_path / "gone.npz")
    check_units(opened.sample(200))
    new = X[:20] * 1.001
    check_units(opened.reconstruct(new))
    assert torch.equal(opened.encode(new), run.encode(new))
    assert torch.equal(opened.sample(5), run.sample(5))


def test_nll_of_rows_is_that_of_the_metrics(run):
    test = run.data.splits["test"].images.numpy()
    assert torch.allclose(run.elbo(test).mean(), run.elbo().mean(), rtol=1e-5)


def test_command_sample_writes_the_units_of_the_data(run, command):
    status, output = command("scripts/sample.py", str(run.folder), "n=100")
    assert status == 0, output
    (file,) = run.folder.rglob("samples/*.npz")
    check_units(torch.from_numpy(np.load(file)["x"]))


def test_missing_values_are_left_out_and_imputed_in_the_units_of_the_data(tmp_path):
    x = np.where(np.random.default_rng(1).random(X.shape) < 0.2, np.nan, X)
    data = vaelab.make_data(x, standardize=True, missing="mask", batch_size=32)
    train = data.splits["train"].images.double()
    assert torch.allclose(data.standardization.mean.double(), train.nanmean(0))
    vae = vaelab.make_model((3,), 2, missing=True, loss="gaussian", model="mlp model.hidden=[8]")
    run = vaelab.fit(vae, data, folder=tmp_path / "run", max_epochs=5, logger="none")
    filled = vaelab.load(run.folder).impute(x[:100])
    observed = torch.from_numpy(~np.isnan(x[:100]))
    expected = torch.from_numpy(x[:100]).float()[observed]
    assert torch.allclose(filled[observed], expected, rtol=1e-4, atol=1e-3)
    check_units(filled)
