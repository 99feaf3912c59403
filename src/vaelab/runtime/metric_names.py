"""What numbers are called wherever they are shown, their units, and what they say."""

from typing import NamedTuple

NATS_PER_IMAGE = "nats per image"


class Metric(NamedTuple):
    """A number's name, unit and meaning; without a unit it is a pure number."""

    name: str
    unit: str
    meaning: str

    def __str__(self) -> str:
        return f"{self.name} ({self.unit})" if self.unit else self.name


METRICS = {
    key: Metric(*title)
    for key, title in {
        # likelihood
        "elbo": (
            "ELBO",
            NATS_PER_IMAGE,
            "minus reconstruction, minus KL; the weight of the KL is 1 here",
        ),
        "elbo_exact": (
            "ELBO, exact",
            NATS_PER_IMAGE,
            "the same, without sampling: the decoder is linear",
        ),
        "nll": ("NLL", NATS_PER_IMAGE, "minus the importance-weighted bound on log p(x)"),
        "bits_per_dim": ("bits/dim", "bits", "NLL by pixel and channel, in bits"),
        "reconstruction": (
            "reconstruction",
            NATS_PER_IMAGE,
            "-log p(x|z) with z drawn from q(z|x)",
        ),
        "kl": ("KL", NATS_PER_IMAGE, "KL(q(z|x) || p(z)): what the codes cost"),
        "active_units": ("active units", "dimensions", "whose mean moves with the image"),
        "rmse": ("RMSE", "of a pixel", "of the reconstruction from the likeliest code"),
        "decoder_scale": ("decoder scale", "of a pixel", "the scale of p(x|z)"),
        "implied_scale": (
            "implied decoder scale",
            "of a pixel",
            "with the weight of the KL counted in",
        ),
        # generalisation
        "elbo_gap": (
            "ELBO, train less test",
            NATS_PER_IMAGE,
            "of as many images; 0 if nothing is memorised",
        ),
        "nll_gap": (
            "NLL, test less train",
            NATS_PER_IMAGE,
            "the same of bounds with equal samples",
        ),
        # latents
        "mutual_information": (
            "mutual information",
            NATS_PER_IMAGE,
            "of x and z under q(z|x), at most ln N",
        ),
        "mutual_information_limit": (
            "its limit, ln N",
            NATS_PER_IMAGE,
            "N images cannot show more",
        ),
        "aggregate_kl": (
            "KL(q(z) || p(z))",
            NATS_PER_IMAGE,
            "how far the codes in all are from the prior",
        ),
        "total_correlation": (
            "total correlation",
            NATS_PER_IMAGE,
            "how much the dimensions of z depend",
        ),
        "dimension_kl": (
            "dimension-wise KL",
            NATS_PER_IMAGE,
            "how far each dimension is from the prior",
        ),
        # gaps
        "ais": ("log p(x) by annealing", NATS_PER_IMAGE, "a bound that owes nothing to q(z|x)"),
        "iw_bound": (
            "importance-weighted bound",
            NATS_PER_IMAGE,
            "on log p(x), of the same images",
        ),
        "amortisation_gap": (
            "amortisation gap",
            NATS_PER_IMAGE,
            "what the best q of each image would gain",
        ),
        "approximation_gap": ("approximation gap", NATS_PER_IMAGE, "what the best q still lacks"),
        # reconstructions
        "psnr": ("PSNR", "dB", "of the reconstruction from the likeliest code"),
        "ssim": ("SSIM", "", "structural similarity of the same; 1 is identity"),
        # samples
        "fid": ("FID of samples", "", "distance of features; lower is better"),
        "fid_reconstructions": ("FID of reconstructions", "", "the same of reconstructions"),
        "fid_floor": ("FID of training images", "", "as many of them: what no model has to beat"),
        "kid": ("KID of samples", "", "the same without a bias by the number of images"),
        "precision": ("precision", "", "the part of the samples that look real"),
        "recall": ("recall", "", "the part of the real images that the samples cover"),
        "density": ("density", "", "as precision, but outliers count less"),
        "coverage": ("coverage", "", "as recall, but outliers count less"),
        # neighbours
        "nearest_train": ("nearest training image", "of a pixel", "from samples, RMS"),
        "nearest_train_of_test": ("the same of test images", "of a pixel", "copies are nearer"),
        # codes
        "linear_probe": ("linear probe", "accuracy", "labels read from the codes by a linear map"),
        "knn": ("5 nearest neighbours", "accuracy", "labels of the nearest training codes"),
        "clustering": ("clustering", "accuracy", "of k-means, its clusters matched with labels"),
        "majority": ("commonest label", "accuracy", "what guessing comes to"),
        # disentanglement
        "mig": ("MIG", "", "mutual information gap, from 0 to 1"),
        "sap": ("SAP", "", "gap of the two best single predictors"),
        "dci_disentanglement": ("DCI disentanglement", "", "each dimension says one factor"),
        "dci_completeness": ("DCI completeness", "", "each factor is in one dimension"),
        "dci_informativeness": ("DCI informativeness", "", "factors can be told from all of z"),
        "factor_vae": ("FactorVAE score", "accuracy", "the fixed factor told by the calmest"),
    }.items()
}
