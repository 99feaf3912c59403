"""Test that the convolutional models take series, images and volumes, of even and odd sizes."""

import itertools
import math

import pytest
import torch
from conftest import options
from torch import nn

from vaelab.distributions.point_estimates import mode_or_mean
from vaelab.models import conv, ladder_conv, resnet, vq
from vaelab.module import VAEModule
from vaelab.runtime.build import build_from_config
from vaelab.runtime.errors import UserError

SHAPES = [(2, 21), (1, 32), (1, 13, 18), (1, 7, 6, 9), (2, 8, 8, 8)]
GRID_SHAPES = [(2, 20), (1, 12, 16), (1, 4, 8, 12)]  # model=vq needs multiples of 4
SMALL = {
    "mlp": ("model.hidden=[8]",),
    "conv": ("model.channels=[4,6]", "latent_dim=3"),
    "resnet": ("model.channels=[4,6]", "model.blocks=1", "latent_dim=3"),
    "ladder_conv": ("model.channels=[4,6]",),
    "vq": ("model.channels=4", "model.residual=3", "model.dim=2", "posterior.codes=5"),
}
MODELS = [model for model in SMALL if model != "mlp"]
CASES = [(model, shape) for model in MODELS for shape in (GRID_SHAPES if model == "vq" else SHAPES)]


@pytest.fixture
def build(config):
    """Build the module of a small model for data of a shape."""

    def build(model, shape, *words) -> VAEModule:
        torch.manual_seed(0)
        cfg = config(f"model={model}", *SMALL[model], "optimizer.lr=0.01", *words)
        return build_from_config(cfg.module, vae={"shape": list(shape)})

    return build


@pytest.mark.parametrize(("model", "shape"), CASES)
def test_model_takes_a_step_at_every_shape(build, model, shape):
    module = build(model, shape)
    vae, objective = module.vae, module.objective
    x = torch.rand(6, *shape).round()
    vae.initialize(x)
    q = vae.encode(x)
    assert q.rsample().shape == (6, vae.latent_dim)
    assert vae.decode(q.rsample()).mean.shape == x.shape
    losses = []
    optimizer = module.build_optimizer()
    for _ in range(6):
        torch.manual_seed(1)  # the same noise in every step
        terms = objective(vae, x, 0)
        if "elbo" in terms:
            torch.testing.assert_close(terms["elbo"], -(terms["reconstruction"] + terms["kl"]))
        losses.append(terms["loss"].mean())
        optimizer.zero_grad()
        losses[-1].backward()
        for name, weight in vae.named_parameters():
            assert weight.grad is not None, name
            assert torch.isfinite(weight.grad).all(), name
        optimizer.step()
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_all_layers_have_the_spatial_dimensions_of_x(build, model, dims):
    module = build(model, (1, *[8] * dims))
    kinds = {
        type(layer).__name__
        for layer in module.modules()
        if getattr(layer, "weight", None) is not None
    }
    spatial = {name for name in kinds if name.startswith(("Conv", "BatchNorm"))}
    assert spatial
    assert all(name.endswith(f"{dims}d") for name in spatial)


@pytest.mark.parametrize("model", ["conv", "resnet", "ladder_conv"])
@pytest.mark.parametrize("kernel_size", [2, 3, 4, 5])
@pytest.mark.parametrize("size", [(11,), (12, 9), (5, 7, 6)])
def test_decoder_restores_every_size_for_every_kernel(build, model, kernel_size, size):
    vae = build(model, (2, *size), f"model.kernel_size={kernel_size}").vae
    x = torch.rand(2, 2, *size)
    assert vae.decode(vae.encode(x).rsample()).mean.shape == x.shape


@pytest.mark.parametrize(
    ("shape", "latent_dim"),
    [((2, 21), 10 + 2 * 5), ((1, 13, 18), 6 * 9 + 2 * 3 * 4), ((1, 7, 6, 9), 36 + 2 * 2)],
)
def test_latents_of_ladder_conv_follow_from_the_shape(build, shape, latent_dim):
    """The levels have 1 and 2 channels of a half and of a quarter of the size, rounded down."""
    assert build("ladder_conv", shape).vae.latent_dim == latent_dim


