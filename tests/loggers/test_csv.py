"""metrics.csv in the run folder."""

import csv

from vaelab.loggers.csv import Csv


def test_rows_are_written_to_metrics_csv(tmp_path):
    (tmp_path / "checkpoints").mkdir()  # other files in the folder cause no warning
    logger = Csv(str(tmp_path))
    logger.log_hyperparams({"seed": 0})
    logger.log_metrics({"train/loss": 2.0}, step=1)
    logger.save()
    logger.log_metrics({"val/elbo": -3.0}, step=2)
    logger.save()
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["step"], row["train/loss"], row["val/elbo"]) for row in rows] == [
        ("1", "2.0", ""),
        ("2", "", "-3.0"),
    ]
    assert not (tmp_path / "hparams.yaml").exists()
