"""scripts/sample.py: generate images with a finished run."""

import json

import numpy as np
import pytest
import torch
from conftest import options
from PIL import Image
from test_celeba import write_celeba

from vaelab.inference.sampling import encode_training_images, sample_images, save_samples
from vaelab.runs.run import RunParts
from vaelab.samplers.gmm import GMMSampler
from vaelab.samplers.prior import PriorSampler

TINY = ("model.hidden=[8]", "latent_dim=3")
QUICK = {"gmm": ["sampler.components=2"]}
QUICK |= {name: ["sampler.hidden=[8]", "sampler.steps=20"] for name in ("flow", "two_stage")}
QUICK |= {
    name: ["sampler.width=8", "sampler.blocks=1", "sampler.ode_steps=3", "sampler.steps=20"]
    for name in ("flow_matching", "diffusion")
}
SAMPLERS = sorted({*options("sampler")} - {"autoregressive"})  # it needs an autoregressive prior


@pytest.fixture
def run(config):
    def make(*words):
        run = RunParts.build(config(*TINY, *words))
        run.data.setup()
        return run

    return make


def test_x_are_means_of_p_given_z(run):
    run = run()
    samples = sample_images(run.vae, run.data, PriorSampler(), 1500)
    assert samples.z.shape == (1500, 3)
    torch.testing.assert_close(samples.x, run.vae.decode(samples.z).mean.detach())
    assert samples.x.dtype == torch.float32
    assert samples.label.shape == (1500, 0)


def test_latents_are_samples_of_a_density_and_points_without_one(run):
    for words in ([], ["posterior=deterministic", "objective=autoencoder"]):
        chosen = run(*words)
        x, *_ = next(iter(chosen.data.batches("train")))
        q = chosen.vae.encode(chosen.data.prepare(x))
        latents = encode_training_images(chosen.vae, chosen.data)
        assert len(latents) == len(chosen.data.splits["train"].images)
        offset = latents[: len(x)] - q.mean
        if words:
            assert (offset == 0).all()
        else:
            noise = offset / q.variance.sqrt()
            assert noise.square().mean().item() == pytest.approx(
                1, abs=5 * (2 / noise.numel()) ** 0.5
            )


def test_two_processes_encode_like_one(run, monkeypatch):
    run = run()
    whole = encode_training_images(run.vae, run.data).split(run.data.evaluation_batch)
    for rank in (0, 1):
        monkeypatch.setattr("vaelab.data.base.rank_and_world_size", lambda rank=rank: (rank, 2))
        assert torch.equal(encode_training_images(run.vae, run.data), torch.cat(whole[rank::2]))


@pytest.mark.parametrize("draw", [False, True])
def test_seed_repeats_the_samples_and_random_state_is_untouched(run, draw):
    run = run()
    state = torch.get_rng_state()
    first = sample_images(run.vae, run.data, GMMSampler(components=2), 5, draw=draw)
    assert torch.equal(state, torch.get_rng_state())
    torch.rand(3)
    again = sample_images(run.vae, run.data, GMMSampler(components=2), 5, draw=draw)
    assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))
    other = sample_images(run.vae, run.data, GMMSampler(components=2), 5, seed=1, draw=draw)
    assert not torch.equal(first.z, other.z)


def test_chunks_do_not_matter(run, monkeypatch):
    run = run()
    whole = sample_images(run.vae, run.data, PriorSampler(), 20)
    monkeypatch.setattr("vaelab.inference.sampling.MAX_DECODER_OUTPUTS", 3 * 784)
    torch.testing.assert_close(sample_images(run.vae, run.data, PriorSampler(), 20).x, whole.x)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ([], {0, 255}),
        (["loss=categorical", "data.binarize=none"], set(range(256))),
        (["loss=mse", "data.binarize=none"], None),
    ],
)
def test_samples_of_bits_and_levels_are_uint8(run, words, kind):
    run = run(*words)
    x = sample_images(run.vae, run.data, PriorSampler(), 4, draw=True).x
    assert x.dtype == (torch.uint8 if kind else torch.float32)
    assert kind is None or len(kind) - 1 <= len(set(x.unique().tolist())) <= len(kind)
    assert kind is None or set(x.unique().tolist()) <= kind


def test_optimal_scale_is_calibrated_before_pixels_are_sampled(run):
    run = run("loss=gaussian", "loss.scale=optimal", "data.binarize=none")
    samples = sample_images(run.vae, run.data, PriorSampler(), 20, draw=True)
    scale = (samples.x - run.vae.decode(samples.z).mean).std()
    assert run.vae.likelihood.scale != 1
    torch.testing.assert_close(scale, run.vae.likelihood.scale, rtol=0.05, atol=0)


