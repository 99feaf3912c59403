"""Runs on a GPU."""

import pytest
import torch
from pytorch_lightning import Callback

from vaelab.runtime.seeding import uniform_per_image

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
]
WORDS = ("model=conv", "data.binarize=fixed", "latent_dim=4", "optimizer.lr=1e-30", "samples=50")


def test_evaluation_on_a_gpu_agrees_with_the_cpu(train):
    on_gpu, on_cpu = (
        train(*WORDS, f"trainer.accelerator={kind}", folder=kind) for kind in ("gpu", "cpu")
    )
    error = 5 * on_cpu["nll_se"]  # the noise differs, the binarized images do not
    assert on_gpu["kl"] == pytest.approx(on_cpu["kl"], rel=1e-3)
    assert on_gpu["nll"] == pytest.approx(on_cpu["nll"], abs=error)


def test_dequantization_noise_on_a_gpu_is_that_on_the_cpu():
    index = torch.tensor([0, 3, 59_999])
    on_cpu, on_gpu = (uniform_per_image(5, index.to(kind), (3, 32, 32)) for kind in ("cpu", "cuda"))
    assert torch.equal(on_gpu.cpu(), on_cpu)


def test_bf16_and_compile_train_on_a_gpu(train):
    words = ["trainer.accelerator=gpu", "trainer.precision=bf16-mixed", "compile=true"]
    assert train("model=conv", *words)["elbo"] < 0


class ForbidSynchronization(Callback):
    """Raises an error if the host waits for the GPU inside a step."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx:
            torch.cuda.set_sync_debug_mode("error")

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("binarize", ["none", "dynamic"])
def test_training_steps_do_not_wait_for_the_gpu(train, binarize):
    words = [f"data.binarize={binarize}", "trainer.accelerator=gpu", "trainer.log_every_n_steps=99"]
    callback = "+callbacks.forbid._target_=test_gpu.ForbidSynchronization"
    assert train(*words, callback, "trainer.limit_train_batches=9")["steps"] == 9
