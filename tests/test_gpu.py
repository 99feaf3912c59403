"""On a GPU a run gives what it gives on the CPU."""

import pytest
import torch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
]
WORDS = ("model=conv", "data.binarize=fixed", "latent_dim=4", "optimizer.lr=0", "samples=50")


def test_an_evaluation_agrees_with_the_one_on_the_cpu(train):
    on_gpu, on_cpu = (
        train(*WORDS, f"trainer.accelerator={kind}", folder=kind) for kind in ("gpu", "cpu")
    )
    error = 5 * on_cpu["nll_se"]  # the noise differs, the images do not
    assert on_gpu["kl"] == pytest.approx(on_cpu["kl"], rel=1e-3)
    assert on_gpu["nll"] == pytest.approx(on_cpu["nll"], abs=error)


def test_bf16_and_compile_train_on_it(train):
    words = ["trainer.accelerator=gpu", "trainer.precision=bf16-mixed", "compile=true"]
    assert train("model=conv", *words)["elbo"] < 0
