"""Deviations of sample moments from expected ones, in units of their standard errors."""

import math

import torch


def compute_moment_errors(samples, mean, covariance, reference_count=math.inf):
    """Compute |sample moment - expected moment| / standard error for mean and covariance.

    Arguments:
        samples: (N, D).
        mean, covariance: The expected moments (D,) and (D, D).
        reference_count: The number of samples that the expected moments were estimated from.

    Returns:
        The errors (D + D^2,).
    """
    counts = 1 / len(samples) + 1 / reference_count
    centred = samples - mean
    products = centred.unsqueeze(2) * centred.unsqueeze(1)
    mean_errors = centred.mean(0) / (samples.std(0) * math.sqrt(counts))
    covariance_errors = products.mean(0) - covariance
    covariance_errors = covariance_errors / (products.std(0) * math.sqrt(counts))
    return torch.cat([mean_errors, covariance_errors.flatten()]).abs()
