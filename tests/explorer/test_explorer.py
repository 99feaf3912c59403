"""What an explorer answers, of models of every kind."""

import math
from functools import cache

import numpy as np
import pytest
import torch
from files import bad_files
from PIL import Image

from vaelab.data.base import Split
from vaelab.distributions.one_hot import OneHotBlocks
from vaelab.evaluation.likelihood import likelihood_numbers
from vaelab.explorer.explorer import Explorer
from vaelab.inference.batches import mode_or_mean
from vaelab.metrics.latents import KLPerDimension
from vaelab.objectives.base import closed_form_kl

SMALL = ("model.hidden=[16]",)
KINDS = {
    "mlp": (*SMALL,),
    "flow": (*SMALL, "posterior=iaf", "latent_dim=4"),
    "sphere": (*SMALL, "posterior=vmf", "latent_dim=5"),
    "joint": (*SMALL, "posterior=gumbel", "posterior.normal=5", "latent_dim=25"),
    "conditional": (*SMALL, "model=conditional"),
    "ladder": ("model=ladder", "model.hidden=[16,8]", "model.latents=[4,3]", "latent_dim=7"),
    "bottom_up": (
        *("model=bottom_up", "model.hidden=[[16],[8]]"),
        *("model.latents=[4,3]", "latent_dim=7"),
    ),
    "vq": ("model=vq", "model.channels=8", "posterior.codes=16"),
    "autoencoder": (*SMALL, "posterior=deterministic", "objective=autoencoder"),
    "grey": (*SMALL, "data.binarize=none"),
    "levels": (*SMALL, "data.binarize=none", "loss=discretized_logistic"),
}
TURNED = [kind for kind in KINDS if kind != "vq"]


@pytest.fixture(scope="module")
def explorer(saved, tmp_path_factory):
    """An explorer of each kind, made once."""
    folder = tmp_path_factory.mktemp("runs")
    return cache(lambda kind: Explorer.open(saved(folder / kind, *KINDS[kind])))


@pytest.fixture
def made_of(saved, tmp_path):
    """An explorer of a run on arrays x, perhaps with labels y."""

    def make(x: np.ndarray, *words: str, **labels: np.ndarray) -> Explorer:
        np.savez(tmp_path / "x.npz", x=x, **labels)
        data = ("data=arrays", f"data.path={tmp_path / 'x.npz'}", "data.test=0.5")
        shape = f"data.shape={list(x.shape[1:])}".replace(" ", "")
        return Explorer.open(saved(tmp_path / "run", *data, shape, *SMALL, *words))

    return make


def test_another_data_set_of_the_same_shape_is_read_with_the_pixels_of_the_run(made_of, config):
    x = np.zeros((40, 1, 28, 28), np.uint8)
    folder = made_of(x, "data.binarize=fixed").run.cfg.folder
    explorer = Explorer.open(folder, data=config("data=mnist5k").data)
    assert len(explorer.run.data.splits["test"].images) == 500
    assert set(explorer.image(0).unique().tolist()) == {0, 1}
    assert "MNIST5k" in explorer.data[0]
    with pytest.raises(ValueError, match=r"x of \[3, 64, 64\], the run of \[1, 28, 28\]"):
        Explorer.open(folder, data=config("data=celeba").data)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_model_encodes_decodes_walks_and_has_terms(explorer, kind):
    one = explorer(kind)
    x, y = one.image(3), one.label_of(3)
    z = one.encode(x, y)
    picture = one.decode(z, y)
    assert picture.shape == one.run.data.shape
    assert 0 <= picture.min() <= picture.max() <= 1
    assert one.decode(one.middle, y).shape == picture.shape
    terms = one.terms(x, y)
    assert all(math.isfinite(term) for term in terms.values())
    assert ("elbo" in terms) == one.random
    assert ("nll" in terms) == (kind not in ("autoencoder", "grey"))
    if one.random:
        assert terms["elbo"] == pytest.approx(-terms["reconstruction"] - terms["kl"], rel=1e-5)
        assert one.decode(one.draw(y, 0), y).shape == picture.shape


@pytest.mark.parametrize("kind", KINDS)
def test_a_walk_begins_and_ends_at_its_images(explorer, kind):
    one = explorer(kind)
    ends = [(one.encode(one.image(n), one.label_of(n)), one.label_of(n)) for n in (0, 1)]
    for share, (z, y) in zip((0.0, 1.0), ends, strict=True):
        at, label = one.walk(ends[0], ends[1], share)
        torch.testing.assert_close(at, z)
        torch.testing.assert_close(label, y)