@pytest.fixture
def conditional(run):
    return run("model=conditional")


def test_label_applies_to_every_image(conditional, monkeypatch):
    monkeypatch.setattr("vaelab.inference.sampling.MAX_DECODER_OUTPUTS", 3 * 784)
    samples = sample_images(conditional.vae, conditional.data, PriorSampler(), 7, label=3)
    assert samples.label.tolist() == [3] * 7
    threes = conditional.vae.condition_on(torch.full((7,), 3)).decode(samples.z).mean.detach()
    torch.testing.assert_close(samples.x, threes)


def test_default_labels_are_those_of_evenly_spaced_training_images(conditional):
    split = conditional.data.splits["train"]
    order = split.labels.sort().indices
    conditional.data.splits["train"] = type(split)(split.images[order], split.labels[order])
    labels = conditional.data.splits["train"].labels
    few, all_and_two = (
        sample_images(conditional.vae, conditional.data, PriorSampler(), n).label
        for n in (20, len(labels) + 2)
    )
    assert torch.equal(few, labels[:: len(labels) // 20][:20])
    assert set(few.tolist()) == set(range(10))
    assert torch.equal(all_and_two, torch.cat([labels, labels[:2]]))


def test_labels_can_be_given_for_each_image(conditional):
    labels = torch.tensor([3, 1, 4])
    samples = sample_images(conditional.vae, conditional.data, PriorSampler(), 3, labels)
    assert torch.equal(samples.label, labels)
    expected = conditional.vae.condition_on(labels).decode(samples.z).mean.detach()
    torch.testing.assert_close(samples.x, expected)


def test_prior_that_depends_on_the_label_receives_it(run):
    run = run("model=conditional", "model.learned_prior=true")
    with torch.no_grad():
        weight = run.vae.prior.parameters_of.weight
        weight[:3] = 100 * torch.arange(10.0)  # the mean of a class
    samples = sample_images(run.vae, run.data, PriorSampler(), 1200)
    torch.testing.assert_close(samples.z.mean(1) / 100, samples.label.float(), atol=0.1, rtol=0)
    assert samples.z.shape == (1200, 3)


def test_conditional_model_encodes_with_labels(conditional):
    x, y, _ = next(iter(conditional.data.batches("train")))
    q = conditional.vae.condition_on(y).encode(conditional.data.prepare(x))
    latents = encode_training_images(conditional.vae, conditional.data)[: len(x)]
    noise = (latents - q.mean) / q.variance.sqrt()
    assert noise.square().mean().item() == pytest.approx(1, abs=5 * (2 / noise.numel()) ** 0.5)


def test_unknown_label_is_refused(conditional):
    with pytest.raises(ValueError, match=r"label=11: choose a label .*: 0, 1, 2"):
        sample_images(conditional.vae, conditional.data, PriorSampler(), 7, label=11)


def test_attributes_are_chosen_by_name(config, tmp_path):
    write_celeba(tmp_path)
    words = ("model=conditional", "model.labels=4", "data=celeba", f"data.root={tmp_path}")
    run = RunParts.build(config(*TINY, *words))
    run.data.prepare_data()
    run.data.setup()
    first, second = run.data.attributes[0], run.data.attributes[2]
    samples = sample_images(run.vae, run.data, PriorSampler(), 3, label=[first, second])
    assert samples.label.tolist() == [[1, 0, 1, 0]] * 3
    for wrong in (3, ["Wings"]):
        with pytest.raises(ValueError, match=rf"list attributes, as in label=\[{first}\]"):
            sample_images(run.vae, run.data, PriorSampler(), 3, label=wrong)


def test_grid_has_at_most_100_images(run, tmp_path):
    run = run()
    for n, tiles in ((3, (2, 2)), (64, (8, 8)), (150, (10, 10))):
        path, _ = save_samples(
            sample_images(run.vae, run.data, PriorSampler(), n), tmp_path, "prior", {}
        )
        with Image.open(path) as grid:
            assert grid.size == tuple(2 * (30 * tile + 2) for tile in tiles)


@pytest.mark.parametrize("option", SAMPLERS)
def test_every_sampler_works_on_a_finished_run(finished_run, command, option):
    folder = finished_run(*TINY)["folder"]
    words = ["n=6", *QUICK.get(option, []), "temperature=0.9", "seed=4"]
    status, output = command("scripts/sample.py", str(folder), f"sampler={option}", *words)
    assert status == 0, output
    paths = [folder / "samples" / f"{option}.{kind}" for kind in ("png", "npz")]
    assert output.splitlines()[-1] == f"{paths[0]} {paths[1]}"
    with np.load(paths[1]) as npz:
        assert {*npz.files} == {"z", "x", "y", "settings"}
        assert npz["z"].shape == (6, 3)
        assert npz["x"].shape == (6, 1, 28, 28)
        assert npz["x"].dtype == np.float32
        settings = json.loads(str(npz["settings"]))
    assert settings["n"] == 6
    assert settings["sampler"]["temperature"] == 0.9
    assert settings["sampler"]["_target_"].startswith(f"vaelab.samplers.{option}.")
    before = paths[1].read_bytes()
    command("scripts/sample.py", str(folder), f"sampler={option}", *words)
    assert paths[1].read_bytes() == before


def test_tables_give_an_npz_but_no_grid(train, command, tmp_path):
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).normal(size=(200, 3)))
    words = ("data=arrays", f"data.path={tmp_path}/x.npz", "loss=gaussian")
    folder = train(*TINY, *words)["folder"]
    status, _ = command("scripts/sample.py", str(folder), "n=4", "out=here")
    assert status == 0
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["prior.npz"]


