"""Names of the files in a run folder and in the folder of a multirun."""

from pathlib import Path

MULTIRUN_RECORD = "multirun.yaml"  # as Hydra's own sweeper calls it, too
VALUE = "value.txt"  # of a finished job: what the sweeper was told
FAILURE = "failed.txt"  # of a failed one: the reason
LOCK = Path(".hydra", "training.lock")  # of one that is being trained
PROVENANCE = "provenance.json"
