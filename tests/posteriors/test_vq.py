"""The codebook is updated by moving averages of the vectors nearest to each code."""

import pytest
import torch
import torch.multiprocessing as processes

from vaelab.posteriors.vq import VQ


@pytest.fixture
def posterior():
    def make(latent_dim=6, codes=4, dim=2, **settings):
        return VQ(latent_dim, codes, dim, **{"revive": 0.0} | settings).double()

    return make


def test_sample_consists_of_the_nearest_codes(posterior):
    vq, out = posterior(), torch.randn(5, 6).double()
    vectors = out.reshape(5, 3, 1, 2)
    nearest = (vectors - vq.codebook).square().sum(-1).argmin(-1)
    q = vq.eval()(out)
    assert torch.equal(q.indices, nearest)
    assert torch.equal(q.mean, vq.codebook[nearest].reshape(5, 6))


def test_one_training_step_updates_the_codebook_as_computed_by_hand(posterior):
    """The codes are 0 and 10; the vectors 1 and 3 are nearest to the first, 8 to the second."""
    vq = posterior(1, 2, 1, decay=0.9, epsilon=0.0)
    vq.codebook.copy_(torch.tensor([[0.0], [10.0]]))
    vq.sums.copy_(vq.codebook)
    vq(torch.tensor([[1.0], [3.0], [8.0]]).double())
    counts = torch.tensor([0.9 + 0.1 * 2, 0.9 + 0.1]).double()
    sums = torch.tensor([[0.1 * 4], [0.9 * 10 + 0.1 * 8]]).double()
    torch.testing.assert_close(vq.counts, counts)
    torch.testing.assert_close(vq.sums, sums)
    torch.testing.assert_close(vq.codebook, sums / counts.unsqueeze(-1))


def test_epsilon_smooths_the_counts(posterior):
    vq = posterior(1, 2, 1, decay=0.5, epsilon=0.2)
    vq.codebook.copy_(torch.tensor([[0.0], [10.0]]))
    vq.sums.copy_(vq.codebook)
    vq(torch.tensor([[1.0], [3.0], [8.0]]).double())
    smooth = (vq.counts + 0.2) / (2.5 + 2 * 0.2) * 2.5
    torch.testing.assert_close(vq.counts, torch.tensor([1.5, 1.0]).double())
    torch.testing.assert_close(vq.codebook, vq.sums / smooth.unsqueeze(-1))


def test_code_converges_to_the_mean_of_its_nearest_vectors(posterior):
    vq, out = posterior(codes=3), torch.randn(40, 6).double()
    vq.initialize(out)
    for _ in range(4000):
        vq(out)
    vectors, indices = out.reshape(-1, 2), vq.eval()(out).indices.flatten()
    for k in range(3):
        torch.testing.assert_close(
            vq.codebook[k], vectors[indices == k].mean(0), atol=1e-4, rtol=1e-4
        )


def test_codebook_update_does_not_change_the_returned_distribution(posterior):
    vq, out = posterior(), torch.randn(5, 6).double()
    before = vq.codebook.clone()
    q = vq(out)
    assert not torch.equal(vq.codebook, before)
    assert torch.equal(q.mean, before[q.indices].flatten(1))


def test_codebook_is_updated_only_in_training(posterior):
    vq, out = posterior(revive=0.5), torch.randn(5, 6).double()
    before = {name: value.clone() for name, value in vq.state_dict().items()}
    with torch.no_grad():
        vq(out)
    vq.eval()(out)
    assert all(torch.equal(value, before[name]) for name, value in vq.state_dict().items())


def test_unused_code_is_replaced_by_a_vector_of_the_batch(posterior):
    vq, out = posterior(codes=3, decay=0.5, revive=0.1), torch.randn(50, 6).double()
    vq.initialize(out)
    vq.codebook[2] = 1e3
    vq.sums[2] = 1e3
    for _ in range(10):
        vq(out)
    assert vq.codebook.abs().max() < 10
    vq.eval()
    assert len(vq(out).indices.unique()) == 3


def test_replaced_code_gets_the_mean_count(posterior):
    vq = posterior(1, 2, 1, decay=0.5, epsilon=0.0, revive=0.6)
    vq.codebook.copy_(torch.tensor([[0.0], [100.0]]))
    vq.sums.copy_(vq.codebook)
    vq(torch.tensor([[5.0], [5.0], [5.0]]).double())
    mean = (0.5 + 0.5 * 3 + 0.5) / 2
    torch.testing.assert_close(vq.counts, torch.tensor([2.0, mean]).double())
    torch.testing.assert_close(vq.codebook[1], torch.tensor([5.0]).double())
    torch.testing.assert_close(vq.sums[1], torch.tensor([5 * mean]).double())


def test_unused_code_is_kept_without_revive(posterior):
    vq, out = posterior(codes=3, decay=0.5, epsilon=0.0), torch.randn(50, 6).double()
    vq.initialize(out)
    vq.codebook[2] = 1e3
    vq.sums[2] = 1e3
    for _ in range(10):
        vq(out)
    torch.testing.assert_close(vq.codebook[2], torch.full((2,), 1e3).double())


