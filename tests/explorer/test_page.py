"""The page of scripts/explore.py, in a browser."""

import socket

import numpy as np
import pytest
from browser import Page, browser, need_browser, requested, served
from files import bad_files
from PIL import Image


@pytest.fixture(scope="module")
def page(saved, tmp_path_factory):
    """Three runs in one page, in one browser, for all tests of this file."""
    need_browser()
    folder = tmp_path_factory.mktemp("page")
    plain = saved(folder / "plain", "model.hidden=[32]", "latent_dim=2", steps=100)
    grey = saved(folder / "grey", "model=conv", "loss=mse", "data.binarize=none", steps=10)
    given = saved(folder / "given", "model=conditional", "model.hidden=[32]", steps=50)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with served(folder, port, plain, grey, given) as address, browser(folder) as driver:
        yield Page(driver, address)


@pytest.fixture
def explore(page):
    """The first run, its first image chosen."""
    page.tab("plain")
    page.tab("Explore")
    page.tab("Test images")
    for index in (1, 0):  # the second answer is the last of all that were under way
        page.seen(f".tiles button[data-index='{index}']")[0].click()
        page.until(lambda index=index: f"test image {index}" in page.words(".decoded").split("\n"))
    return page


def test_a_slider_changes_the_pixels(explore):
    explore.changes(lambda: explore.turn("z1", 3), explore.pixels)
    assert explore.sliders()["z1"] == 3


def test_a_test_image_sets_the_sliders_and_shows_its_terms(explore):
    def pick():
        explore.seen(".tiles button[data-index='7']")[0].click()

    explore.changes(pick, explore.sliders)
    explore.until(lambda: "test image 7" in explore.words(".decoded"))
    assert "ELBO (nats per image)" in explore.words(".terms")


def test_a_place_of_the_map_is_decoded_and_its_latents_set_the_sliders(explore):
    explore.tab("Map")
    area = explore.seen(".map svg")[0]
    before = explore.pixels()
    explore.changes(lambda: explore.drag(area, (-80, 60)), explore.sliders)
    assert "no image" in explore.words(".decoded")
    assert (explore.pixels() != before).any()
    left = explore.sliders()
    explore.changes(lambda: explore.drag(area, (100, 60)), explore.sliders)
    assert explore.sliders()["z1"] > left["z1"]
    assert explore.sliders()["z2"] == left["z2"]


def test_the_ring_can_be_dragged_and_follows_the_sliders(explore):
    explore.tab("Map")
    area = explore.seen(".map svg")[0]
    explore.changes(lambda: explore.drag(area, (100, 60)), explore.sliders)
    there, ring = explore.sliders(), explore.ring()
    explore.changes(lambda: explore.drag(area, (-80, 60)), explore.sliders)
    explore.drag(area, (-80, 60), *[(10, 0)] * 18)
    explore.until(lambda: explore.sliders() == there)
    assert explore.ring() == pytest.approx(ring, abs=1)
    explore.turn("z1", 0)
    explore.until(lambda: explore.ring() < ring - 1)


def test_the_map_can_show_what_its_places_decode_to(explore):
    explore.tab("Map")
    assert not explore.find(".map image")
    explore.seen("input[type=radio]")[1].click()
    explore.until(lambda: explore.find(".map image"))


def test_a_drawing_is_reconstructed_as_a_whole_and_sets_the_sliders(explore):
    explore.tab("Draw")
    pad = explore.seen(".pad canvas")[0]
    down = [(0, 20)] * 8
    explore.changes(lambda: explore.drag(pad, (0, -80), *down), explore.sliders)
    explore.until(lambda: drawn_box(explore) == (20, 3))
    explore.drag(pad, (-80, 80), *[(20, 0)] * 8)
    explore.until(lambda: drawn_box(explore) == (20, 20))
    assert "ELBO (nats per image)" in explore.words(".terms")


def drawn_box(page) -> tuple[int, int]:
    """The height and width of the white pixels of the drawing as the model sees it."""
    if "the drawing" not in page.words(".decoded"):
        return 0, 0
    seen = page.pixels(".decoded figure:first-of-type").reshape(28, 28, 4)[..., 0] > 127
    rows, columns = np.nonzero(seen)
    return int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


def test_an_upload_is_reconstructed(explore, tmp_path):
    explore.tab("Upload")
    path = tmp_path / "ramp.png"
    ramp = np.linspace(0, 255, 80).astype(np.uint8)
    Image.fromarray(np.tile(ramp, (100, 1))).save(path)
    explore.upload(path)
    explore.until(lambda: "ramp.png" in explore.words(".decoded"))
    seen = explore.pixels(".decoded figure:first-of-type").reshape(28, 28, 4)[..., 0]
    assert (seen == np.where(np.arange(28) < 14, 0, 255)).all()


def test_a_bad_upload_gets_a_message_and_changes_nothing(explore, tmp_path):
    explore.tab("Upload")
    before = explore.pixels()
    for name, content in bad_files().items():
        (tmp_path / name).write_bytes(content)
        explore.upload(tmp_path / name)
        explore.until(lambda name=name: f"{name} cannot be read as a picture" in explore.messages())
    assert (explore.pixels() == before).all()


def test_another_label_makes_another_picture_of_the_same_code(page):
    page.tab("given")
    page.tab("Explore")
    code = page.sliders()
    page.seen("input[role=combobox]")[0].click()
    page.until(lambda: page.seen("[role=option]"))
    other = [each for each in page.seen("[role=option]") if each.text.strip() == "1"]
    page.changes(other[0].click, page.pixels)
    assert page.sliders() == code


def test_a_walk_goes_from_one_image_to_another(page):
    page.tab("plain")
    page.tab("Walk")

    def pick():
        page.seen(".tiles")[1].find_element("css selector", "[data-index='9']").click()

    page.changes(pick, lambda: page.words(".walked"))
    assert "test image 9" in page.words(".walked")
    assert len(page.seen(".strip img")) == 11


def test_two_runs_are_compared_on_one_picture(page):
    page.tab("Compare")
    table = page.words(".compared")
    assert "plain" in table
    assert "grey" in table
    assert "cannot be compared" in page.messages()

    def pick():
        page.seen(".tiles button[data-index='5']")[0].click()

    page.changes(pick, lambda: page.words(".compared"))
    page.tab("Draw")
    pad = page.seen(".pad canvas")[0]
    page.changes(lambda: page.drag(pad, (-40, 0), (80, 0)), lambda: page.words(".compared"))


def test_the_page_asks_nothing_of_any_other_host(page):
    own = page.driver.current_url.split("/")[2]
    assert requested(page.driver) == {own}