def test_half_way_is_a_point_of_the_sphere(explorer):
    one = explorer("sphere")
    a, b = one.codes[:2]
    z, _ = one.walk((a, torch.zeros(0)), (b, torch.zeros(0)), 0.5)
    assert z.norm().item() == pytest.approx(1)
    assert (z @ a).item() == pytest.approx((z @ b).item(), abs=1e-5)


def test_half_way_is_made_of_codes_of_the_codebook(explorer):
    one, none = explorer("vq"), torch.zeros(0)
    book = one.vae.posterior.codebook
    first, last = (book[torch.randint(len(book), (49,))].flatten() for _ in range(2))
    z, _ = one.walk((first, none), (last, none), 0.5)
    pieces = z.unflatten(-1, (-1, book.shape[1]))
    assert (pieces.unsqueeze(1) == book).all(-1).any(1).all()
    assert (z != first).any()


@pytest.mark.parametrize("kind", TURNED)
def test_what_a_dial_is_set_to_it_reads_and_the_picture_changes(explorer, kind):
    one = explorer(kind)
    assert one.dials
    for dial in one.dials:
        z, y = one.codes[0].clone(), one.label_of(0)
        before = one.decode(z, y)
        value = dial.high if dial.read(z) < (dial.low + dial.high) / 2 else dial.low
        dial.write(z, value)
        assert dial.read(z) == pytest.approx(value)
        others = [each for each in one.dials if each != dial]
        assert all(each.read(z) == each.read(one.codes[0]) for each in others)
        assert (one.decode(z, y) != before).any()


@pytest.mark.parametrize("kind", TURNED)
def test_dials_reach_every_code_and_their_names_are_their_places(explorer, kind):
    one = explorer(kind)
    for dial in one.dials:
        values = [dial.read(z) for z in one.codes]
        assert dial.low <= min(values) <= max(values) <= dial.high
        if not dial.categories:
            assert dial.name == f"z{dial.first + 1}"


def test_a_category_stays_one_hot(explorer):
    one = explorer("joint")
    support = one.vae.posterior.support
    assert isinstance(support, OneHotBlocks)
    variable = next(dial for dial in one.dials if dial.categories)
    z = one.codes[0].clone()
    variable.write(z, 7.0)
    assert support.check(z)


def test_the_dimension_of_the_largest_kl_comes_first(explorer):
    one = explorer("mlp")
    x = torch.stack([one.image(n) for n in one.indices])
    metric = KLPerDimension(one.vae.latent_dim)
    metric.update(closed_form_kl(one.vae.encode(x), one.vae.latents()).detach())
    order = metric.compute().argsort(descending=True).tolist()
    assert [dial.first for dial in one.dials] == order
    assert one.dials[0].activity == f"{metric.compute().max():.2f} nats"


def test_without_a_kl_by_dimension_it_is_that_of_the_largest_variance(explorer):
    one = explorer("autoencoder")
    order = one.codes.var(0).argsort(descending=True).tolist()
    assert [dial.first for dial in one.dials] == order


def test_of_several_layers_the_first_in_z_is_turned(explorer):
    assert {dial.first for dial in explorer("ladder").dials} == {0, 1, 2}
    assert {dial.first for dial in explorer("bottom_up").dials} == {0, 1, 2, 3}


def test_codes_of_a_codebook_have_neither_dials_nor_a_map(explorer):
    assert explorer("vq").dials == []
    assert explorer("vq").plane is None
    assert explorer("mlp").plane is not None


def test_encode_and_decode_are_the_model_own(explorer):
    one = explorer("mlp")
    x, none = one.image(2), torch.zeros(0)
    with torch.no_grad():
        z = mode_or_mean(one.vae.encode(x.unsqueeze(0)))
        torch.testing.assert_close(one.encode(x, none), z[0])
        torch.testing.assert_close(one.codes[2], z[0])
        torch.testing.assert_close(one.decode(z[0], none), one.vae.decode(z).mean[0])


@pytest.mark.parametrize("kind", ["mlp", "vq"])
def test_the_terms_of_an_image_are_those_that_evaluation_has(explorer, kind):
    one = explorer(kind)
    whole = one.run.data.splits["test"]
    try:
        one.run.data.splits["test"] = Split(*(part[4:5] for part in whole))
        numbers = likelihood_numbers(one.vae, one.run.data, samples=64)
    finally:
        one.run.data.splits["test"] = whole
    terms = one.terms(one.image(4), one.label_of(4))
    exact = ("kl", "rmse") if kind == "mlp" else tuple(terms)
    assert [terms[key] for key in exact] == pytest.approx([numbers[key] for key in exact], rel=1e-5)


