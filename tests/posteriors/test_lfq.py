"""Lookup-free quantization takes signs, and its entropies are exact."""

import pytest
import torch
import torch.multiprocessing as processes

from vaelab.posteriors.lfq import LFQ, compute_mean_code_probabilities


def test_codes_are_signs_and_indices_are_binary_numbers():
    q = LFQ(6, 3)(torch.tensor([[0.1, -2.0, 3.0, -1.0, -1.0, 0.5]]))
    assert q.mean.tolist() == [[1, -1, 1, -1, -1, 1]]
    assert q.indices.tolist() == [[0b101, 0b001]]


@pytest.mark.parametrize("bits", [1, 2, 5])
def test_entropy_loss_equals_the_sum_over_all_codes(bits):
    lfq = LFQ(3 * bits, bits, entropy=0.3, diversity=0.7, temperature=0.8).double()
    vectors = torch.randn(4, 3, bits).double()
    distance = (vectors.unsqueeze(-2) - lfq.codebook).square().sum(-1)
    p = (-distance / 0.8).softmax(-1)
    certainty = -(p * p.log()).sum(-1)
    mean = p.mean((0, 1))
    expected = 0.3 * (certainty + 0.7 * (mean * mean.log()).sum()).sum(-1)
    torch.testing.assert_close(lfq(vectors.flatten(1)).codebook_loss, expected)


def test_probabilities_of_codes_sum_to_one():
    p = compute_mean_code_probabilities(torch.rand(50, 7).double())
    assert p.shape == (128,)
    torch.testing.assert_close(p.sum(), torch.tensor(1.0).double())


def test_certain_codes_have_a_finite_gradient():
    out = (1e3 * torch.randn(4, 6)).requires_grad_()
    LFQ(6, 3)(out).codebook_loss.sum().backward()
    assert torch.isfinite(out.grad).all()


def test_no_entropy_is_no_loss():
    assert LFQ(6, 3, entropy=0)(torch.randn(2, 6)).codebook_loss is None


@pytest.mark.parametrize(
    "setting",
    [{"bits": 0}, {"bits": 19}, {"entropy": -1.0}, {"diversity": -1.0}, {"temperature": 0.0}],
)
def test_setting_out_of_range_is_refused(setting):
    with pytest.raises(ValueError, match=rf"posterior\.{next(iter(setting))}="):
        LFQ(360, **setting)


def compute_gradient_of_a_share(rank, world, port, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=world
    )
    torch.manual_seed(0)
    out = torch.randn(8, 6).double().requires_grad_()
    LFQ(6, 3, temperature=2.0)(out[rank::world]).codebook_loss.mean().backward()
    torch.distributed.all_reduce(out.grad)
    torch.save(out.grad / world, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_compute_the_gradient_of_one(tmp_path, free_port):
    processes.spawn(compute_gradient_of_a_share, (2, free_port, tmp_path), nprocs=2)  # type: ignore[attr-defined]
    torch.manual_seed(0)
    out = torch.randn(8, 6).double().requires_grad_()
    LFQ(6, 3, temperature=2.0)(out).codebook_loss.mean().backward()
    for rank in (0, 1):
        torch.testing.assert_close(torch.load(tmp_path / f"{rank}.pt"), out.grad)
