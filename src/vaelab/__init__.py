"""vaelab: experiments with variational autoencoders, every part named on the command line."""
