"""The page of scripts/explore.py in a browser."""

import socket
from functools import partial

import numpy as np
import pytest
from browser import Page, open_browser, requested_hosts, require_browser, serve_here, serve_runs
from files import make_bad_files
from PIL import Image

from vaelab.data.mnist5k import MNIST5k
from vaelab.explorer.explorer import TILES_PER_PAGE
from vaelab.explorer.subset import order_test_images

GRAYSCALE = ("model=conv", "loss=mse", "data.binarize=none")
INPUT = ".pictures .picture:first-child"
HAS_INK = """
const canvas = [...document.querySelectorAll('.pad')].find(pad => pad.offsetParent);
return canvas.getContext('2d').getImageData(0, 0, 280, 280).data.some((v, i) => i % 4 < 3 && v);
"""
CONDITIONAL = ("model=conditional", "model.hidden=[32]")


TILES = order_test_images(MNIST5k().load()["test"].labels, TILES_PER_PAGE).tolist()


@pytest.fixture(scope="module")
def page(save_run, tmp_path_factory):
    """Serve one run from this process and open it in a browser, for the quick tests."""
    require_browser()
    folder = tmp_path_factory.mktemp("page")
    run = save_run(folder / "plain", "model.hidden=[32]", "latent_dim=2")
    with serve_here(run) as url, open_browser(folder) as driver:
        yield Page(driver, url)


@pytest.fixture(scope="module")
def pages(save_run, tmp_path_factory):
    """Serve three runs with scripts/explore.py and open them in a browser, for the slow tests."""
    require_browser()
    folder = tmp_path_factory.mktemp("pages")
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
    """Select the first test image."""
    page.open_tab("Explore")
    page.open_tab("Test images")
    for position in (1, 0):  # the last of these responses follows all earlier requests
        page.click_tile(position)
        caption = f"Test image {TILES[position]}:"
        page.wait_until(lambda caption=caption: page.captions()[0].startswith(caption))
    return page


def test_slider_changes_the_decoded_image_and_the_numbers(explore):
    before = explore.read_pixels()
    numbers = explore.visible_text(".numbers")
    assert numbers.startswith("At the sliders' z")
    explore.act_and_wait(
        lambda: explore.set_slider("z1", 3), lambda: explore.visible_text(".numbers")
    )
    assert explore.read_sliders()["z1"] == 3
    explore.wait_until(lambda: (explore.read_pixels() != before).any())


def test_test_image_sets_the_sliders_and_shows_its_elbo(explore):
    explore.act_and_wait(lambda: explore.click_tile(7), explore.read_sliders)
    explore.wait_until(lambda: explore.captions()[0].startswith(f"Test image {TILES[7]}:"))
    assert "ELBO (nats per image)" not in explore.visible_text(".numbers")
    title = "ELBO of the input (independent of the sliders)"
    explore.find_button(title).click()
    explore.wait_until(lambda: "ELBO (nats per image)" in explore.visible_text(".numbers"))
    explore.find_button(title).click()


def test_click_on_the_map_decodes_the_point_and_sets_the_sliders(explore):
    explore.open_tab("Map")
    area = explore.find_visible(".map svg")[0]
    before = explore.read_pixels()
    explore.act_and_wait(lambda: explore.drag(area, (-80, 60)), explore.read_sliders)
    assert explore.captions()[0] == "No image"
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
    pad = explore.find_visible(".pad")[0]
    down = [(0, 20)] * 8
    explore.act_and_wait(lambda: explore.drag(pad, (0, -80), *down), explore.read_sliders)
    explore.wait_until(lambda: measure_ink(explore) == (20, 3))
    explore.drag(pad, (-80, 80), *[(20, 0)] * 8)
    explore.wait_until(lambda: measure_ink(explore) == (20, 20))
    explore.find_button("Clear").click()
    explore.wait_until(lambda: not explore.driver.execute_script(HAS_INK))


