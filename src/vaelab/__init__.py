"""vaelab: experiments with variational autoencoders, every part named on the command line."""

__version__ = "0.2.0"