@pytest.mark.parametrize(
    ("shape", "positions", "grid"),
    [((2, 20), 5, (1, 5)), ((1, 12, 16), 12, (3, 4)), ((1, 4, 8, 12), 6, (2, 3))],
)
def test_grid_of_codes_follows_from_the_shape(build, shape, positions, grid):
    module = build("vq", shape, "prior=pixelcnn", "prior.channels=4", "prior.layers=2")
    vae = module.vae
    assert vae.latent_dim == 2 * positions
    assert vae.decoder.grid == tuple(edge // 4 for edge in shape[1:])
    assert vae.prior.grid == grid
    z = vae.latents().sample(torch.Size([3]))
    log_p = vae.latents().log_prob(z)
    assert (log_p.shape, bool((log_p < 0).all())) == ((3,), True)
    assert vae.decode(z).mean.shape == (3, *shape)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_codes_are_ordered_by_position(dims):
    """Position 3 of 4 on each axis is the last on the last axis, and the first on the others."""
    shape, positions = (1, *[16] * dims), 4**dims
    encoder = vq.Encoder(shape, 3 * positions, channels=4, residual=3, blocks=0)
    decoder = vq.Decoder(3 * positions, shape, channels=4, residual=3, blocks=0)
    x = torch.rand(1, *shape)
    y = x.clone()
    y[(..., *[0] * (dims - 1), -1)] += 10
    change = (encoder(y) - encoder(x)).view(positions, 3).abs().sum(1)
    assert (change > 1e-5).nonzero().flatten().tolist() == [3]
    z = torch.randn(1, 3 * positions)
    other = z.clone()
    other[:, 9:12] += 10
    change = (decoder(other) - decoder(z)).abs()[0, 0]
    corners = torch.stack([change[corner] for corner in itertools.product([0, -1], repeat=dims)])
    assert (corners > 1e-5).nonzero().flatten().tolist() == [1]


def embed(narrow, wide):
    """Give a model of one more dimension weights with which it treats each slice like `narrow`.

    Convolutions get their weights at the slice on which they are centered, and zeros elsewhere. A
    transposed convolution copies each slice to two.
    """
    for name, layer in wide.named_modules():
        weights = dict(narrow.get_submodule(name).named_parameters(recurse=False))
        for key, weight in layer.named_parameters(recurse=False):
            value = weights[key]
            if key == "start":
                weight.copy_(value.unsqueeze(1))
            elif weight.ndim == value.ndim:
                weight.copy_(value)
            else:
                center = (weight.shape[2] - 1) // 2
                is_transposed = isinstance(layer, nn.modules.conv._ConvTransposeNd)
                weight.zero_()
                weight[:, :, center : center + 1 + is_transposed] = value.unsqueeze(2)
    wide.posterior.load_state_dict(narrow.posterior.state_dict())


@pytest.mark.parametrize("dims", [1, 2])
@pytest.mark.parametrize(
    ("model", "edge", "words"),
    [
        ("conv", 4, ()),
        ("resnet", 4, ()),
        ("ladder_conv", 2, ("model.channels=[4]", "model.latents=[2]")),
        ("vq", 4, ()),
    ],
)
@torch.no_grad()
def test_model_of_equal_slices_equals_the_model_of_one_slice(build, dims, model, edge, words):
    size = (12, 8)[:dims]
    narrow = build(model, (2, *size), *words).vae
    wide = build(model, (2, edge, *size), *words).vae
    for weight in narrow.parameters():
        weight.normal_(0, 0.3)
    embed(narrow, wide)
    x = torch.rand(3, 2, *size)
    q, q_wide = narrow.encode(x), wide.encode(x.unsqueeze(2).expand(3, 2, edge, *size))
    z, z_wide = mode_or_mean(q), mode_or_mean(q_wide)
    torch.testing.assert_close(z_wide, z, rtol=1e-4, atol=1e-5)
    assert z.std() > 0.01
    mean, mean_wide = narrow.decode(z).mean, wide.decode(z_wide).mean
    torch.testing.assert_close(
        mean_wide, mean.unsqueeze(2).expand_as(mean_wide), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("shape", [(2, 12), (2, 8, 12), (2, 4, 8, 12)])
def test_channels_last_changes_the_layout_and_not_the_numbers(build, shape, channels_last):
    module = build("conv", shape, f"channels_last={str(channels_last).lower()}")
    plain = build("conv", shape, "channels_last=false")
    layouts = {
        weight.stride()[1] == 1
        for name, weight in module.vae.encoder.named_parameters()
        if name.startswith("stages.0.weight")
    }
    assert layouts == {channels_last and len(shape) > 2}
    x = torch.rand(3, *shape)
    torch.testing.assert_close(module.vae.encode(x).mean, plain.vae.encode(x).mean)


LIKELIHOODS = {
    "bce": "binary",
    "gaussian": "real",
    "laplace": "real",
    "student_t": "real",
    "mse": "real",
    "continuous_bernoulli": "real",
    "categorical": "levels",
    "discretized_logistic": "levels",
    "logistic_mixture": "levels",
    "poisson": "count",
    "negative_binomial": "count",
    "zero_inflated_negative_binomial": "count",
}


def test_every_likelihood_is_tested():
    assert sorted([*LIKELIHOODS, "mixed"]) == options("loss")  # mixed is of tables


@pytest.mark.parametrize("loss", LIKELIHOODS)
@pytest.mark.parametrize("shape", [(2, 12), (2, 4, 4, 8)])
def test_likelihood_of_series_and_volumes_is_that_of_an_image_of_the_same_values(
    build, loss, shape
):
    """A likelihood with independent positions does not depend on how these are arranged."""
    words = [f"loss={loss}", "model.channels=[4]"]
    words += ["loss.dispersion=pixel"] if "binomial" in loss else []
    vae = build("conv", shape, *words).vae
    x = (torch.rand(5, *shape) * 255).round() / 255
    if loss == "bce":
        x = x.round()
    vae.initialize(x)
    with torch.no_grad():
        p = vae.decode(vae.encode(x).rsample())
    assert p.mean.shape == p.sample().shape == x.shape
    assert (p.event_shape, p.batch_shape) == (shape, (5,))
    log_p = p.log_prob(x)
    assert log_p.shape == (5,)
    assert log_p.isfinite().all()
    out = torch.randn(5, vae.likelihood.outputs, *shape[1:])
    image = build("conv", (shape[0], 4, math.prod(shape[1:]) // 4), *words).vae.likelihood
    flat = out.flatten(2).unflatten(2, (4, -1)), x.flatten(2).unflatten(2, (4, -1))
    image.eval(), vae.eval()
    state = {k: v for k, v in vae.likelihood.state_dict().items() if not v.ndim}
    image.load_state_dict(state)
    torch.testing.assert_close(vae.likelihood(out).log_prob(x), image(flat[0]).log_prob(flat[1]))


@pytest.mark.parametrize(
    ("model", "shape", "message"),
    [
        ("conv", (2, 6), r"model\.channels=\[4, 4, 4\] halves a series 3 times.* of 6 .* most 2 t"),
        ("resnet", (1, 8, 4, 8), r"halves a volume 3 times, but a volume of 8x4x8 .* most 2 times"),
        ("conv", (1, 2, 2, 2, 2), r"volumes \(C, D, H, W\), but data\.shape=\[1, 2, 2, 2, 2\]"),
        ("conv", (12,), r"series \(C, L\).* data\.shape=\[12\]: use model=mlp"),
        ("ladder_conv", (784,), r"data\.shape=\[784\]: set data\.shape=\[1,28,28\] for images"),
        ("vq", (1, 30), r"halves a series twice, so its sizes must be multiples of 4, not 30"),
        ("vq", (1, 8, 8, 6), r"halves a volume twice, .* not 8x8x6"),
        ("vq", (5,), r"data\.shape=\[5\]: use model=mlp with posterior=vq"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(model, shape, message):
    module = {"conv": conv, "resnet": resnet, "ladder_conv": ladder_conv, "vq": vq}[model]
    settings = {} if model in ("vq", "ladder_conv") else {"channels": [4, 4, 4]}
    arguments = (shape,) if model == "ladder_conv" else (shape, 8)
    with pytest.raises(UserError, match=message):
        module.Encoder(*arguments, **settings)


@pytest.mark.parametrize("shape", [(2, 16), (1, 8, 8, 12)])
@pytest.mark.parametrize("objective", ["vae_gan", "factor", "iwae", "beta_tc", "aae", "rae", "dip"])
def test_objective_trains_on_series_and_volumes(build, objective, shape):
    words = ["posterior=deterministic"] if objective == "rae" else []
    module = build("conv", shape, f"objective={objective}", *words)
    module.objective.dataset_size = 100
    x = torch.rand(8, *shape).round()
    module.vae.initialize(x)
    terms = module.objective(module.vae, x, 0)
    assert all(term.isfinite().all() for term in terms.values())
    terms["loss"].mean().backward()


@pytest.mark.parametrize("shape", [(2, 64), (1, 16, 16, 16), (9,)])
def test_ms_ssim_takes_images_only(build, shape):
    model = "conv" if len(shape) > 1 else "mlp"
    with pytest.raises(UserError, match=r"ms_ssim compares images \(C, H, W\), but data.shape=\["):
        build(model, shape, "objective=ms_ssim")
