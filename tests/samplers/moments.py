"""How far the moments of draws lie from given ones, in units of their standard errors."""

import math

import torch


def errors(draws, mean, covariance, also=math.inf):
    """Of the mean (D,) and of the covariance (D, D); `also` is the number of draws behind those."""
    counts = 1 / len(draws) + 1 / also
    centred = draws - mean
    products = centred.unsqueeze(2) * centred.unsqueeze(1)
    of_mean = centred.mean(0) / (draws.std(0) * math.sqrt(counts))
    of_covariance = (products.mean(0) - covariance) / (products.std(0) * math.sqrt(counts))
    return torch.cat([of_mean, of_covariance.flatten()]).abs()