WRONG_COMMANDS = {
    "no run": ("", "name a run folder first: vaelab sample <run>"),
    "no run but a word": ("sampler=gmm", "name a run folder first"),
    "not a run folder": ("{tmp} n=3", "is not a run folder"),
    "unknown sampler": (
        "{run} sampler=gan",
        "sampler=gan: there is no such option; choose from autoregressive, diffusion, flow, "
        "flow_matching, gmm, prior",
    ),
    "unknown key": ("{run} m=3", "m: there is no such key; the config has checkpoint, draw, "),
    "unknown key of a sampler": (
        "{run} sampler=gmm sampler.bins=3",
        "sampler.bins: there is no such key; sampler has components, temperature",
    ),
    "none": ("{run} n=0", "n=0: it must be at least 1"),
    "no number": ("{run} n=many", "n=many: it should be a valid integer"),
    "seed": ("{run} seed=-1", "seed=-1: it must not be negative"),
    "temperature": ("{run} temperature=-1", "temperature=-1"),
    "kind": ("{run} sampler=flow sampler.kind=cubic", "sampler.kind=cubic: it should be 'spline'"),
    "checkpoint": ("{run} checkpoint=first", "checkpoint=first: it should be 'best' or 'last'"),
    "label": ("{run} label=3", "label=3: the model of this run is unconditional: leave it out"),
    "not autoregressive": ("{run} sampler=autoregressive", "UnitNormal, the prior of this run"),
    "more components than latents": (
        "{run} sampler=gmm sampler.components=9999",
        "sampler=gmm needs at least 79992 training images for 3 latent dimensions",
    ),
    "two samplers": ("{run} sampler=prior,gmm", "sampler=prior,gmm"),
    "added key": (
        "{run} +m=3",
        "m: there is no such key; SamplingConfig takes sampler, n",
    ),
    "no word": ("{run} --n=3", "--n=3"),
}


def test_wrong_command_says_what_to_change(command, train, tmp_path):
    folder = train(*TINY)["folder"]
    for words, message in WRONG_COMMANDS.values():
        words = words.format(run=folder, tmp=tmp_path).split()
        status, output = command("scripts/sample.py", *words)
        assert isinstance(status, str), words
        assert status.startswith("error: ")
        assert message in status
        assert "\n" not in status
        assert "Traceback" not in output
    assert not (folder / "samples").exists()


def test_latents_on_the_sphere_need_the_prior_sampler(command, train):
    folder = str(train(*TINY, "posterior=vmf")["folder"])
    assert command("scripts/sample.py", folder, "n=4")[0] == 0
    status, _ = command("scripts/sample.py", folder, "sampler=gmm")
    assert status.endswith("the latents of this run lie on the unit sphere: set sampler=prior")


def test_help_lists_the_samplers(command):
    status, output = command("scripts/sample.py", "--help")
    assert status == 0
    assert {*options("sampler")} <= {word.lstrip("*") for word in output.split()}
    status, output = command("scripts/sample.py", "--help", "keys")
    assert "temperature: 1.0" in output
    assert "objective=" not in output
