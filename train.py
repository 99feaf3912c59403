"""Train a variational autoencoder: `python train.py model=conv loss=bce`; see --help."""

from vaelab.cli.train import run

if __name__ == "__main__":
    run()
