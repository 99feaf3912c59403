"""The page of scripts/explore.py in a browser."""

import socket
from functools import partial

import numpy as np
import pytest
from browser import Page, open_browser, requested_hosts, require_browser, serve_runs
from files import make_bad_files
from PIL import Image

GRAYSCALE = ("model=conv", "loss=mse", "data.binarize=none")
CONDITIONAL = ("model=conditional", "model.hidden=[32]")


@pytest.fixture(scope="module")
def page(save_run, tmp_path_factory):
    """Serve three runs on one page and open it in one browser, for all tests of this file."""
    require_browser()
    folder = tmp_path_factory.mktemp("page")
    plain = save_run(folder / "plain", "model.hidden=[32]", "latent_dim=2", steps=100)
    grayscale = save_run(folder / "grayscale", *GRAYSCALE, steps=10)
    conditional = save_run(folder / "conditional", *CONDITIONAL, steps=50)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (
        serve_runs(folder, port, plain, grayscale, conditional) as url,
        open_browser(folder) as driver,
    ):
        yield Page(driver, url)


@pytest.fixture
def explore(page):
    """Select the first test image of the first run."""
    page.open_tab("plain")
    page.open_tab("Explore")
    page.open_tab("Test images")
    for index in (1, 0):  # the last of these responses follows all earlier requests
        page.find_visible(f".tiles button[data-index='{index}']")[0].click()
        caption = f"test image {index}"
        page.wait_until(
            lambda caption=caption: caption in page.visible_text(".decoded").split("\n")
        )
    return page


def test_slider_changes_the_decoded_image(explore):
    explore.act_and_wait(lambda: explore.set_slider("z1", 3), explore.read_pixels)
    assert explore.read_sliders()["z1"] == 3


@pytest.mark.slow
def test_test_image_sets_the_sliders_and_shows_its_terms(explore):
    def click_tile():
        explore.find_visible(".tiles button[data-index='7']")[0].click()

    explore.act_and_wait(click_tile, explore.read_sliders)
    explore.wait_until(lambda: "test image 7" in explore.visible_text(".decoded"))
    assert "ELBO (nats per image)" in explore.visible_text(".terms")


def test_click_on_the_map_decodes_the_point_and_sets_the_sliders(explore):
    explore.open_tab("Map")
    area = explore.find_visible(".map svg")[0]
    before = explore.read_pixels()
    explore.act_and_wait(lambda: explore.drag(area, (-80, 60)), explore.read_sliders)
    assert "no image" in explore.visible_text(".decoded")
    assert (explore.read_pixels() != before).any()
    values_left = explore.read_sliders()
    explore.act_and_wait(lambda: explore.drag(area, (100, 60)), explore.read_sliders)
    assert explore.read_sliders()["z1"] > values_left["z1"]
    assert explore.read_sliders()["z2"] == values_left["z2"]


@pytest.mark.slow
def test_ring_can_be_dragged_and_follows_the_sliders(explore):
    explore.open_tab("Map")
    area = explore.find_visible(".map svg")[0]
    explore.act_and_wait(lambda: explore.drag(area, (100, 60)), explore.read_sliders)
    target, ring = explore.read_sliders(), explore.read_ring_position()
    explore.act_and_wait(lambda: explore.drag(area, (-80, 60)), explore.read_sliders)
    explore.drag(area, (-80, 60), *[(10, 0)] * 18)
    explore.wait_until(lambda: explore.read_sliders() == target)
    assert explore.read_ring_position() == pytest.approx(ring, abs=1)
    explore.set_slider("z1", 0)
    explore.wait_until(lambda: explore.read_ring_position() < ring - 1)


@pytest.mark.slow
def test_map_can_show_decoded_images(explore):
    explore.open_tab("Map")
    assert not explore.find(".map image")
    explore.find_visible("input[type=radio]")[1].click()
    explore.wait_until(lambda: explore.find(".map image"))


