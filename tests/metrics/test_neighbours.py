import torch

from vaelab.metrics.neighbours import NearestNeighbours, rms_distance


def test_the_nearest_is_that_of_all_distances(monkeypatch):
    monkeypatch.setattr("vaelab.metrics.neighbours.ROWS", 4)
    images, others = torch.rand(10, 1, 5, 5), torch.rand(37, 1, 5, 5)
    search = NearestNeighbours(images)
    for number, part in enumerate(others.split(8)):
        search.update(part, 8 * number)
    apart = (images[:, None] - others).square().flatten(2).sum(2)
    assert torch.equal(search.index, apart.argmin(1))
    torch.testing.assert_close(search.distance, apart.min(1).values)


def test_a_copy_is_found_and_of_two_the_first():
    others = torch.rand(6, 1, 4, 4)
    others[5] = others[2]
    for parts in ([0, 3], [3, 0]):  # in whatever order they come
        search = NearestNeighbours(others[2:3])
        for first in parts:
            search.update(others[first : first + 3], first)
        assert search.index.tolist() == [2]


def test_rms_is_the_root_of_the_mean_squared_difference_of_a_pixel():
    x = torch.zeros(2, 1, 2, 2)
    y = torch.tensor([[1.0, 0, 0, 0], [3, 3, 3, 3]]).view(2, 1, 2, 2)
    assert rms_distance(x, y).tolist() == [0.5, 3]
