import pytest
from tiny import TINY

from vaelab.callbacks.pictures import Pictures
from vaelab.figures.run_figures import FIGURES, GRID_FIGURES


def figures(folder):
    return {path.stem for path in (folder / "figures").glob("*.png")}


def test_the_end_of_a_run_draws_all_figures(train):
    numbers = train(*TINY, "callbacks.pictures.only=null", "logger=csv")
    assert figures(numbers["folder"]) == {*FIGURES}


def test_only_the_grids_are_drawn_during_the_training_now_and_then(train, monkeypatch):
    seen = []

    class Watched(Pictures):
        def on_train_epoch_end(self, trainer, pl_module):
            seen.append(figures(self.folder))

    monkeypatch.setattr("vaelab.callbacks.pictures.Pictures", Watched)
    words = ("trainer.max_epochs=3", "callbacks.pictures.every=2", "callbacks.pictures.only=[map]")
    numbers = train(*TINY, *words)
    assert seen == [set(), {*GRID_FIGURES}, {*GRID_FIGURES}]
    assert figures(numbers["folder"]) == {*GRID_FIGURES, "map"}


def test_what_cannot_be_drawn_is_refused_before_the_training(tmp_path):
    with pytest.raises(ValueError, match=r"unknown figure mpa .*: choose from recon.* map,"):
        Pictures(str(tmp_path), only=["mpa"])
    with pytest.raises(ValueError, match=r"callbacks.pictures.every=0: it counts epochs"):
        Pictures(str(tmp_path), every=0)
