from itertools import permutations

import pytest
import torch

from vaelab.metrics.probes import (
    LabelledLatents,
    _matched_accuracy,
    clustering,
    knn,
    linear_probe,
    majority,
)

PROBES = [linear_probe, knn, clustering]
LABELS = torch.tensor([3, 7, 20])  # labels do not have to count from 0


def make_clusters(n=300):
    """Make latents of three separate clusters, with the cluster as label."""
    cluster = torch.randint(3, (n,))
    centers = torch.tensor([[9.0, 0.0], [0.0, 9.0], [-9.0, -9.0]])
    return LabelledLatents(centers[cluster] + torch.randn(n, 2), LABELS[cluster])


def make_ring(n=400):
    """Make latents of a ring around a cluster, with the ring as label 1."""
    outside = torch.arange(n) % 2
    direction = torch.nn.functional.normalize(torch.randn(n, 2))
    return LabelledLatents((0.5 + 3 * outside.unsqueeze(1)) * direction, outside)


def make_independent_latents(n=2000):
    return LabelledLatents(torch.randn(n, 4), LABELS[torch.randint(3, (n,))])


@pytest.mark.parametrize("probe", PROBES)
def test_separate_clusters_are_classified_without_errors(probe):
    assert probe(make_clusters(), make_clusters()) == 1


@pytest.mark.parametrize("probe", PROBES)
def test_accuracy_on_independent_latents_is_chance(probe):
    assert probe(make_independent_latents(), make_independent_latents()) == pytest.approx(
        1 / 3, abs=0.05
    )


def test_knn_separates_a_ring_that_a_linear_probe_cannot():
    assert knn(make_ring(), make_ring()) > 0.99
    assert linear_probe(make_ring(), make_ring()) < 0.7


def test_unseen_labels_count_as_errors():
    rare = LabelledLatents(make_clusters(99).latents, torch.full((99,), 5))
    assert (
        linear_probe(make_clusters(), rare)
        == knn(make_clusters(), rare)
        == majority(make_clusters(), rare)
        == 0
    )


def test_majority_is_taken_from_the_fitted_labels():
    fitted, new = torch.tensor([1, 1, 0]), torch.tensor([0, 0, 0, 1])
    assert (
        majority(
            LabelledLatents(torch.zeros(3, 1), fitted), LabelledLatents(torch.zeros(4, 1), new)
        )
        == 0.25
    )


def test_cluster_matching_is_the_best_permutation():
    for _ in range(10):
        clusters, y = torch.randint(4, (50,)), torch.randint(4, (50,))
        best = max((torch.tensor(p)[clusters] == y).double().mean() for p in permutations(range(4)))
        assert _matched_accuracy(clusters, y) == pytest.approx(best.item())
    assert _matched_accuracy(torch.zeros(8).long(), torch.arange(8) % 4) == 1 / 4


@pytest.mark.parametrize("probe", [*PROBES, majority])
def test_accuracy_of_attributes_is_their_mean(probe):
    fitted, new = make_clusters(), make_clusters()
    noise = [torch.randint(2, (300, 1)) for _ in range(2)]
    columns = [(fitted.labels[:, None], noise[0]), (new.labels[:, None], noise[1])]
    both = [
        LabelledLatents(part.latents, torch.cat(labels, 1))
        for part, labels in zip((fitted, new), columns, strict=True)
    ]
    single = [
        probe(*(LabelledLatents(part.latents, part.labels[:, column]) for part in both))
        for column in (0, 1)
    ]
    assert probe(*both) == pytest.approx(sum(single) / 2)


def test_linear_probe_is_invariant_to_scale_and_accepts_constants():
    fitted, new = make_independent_latents(), make_independent_latents()
    fitted, new = (
        LabelledLatents(part.latents, (part.latents[:, 0] + part.latents[:, 1] > 0).long())
        for part in (fitted, new)
    )
    expected = linear_probe(fitted, new)
    scale = torch.tensor([1e-4, 1.0, 1e5, 0.0])
    scaled = [LabelledLatents(part.latents * scale, part.labels) for part in (fitted, new)]
    assert linear_probe(*scaled) == pytest.approx(expected, abs=0.005)
    assert expected > 0.98


def test_clustering_is_reproducible():
    fitted, new = make_independent_latents(), make_independent_latents()
    assert clustering(fitted, new, 3) == clustering(fitted, new, 3)
