"""Names of the files in a run folder and in the folder of a multirun."""

MULTIRUN_RECORD = "multirun.yaml"  # the command of a multirun, under the name that Hydra gives it
VALUE = "value.txt"  # what a finished job of a multirun returned to the sweeper
FAILURE = "failed.txt"  # why a job of a multirun failed
PROVENANCE = "provenance.json"
DATA_DESCRIPTION = "data.json"  # what was read before the training
RERUN_OF = "rerun_of.txt"  # the folder of the run that a rerun repeats
TRACKING_IDS = "tracking_ids.json"  # the ids of a run in W&B and MLflow
DATA = "data.npz"  # the data of a run that was given arrays in memory
# What loggers save of a run, which is then a run folder that can be opened.
MODEL_FILES = ("checkpoints/best.ckpt", ".hydra/config.yaml", ".hydra/hydra.yaml", "metrics.json")
