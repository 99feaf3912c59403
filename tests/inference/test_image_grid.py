import torch

from vaelab.inference.image_grid import make_image_grid, make_paired_grid


def test_images_are_arranged_in_rows():
    white, black = torch.ones(1, 4, 4), torch.zeros(1, 4, 4)
    grid = make_image_grid(torch.stack([white, black, black, white]), columns=2, magnify=1)
    assert grid.size == (2 * 4 + 3 * 2, 2 * 4 + 3 * 2)
    centers = [grid.getpixel((x, y)) for y in (4, 10) for x in (4, 10)]
    assert centers == [(255, 255, 255), (0, 0, 0), (0, 0, 0), (255, 255, 255)]


def test_colours_are_kept_and_values_are_clamped():
    red = torch.tensor([2.0, -1.0, 0.0])[:, None, None].expand(3, 4, 4)
    grid = make_image_grid(red.expand(2, 3, 4, 4), columns=2, magnify=1)
    assert grid.getpixel((4, 4)) == (255, 0, 0)


def test_each_row_is_above_its_reconstructions():
    x, reconstruction = torch.ones(3, 1, 4, 4), torch.zeros(3, 1, 4, 4)
    grid = make_paired_grid(x, reconstruction, columns=3)
    assert grid.getpixel((8, 8)) == (255, 255, 255)
    assert grid.getpixel((8, 20)) == (0, 0, 0)


def test_incomplete_last_row_is_above_its_reconstructions():
    x, reconstruction = torch.ones(3, 1, 4, 4), torch.zeros(3, 1, 4, 4)
    grid = make_paired_grid(x, reconstruction, columns=2)
    rows = [grid.getpixel((8, 8 + 12 * row))[0] for row in range(4)]
    assert rows == [255, 0, 255, 0]
