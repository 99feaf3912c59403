"""Every part works on a device without float64, such as an Apple GPU, with the numbers of the CPU.

tests/device.py imitates the device.
"""

import contextlib

import pytest
import torch
from conftest import options, slow
from device import DEVICE, DeviceTensor, device_without_float64

from vaelab.evaluation.base import EvaluationConfig
from vaelab.evaluation.parts import DEFAULT_PARTS, evaluate_run
from vaelab.figures.compute.dimensions import compute_kl_per_dimension
from vaelab.metrics.terms import MeanTerms
from vaelab.runs.provenance import flatten
from vaelab.runs.run import RunParts
from vaelab.runtime.precision import has_float64, to_double
from vaelab.runtime.seeding import Stream, seeded_noise

NEEDS = {  # settings without which an option is refused
    "posterior=deterministic": ["objective=autoencoder"],
    **{f"posterior={name}": ["objective=vq"] for name in ("vq", "fsq", "lfq", "residual_vq")},
    "prior=sphere": ["posterior=vmf"],
    "prior=categorical": ["posterior=gumbel"],
    "prior=codes": ["posterior=vq", "objective=vq"],
    "prior=pixelcnn": ["posterior=vq", "objective=vq"],
    "prior=transformer": ["posterior=vq", "objective=vq"],
    "objective=prior": ["prior=mixture"],
    "objective=vq": ["posterior=vq", "prior=codes"],
    "loss=continuous_bernoulli": ["data.binarize=none"],
    "loss=discretized_logistic": ["data.binarize=none"],
    "loss=logistic_mixture": ["data.binarize=none"],
    "loss=mixed": ["data=table"],
}
GROUPS = ("loss", "posterior", "prior", "objective")
CHOICES = [f"{group}={option}" for group in GROUPS for option in options(group)]
PARTS_WITHOUT_FEATURES = [part for part in DEFAULT_PARTS if part != "samples"]
QUICK = ("loss=student_t", "posterior=vmf", "prior=mixture")


@pytest.fixture
def walk(config, monkeypatch, tmp_path):
    """Take a training step and evaluate, on the CPU or on the device; return all numbers."""

    def train_and_evaluate(choice, on_device):
        words = [choice, *NEEDS.get(choice, []), "model.hidden=[8]", "optimizer.fused=false"]
        run = RunParts.build(config(*words))
        run.load_data()
        for name, split in run.data.splits.items():
            run.data.splits[name] = type(split)(*(each[:40] for each in split))
        torch.manual_seed(0)
        context = device_without_float64(monkeypatch) if on_device else contextlib.nullcontext()
        with context, seeded_noise(Stream.TRAINING, 0):
            return take_step_and_evaluate(run, DEVICE if on_device else torch.device("cpu"))

    return train_and_evaluate


def take_step_and_evaluate(run, device):
    module = run.module.to(device)
    images, labels = (each[:16].to(device) for each in run.data.splits["train"])
    x = run.data.prepare(images, fresh=True)
    module.vae.initialize(x)
    module.objective.dataset_size = 40
    optimizer = module.make_optimizer(module.parameter_groups())
    loss = module.train().terms((x, labels), 0)["loss"].mean()
    loss.backward()
    optimizer.step()
    assert isinstance(loss, DeviceTensor) == (device == DEVICE)
    means = MeanTerms().to(device)
    with torch.no_grad():
        means.update(module.eval().terms((x, labels), 1))
    numbers = {name: mean.item() for name, mean in means.compute().items()}
    config = EvaluationConfig(samples=2, images=30)
    numbers |= evaluate_run(run, config, PARTS_WITHOUT_FEATURES)
    numbers["dimensions"] = compute_kl_per_dimension(run.vae, run.data, run.data.splits["val"])
    del numbers["parts"], numbers["asked"], numbers["shape"]
    return flatten(numbers) | {"loss": loss.item()}


@pytest.mark.parametrize("choice", [*QUICK, *slow(*(x for x in CHOICES if x not in QUICK))])
def test_every_part_computes_the_same_numbers_without_float64(walk, choice):
    expected = {
        name: pytest.approx(each, rel=1e-5, nan_ok=True) if isinstance(each, float) else each
        for name, each in walk(choice, on_device=False).items()
    }
    assert walk(choice, on_device=True) == expected


def test_the_device_refuses_float64(monkeypatch):
    """Otherwise the test above could not fail."""
    with device_without_float64(monkeypatch) as device:
        x = torch.ones(3, device=device)
        for wrong in (
            lambda: x.double(),
            lambda: x.to(torch.float64),
            lambda: torch.zeros(2, dtype=torch.float64, device=device),
            lambda: torch.zeros(2).double().to(device),
            lambda: torch.nn.Linear(2, 2).double().to(device),
        ):
            with pytest.raises(TypeError, match="no float64"):
                wrong()
        with pytest.raises(RuntimeError, match="same device"):
            x + torch.ones(3)
        assert not has_float64(device)
        assert torch.equal(to_double(x), torch.ones(3).double())
        assert to_double(x).device.type == "cpu"
