"""Codes, samples, gradients and losses equal those of vector-quantize-pytorch, where installed."""

import pytest
import torch

from vaelab.posteriors.fsq import FSQ
from vaelab.posteriors.lfq import LFQ
from vaelab.posteriors.residual_vq import ResidualVQ
from vaelab.posteriors.vq import VQ

reference = pytest.importorskip(
    "vector_quantize_pytorch", reason="needs pip install vector-quantize-pytorch"
)
pytestmark = pytest.mark.slow  # the import takes seconds

DIM, POSITIONS, CODES = 4, 7, 16


@pytest.fixture
def out():
    return torch.randn(3, POSITIONS * DIM, requires_grad=True)


def split(out, dim=DIM):
    return out.detach().unflatten(-1, (-1, dim)).requires_grad_()


def gradient(samples, inputs, loss=0.0):
    """Compute the gradient of a fixed random function of the samples, plus a loss."""
    weights = torch.randn(samples.numel(), generator=torch.Generator().manual_seed(1))
    total = (samples.flatten() * weights).sum() + loss
    return torch.autograd.grad(total, inputs, retain_graph=True)[0].flatten()


@pytest.mark.parametrize("levels", [[8, 5, 5, 5], [3, 4], [7, 6, 5]])
def test_fsq(levels):
    dim = len(levels)
    ours, theirs = FSQ(5 * dim, levels), reference.FSQ(levels)
    out = (2 * torch.randn(50, 5 * dim)).requires_grad_()
    inputs = split(out, dim)
    q, (samples, indices) = ours(out), theirs(inputs)
    assert torch.equal(q.indices, indices.long())
    torch.testing.assert_close(q.mean, samples.flatten(1))
    torch.testing.assert_close(gradient(q.rsample(), out), gradient(samples, inputs))
    torch.testing.assert_close(ours.codebook, theirs.implicit_codebook)


def test_lfq_with_its_entropies():
    bits, temperature = 4, 0.5
    ours = LFQ(POSITIONS * bits, bits, entropy=0.3, diversity=0.7, temperature=temperature)
    theirs = reference.LFQ(dim=bits, entropy_loss_weight=0.3, diversity_gamma=0.7)
    out = (0.3 * torch.randn(40, POSITIONS * bits)).requires_grad_()
    inputs = split(out, bits)
    q = ours(out)
    samples, indices, loss = theirs(inputs, inv_temperature=1 / temperature)
    assert torch.equal(q.indices, indices)
    torch.testing.assert_close(q.mean, samples.flatten(1))
    own_loss = q.codebook_loss.mean() / POSITIONS
    torch.testing.assert_close(own_loss, loss, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(
        gradient(q.rsample(), out, own_loss), gradient(samples, inputs, loss), rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize("rotation", [False, True])
def test_vq_and_the_update_of_its_codebook(out, cosine, rotation):
    ours = VQ(POSITIONS * DIM, CODES, DIM, 0.8, revive=0, cosine=cosine, rotation=rotation)
    theirs = reference.VectorQuantize(
        DIM, CODES, decay=0.8, use_cosine_sim=cosine, rotation_trick=rotation
    )
    book = theirs._codebook
    book.embed.copy_(ours.codebook)
    book.embed_avg.copy_(ours.codebook)
    book.cluster_size.fill_(1)
    for _ in range(3):
        inputs = split(out)
        q, (samples, indices, loss) = ours(out), theirs(inputs)
        assert torch.equal(q.indices, indices)
        torch.testing.assert_close(q.rsample(), samples.flatten(1))
        own_loss = q.commitment.mean() / (POSITIONS * DIM)
        torch.testing.assert_close(own_loss, loss.squeeze())
        torch.testing.assert_close(
            gradient(q.rsample(), out, own_loss), gradient(samples, inputs, loss.squeeze())
        )
        torch.testing.assert_close(ours.codebook, book.embed[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rotation", [False, True])
def test_simvq(out, rotation):
    ours = VQ(POSITIONS * DIM, CODES, DIM, simvq=True, rotation=rotation)
    theirs = reference.SimVQ(DIM, CODES, rotation_trick=rotation)
    theirs.frozen_codebook.copy_(ours.codebook)
    theirs.code_transform.load_state_dict(ours.linear.state_dict())
    inputs = split(out)
    q, (samples, indices, loss) = ours(out), theirs(inputs)
    assert torch.equal(q.indices, indices)
    torch.testing.assert_close(q.rsample(), samples.flatten(1))
    own_loss = (q.codebook_loss + 0.25 * q.commitment).mean() / (POSITIONS * DIM)
    torch.testing.assert_close(own_loss, loss)
    for parameter, other in ((out, inputs), (ours.linear.weight, theirs.code_transform.weight)):
        (own,) = torch.autograd.grad(own_loss, parameter, retain_graph=True)
        (expected,) = torch.autograd.grad(loss, other, retain_graph=True)
        torch.testing.assert_close(own.flatten(), expected.flatten())
    torch.testing.assert_close(gradient(q.rsample(), out), gradient(samples, inputs))


@pytest.mark.parametrize("groups", [1, 2])
def test_residual_vq(out, groups):
    depth = 3
    ours = ResidualVQ(POSITIONS * DIM * depth, CODES, DIM, depth, groups, 0.8, revive=0)
    settings = {"codebook_size": CODES, "num_quantizers": depth, "decay": 0.8}
    settings |= {"rotation_trick": False}
    if groups > 1:
        theirs = reference.GroupedResidualVQ(dim=DIM, groups=groups, **settings)
        layers = [layer for part in theirs.rvqs for layer in part.layers]
    else:
        theirs = reference.ResidualVQ(dim=DIM, **settings)
        layers = list(theirs.layers)
    for own, layer in zip(ours.layers, layers, strict=True):
        layer._codebook.embed.copy_(own.codebook)
        layer._codebook.embed_avg.copy_(own.codebook)
        layer._codebook.cluster_size.fill_(1)
    for _ in range(3):
        inputs = split(out)
        q, (samples, indices, losses) = ours(out), theirs(inputs)
        indices = indices.movedim(0, 2) if groups > 1 else indices  # (B, n, [groups,] depth)
        assert torch.equal(q.indices, indices.flatten(1))
        embedded = ours.embed(q.rsample())
        torch.testing.assert_close(embedded, samples.flatten(1))
        own_loss, loss = q.commitment.mean(), losses.sum() * POSITIONS * DIM / groups
        torch.testing.assert_close(own_loss, loss)
        # Theirs adds a straight-through gradient for each level, ours has one, as in the paper.
        torch.testing.assert_close(depth * gradient(embedded, out), gradient(samples, inputs))
        torch.testing.assert_close(
            gradient(0 * embedded, out, own_loss), gradient(0 * samples, inputs, loss)
        )
        for own, layer in zip(ours.layers, layers, strict=True):
            torch.testing.assert_close(own.codebook, layer._codebook.embed[0], rtol=1e-4, atol=1e-5)
