"""TensorBoard event files of a run folder."""

import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vaelab.loggers.tensorboard import TensorBoard


def read_events(folder):
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return events


def test_images_and_histograms_are_in_the_run_folder(tmp_path):
    logger = TensorBoard(str(tmp_path))
    logger.log_metrics({"val/elbo": -2.0}, 1)
    logger.add_image("figures/samples", Image.new("L", (3, 2)), 1)
    logger.add_histogram("test/kl_per_dimension", [0.0, 1.0, 2.0], 1)
    logger.finalize("success")
    events = read_events(tmp_path)
    assert events.Tags()["images"] == ["figures/samples"]
    assert events.Histograms("test/kl_per_dimension")[0].histogram_value.num == 3
    assert events.Scalars("val/elbo")[0].value == -2


@pytest.mark.slow
def test_run_logs_its_figures_and_the_histogram_of_the_kl(train):
    folder = train("logger=tensorboard", "model.hidden=[4]", "latent_dim=3")["folder"]
    events = read_events(folder)
    tags = events.Tags()
    assert {*tags["images"]} == {"figures/reconstructions", "figures/samples"}
    assert tags["histograms"] == ["test/kl_per_dimension"]
    assert events.Histograms("test/kl_per_dimension")[0].histogram_value.num == 3
    assert {"val/elbo", "test/elbo", "train/kl"} <= {*tags["scalars"]}
