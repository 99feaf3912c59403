from itertools import permutations

import pytest
import torch

from vaelab.metrics.probes import LabelledLatents, _matched, clustering, knn, linear_probe, majority

PROBES = [linear_probe, knn, clustering]
NAMES = torch.tensor([3, 7, 20])  # labels need not count from 0


def heaps(n=300):
    """Three heaps of codes far from each other, and which one it is."""
    kind = torch.randint(3, (n,))
    centers = torch.tensor([[9.0, 0.0], [0.0, 9.0], [-9.0, -9.0]])
    return LabelledLatents(centers[kind] + torch.randn(n, 2), NAMES[kind])


def ring(n=400):
    """A ring around a heap."""
    outside = torch.arange(n) % 2
    direction = torch.nn.functional.normalize(torch.randn(n, 2))
    return LabelledLatents((0.5 + 3 * outside.unsqueeze(1)) * direction, outside)


def nothing(n=2000):
    return LabelledLatents(torch.randn(n, 4), NAMES[torch.randint(3, (n,))])


@pytest.mark.parametrize("probe", PROBES)
def test_heaps_far_from_each_other_are_told_apart_without_an_error(probe):
    assert probe(heaps(), heaps()) == 1


@pytest.mark.parametrize("probe", PROBES)
def test_on_codes_that_know_nothing_it_is_chance(probe):
    assert probe(nothing(), nothing()) == pytest.approx(1 / 3, abs=0.05)


def test_neighbours_find_a_ring_that_no_line_finds():
    assert knn(ring(), ring()) > 0.99
    assert linear_probe(ring(), ring()) < 0.7


def test_a_label_that_was_never_fitted_is_an_error():
    rare = LabelledLatents(heaps(99).codes, torch.full((99,), 5))
    assert linear_probe(heaps(), rare) == knn(heaps(), rare) == majority(heaps(), rare) == 0


def test_the_majority_is_that_of_the_fitted_labels():
    fitted, new = torch.tensor([1, 1, 0]), torch.tensor([0, 0, 0, 1])
    assert (
        majority(
            LabelledLatents(torch.zeros(3, 1), fitted), LabelledLatents(torch.zeros(4, 1), new)
        )
        == 0.25
    )


def test_clusters_are_matched_one_to_one_as_well_as_any_order_of_them():
    for _ in range(10):
        clusters, y = torch.randint(4, (50,)), torch.randint(4, (50,))
        best = max((torch.tensor(p)[clusters] == y).double().mean() for p in permutations(range(4)))
        assert _matched(clusters, y) == pytest.approx(best.item())
    assert _matched(torch.zeros(8).long(), torch.arange(8) % 4) == 1 / 4


@pytest.mark.parametrize("probe", [*PROBES, majority])
def test_of_attributes_it_is_the_mean(probe):
    fitted, new = heaps(), heaps()
    noise = [torch.randint(2, (300, 1)) for _ in range(2)]
    each = [(fitted.labels[:, None], noise[0]), (new.labels[:, None], noise[1])]
    both = [
        LabelledLatents(heap.codes, torch.cat(labels, 1))
        for heap, labels in zip((fitted, new), each, strict=True)
    ]
    alone = [
        probe(*(LabelledLatents(all.codes, all.labels[:, column]) for all in both))
        for column in (0, 1)
    ]
    assert probe(*both) == pytest.approx(sum(alone) / 2)


def test_a_linear_probe_reads_any_scale_and_a_constant():
    fitted, new = nothing(), nothing()
    fitted, new = (
        LabelledLatents(each.codes, (each.codes[:, 0] + each.codes[:, 1] > 0).long())
        for each in (fitted, new)
    )
    expected = linear_probe(fitted, new)
    scale = torch.tensor([1e-4, 1.0, 1e5, 0.0])
    scaled = [LabelledLatents(each.codes * scale, each.labels) for each in (fitted, new)]
    assert linear_probe(*scaled) == pytest.approx(expected, abs=0.005)
    assert expected > 0.98


def test_the_seed_repeats_the_clusters():
    fitted, new = nothing(), nothing()
    assert clustering(fitted, new, 3) == clustering(fitted, new, 3)
