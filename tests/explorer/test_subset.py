"""The test images of the map, and the order in which the page shows them."""

import torch

from vaelab.data.base import choose_subset
from vaelab.explorer.subset import choose_test_images, order_test_images


def test_subset_of_sorted_images_has_all_classes():
    labels = torch.arange(10).repeat_interleave(100)
    labels[1] = 99  # a class with a single image
    indices = choose_test_images(labels, 50)
    assert 1 not in choose_subset(1000, 50)
    assert set(labels[indices].tolist()) == {*range(10), 99}
    assert set(choose_subset(1000, 50).tolist()) <= set(indices.tolist())
    assert indices.tolist() == sorted(set(indices.tolist()))


def test_subset_without_classes_is_random():
    for labels in (torch.zeros(1000, 3, dtype=torch.long), torch.rand(1000)):
        assert torch.equal(choose_test_images(labels, 50), choose_subset(1000, 50))


def test_each_page_has_all_classes_in_order():
    labels = torch.arange(10).repeat_interleave(60)
    order = order_test_images(labels, 30)
    assert sorted(order.tolist()) == list(range(600))
    for page in order.split(30):
        assert labels[page].tolist() == [label for label in range(10) for _ in range(3)]
    assert order[:3].tolist() != [0, 1, 2]


def test_rare_class_is_on_the_first_page():
    labels = torch.zeros(500, dtype=torch.long)
    labels[321] = 1
    assert 321 in order_test_images(labels, 30)[:30]


def test_images_without_classes_are_in_random_order():
    order = order_test_images(torch.zeros(40, 0), 30)
    assert sorted(order.tolist()) == list(range(40))
    assert order.tolist() != sorted(order.tolist())
