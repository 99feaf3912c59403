import pytest
import torch

from vaelab.distributions.normal import DiagonalNormal
from vaelab.evaluation.base import EvaluationConfig, NotApplicable
from vaelab.evaluation.disentanglement import evaluate
from vaelab.runs.run import Run

NAMES = {
    *("mig", "sap", "factor_vae"),
    *("dci_disentanglement", "dci_completeness", "dci_informativeness"),
}
SPRITES = ("data=sprites", "data.shape=[1,32,32]", "data.scales=3", "data.angles=4")


def asked(split):
    return EvaluationConfig(split, samples=1)


@pytest.fixture
def opened(config):
    def open_run(*words):
        run = Run.build(config("model.hidden=[16]", "latent_dim=6", *words))
        run.data.setup()
        return run

    return open_run


@pytest.fixture
def sprites(opened):
    return opened(*SPRITES, "data.positions=4", "data.validation=0.0", "data.test=0.01")


def knowing(data, read):
    """An encoder that knows the factors (B, 5) of pictures, and says read(factors)."""
    known = {
        picture.numpy().tobytes(): label
        for images, labels in data.splits.values()
        for picture, label in zip(images, labels, strict=True)
    }

    def encode(x):
        pictures = (255 * x).byte()
        code = read(torch.stack([known[each.numpy().tobytes()] for each in pictures]).float())
        return DiagonalNormal(code, torch.zeros_like(code))

    return encode


def test_an_encoder_that_names_the_factors_gets_1_in_all(sprites, monkeypatch):
    def bent(v):
        """The shape has no order, so that its code need not be straight."""
        return torch.cat([v[:, :1].exp(), 3 - 2 * v[:, 1:]], 1)

    monkeypatch.setattr(sprites.vae, "encode", knowing(sprites.data, bent))
    numbers = evaluate(sprites, asked("train"))
    assert set(numbers) == NAMES
    assert numbers == {name: pytest.approx(1, abs=0.005) for name in NAMES}


def test_an_encoder_that_mixes_the_factors_gets_less_of_all_but_what_it_knows(sprites, monkeypatch):
    mix = torch.linalg.qr(torch.randn(5, 5))[0]
    monkeypatch.setattr(sprites.vae, "encode", knowing(sprites.data, lambda v: v @ mix))
    numbers = evaluate(sprites, asked("train"))
    assert numbers.pop("dci_informativeness") > 0.9
    assert max(numbers["mig"], numbers["sap"], numbers["dci_disentanglement"]) < 0.6


def test_a_net_as_it_is_drawn_gets_numbers_that_the_seed_repeats(opened):
    run, state = opened(*SPRITES, "data.positions=6"), torch.get_rng_state()
    numbers = evaluate(run, asked("test"))
    assert torch.equal(state, torch.get_rng_state())
    assert all(0 <= number <= 1 for number in numbers.values())
    assert evaluate(run, asked("test")) == numbers
    assert numbers["mig"] < 0.3


def test_a_factor_of_one_value_is_left_out(opened):
    run = opened(*SPRITES, "data.positions=4", "data.angles=1")
    numbers = evaluate(run, asked("test"))
    assert set(numbers) == NAMES
    assert all(0 <= number <= 1 for number in numbers.values())


def test_it_is_absent_where_the_factors_are_not_known(opened):
    with pytest.raises(NotApplicable, match="the factors of these images are not known"):
        evaluate(opened(), asked("test"))