def test_terms_are_always_the_same_and_leave_the_random_state(explorer):
    one = explorer("mlp")
    state = torch.get_rng_state()
    first = one.terms(one.image(0), torch.zeros(0))
    assert torch.equal(state, torch.get_rng_state())
    torch.rand(3)
    assert one.terms(one.image(0), torch.zeros(0)) == first


def test_a_label_changes_the_picture_and_has_to_be_one_of_the_classes(explorer):
    one = explorer("conditional")
    assert one.names == [str(each) for each in range(10)]
    z = one.codes[0]
    assert (one.decode(z, one.label(["3"])) != one.decode(z, one.label(["8"]))).any()
    for names in ([], ["1", "2"]):
        with pytest.raises(ValueError, match="choose one label of 0, 1"):
            one.label(names)
    assert explorer("mlp").names == []
    assert explorer("mlp").label([]).shape == (0,)


def test_attributes_can_be_any_number(made_of):
    x = np.random.default_rng(0).integers(0, 256, (20, 1, 8, 8), np.uint8)
    y = np.random.default_rng(1).integers(0, 2, (20, 3))
    one = made_of(x, "loss=mse", "model=conditional", "model.labels=3", y=y)
    assert one.attributes
    assert one.label(["0", "2"]).tolist() == [1, 0, 1]
    assert one.label([]).tolist() == [0, 0, 0]
    assert one.label_of(1).tolist() == one.run.data.splits["test"].labels[1].tolist()
    assert (
        one.decode(one.codes[0], one.label([])) != one.decode(one.codes[0], one.label(["1"]))
    ).any()


def test_a_file_is_seen_as_the_kind_of_pixels_that_the_model_knows(explorer, made_of, tmp_path):
    path = tmp_path / "ramp.png"
    ramp = np.tile(np.linspace(0, 255, 28).round().astype(np.uint8), (28, 1))
    Image.fromarray(ramp).save(path)
    grey = torch.from_numpy(ramp)[None] / 255
    torch.testing.assert_close(explorer("grey").read(path.read_bytes()), grey)
    bits = explorer("mlp").read(path.read_bytes())
    torch.testing.assert_close(bits, (grey > 0.5).float())
    real = made_of(np.random.default_rng(0).normal(0, 2, (20, 1, 28, 28)).astype("f"), "loss=mse")
    x = real.read(path.read_bytes())
    assert (x.min().item(), x.max().item()) == pytest.approx(real.range)
    torch.testing.assert_close(real.shown(x), grey)


def test_colours_are_kept(made_of, tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (20, 3, 8, 8), np.uint8)
    one = made_of(x, "loss=mse")
    path = tmp_path / "red.png"
    Image.new("RGB", (40, 30), "red").save(path)
    seen = one.read(path.read_bytes())
    assert seen.shape == (3, 8, 8)
    assert seen.amin((1, 2)).tolist() == [1, 0, 0]
    assert one.decode(one.encode(seen, torch.zeros(0)), torch.zeros(0)).shape == (3, 8, 8)


@pytest.mark.parametrize("name", ["no.png", "half.png", "large.png"])
def test_what_is_no_safe_picture_is_refused_in_one_line(explorer, name):
    with pytest.raises(ValueError, match=rf"^{name} cannot be read as a picture \(.*PNG") as error:
        explorer("mlp").read(bad_files()[name], name)
    assert "\n" not in str(error.value)


def test_tables_are_refused(made_of):
    with pytest.raises(ValueError, match="run is a run on tables"):
        made_of(np.zeros((20, 6), "f"), "loss=mse")


def test_a_run_that_diverged_is_refused(explorer):
    one = explorer("mlp")
    weight = next(one.vae.encoder.parameters())
    kept = weight.detach().clone()
    try:
        weight.data.fill_(math.nan)
        with pytest.raises(ValueError, match="diverged"):
            Explorer(one.run)
    finally:
        weight.data.copy_(kept)


def test_runs_on_the_same_data_know_it(explorer, made_of):
    assert explorer("mlp").data == explorer("grey").data
    other = made_of(np.zeros((1000, 1, 28, 28), np.uint8))
    assert len(other.run.data.splits["test"].images) == 500
    assert explorer("mlp").data != other.data
