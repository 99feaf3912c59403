"""The size of the evaluation that ends a run: its cost, its defaults, and what may be set."""

import pytest
from omegaconf import OmegaConf

from vaelab.evaluation.size import choose_evaluation_size, configure_run_evaluation


def test_long_training_is_evaluated_on_a_thousand_images():
    assert choose_evaluation_size(1_000_000, 10_000) == (1000, 100)


def test_default_training_is_evaluated_on_all_embedded_digits():
    assert choose_evaluation_size(20 * 4000, 500) == (500, 100)


@pytest.mark.parametrize("trained", [0, 100, 12_800, 30_000, 100_000, 500_000])
@pytest.mark.parametrize("available", [30, 500, 10_000])
def test_evaluation_costs_at_most_a_fifth_of_the_training_or_is_the_smallest(trained, available):
    images, samples = choose_evaluation_size(trained, available)
    passes = images * (1.5 + samples / 2)
    assert passes <= 3 * trained / 5 or (images, samples) == (min(100, available), 10)


def test_short_training_is_evaluated_with_few_samples_before_few_images():
    assert choose_evaluation_size(12_800, 10_000) == (1000, 10)


def test_chosen_numbers_are_kept():
    assert choose_evaluation_size(0, 10_000, images=700, samples=300) == (700, 300)
    assert choose_evaluation_size(0, 10_000, images=None, samples=5) == (None, 5)


def test_more_images_than_there_are_leave_samples_as_for_all():
    assert choose_evaluation_size(80_000, 500, images=9999) == (9999, 100)


def test_subset_and_noise_do_not_depend_on_the_seed_of_the_run():
    cfg = OmegaConf.create(
        {"seed": 3, "samples": "auto", "evaluate": {"images": "auto", "samples": "${samples}"}}
    )
    assert configure_run_evaluation(cfg, 10_000, 500).seed == 0


def test_config_of_an_older_run_is_evaluated_as_before():
    config = configure_run_evaluation(OmegaConf.create({"seed": 3, "samples": 7}), 10, 500)
    assert (config.images, config.samples, config.seed) == (None, 7, 3)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("samples=0", "samples=0: it must be an integer of at least 1, or auto"),
        ("samples=1.5", "samples=1.5: it must be"),
        ("evaluate.samples=-3", "evaluate.samples=-3: it must be"),
        ("evaluate.images=0", "or auto, or null for all images"),
        ("evaluate.images=all", "evaluate.images=all: it must be"),
        ("evaluate.images=true", "evaluate.images=True: it must be"),
    ],
)
def test_impossible_size_is_refused(config, word, message):
    from vaelab.runs.config_check import check_run_config
    from vaelab.runtime.errors import UserError

    with pytest.raises(UserError, match=message):
        check_run_config(config(word, "logger=csv"))
