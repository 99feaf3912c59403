"""scripts/encode.py: encode the images of a data set."""

import numpy as np
import pyarrow.parquet as parquet
import pytest
import torch
from test_celeba import write_celeba
from tiny import RESIDUAL_VQ

from vaelab.evaluation.likelihood import evaluate_likelihood
from vaelab.inference.encoding import encode_batches, extract_posterior_parameters, save_latents
from vaelab.runs.run import RunParts

MLP = ["model.hidden=[8]", "latent_dim=3"]
# Kinds of q(z|x): overrides, and the parameters with their sizes.
KINDS = {
    "diagonal": ([*MLP], {"mean": 3, "scale": 3}),
    "full": ([*MLP, "posterior=full"], {"mean": 3, "scale": 3}),
    "vmf": ([*MLP, "posterior=vmf"], {"direction": 3, "concentration": None}),
    "iaf": ([*MLP, "posterior=iaf"], {"z": 3}),
    "planar": ([*MLP, "posterior=planar"], {"z": 3}),
    "deterministic": ([*MLP, "posterior=deterministic", "objective=autoencoder"], {"mean": 3}),
    "gumbel": ([*MLP, "posterior=gumbel", "posterior.categories=3"], {"mode": 3}),
    "vq": (
        ["model.hidden=[8]", "latent_dim=4", "posterior=vq", "posterior.dim=2", "objective=vq"],
        {"code": 2},
    ),
    "residual_vq": ([*RESIDUAL_VQ], {"code": 4}),
    "ladder": (
        ["model=ladder", "model.hidden=[8,6]", "model.latents=[2,1]", "latent_dim=3"],
        {"mode": 3},
    ),
}


@pytest.fixture
def run(config):
    def make(*words):
        run = RunParts.build(config(*words))
        run.load_data()
        return run

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_means_of_the_terms_equal_the_numbers_of_an_evaluation(run, kind):
    words, parameters = KINDS[kind]
    run = run(*words)
    numbers = evaluate_likelihood(run.vae, run.data, "test", samples=1, seed=4)
    batches = list(encode_batches(run.vae, run.data, "test", seed=4))
    for name in ("elbo", "reconstruction", "kl"):
        if name in numbers:
            mean = torch.cat([batch.terms[name] for batch in batches]).double().mean().item()
            assert mean == pytest.approx(numbers[name], rel=1e-12)
        else:
            assert kind == "deterministic"
            assert name not in batches[0].terms
    assert torch.equal(torch.cat([batch.index for batch in batches]), torch.arange(500))
    sizes = {name: part.shape[1:] for name, part in batches[0].posterior.items()}
    assert sizes == {name: torch.Size([size] if size else []) for name, size in parameters.items()}


def test_scale_of_a_full_covariance_is_that_of_each_dimension(run):
    run = run(*MLP, "posterior=full")
    q = run.vae.encode(run.data.prepare(run.data.splits["test"].images[:2]))
    samples = q.sample(torch.Size([20_000]))
    scale = extract_posterior_parameters(q)["scale"]
    error = (samples.std(0) - scale) / scale
    assert error.abs().max().item() < 5 / (2 * 20_000) ** 0.5


def test_parquet_file_equals_torch(train, command):
    folder = train(*MLP)["folder"]
    status, output = command("scripts/encode.py", str(folder), "--split", "all")
    assert status == 0, output
    path = folder / "codes-all.parquet"
    assert output.splitlines()[-1] == str(path)
    file = parquet.ParquetFile(path)
    metadata = file.schema_arrow.metadata
    assert (metadata[b"run"], metadata[b"step"], metadata[b"measure"]) == (
        b"run",
        b"2",
        b"probability",
    )
    table = file.read().to_pandas()
    latents = [f"{part}_{i}" for part in ("mean", "scale") for i in range(3)]
    assert [*table.columns] == ["index", "split", "label", *latents, "reconstruction", "kl", "elbo"]
    assert table.groupby("split").size().to_dict() == {"train": 4000, "val": 500, "test": 500}
    run = RunParts.open(folder)
    split = run.data.splits["test"]
    with torch.no_grad():
        q = run.vae.encode(run.data.prepare(split.images))
    test = table[table.split == "test"]
    assert (test["index"] == np.arange(500)).all()
    assert (test["label"] == split.labels.numpy()).all()
    for name, part in (("mean", q.mean), ("scale", q.scale)):
        values = test[[f"{name}_{i}" for i in range(3)]].to_numpy()
        np.testing.assert_allclose(values, part.numpy(), rtol=1e-5, atol=1e-6)
    kl = 0.5 * (q.mean**2 + q.scale**2 - 1 - 2 * q.scale.log()).sum(-1)
    np.testing.assert_allclose(test["kl"], kl.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(test["elbo"], -(test["reconstruction"] + test["kl"]), rtol=1e-6)


def test_repeated_encoding_gives_the_same_file_in_row_groups(run, tmp_path, monkeypatch):
    run = run(*MLP)
    monkeypatch.setattr("vaelab.inference.encoding.GROUP_ROWS", 256)
    paths = [tmp_path / "new" / name for name in ("first.parquet", "again.parquet")]
    for path in paths:
        save_latents(run, ["val", "test"], path, {"step": 3})
        torch.rand(3)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert parquet.ParquetFile(paths[0]).metadata.num_row_groups == 4
    assert sorted(path.name for path in paths[0].parent.iterdir()) == [
        "again.parquet",
        "first.parquet",
    ]


def test_attributes_are_named_columns(run, tmp_path):
    write_celeba(tmp_path)
    run = run(*MLP, "model=conditional", "model.labels=4", "data=celeba", f"data.root={tmp_path}")
    save_latents(run, ["test"], tmp_path / "x.parquet", {})
    table = parquet.read_table(tmp_path / "x.parquet").to_pandas()
    names = [f"label_{name}" for name in run.data.attributes]
    assert (table[names].to_numpy() == run.data.splits["test"].labels.numpy()).all()


def test_optimal_scale_is_calibrated_on_training_images(run, tmp_path):
    run = run(*MLP, "loss=gaussian", "loss.scale=optimal", "data.binarize=none")
    save_latents(run, ["test"], tmp_path / "x.parquet", {})
    elbo = parquet.read_table(tmp_path / "x.parquet")["elbo"].to_numpy()
    numbers = evaluate_likelihood(run.vae, run.data, "test", samples=1)
    assert elbo.astype(np.float64).mean() == pytest.approx(numbers["elbo"], rel=1e-6)


def test_missing_extra_is_named(command, monkeypatch):
    monkeypatch.setattr("vaelab.runtime.errors.find_spec", lambda name: None)
    status, _ = command("scripts/encode.py", "nowhere")
    assert status == "error: pyarrow is not installed: run pip install 'vaelab[export]'"
