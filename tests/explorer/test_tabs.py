"""The tabs of the explorer, if only a random subset of the test images has latents."""

import gradio as gr
import pytest
import torch

from vaelab.explorer import explorer as explorer_module
from vaelab.explorer import markup
from vaelab.explorer.compare import CompareTab
from vaelab.explorer.explore import ExploreTab
from vaelab.explorer.walk import WalkTab


@pytest.fixture
def explorer(save_run, tmp_path, monkeypatch):
    monkeypatch.setattr(explorer_module, "MAX_TEST_IMAGES", 10)
    return explorer_module.Explorer.open(
        save_run(tmp_path / "run", "model.hidden=[16]", "latent_dim=2")
    )


def test_tabs_start_with_images_of_the_subset(explorer):
    with gr.Blocks():
        explore, walk, compare = (
            ExploreTab(explorer),
            WalkTab(explorer),
            CompareTab({"a": explorer, "b": explorer}),
        )
    first = explorer.test_indices[0].item()
    assert first > 0
    assert explore.state.value.caption == f"test image {first}"
    assert compare.source.value.index == first
    ends = walk.start.selected.value, walk.end.selected.value
    assert ends[0] == first
    assert ends[1] in explorer.test_indices.tolist()
    labels = explorer.run.data.splits["test"].labels
    assert labels[ends[0]] != labels[ends[1]]


def test_map_has_the_labels_of_the_subset(explorer):
    with gr.Blocks():
        explore = ExploreTab(explorer)
    labels = explorer.run.data.splits["test"].labels[explorer.test_indices]
    expected = markup.scatter_map_svg(explorer.plane, labels)
    assert explore._render_map("Test images", torch.zeros(0)) == expected
