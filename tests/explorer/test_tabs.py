"""The tabs of the explorer, if only a random subset of the test images has latents."""

import gradio as gr
import pytest

from vaelab.explorer import explorer as explorer_module
from vaelab.explorer.compare import CompareTab
from vaelab.explorer.explore import ExploreTab
from vaelab.explorer.texts import CHINESE, ENGLISH
from vaelab.explorer.walk import WalkTab


@pytest.fixture
def explorer(save_run, tmp_path, monkeypatch):
    monkeypatch.setattr(explorer_module, "MAX_TEST_IMAGES", 10)
    return explorer_module.Explorer.open(
        save_run(tmp_path / "run", "model.hidden=[16]", "latent_dim=2")
    )


def test_tabs_start_with_images_of_the_subset(explorer):
    with gr.Blocks():
        explore = ExploreTab(explorer, ENGLISH)
        walk = WalkTab(explorer, ENGLISH)
        compare = CompareTab({"a": explorer, "b": explorer}, ENGLISH)
    first = explorer.tiles[0].item()
    labels = explorer.run.data.splits["test"].labels
    assert explore.state.value.caption == f"Test image {first}: {labels[first]}"
    assert compare.source.value.index == first
    ends = [end.value for end in walk.ends]
    assert ends[0] == first
    assert ends[1] in explorer.test_indices.tolist()
    assert labels[ends[0]] != labels[ends[1]]


def test_slider_updates_the_numbers_of_its_position(explorer):
    with gr.Blocks():
        explore = ExploreTab(explorer, ENGLISH)
    state = explore.state.value
    values = [1.5, -0.25]
    _, numbers, _ = explore._move_slider(state, *values)
    z = state.z.clone()
    for control, value in zip(explore.controls, values, strict=True):
        control.set_value(z, value)
    log_prior = explorer.measure_latents(z, state.y, state.x)["log_prior"]
    assert f"| log p(z) (nats) | \N{MINUS SIGN}{-log_prior:#.5g} |" in numbers
    assert numbers != explore._measure(state, state.z)


def test_page_has_chinese_texts(explorer):
    with gr.Blocks() as page:
        ExploreTab(explorer, CHINESE)
        WalkTab(explorer, CHINESE)
        CompareTab({"a": explorer, "b": explorer}, CHINESE)
    shown = str(page.get_config_file())
    assert CHINESE["at_sliders"] in shown
    translated = [text for key, text in ENGLISH.items() if CHINESE[key] != text]
    found = [text for text in translated if f"'{text}'" in shown]
    assert not found
