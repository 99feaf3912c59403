import torch

from vaelab.metrics.neighbours import NearestNeighbours, rms_distance


def test_nearest_neighbours_match_all_distances(monkeypatch):
    monkeypatch.setattr("vaelab.metrics.neighbours.CHUNK_ROWS", 4)
    images, candidates = torch.rand(10, 1, 5, 5), torch.rand(37, 1, 5, 5)
    search = NearestNeighbours(images)
    for number, chunk in enumerate(candidates.split(8)):
        search.update(chunk, 8 * number)
    distances = (images[:, None] - candidates).square().flatten(2).sum(2)
    assert torch.equal(search.index, distances.argmin(1))
    torch.testing.assert_close(search.distance, distances.min(1).values)


def test_copies_are_found_and_ties_give_the_first_index():
    candidates = torch.rand(6, 1, 4, 4)
    candidates[5] = candidates[2]
    for parts in ([0, 3], [3, 0]):  # in any order
        search = NearestNeighbours(candidates[2:3])
        for first in parts:
            search.update(candidates[first : first + 3], first)
        assert search.index.tolist() == [2]


def test_rms_distance_is_the_root_mean_squared_pixel_difference():
    x = torch.zeros(2, 1, 2, 2)
    y = torch.tensor([[1.0, 0, 0, 0], [3, 3, 3, 3]]).view(2, 1, 2, 2)
    assert rms_distance(x, y).tolist() == [0.5, 3]
