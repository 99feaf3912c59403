import numpy as np
import pytest

from vaelab.figures.draw.rate_distortion import RateDistortionPoint, plot_rate_distortion

POINTS = [
    RateDistortionPoint("kl.beta=1", 20.0, 80.0),
    RateDistortionPoint("kl.beta=4", 7.5, 105.0),
]


def test_points_are_at_their_rate_and_distortion():
    (axes,) = plot_rate_distortion({"bits": POINTS}).axes
    assert axes.collections[0].get_offsets().tolist() == [[20.0, 80.0], [7.5, 105.0]]
    assert {"kl.beta=1", "kl.beta=4"} <= {text.get_text() for text in axes.texts}


def test_lines_have_the_elbo_of_their_label():
    (axes,) = plot_rate_distortion({"bits": POINTS}).axes
    totals = {line.get_xy1()[0] + line.get_xy1()[1] for line in axes.lines}
    assert all(line.get_slope() == -1 for line in axes.lines)
    texts = [text.get_text() for text in axes.texts]
    labels = {float(text.split()[1]) for text in texts if "ELBO" in text}
    assert labels
    assert labels <= {-total for total in totals}


def test_each_group_has_its_panel():
    figure = plot_rate_distortion({"bits": POINTS, "density": POINTS[:1]})
    assert [axes.get_title() for axes in figure.axes] == ["bits", "density"]


def test_single_point_has_a_margin():
    (axes,) = plot_rate_distortion({"bits": POINTS[:1]}).axes
    assert np.ptp(axes.get_xlim()) > 1
    assert axes.get_xlim()[0] < 20 < axes.get_xlim()[1]
    assert np.mean(axes.get_ylim()) == pytest.approx(80)


@pytest.mark.parametrize("length", [1, 400])
def test_long_names_do_not_shrink_the_panels(length):
    long = [RateDistortionPoint(f"a.long.key={'0 ' * length}", *point[1:]) for point in POINTS]
    figure = plot_rate_distortion({"bits " * 12: long, "grey": POINTS})
    figure.canvas.draw()
    assert all(axes.get_window_extent().width > 0.3 * figure.bbox.width for axes in figure.axes)
    assert all(axes.get_window_extent().height > 0.6 * figure.bbox.height for axes in figure.axes)
