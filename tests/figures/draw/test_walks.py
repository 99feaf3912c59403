import torch

from vaelab.figures.draw.walks import plot_walks


def test_images_at_both_ends_are_framed():
    ends, between = torch.ones(2, 2, 1, 4, 6), torch.zeros(2, 11, 1, 4, 6)
    axes = plot_walks(ends, between, "in a straight line").axes[0]
    xs, ys = axes.get_xticks(), axes.get_yticks()
    row = axes.images[0].get_array()[int(ys[1]), xs.astype(int), 0]
    assert row.tolist() == [1] + [0] * 11 + [1]
    framed = {tuple(frame.get_center().tolist()) for frame in axes.patches}
    assert framed == {(x, y) for x in (xs[0], xs[-1]) for y in ys}
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert [text for text in labels if text] == ["image", "0", "0.5", "1", "image"]
    assert "in a straight line" in axes.get_xlabel()