def measure_ink(page) -> tuple[int, int]:
    """Return height and width of the white pixels of the drawing as the model receives it."""
    if page.captions()[0] != "Drawing":
        return 0, 0
    ink = page.read_pixels(INPUT).reshape(28, 28, 4)[..., 0] > 127
    if not ink.any():  # the image is still loading
        return 0, 0
    rows, columns = np.nonzero(ink)
    return int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


def test_uploaded_image_is_reconstructed(explore, tmp_path):
    explore.open_tab("Upload")
    path = tmp_path / "ramp.png"
    ramp = np.linspace(0, 255, 80).astype(np.uint8)
    Image.fromarray(np.tile(ramp, (100, 1))).save(path)
    explore.upload(path)
    explore.wait_until(lambda: explore.captions()[0] == "ramp.png")
    expected = np.tile(np.where(np.arange(28) < 14, 0, 255), (28, 1))
    explore.wait_until(
        lambda: (explore.read_pixels(INPUT).reshape(28, 28, 4)[..., 0] == expected).all()
    )


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


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_clipped(explore, width):
    explore.set_width(width)
    try:
        for tab in ("Test images", "Draw", "Upload", "Map"):
            explore.open_tab(tab)
            assert explore.find_clipped() == [], tab
        explore.open_tab("Walk")
        assert explore.find_clipped() == []
        explore.open_tab("Explore")
    finally:
        explore.set_width(1280)


def test_decoded_image_stays_visible_beside_the_sliders_of_a_phone(explore):
    explore.set_width(390)
    try:
        slider = explore.find_visible(".dial")[-1]
        explore.driver.execute_script("arguments[0].scrollIntoView(false)", slider)
        explore.wait_until(lambda: explore.driver.execute_script("return scrollY") > 400)
        top, bottom = explore.driver.execute_script(
            "const box = arguments[0].getBoundingClientRect(); return [box.top, box.bottom];",
            explore.find_visible(".pictures img")[-1],
        )
        assert 0 <= top < bottom < 844
    finally:
        explore.set_width(1280)


def test_walk_interpolates_between_two_test_images(page):
    page.open_tab("Walk")
    before = page.captions()
    assert before[1] == "50% of the way"
    page.act_and_wait(lambda: page.click_tile(4, grid=1), page.captions)
    first, between, last, strip = page.captions()
    assert (first, between, strip) == (before[0], before[1], "From left to right")
    assert last.startswith(f"Test image {TILES[4]}:")


def test_page_requests_nothing_from_other_hosts(page):
    host = page.driver.current_url.split("/")[2]
    assert requested_hosts(page.driver) == {host}


@pytest.mark.slow
def test_script_serves_runs_without_requests_to_other_hosts(pages):
    assert len(pages.find_visible(".dial")) == 2
    host = pages.driver.current_url.split("/")[2]
    assert requested_hosts(pages.driver) == {host}


@pytest.mark.slow
def test_label_changes_the_image_but_not_the_latents(pages):
    pages.open_tab("conditional")
    pages.open_tab("Explore")
    latents = pages.read_sliders()
    pages.find_visible("input[role=combobox]")[0].click()
    pages.wait_until(lambda: pages.find_visible("[role=option]"))
    options = pages.find_visible("[role=option]")
    other = next(option for option in options if option.text.strip() == "1")
    pages.act_and_wait(other.click, pages.read_pixels)
    assert pages.read_sliders() == latents


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_two_runs_are_compared_on_one_image(pages, width):
    pages.set_width(width)
    pages.open_tab("Compare")
    pages.open_tab("Test images")
    assert pages.find_clipped() == []
    assert "not their values in nats" in pages.visible_text(".numbers")
    pages.act_and_wait(
        partial(pages.click_tile, 5 if width < 500 else 6), lambda: pages.visible_text(".numbers")
    )
    pages.open_tab("Draw")
    pad = pages.find_visible(".pad")[0]
    draw_line = partial(pages.drag, pad, (-40, 0), (80, width // 100))
    pages.act_and_wait(draw_line, lambda: pages.visible_text(".numbers"))
    assert pages.captions() == ["Drawing", "Reconstruction"] * 2
