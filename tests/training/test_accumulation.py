"""Test the optimizer steps of several batches."""

import numpy as np
import pytest
import torch
from tiny import TINY

from vaelab.runs.run import RunParts


@pytest.mark.parametrize(("images", "accumulate", "batch"), [(20, 2, 4), (8, 4, 4), (24, 4, 4)])
def test_last_step_of_an_epoch_is_the_mean_of_its_batches(
    train, tmp_path, images, accumulate, batch
):
    """With SGD and without noise, the last step moves the weights by the mean gradient."""
    x = np.random.default_rng(0).random((images, 1, 6, 6)).astype("float32")
    np.savez(tmp_path / "x.npz", x_train=x, x_val=x[:2], x_test=x[:2])
    words = ("data=arrays", f"data.path={tmp_path}/x.npz", "data.shape=[1,6,6]", *TINY)
    words += ("posterior=deterministic", "objective=autoencoder", "loss=mse", "optimizer=sgd")
    words += ("optimizer.lr=1e-3", "trainer.limit_train_batches=null", "trainer.max_steps=-1")
    rest = images // batch % accumulate or accumulate
    first = images - rest * batch
    numbers = train(
        *words, f"data.batch_size={batch}", f"trainer.accumulate_grad_batches={accumulate}"
    )
    assert numbers["step_images"] == batch * accumulate
    moved = RunParts.open(numbers["folder"], "last").vae.state_dict()
    # The same epoch with batches as large as the steps.
    order = "trainer.accumulate_grad_batches=1"
    if first % (batch * accumulate) == 0:
        whole = train(*words, f"data.batch_size={batch * accumulate}", order, folder="whole")
        expected = RunParts.open(whole["folder"], "last").vae.state_dict()
        for name, weight in moved.items():
            torch.testing.assert_close(weight, expected[name], rtol=1e-5, atol=1e-7)
