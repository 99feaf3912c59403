"""The table of metrics: the name, unit, meaning and better direction of every number that is shown.

The keys are those of metrics.json, of the numbers.json of an evaluation and of the logged curves.
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from vaelab.runtime.language import TO_ENGLISH, Translate

NATS_PER_IMAGE = "nats per image"
DATA_WORDS = {  # for data that are no images, by the number of dimensions of x
    1: {"image": "row", "pixel": "value", "图像": "数据行", "像素": "数值"},
    2: {"image": "series", "pixel": "value", "图像": "序列", "像素": "数值"},
    4: {"image": "volume", "pixel": "voxel", "图像": "体数据", "像素": "体素"},
}
PIXEL = "of a pixel"  # in units of a pixel, whose values lie in [0, 1] for most data sets


class Metric(NamedTuple):
    """The name, unit and meaning of a metric.

    Attributes:
        name: The short name that tables, reports and loggers show.
        unit: The unit; empty for a number without a unit.
        meaning: What the metric measures, in plain sentences.
        higher_is_better: True if a higher value is better, False if a lower value is better, None
            if neither is better by itself.
    """

    name: str
    unit: str
    meaning: str
    higher_is_better: bool | None

    def __str__(self) -> str:
        return f"{self.name} ({self.unit})" if self.unit else self.name

    @property
    def arrow(self) -> str:
        """An arrow up if a higher value is better, down if a lower value is, empty if neither."""
        return {True: "\N{UPWARDS ARROW}", False: "\N{DOWNWARDS ARROW}", None: ""}[
            self.higher_is_better
        ]


METRICS = {
    # likelihood
    "elbo": Metric(
        "ELBO",
        NATS_PER_IMAGE,
        "The evidence lower bound: minus the reconstruction term, minus the KL with weight 1.",
        True,
    ),
    "elbo_exact": Metric(
        "ELBO, exact",
        NATS_PER_IMAGE,
        "The ELBO in closed form, without sampling noise. Only linear VAEs have it.",
        True,
    ),
    "nll": Metric(
        "NLL",
        NATS_PER_IMAGE,
        "The negative log-likelihood: minus the importance-weighted bound on log p(x).",
        False,
    ),
    "bits_per_dim": Metric(
        "bits/dim", "bits", "The NLL per pixel and channel, in bits instead of nats.", False
    ),
    "nll_per_entry": Metric(
        "NLL of an observed value",
        "nats",
        "The NLL divided by the number of observed values, for data with missing values.",
        False,
    ),
    "reconstruction": Metric(
        "reconstruction",
        NATS_PER_IMAGE,
        "The reconstruction term: -log p(x|z) with z sampled from q(z|x).",
        False,
    ),
    "kl": Metric(
        "KL",
        NATS_PER_IMAGE,
        "KL(q(z|x) || p(z)): how far the posterior of an image is from the prior.",
        None,
    ),
    "active_units": Metric(
        "active units",
        "dimensions",
        "The number of latent dimensions whose posterior mean varies between images.",
        None,
    ),
    "active_layers": Metric(
        "active layers",
        "layers",
        "The number of stochastic layers whose KL is at least 0.1 nats.",
        None,
    ),
    "aggregate_kl_bound": Metric(
        "KL(q(z) || p(z)), at least",
        NATS_PER_IMAGE,
        "A lower bound on how far the aggregate posterior q(z) is from the prior, by the mean and "
        "variance of each latent dimension. If it is large, samples of the prior are unusable.",
        False,
    ),
    "rmse": Metric(
        "RMSE",
        PIXEL,
        "The root mean squared error of the reconstruction from the mode of q(z|x).",
        False,
    ),
    "decoder_scale": Metric(
        "decoder scale", PIXEL, "The scale parameter of the likelihood p(x|z).", None
    ),
    "implied_scale": Metric(
        "implied decoder scale",
        PIXEL,
        "The decoder scale for which the same loss has a KL of weight 1.",
        None,
    ),
    # generalisation
    "elbo_gap": Metric(
        "ELBO, train - test",
        NATS_PER_IMAGE,
        "The ELBO of the training images minus that of as many test images. It is 0 without "
        "overfitting.",
        False,
    ),
    "nll_gap": Metric(
        "NLL, test - train",
        NATS_PER_IMAGE,
        "The NLL of the test images minus that of as many training images, both with the same "
        "number of importance samples.",
        False,
    ),
    # latents
    "mutual_information": Metric(
        "mutual information",
        NATS_PER_IMAGE,
        "The mutual information of x and z under q(z|x). It is at most ln N for N images.",
        None,
    ),
    "mutual_information_limit": Metric(
        "its limit, ln N",
        NATS_PER_IMAGE,
        "The largest mutual information that N images can show.",
        None,
    ),
    "aggregate_kl": Metric(
        "KL(q(z) || p(z))",
        NATS_PER_IMAGE,
        "How far the aggregate posterior q(z), the mixture of all q(z|x), is from the prior.",
        False,
    ),
    "total_correlation": Metric(
        "total correlation",
        NATS_PER_IMAGE,
        "How strongly the latent dimensions depend on each other under q(z). The noise of the "
        "estimate may make it negative.",
        None,
    ),
    "dimension_kl": Metric(
        "dimension-wise KL",
        NATS_PER_IMAGE,
        "How far each latent dimension under q(z) is from the prior, summed over dimensions.",
        None,
    ),
    # gaps
    "ais": Metric(
        "log p(x) by annealing",
        NATS_PER_IMAGE,
        "A lower bound on log p(x) by annealed importance sampling, which does not use q(z|x).",
        True,
    ),
    "iw_bound": Metric(
        "importance-weighted bound",
        NATS_PER_IMAGE,
        "The importance-weighted lower bound on log p(x) of the same images.",
        True,
    ),
    "amortisation_gap": Metric(
        "amortisation gap",
        NATS_PER_IMAGE,
        "How much higher the ELBO is with the best q of the family for each image than with the "
        "encoder's q.",
        False,
    ),
    "approximation_gap": Metric(
        "approximation gap",
        NATS_PER_IMAGE,
        "How much lower than log p(x) the ELBO is with the best q of the family for each image.",
        False,
    ),
    # reconstructions
    "psnr": Metric(
        "PSNR",
        "dB",
        "The peak signal-to-noise ratio of the reconstruction from the mode of q(z|x).",
        True,
    ),
    "ssim": Metric(
        "SSIM",
        "",
        "The structural similarity of images and reconstructions. It is 1 for identical images.",
        True,
    ),
    # samples
    "fid": Metric(
        "FID of samples",
        "",
        "The Fréchet distance between the features of samples and of real images.",
        False,
    ),
    "fid_reconstructions": Metric(
        "FID of reconstructions",
        "",
        "The Fréchet distance between the features of reconstructions and of real images.",
        False,
    ),
    "fid_floor": Metric(
        "FID of training images",
        "",
        "The Fréchet distance of as many training images: the FID of a perfect model.",
        None,
    ),
    "kid": Metric(
        "KID of samples",
        "",
        "The kernel distance between the features of samples and of real images. Unlike the FID "
        "it is not biased by the number of images.",
        False,
    ),
    "precision": Metric(
        "precision", "", "The fraction of samples that lie among the real images.", True
    ),
    "recall": Metric("recall", "", "The fraction of real images that lie among the samples.", True),
    "density": Metric(
        "density", "", "A precision that is less sensitive to outliers among the real images.", True
    ),
    "coverage": Metric(
        "coverage", "", "A recall that is less sensitive to outliers among the samples.", True
    ),
    # neighbours
    "nearest_train": Metric(
        "nearest training image",
        PIXEL,
        "The mean RMS distance from a sample to the nearest training image.",
        None,
    ),
    "nearest_train_of_test": Metric(
        "the same of test images",
        PIXEL,
        "The mean RMS distance from a test image to the nearest training image. Samples that copy "
        "training images are much nearer.",
        None,
    ),
    # codes
    "linear_probe": Metric(
        "linear probe",
        "accuracy",
        "The accuracy of a linear classifier that predicts labels from latents.",
        True,
    ),
    "knn": Metric(
        "5 nearest neighbours",
        "accuracy",
        "The accuracy of predicting the label of the nearest training latents.",
        True,
    ),
    "clustering": Metric(
        "clustering",
        "accuracy",
        "The accuracy of k-means clusters of the latents, each matched with one label.",
        True,
    ),
    "majority": Metric(
        "most frequent label",
        "accuracy",
        "The accuracy of always predicting the most frequent label.",
        None,
    ),
    # disentanglement
    "mig": Metric(
        "MIG",
        "",
        "The mutual information gap: how much more the best latent dimension knows of a factor "
        "than the second best. It lies between 0 and 1.",
        True,
    ),
    "sap": Metric(
        "SAP",
        "",
        "The difference in score between the two latent dimensions that predict a factor best.",
        True,
    ),
    "dci_disentanglement": Metric(
        "DCI disentanglement",
        "",
        "It is 1 if each latent dimension predicts only one factor.",
        True,
    ),
    "dci_completeness": Metric(
        "DCI completeness", "", "It is 1 if each factor is predicted by only one dimension.", True
    ),
    "dci_informativeness": Metric(
        "DCI informativeness", "", "How well all latent dimensions together predict factors.", True
    ),
    "factor_vae": Metric(
        "FactorVAE score",
        "accuracy",
        "The accuracy of identifying a fixed factor by the latent dimension that varies least.",
        True,
    ),
}
"""Metrics of a trained model, in the order of tables; loggers receive them as `test/<key>`."""

OTHER_METRICS = {
    "observed": Metric(
        "observed values",
        "of all",
        "The fraction of observed values; the others are missing.",
        None,
    ),
    "elbo_train": Metric(
        "ELBO, train", NATS_PER_IMAGE, "The ELBO of as many training images as test images.", True
    ),
    "nll_train": Metric(
        "NLL, train", NATS_PER_IMAGE, "The NLL of as many training images as test images.", False
    ),
    "criterion": Metric(
        "criterion",
        NATS_PER_IMAGE,
        "What training maximises: minus the loss, with the KL term in its final form.",
        True,
    ),
    "loss": Metric("loss", NATS_PER_IMAGE, "The loss that the optimizer minimises.", False),
    "kl_check": Metric(
        "check of the KL",
        NATS_PER_IMAGE,
        "The mutual information plus KL(q(z) || p(z)) minus the KL. It is 0 up to sampling noise.",
        None,
    ),
    # terms of objectives
    "log_p": Metric("log p(x|z)", NATS_PER_IMAGE, "Minus the reconstruction term.", True),
    "objective": Metric(
        "objective", NATS_PER_IMAGE, "What training maximises: minus the loss.", True
    ),
    "mmd": Metric("MMD", "", "How far samples of q(z) are from samples of p(z).", False),
    "discrepancy": Metric(
        "discrepancy", "", "How far samples of q(z) are from samples of p(z).", False
    ),
    "dip": Metric(
        "DIP penalty", NATS_PER_IMAGE, "The penalty on the covariance of the latents.", False
    ),
    "ms_ssim": Metric(
        "MS-SSIM", "", "The structural similarity of images and means of p(x|z) at 5 sizes.", True
    ),
    "embedding": Metric("size of the latents", "", "Half the squared length of the latents.", None),
    "smoothness": Metric(
        "smoothness", "", "The regularizer of the decoder without its weight.", False
    ),
    "commitment": Metric(
        "commitment", "", "The squared distance from the outputs to their codes.", False
    ),
    "perplexity": Metric(
        "perplexity of the codes", "codes", "How many codes are used, as exp of the entropy.", None
    ),
    "code_use": Metric("codes in a batch", "", "The fraction of the codes in a batch.", None),
    "codebook_loss": Metric(
        "codebook loss", NATS_PER_IMAGE, "The loss that trains the codes or their use.", None
    ),
    "bits_per_code": Metric(
        "bits per code", "bits", "Minus log2 p of the codes, divided by their number.", False
    ),
    "features": Metric(
        "feature distance",
        NATS_PER_IMAGE,
        "Minus the log likelihood of the features that the critic computes.",
        False,
    ),
    "perceptual": Metric(
        "perceptual distance",
        "",
        "The distance of images and means of p(x|z) in the features of a classifier, times the "
        "number of pixel values.",
        False,
    ),
    "adaptive_weight": Metric(
        "adaptive weight",
        "",
        "The norm of the reconstruction's gradient by the last layer, divided by the norm of the "
        "critic's.",
        None,
    ),
    "fooling": Metric(
        "generator loss", NATS_PER_IMAGE, "The loss of the part that is judged by the critic.", None
    ),
    "critic": Metric(
        "critic loss", NATS_PER_IMAGE, "The loss of the critic or discriminator.", None
    ),
    # counts
    "images": Metric("images", "", "The number of evaluated images.", None),
    "samples": Metric(
        "importance samples", "per image", "The importance samples of the NLL.", None
    ),
    "generalisation_images": Metric(
        "images of the gaps", "", "The training and test images of the ELBO and NLL gaps.", None
    ),
    "generalisation_samples": Metric(
        "samples of the gaps", "per image", "The importance samples of the NLL gap.", None
    ),
    "latent_images": Metric(
        "images of the latents", "", "The images of the mutual information and its relatives.", None
    ),
    "fid_images": Metric(
        "images of the FID", "", "The number of compared real images, and of samples.", None
    ),
    "probe_images": Metric(
        "images of the classifiers", "", "The training images of the classifiers of latents.", None
    ),
    "gap_images": Metric(
        "images of the annealing", "", "The images of the annealed importance sampling.", None
    ),
    "skipped": Metric(
        "skipped steps", "", "Optimizer steps with NaN or infinity that were skipped.", False
    ),
    "restored": Metric(
        "restored weights", "", "How often earlier weights replaced those with NaN.", False
    ),
    "kl_weight": Metric("weight of the KL", "", "The weight of the KL in the loss.", None),
    "lr": Metric("learning rate", "", "The learning rate of the optimizer.", None),
    "val": Metric(
        "validation",
        NATS_PER_IMAGE,
        "The best value on the validation images of the metric that the objective monitors.",
        True,
    ),
    "wall_s": Metric("time", "s", "The wall-clock time of the training.", None),
}
"""Metrics that the tables and loggers of a trained model leave out."""


def get_metric(
    key: str, unit: str = "", shape: Any = None, translate: Translate = TO_ENGLISH
) -> Metric:
    """Return the table entry of a key, or for other keys one with the key as its name.

    Arguments:
        unit: The unit of keys that are not in the table.
        shape: The shape of one x, see `name_data`.
        translate: Gives the texts in another language.
    """
    unnamed = Metric(key.replace("_", " "), unit, "", None)
    found = METRICS.get(key) or OTHER_METRICS.get(key) or _describe_derived_key(key, translate)
    found = found or unnamed
    name, unit, meaning = (name_data(translate(text), shape) for text in found[:3])
    return Metric(name, unit, meaning, found.higher_is_better)


def _describe_derived_key(key: str, translate: Translate) -> Metric | None:
    """Return the entry of a validation value or of the KL of a layer, None for other keys."""
    if key.startswith("kl_layer_"):
        layer = key.removeprefix("kl_layer_")
        meaning = "The KL of one of several stochastic layers."
        name = translate("KL of layer {layer}", layer=layer)
        return Metric(name, NATS_PER_IMAGE, meaning, None)
    term = key.removeprefix("val/").removeprefix("val_")
    found = METRICS.get(term) or OTHER_METRICS.get(term)
    if term == key or found is None:
        return None
    meaning = "The value on the validation images, of the weights of best.ckpt."
    name = translate("validation {name}", name=translate(found.name))
    return Metric(name, found.unit, meaning, found.higher_is_better)


def name_data(text: str, shape: Any) -> str:
    """Replace the words image and pixel in a text about data that are no images.

    The images of a text are rows of values for tables (C,), series of values for series (C, L), and
    volumes of voxels for volumes (C, D, H, W).

    Arguments:
        shape: The shape of one x. Data of an unknown shape are images.
    """
    words = DATA_WORDS.get(len(shape)) if isinstance(shape, Sequence) else None
    if words is None:
        return text

    def replace(found: re.Match[str]) -> str:
        word = words[found[1]]
        return word if word.endswith("s") else word + found[2]

    pattern = rf"(?<![a-zA-Z_])({'|'.join(words)})(s?)(?![a-zA-Z_])"
    return re.sub(pattern, replace, text)


def name_data_in(translate: Translate, shape: Any) -> Translate:
    """Return a translator whose texts have the words of data of a shape, see `name_data`."""
    return lambda text, **values: name_data(translate(text, **values), shape)
