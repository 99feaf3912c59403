"""Residual vector quantization: each level quantizes what the levels before it left over."""

import math

import pytest
import torch
import torch.multiprocessing as processes

from vaelab.distributions.codebook import UniformIndices, indices_to_latents, latents_to_indices
from vaelab.objectives.base import closed_form_kl
from vaelab.posteriors.residual_vq import ResidualVQ
from vaelab.runtime.build import build_from_config


def make(positions=3, codes=5, dim=4, depth=3, groups=1, **settings):
    settings = {"revive": 0.0} | settings
    return ResidualVQ(positions * dim * depth, codes, dim, depth, groups, **settings).double()


@pytest.mark.parametrize("groups", [1, 2])
def test_codes_are_the_nearest_to_the_residuals(groups):
    rvq, out = make(groups=groups).eval(), torch.randn(6, 12).double()
    q, z = rvq(out), []
    for position in out.split(4, -1):
        for group, rest in enumerate(position.split(4 // groups, -1)):
            for layer in rvq.layers[3 * group : 3 * group + 3]:
                z.append(layer.codebook[torch.cdist(rest, layer.codebook).argmin(-1)])
                rest = rest - z[-1]
    assert torch.equal(q.mean, torch.cat(z, -1))
    sums = torch.stack(z, 1).unflatten(1, (-1, 3)).cumsum(2)
    errors = out.unflatten(-1, (-1, 1, 4 // groups)) - sums
    torch.testing.assert_close(q.commitment, errors.square().sum((1, 2, 3)))


def test_decoder_gets_the_sum_with_the_straight_through_gradient():
    rvq, out = make().eval(), torch.randn(6, 12).double().requires_grad_()
    z = rvq(out).rsample()
    embedded = rvq.embed(z)
    assert embedded.shape == (6, 12)
    torch.testing.assert_close(embedded, z.unflatten(-1, (3, 3, 4)).sum(2).flatten(1))
    weights = torch.randn(6, 12).double()
    (slope,) = torch.autograd.grad((weights * embedded).sum(), out)
    torch.testing.assert_close(slope, weights)


@pytest.mark.parametrize("groups", [1, 2])
def test_latents_determine_their_indices_and_have_probability_k_to_the_minus_n(groups):
    rvq = make(groups=groups)
    count = 9 * groups
    indices = torch.randint(5, (20, count))
    z = indices_to_latents(indices, rvq.get_codebook())
    assert torch.equal(latents_to_indices(z, rvq.get_codebook()), indices)
    p = rvq.prior_on_z(UniformIndices(torch.zeros(count).double(), 5))
    expected = torch.full((20,), -count * math.log(5)).double()
    torch.testing.assert_close(p.log_prob(z), expected)
    torch.testing.assert_close(p.log_prob(p.sample((20,))), expected)
    kl = closed_form_kl(rvq(torch.randn(20, 12).double()), p)
    torch.testing.assert_close(kl.squeeze(-1), -expected)


def test_each_level_reduces_the_error_after_the_initialization():
    rvq, out = make(codes=16, depth=4).eval(), torch.randn(100, 12).double()
    rvq.initialize(out)
    z = rvq(out).mean.unflatten(-1, (3, 4, 4)).cumsum(2).movedim(2, 0).flatten(2)
    errors = (z - out).square().mean((1, 2))
    assert (errors.diff() < 0).all()
    assert errors[-1] < 0.2


def test_codebooks_are_updated_only_in_training_and_after_the_sample():
    rvq, out = make(), torch.randn(6, 12).double()
    before = rvq.get_codebook()
    q = rvq(out)
    assert torch.equal(q.mean, indices_to_latents(q.indices, before))
    after = rvq.get_codebook()
    assert not torch.isclose(before, after).all(-1).all(-1).any()
    with torch.no_grad():
        rvq(out)
    rvq.eval()(out)
    assert torch.equal(rvq.get_codebook(), after)


def test_perplexity_and_use_are_means_over_codebooks():
    rvq = make(positions=4, codes=2, dim=1, depth=2).eval()
    for layer, codes in zip(rvq.layers, ([-1.0, 1.0], [0.0, 9.0]), strict=True):
        layer.codebook.copy_(torch.tensor(codes).unsqueeze(-1))
    q = rvq(torch.tensor([[-1.0, 1.0, 1.0, -1.0]]).double())
    assert q.code_counts.tolist() == [[2, 2], [4, 0]]
    assert q.code_perplexity.item() == pytest.approx(1.5)
    assert q.code_use.item() == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("words", "latent_dim", "codes"),
    [
        (("posterior=fsq", "posterior.levels=[8,8,8]"), 3 * 64, 64),
        (("posterior=lfq", "posterior.bits=9"), 9 * 64, 64),
        (("posterior=residual_vq", "posterior.depth=3"), 3 * 64 * 64, 3 * 64),
        (("posterior=residual_vq", "posterior.depth=2", "posterior.groups=2"), 2 * 64 * 64, 4 * 64),
    ],
)
def test_the_grid_follows_from_the_shape(config, words, latent_dim, codes):
    vae = build_from_config(
        config("model=vq", "model.channels=4", *words).module.vae, shape=[3, 32, 32]
    ).eval()
    posterior = vae.posterior
    vae.decoder.check_codes(posterior.dim, posterior.length_setting)
    q = vae.encode(torch.rand(2, 3, 32, 32))
    assert vae.latent_dim == q.event_shape[0] == latent_dim
    assert q.indices.shape == (2, codes)
    expected = torch.full((2,), codes * math.log(posterior.codes))
    torch.testing.assert_close(closed_form_kl(q, vae.latents()).squeeze(-1), expected)
    assert vae.decode(q.rsample()).mean.shape == (2, 3, 32, 32)


def test_conditional_decoder_gets_sums_and_labels(config):
    words = ("posterior=residual_vq", "objective=vq", "model.hidden=[8]")
    vae = build_from_config(config("model=conditional", *words).module.vae, shape=[1, 28, 28])
    model = vae.condition_on(torch.tensor([1, 2]))
    z = model.latents().sample((2,))
    assert model.decode(z).mean.shape == (2, 1, 28, 28)


def train_codebooks_on_a_share(rank, world, port, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=world
    )
    torch.manual_seed(0)
    rvq, out = make(decay=0.5), torch.randn(8, 12).double()
    for _ in range(3):
        rvq(out[rank::world])
    torch.save(rvq.state_dict(), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_compute_the_codebooks_of_one(tmp_path, free_port):
    processes.spawn(train_codebooks_on_a_share, (2, free_port, tmp_path), nprocs=2)  # type: ignore[attr-defined]
    torch.manual_seed(0)
    rvq, out = make(decay=0.5), torch.randn(8, 12).double()
    for _ in range(3):
        rvq(out)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    for name, expected in rvq.state_dict().items():
        torch.testing.assert_close(first[name], expected)
        assert torch.equal(first[name], second[name])


@pytest.mark.parametrize("setting", [{"depth": 0}, {"groups": 3}, {"codes": 0}, {"decay": 1.0}])
def test_setting_out_of_range_is_refused(setting):
    with pytest.raises(ValueError, match=rf"posterior\.{next(iter(setting))}="):
        ResidualVQ(20, **setting)
