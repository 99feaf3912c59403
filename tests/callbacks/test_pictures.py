"""Figures during and after the training."""

import pytest
from tiny import TINY

from vaelab.callbacks.pictures import Pictures
from vaelab.figures.run_figures import FIGURES, GRID_FIGURES, LADDER_FIGURES, TABLE_FIGURES


def list_figures(folder):
    return {path.stem for path in (folder / "figures").glob("*.png")}


def test_all_figures_are_drawn_at_the_end_of_a_run(train):
    numbers = train(*TINY, "callbacks.pictures.only=null", "logger=csv")
    assert list_figures(numbers["folder"]) == {*FIGURES} - {*TABLE_FIGURES} - {*LADDER_FIGURES}


def test_only_grids_are_drawn_every_few_epochs_of_the_training(train, monkeypatch):
    figures = []

    class RecordingPictures(Pictures):
        def on_train_epoch_end(self, trainer, pl_module):
            figures.append(list_figures(self.folder))

    monkeypatch.setattr("vaelab.callbacks.pictures.Pictures", RecordingPictures)
    words = ("trainer.max_epochs=3", "callbacks.pictures.every=2", "callbacks.pictures.only=[map]")
    numbers = train(*TINY, *words)
    assert figures == [set(), {*GRID_FIGURES}, {*GRID_FIGURES}]
    assert list_figures(numbers["folder"]) == {*GRID_FIGURES, "map"}


def test_unknown_figures_and_intervals_are_refused_before_the_training(tmp_path):
    with pytest.raises(ValueError, match=r"unknown figure mpa .*: choose from recon.* map,"):
        Pictures(str(tmp_path), only=["mpa"])
    with pytest.raises(ValueError, match=r"callbacks\.pictures\.every=0: it is a number of epochs"):
        Pictures(str(tmp_path), every=0)