def test_complete_drawing_is_reconstructed_and_sets_the_sliders(explore):
    explore.open_tab("Draw")
    pad = explore.find_visible(".pad canvas")[0]
    down = [(0, 20)] * 8
    explore.act_and_wait(lambda: explore.drag(pad, (0, -80), *down), explore.read_sliders)
    explore.wait_until(lambda: measure_ink(explore) == (20, 3))
    explore.drag(pad, (-80, 80), *[(20, 0)] * 8)
    explore.wait_until(lambda: measure_ink(explore) == (20, 20))
    assert "ELBO (nats per image)" in explore.visible_text(".terms")


def measure_ink(page) -> tuple[int, int]:
    """Return height and width of the white pixels of the drawing as the model receives it."""
    if "the drawing" not in page.visible_text(".decoded"):
        return 0, 0
    ink = page.read_pixels(".decoded figure:first-of-type").reshape(28, 28, 4)[..., 0] > 127
    rows, columns = np.nonzero(ink)
    return int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


def test_uploaded_image_is_reconstructed(explore, tmp_path):
    explore.open_tab("Upload")
    path = tmp_path / "ramp.png"
    ramp = np.linspace(0, 255, 80).astype(np.uint8)
    Image.fromarray(np.tile(ramp, (100, 1))).save(path)
    explore.upload(path)
    explore.wait_until(lambda: "ramp.png" in explore.visible_text(".decoded"))
    pixels = explore.read_pixels(".decoded figure:first-of-type").reshape(28, 28, 4)[..., 0]
    assert (pixels == np.where(np.arange(28) < 14, 0, 255)).all()


@pytest.mark.slow
def test_bad_upload_shows_a_message_and_changes_nothing(explore, tmp_path):
    explore.open_tab("Upload")
    before = explore.read_pixels()
    for name, content in make_bad_files().items():
        (tmp_path / name).write_bytes(content)
        explore.upload(tmp_path / name)
        message = f"{name} cannot be read as an image"
        explore.wait_until(lambda message=message: message in explore.messages())
    assert (explore.read_pixels() == before).all()


@pytest.mark.slow
def test_label_changes_the_image_but_not_the_latents(page):
    page.open_tab("conditional")
    page.open_tab("Explore")
    latents = page.read_sliders()
    page.find_visible("input[role=combobox]")[0].click()
    page.wait_until(lambda: page.find_visible("[role=option]"))
    options = page.find_visible("[role=option]")
    other = next(option for option in options if option.text.strip() == "1")
    page.act_and_wait(other.click, page.read_pixels)
    assert page.read_sliders() == latents


@pytest.mark.slow
def test_walk_interpolates_between_two_test_images(page):
    page.open_tab("plain")
    page.open_tab("Walk")

    def click_tile():
        page.find_visible(".tiles")[1].find_element("css selector", "[data-index='9']").click()

    page.act_and_wait(click_tile, lambda: page.visible_text(".walked"))
    assert "test image 9" in page.visible_text(".walked")
    assert len(page.find_visible(".strip img")) == 11


@pytest.mark.slow
def test_two_runs_are_compared_on_one_image(page):
    page.open_tab("Compare")
    table = page.visible_text(".compared")
    assert "plain" in table
    assert "grayscale" in table
    assert "not their values in nats" in page.messages()

    def click_tile():
        page.find_visible(".tiles button[data-index='5']")[0].click()

    page.act_and_wait(click_tile, lambda: page.visible_text(".compared"))
    page.open_tab("Draw")
    pad = page.find_visible(".pad canvas")[0]
    draw_line = partial(page.drag, pad, (-40, 0), (80, 0))
    page.act_and_wait(draw_line, lambda: page.visible_text(".compared"))


def test_page_requests_nothing_from_other_hosts(page):
    host = page.driver.current_url.split("/")[2]
    assert requested_hosts(page.driver) == {host}
