import re

import pytest
import torch
from published_sets import WRITERS

from vaelab.distributions.normal import DiagonalNormal
from vaelab.evaluation.base import EvaluationConfig, NotApplicable
from vaelab.evaluation.disentanglement import _describe_coverage, evaluate
from vaelab.runs.metrics_file import format_numbers
from vaelab.runs.run import RunParts

SCORES = {
    *("mig", "sap", "factor_vae"),
    *("dci_disentanglement", "dci_completeness", "dci_informativeness"),
}
SPRITES = ("data=sprites", "data.shape=[1,32,32]", "data.scales=3", "data.angles=4")


def make_config(split):
    return EvaluationConfig(split, samples=1)


@pytest.fixture
def make_run(config):
    def make(*words):
        run = RunParts.build(config("model.hidden=[16]", "latent_dim=6", *words))
        run.data.setup()
        return run

    return make


@pytest.fixture
def sprites(make_run):
    return make_run(*SPRITES, "data.positions=4", "data.validation=0.0", "data.test=0.01")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dsprites", "shapes3d", "cars3d", "smallnorb", "mpi3d"])
def test_published_sets_with_factors_are_evaluated(make_run, tmp_path, monkeypatch, name):
    WRITERS[name](tmp_path, monkeypatch)
    run = make_run(f"data={name}", f"data.root={tmp_path}")
    numbers = evaluate(run, make_config("test"))
    assert re.fullmatch("(sample|full grid) of .*", numbers.pop("factor_images"))
    assert set(numbers) == SCORES
    assert all(-1 <= value <= 1 for value in numbers.values())


def make_oracle_encoder(data, map_factors):
    """Make an encoder that looks up the factors (B, 5) of images; z is map_factors(factors)."""
    factors = {
        image.numpy().tobytes(): label
        for images, labels in data.splits.values()
        for image, label in zip(images, labels, strict=True)
    }

    def encode(x):
        images = (255 * x).byte()
        v = torch.stack([factors[image.numpy().tobytes()] for image in images])
        z = map_factors(v.float())
        return DiagonalNormal(z, torch.zeros_like(z))

    return encode


def test_encoder_with_one_dimension_per_factor_scores_1(sprites, monkeypatch):
    def bend(v):
        """Map the shape nonlinearly, since its values have no order."""
        return torch.cat([v[:, :1].exp(), 3 - 2 * v[:, 1:]], 1)

    monkeypatch.setattr(sprites.vae, "encode", make_oracle_encoder(sprites.data, bend))
    numbers = evaluate(sprites, make_config("train"))
    # 3 * 3 * 4 * 4 * 4 combinations, of which 1 % are test images
    assert numbers.pop("factor_images") == "sample of 570 images"
    assert set(numbers) == SCORES
    assert numbers == {name: pytest.approx(1, abs=0.005) for name in SCORES}


def test_encoder_that_mixes_factors_scores_low_except_informativeness(sprites, monkeypatch):
    mix = torch.linalg.qr(torch.randn(5, 5))[0]
    monkeypatch.setattr(sprites.vae, "encode", make_oracle_encoder(sprites.data, lambda v: v @ mix))
    numbers = evaluate(sprites, make_config("train"))
    assert numbers.pop("dci_informativeness") > 0.9
    assert max(numbers["mig"], numbers["sap"], numbers["dci_disentanglement"]) < 0.6


def test_seed_repeats_the_scores_and_random_state_is_untouched(make_run):
    run, state = make_run(*SPRITES, "data.positions=6"), torch.get_rng_state()
    numbers = evaluate(run, make_config("test"))
    assert torch.equal(state, torch.get_rng_state())
    assert evaluate(run, make_config("test")) == numbers
    del numbers["factor_images"]
    assert all(0 <= number <= 1 for number in numbers.values())
    assert numbers["mig"] < 0.3


def test_constant_factor_is_ignored(make_run):
    run = make_run(*SPRITES, "data.positions=4", "data.angles=1")
    numbers = evaluate(run, make_config("test"))
    del numbers["factor_images"]
    assert set(numbers) == SCORES
    assert all(0 <= number <= 1 for number in numbers.values())


def test_not_applicable_without_known_factors(make_run):
    with pytest.raises(NotApplicable, match="the factors of these images are not known"):
        evaluate(make_run(), make_config("test"))


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        (slice(None), "full grid of 6 combinations"),
        (slice(1, 6), "sample of 5 images"),
    ],
)
def test_scores_say_whether_they_are_of_the_full_grid(rows, text):
    grid = torch.cartesian_prod(torch.arange(2), torch.arange(3)).repeat(2, 1)
    assert _describe_coverage(grid[rows], grid) == text


def test_report_line_of_each_score_says_what_it_was_computed_on():
    numbers = {**dict.fromkeys(SCORES, 0.5), "factor_images": "sample of 5 images"}
    names = [row.name for row in format_numbers({**numbers, "shape": (3,)})]
    assert len(names) == 6
    assert all(name.endswith("(sample of 5 rows)") for name in names)
