"""Run: what one does with a trained model."""

import numpy as np
import pytest
import torch

import vaelab

X = (np.random.default_rng(0).random((60, 1, 4, 4)) > 0.5).astype(np.float32)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return vaelab.fit(
        vaelab.make_model((1, 4, 4), 2, model="mlp model.hidden=[8]"),
        vaelab.make_data(X, np.arange(60) % 3),
        folder=tmp_path_factory.mktemp("api") / "run",
        max_epochs=2,
        samples=20,
        accelerator="cpu",
        callbacks="default callbacks.pictures.only=[samples]",
    )


def test_numbers_of_rows_are_those_of_the_metrics(run):
    assert run.elbo().mean().item() == pytest.approx(run.metrics["elbo"], abs=1e-5)
    assert run.nll(samples=20).mean().item() == pytest.approx(run.metrics["nll"], abs=1e-5)


def test_rows_and_splits_agree(run):
    test = run.data.splits["test"].images.float().div(255).numpy()
    for method in (run.encode, run.reconstruct, run.elbo, run.nll):
        assert torch.equal(method(), method(test))
    assert run.encode(split="train").shape == (48, 2)
    assert run.reconstruct(test[:1]).shape == (1, 1, 4, 4)


def test_encode_returns_the_mean_of_the_posterior(run):
    with torch.no_grad():
        q = run.vae.encode(torch.from_numpy(X))
    torch.testing.assert_close(run.encode(X), q.mean)


def test_samples_depend_on_the_seed_only(run):
    first = run.sample(5, seed=1)
    torch.randn(3)
    assert torch.equal(first, run.sample(5, seed=1))
    assert not torch.equal(first, run.sample(5))
    assert run.sample(5, draw=True).unique().tolist() == [0, 255]
    assert run.sample(5, sampler="gmm sampler.components=2").shape == (5, 1, 4, 4)


def test_history_has_the_curves(run):
    assert len(run.history["val/elbo"].values) == 2


def test_files_are_written_into_the_run_folder(run, tmp_path):
    assert run.report() == run.folder / "report.html"
    assert run.figures(["samples"])["samples"].is_relative_to(run.folder)
    numbers = run.evaluate(["likelihood"], samples=2)
    assert numbers["elbo"] == pytest.approx(run.metrics["elbo"])
    run.save(tmp_path / "m.safetensors")
    assert torch.equal(vaelab.load(tmp_path / "m.safetensors").encode(X), run.encode(X))


def test_export_writes_onnx(run, tmp_path):
    pytest.importorskip("onnxruntime")
    names = [path.name for path in run.export(tmp_path)]
    assert {"encoder.onnx", "decoder.onnx", "model.safetensors"} <= {*names}


def test_rows_of_another_kind_are_refused(run):
    with pytest.raises(vaelab.UserError, match="pixels in"):
        run.elbo(X * 255.5)
    with pytest.raises(vaelab.UserError, match="shape"):
        run.encode(X[:, :, :3])
    with pytest.raises(vaelab.UserError, match="is no likelihood"):
        run.nll(X * 0.5)


def test_names_of_classes_are_refused_where_some_may_be_missing(run):
    with pytest.raises(vaelab.UserError, match="give the numbers that make_data printed"):
        run.encode(X[:2], ["cat", "ant"])