def test_codebook_is_initialized_with_distinct_encoder_vectors(posterior):
    vq, out = posterior(codes=8), torch.randn(20, 6).double()
    out[:15] = out[0]  # like the empty corners of digits
    vq.initialize(out)
    vectors = out.reshape(-1, 2)
    assert (vq.codebook.unsqueeze(1) == vectors).all(-1).any(1).all()
    assert len(vq.codebook.unique(dim=0)) == 8


def test_more_codes_than_vectors_are_initialized_near_them(posterior):
    vq, out = posterior(codes=50), torch.randn(4, 6).double()
    vq.initialize(out)
    assert len(vq.codebook.unique(dim=0)) == 50
    assert torch.cdist(vq.codebook, out.reshape(-1, 2)).min(1).values.max() < 1


def test_vae_initializes_the_codebook_with_its_encoder_outputs(config):
    from vaelab.runs.run import RunParts

    vae = RunParts.build(config("objective=vq", "model.hidden=[8]", "posterior.codes=16")).vae
    x = torch.rand(200, 1, 28, 28).round()
    vae.initialize(x)
    vectors = vae.encoder(x).reshape(-1, 4)
    assert torch.cdist(vae.posterior.codebook, vectors).min(1).values.max() < 1e-3
    assert (vae.posterior.counts == 1).all()


def test_cosine_codes_keep_length_1_and_are_the_most_similar(posterior):
    vq, out = posterior(cosine=True), 5 * torch.randn(7, 6).double()
    vq.initialize(out)
    vectors = torch.nn.functional.normalize(out.reshape(7, 3, 2), dim=-1)
    nearest = (vectors @ vq.codebook.T).argmax(-1)
    q = vq(out)
    assert torch.equal(q.indices, nearest)
    norms = torch.ones(4).double()
    torch.testing.assert_close(vq.codebook.norm(dim=-1), norms)
    torch.testing.assert_close(q.commitment, (vectors.flatten(1) - q.mean).square().sum(-1))


def test_rotation_trick_keeps_angle_and_relative_length_of_the_gradient(posterior):
    """The gradient for v is |e| / |v| R^T g, so its angle to v is that of g to e."""
    vq = posterior(rotation=True).eval()
    out = torch.randn(9, 6).double().requires_grad_()
    q, g = vq(out), torch.randn(9, 6).double()
    (slope,) = torch.autograd.grad((g * q.rsample()).sum(), out)
    v, e, g, slope = (x.detach().reshape(-1, 2) for x in (out, q.mean, g, slope))
    scale = e.norm(dim=-1) / v.norm(dim=-1)
    torch.testing.assert_close(slope.norm(dim=-1), scale * g.norm(dim=-1))
    cosine = torch.nn.functional.cosine_similarity
    torch.testing.assert_close(cosine(slope, v), cosine(g, e))


def test_simvq_trains_a_matrix_and_keeps_its_random_codes(posterior):
    vq, out = posterior(simvq=True), torch.randn(50, 6).double()
    random, optimizer = vq.codebook.clone(), torch.optim.SGD(vq.parameters(), 0.01)
    vq.initialize(out)
    losses = []
    for _ in range(100):
        q = vq(out)
        losses.append(q.codebook_loss.mean())
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.9 * losses[0]
    assert torch.equal(vq.codebook, random)
    torch.testing.assert_close(vq.get_codebook(), random @ vq.linear.weight.T)
    with pytest.raises(ValueError, match=r"cosine=true and posterior\.simvq=true"):
        posterior(cosine=True, simvq=True)


@pytest.mark.parametrize(
    "setting", [{"codes": 0}, {"dim": 0}, {"decay": 1.0}, {"epsilon": -1.0}, {"revive": 2.0}]
)
def test_setting_out_of_range_is_rejected(setting):
    with pytest.raises(ValueError, match=rf"posterior\.{next(iter(setting))}="):
        VQ(12, **setting)


def test_latent_dim_that_is_not_a_multiple_of_dim_is_rejected():
    with pytest.raises(ValueError, match=r"latent_dim=7 .* posterior\.dim=2 .* latent_dim=10"):
        VQ(7, dim=2)


def train_codebook_on_a_share(rank, world, port, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=world
    )
    torch.manual_seed(0)
    vq, out = VQ(6, 4, 2, decay=0.5, revive=0.0).double(), torch.randn(8, 6).double()
    vq(out[rank::world])
    torch.manual_seed(rank)  # different candidates in each process
    revived = VQ(6, 4, 2, decay=0.5, revive=0.9).double()
    revived.load_state_dict(vq.state_dict())
    for _ in range(5):
        revived(out[rank::world])
    torch.save((vq.state_dict(), revived.state_dict()), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_compute_the_codebook_of_one(tmp_path, free_port):
    processes.spawn(train_codebook_on_a_share, (2, free_port, tmp_path), nprocs=2)  # type: ignore[attr-defined]
    (first, first_revived), (second, second_revived) = (
        torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)
    )
    torch.manual_seed(0)
    vq, out = VQ(6, 4, 2, decay=0.5, revive=0.0).double(), torch.randn(8, 6).double()
    vq(out)
    for name, expected in vq.state_dict().items():
        torch.testing.assert_close(first[name], expected)
        assert torch.equal(first[name], second[name])
        assert torch.equal(first_revived[name], second_revived[name])
