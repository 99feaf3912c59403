"""TensorBoard event files of a run folder."""

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def test_images_and_the_histogram_of_the_kl_are_logged(train):
    folder = train("logger=tensorboard", "model.hidden=[4]", "latent_dim=3")["folder"]
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    assert {*tags["images"]} == {"figures/reconstructions", "figures/samples"}
    assert tags["histograms"] == ["test/kl_per_dimension"]
    assert events.Histograms("test/kl_per_dimension")[0].histogram_value.num == 3
    assert {"val/elbo", "test/elbo", "train/kl"} <= {*tags["scalars"]}
