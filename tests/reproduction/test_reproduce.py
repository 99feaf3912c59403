"""scripts/reproduce.py: the list of runs, their commands, and the table of their records."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from commands import block_commands
from conftest import CONF, ROOT
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from test_resume import assert_same_run, wait_for_file

from vaelab.reproduction import records, reproduce, results_page
from vaelab.reproduction.reproduce import RecordEntry, RecordFolders
from vaelab.reproduction.results_page import BEGIN_MARK, END_MARK
from vaelab.runs import metrics_file, weights
from vaelab.runs.run import RunParts
from vaelab.runs.weights import hash_weights

LIST = ROOT / "results" / "record.yaml"
PAGE = ROOT / "docs" / "results.md"
ENTRY = RecordEntry("full_covariance", 0)  # on the embedded digits
RECORD = {
    **dict.fromkeys(records.REQUIRED_KEYS),
    **{"split": "test", "images": 10_000, "all_images": 10_000, "samples": 5000, "nll": 85.0},
    **{"nll_se": 0.25, "elbo": -87.0, "active_units": 25, "seed": 0, "epochs": 1200, "wall_s": 90},
    **{"bits_sha256": "ab" * 32, "data": "mnist", "pixels": "binary", "binarize": "dynamic"},
    **{"loss": "bce", "measure": "probability", "train_images": 60_000, "threads": 1},
    "published": {"value": 84.78, "source": "IWAE paper, table 1, 60,000 images"},
    "experiment": "iwae",
    "machine": {"cpu": "Fine CPU"},
}


@pytest.fixture
def folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return RecordFolders(ROOT, tmp_path / "runs", tmp_path / "results")


@pytest.fixture
def commands(monkeypatch):
    """Record commands instead of running them; an evaluation writes a record."""
    lines = []

    def run_command(line, folders):
        lines.append(line)
        if line[0] == "scripts/evaluate.py":
            write_record(folders)

    monkeypatch.setattr(reproduce, "_run_command", run_command)
    return lines


def write_record(folders, entry=ENTRY, **values):
    """Write a record, by default a complete one of the present experiment."""
    cfg = reproduce._compose_config(entry, folders)
    record = RECORD | {"experiment": entry.experiment, "seed": entry.seed, "config": cfg} | values
    folders.results.mkdir(exist_ok=True)
    metrics_file.write_numbers(record, folders.record_path(entry))


def start_run(folders, entry=ENTRY, *words):
    """Make a run folder as Hydra does before the first step."""
    folder = folders.run_folder(entry) / ".hydra"
    folder.mkdir(parents=True)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        OmegaConf.save(
            compose("train", [*folders.training_overrides(entry), *words]), folder / "config.yaml"
        )
    OmegaConf.save({"hydra": {}}, folder / "hydra.yaml")
    return folder.parent


# The list


def test_read_entries_keeps_order_and_weights_of_first_seeds(tmp_path):
    path = tmp_path / "list.yaml"
    path.write_text("iwae: {seeds: [3, 1], weights: true}\nbeta_vae: {seeds: [0]}\n")
    assert reproduce.read_entries(path, CONF) == [
        RecordEntry("iwae", 3, weights=True),
        RecordEntry("iwae", 1, weights=False),
        RecordEntry("beta_vae", 0),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("taste: {seeds: [0]}", r"there is no experiment taste; choose from aae, .*, warmup"),
        ("iwae: [0, 1]", r"iwae is \[0, 1\], but must look like \{seeds: \[0, 1\]"),
        ("iwae: {weights: true}", "but must look like"),
        ("iwae: {seeds: []}", "but must look like"),
        ("iwae: {seeds: [0, 0]}", "but must look like"),
        ("iwae: {seeds: [-1]}", "but must look like"),
        ("iwae: {seeds: 0}", "but must look like"),
        ("iwae: {seeds: [0], weight: true}", "but must look like"),
        ("iwae: {seeds: [0], weights: 1}", "but must look like"),
        ("iwae: {seeds: [0], train: [latent_dim=3]}", "but must look like"),
        ("- iwae", "is not a config"),
        ("iwae: {", "is damaged"),
    ],
)
def test_malformed_list_is_refused(tmp_path, text, message):
    (tmp_path / "list.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        reproduce.read_entries(tmp_path / "list.yaml", CONF)


def test_select_entries_names_unknown_experiments():
    entries = [RecordEntry("iwae", 0), RecordEntry("parts", 0), RecordEntry("parts", 1)]
    assert reproduce.select_entries(entries, []) == entries
    assert reproduce.select_entries(entries, ["parts"]) == entries[1:]
    with pytest.raises(ValueError, match=r"^taste is not in the list; choose from iwae, parts$"):
        reproduce.select_entries(entries, ["parts", "taste"])


# The commands


def test_entry_is_trained_and_evaluated_by_commands(folders, commands):
    reproduce.reproduce_entry(ENTRY, folders)
    folder = f"{folders.runs}/full_covariance-0"
    options = ["--parts", "likelihood", "--samples", "5000", "--results", str(folders.results)]
    assert commands == [
        ["train.py", "experiment=full_covariance", "seed=0", f"hydra.run.dir={folder}"],
        ["scripts/evaluate.py", folder, *options, "--precision", "auto", "--compile"],
    ]


def test_finished_entry_is_skipped(folders, commands, capsys):
    write_record(folders)
    reproduce.reproduce_entry(ENTRY, folders)
    assert commands == []
    assert "full_covariance-0 is done" in capsys.readouterr().out


@pytest.mark.parametrize(
    "change", [{"samples": 4999}, {"images": 9_999}, {"split": "val"}], ids=str
)
def test_incomplete_record_is_evaluated_again(folders, commands, change):
    start_run(folders).joinpath("metrics.json").write_text("{}")
    write_record(folders, **change)
    reproduce.reproduce_entry(ENTRY, folders)
    assert [line[0] for line in commands] == ["scripts/evaluate.py"]


def test_interrupted_training_is_resumed(folders, commands):
    folder = start_run(folders)
    reproduce.reproduce_entry(ENTRY, folders, only="train")
    assert commands == [["train.py", f"resume={folder}"]]


@pytest.mark.parametrize("only", ["train", "evaluate"])
def test_only_trains_or_only_evaluates(folders, commands, only):
    reproduce.reproduce_entry(ENTRY, folders, only)
    assert [line[0] for line in commands] == {"train": ["train.py"], "evaluate": []}[only]
    start_run(folders).joinpath("metrics.json").write_text("{}")
    commands.clear()
    reproduce.reproduce_entry(ENTRY, folders, only)
    assert [line[0] for line in commands] == {"train": [], "evaluate": ["scripts/evaluate.py"]}[
        only
    ]


def test_weights_are_exported_unless_they_match_the_record(folders, commands, train):
    entry = RecordEntry("full_covariance", 0, weights=True)
    run = RunParts.open(train("model.hidden=[8]", "latent_dim=3")["folder"], with_data=False)
    write_record(folders, weights_sha256=hash_weights(run.vae.state_dict()))
    start_run(folders).joinpath("metrics.json").write_text("{}")
    out = folders.results / "full_covariance"
    line = ["scripts/export.py", str(folders.run_folder(entry)), "--weights", "--out", str(out)]
    reproduce.reproduce_entry(entry, folders)
    assert commands == [line]
    run.save(out / weights.FILE_NAME)
    reproduce.reproduce_entry(entry, folders)
    assert commands == [line]
    write_record(folders, weights_sha256="another")
    reproduce.reproduce_entry(entry, folders)
    assert commands == [line, line]


def test_results_of_a_changed_experiment_are_refused(folders):
    reproduce.check_entry(ENTRY, folders)  # there are no results yet
    folder = start_run(folders, ENTRY, "optimizer.lr=0.5")
    with pytest.raises(ValueError, match=r"optimizer\.lr was 0\.5, is 0\.001") as refused:
        reproduce.check_entry(ENTRY, folders)
    assert f"remove {folder} to start anew" in str(refused.value)
    write_record(folders, config=reproduce._compose_config(ENTRY, folders) | {"latent_dim": 3})
    with pytest.raises(ValueError, match="has changed since") as refused:
        reproduce.check_entry(ENTRY, folders)
    assert f"remove {folder} and {folders.record_path(ENTRY)} to start anew" in str(refused.value)


def test_keys_without_effect_and_new_null_keys_may_change(folders):
    start_run(folders, ENTRY, "logger=none", "published={value: 1, source: a}")
    cfg = reproduce._compose_config(ENTRY, folders) | {"more": None}
    assert cfg.pop("start") is None
    write_record(folders, config=cfg)
    reproduce.check_entry(ENTRY, folders)
    write_record(folders, config=cfg | {"more": False})
    with pytest.raises(ValueError, match="more was False, is None"):
        reproduce.check_entry(ENTRY, folders)


def test_number_of_processes_must_not_change(folders):
    """Batch normalization sees only the images of one process."""
    write_record(
        folders,
        config=reproduce._compose_config(ENTRY, replace(folders, overrides=("trainer=ddp",))),
    )
    with pytest.raises(ValueError, match=r"trainer\.devices was 2, is 1"):
        reproduce.check_entry(ENTRY, folders)


def test_corrected_published_value_updates_the_record(folders, commands):
    entry = RecordEntry("iwae", 0)
    write_record(folders, entry, published={"value": 1, "source": "a misprint"})
    reproduce.check_entry(entry, folders)
    reproduce.reproduce_entry(entry, folders)
    now = OmegaConf.to_container(OmegaConf.load(CONF / "experiment" / "iwae.yaml").published)
    assert records.read_record(folders.record_path(entry))["published"] == now
    assert commands == []


def test_failing_command_ends_with_a_one_line_error(folders, capfd):
    with pytest.raises(ValueError, match=r"train\.py token=taste ended with status 1, see above$"):
        reproduce._run_command(["train.py", "token=taste"], folders)
    printed = capfd.readouterr()
    assert printed.out.endswith("train.py token=taste\n")
    assert printed.err.startswith("error: token: the run folder records the command")


# The table


def rows(text):
    return [line.split(" | ") for line in text.splitlines() if line.startswith("| `")]


def test_row_has_the_mean_over_seeds_with_its_standard_error(folders):
    entries = [RecordEntry("iwae", seed) for seed in (0, 1, 2)]
    for entry, nll, units in zip(entries, (85.0, 85.3, 85.9), (25, 24, 25), strict=True):
        write_record(
            folders, entry, nll=nll, elbo=-nll - 2, active_units=units, wall_s=60 * (entry.seed + 1)
        )
    (row,) = rows(results_page.render_results_table(entries, folders))
    assert row == [
        "| `experiment=iwae`",
        "84.78 (IWAE paper, table 1, 60,000 images)",
        "85.40 +- 0.26 (seeds)",  # ((.4^2 + .1^2 + .5^2) / 2)^.5 / 3^.5 = .4583 / 1.732 = .2646
        "-87.40 +- 0.26 (seeds)",
        "24 to 25",
        "0, 1, 2",
        "1,200 of 60,000 images",
        "3.0 min, 1 thread, Fine CPU |",
    ]


def test_row_of_one_seed_has_the_standard_error_over_images(folders):
    write_record(folders, wall_s=None, published=None, active_units=None)
    (row,) = rows(results_page.render_results_table([ENTRY], folders))
    assert row[1:5] == ["", "85.00 +- 0.25 (images)", "-87.00", ""]
    assert row[-1] == " |"


def test_row_names_bf16_evaluations(folders):
    write_record(folders, arithmetic="bf16-mixed")
    assert "| 85.00 +- 0.25 (images), bf16-mixed |" in results_page.render_results_table(
        [ENTRY], folders
    )
    write_record(folders, arithmetic="32-true")
    assert "| 85.00 +- 0.25 (images) |" in results_page.render_results_table([ENTRY], folders)
    entries = [ENTRY, RecordEntry("full_covariance", 3)]
    write_record(folders, entries[1], arithmetic="bf16-mixed")
    assert "| 85.00 +- 0.00 (seeds), bf16-mixed (seed 3) |" in results_page.render_results_table(
        entries, folders
    )


def test_row_names_the_gpu(folders):
    write_record(folders, machine={"gpus": ["Great GPU"]}, wall_s=90)
    assert "1.5 min, Great GPU |" in results_page.render_results_table([ENTRY], folders)


def test_row_of_an_unknown_machine_has_the_time_only(folders):
    for machine in (None, {"gpus": None}):
        write_record(folders, machine=machine, threads=None, wall_s=90)
        assert "| 1.5 min |" in results_page.render_results_table([ENTRY], folders)


def test_records_that_cannot_be_compared_are_in_separate_tables(folders):
    entries = [
        RecordEntry("iwae", 0),
        RecordEntry("parts", 0),
        RecordEntry("beta_vae", 0),
        RecordEntry("parts", 1),
    ]
    write_record(folders, entries[0])
    write_record(folders, entries[1], data="fashion_mnist", pixels="levels", bits_sha256=None)
    write_record(folders, entries[2], bits_sha256="cd" * 32)
    text = results_page.render_results_table(entries, folders)
    heads = [line for line in text.splitlines() if line.startswith("### ")]
    assert heads == [
        "### mnist, binary pixels (dynamic), bce (probability), bits abababab",
        "### fashion_mnist, levels pixels (dynamic), bce (probability)",
        "### mnist, binary pixels (dynamic), bce (probability), bits cdcdcdcd",
    ]
    evaluation = "10,000 of 10,000 test images, 5,000 importance samples"
    assert f"{evaluation}; SHA-256 of the binarized pixels: `{'ab' * 32}`." in text
    assert f"{evaluation}.\n" in text
    assert text.endswith("No record yet of these seeds: parts 1.")


@pytest.mark.parametrize("change", [{"samples": 4999}, {"images": 9_999}, {"nll": None}])
def test_incomplete_record_is_left_out(folders, change):
    write_record(folders, **change)
    assert (
        results_page.render_results_table([ENTRY], folders)
        == "No record yet of these seeds: full_covariance 0."
    )


def test_runs_outside_the_list_are_left_out(folders):
    write_record(folders, RecordEntry("iwae", 0))
    write_record(folders, RecordEntry("iwae", 7), nll=1.0)
    assert (
        rows(results_page.render_results_table([RecordEntry("iwae", 0)], folders))[0][2]
        == "85.00 +- 0.25 (images)"
    )


def test_commands_of_first_seeds_are_below_the_table(tmp_path, folders, monkeypatch):
    relative = RecordFolders(
        ROOT, folders.runs.relative_to(tmp_path), folders.results.relative_to(tmp_path)
    )
    write_record(relative, RecordEntry("iwae", 2, weights=True))
    write_record(relative, RecordEntry("iwae", 0))
    entries = [RecordEntry("iwae", 2, weights=True), RecordEntry("iwae", 0)]
    assert results_page.render_results_table(entries, relative).partition("```bash\n")[
        2
    ].splitlines() == [
        "python train.py experiment=iwae seed=2 hydra.run.dir=runs/iwae-2",
        "python scripts/evaluate.py runs/iwae-2 --parts likelihood --samples 5000 --results results"
        " --precision auto --compile",
        "python scripts/export.py runs/iwae-2 --weights --out results/iwae",
        "```",
    ]


def test_table_is_written_between_the_marks_of_a_page(tmp_path):
    path = tmp_path / "page.md"
    path.write_text(f"# A\n\n{BEGIN_MARK}old\n{END_MARK}\nafter\n")
    for _ in range(2):
        results_page.write_results_page(path, "new")
        assert path.read_text() == f"# A\n\n{BEGIN_MARK}\nnew\n\n{END_MARK}\nafter\n"
    results_page.write_results_page(tmp_path / "more" / "page.md", "new")
    assert "\nnew\n" in (tmp_path / "more" / "page.md").read_text()


@pytest.mark.parametrize(
    "text",
    [
        "",
        BEGIN_MARK,
        END_MARK,
        END_MARK + BEGIN_MARK,
    ],
)
def test_page_without_marks_is_refused(tmp_path, text):
    path = tmp_path / "page.md"
    path.write_text(text)
    with pytest.raises(
        ValueError, match=r"page\.md has no marks for the table: add a line <!-- rec"
    ):
        results_page.write_results_page(path, "new")
    assert path.read_text() == text


# The committed results


def test_results_page_has_the_table_of_the_records(monkeypatch):
    monkeypatch.chdir(ROOT)
    folders = RecordFolders(ROOT, Path("runs/record"), Path("results"))
    text = results_page.render_results_table(reproduce.read_entries(LIST, CONF), folders)
    assert f"{BEGIN_MARK}\n{text}\n\n{END_MARK}" in PAGE.read_text()


@pytest.mark.parametrize("entry", reproduce.read_entries(LIST, CONF), ids=lambda entry: entry.name)
def test_record_matches_the_present_experiment(entry):
    folders = RecordFolders(ROOT, ROOT / "none", ROOT / "results")
    if not folders.record_path(entry).is_file():
        pytest.skip("no record yet")
    reproduce.check_entry(entry, folders)
    record = records.read_record(folders.record_path(entry))
    assert records.is_complete(record)
    assert record["published"] == reproduce._compose_config(entry, folders)["published"]
    assert reproduce._has_weights(entry, folders)


# The script


def test_smoke_never_writes_to_the_results(command):
    for word in ("--results", "--page"):
        status, _ = command("scripts/reproduce.py", "--smoke", word, "x", "--list", str(LIST))
        assert "leave out --results and --page" in status


def test_unknown_experiment_is_named(command, tmp_path):
    status, _ = command("scripts/reproduce.py", "taste", "--list", str(LIST))
    assert status.startswith("error: taste is not in the list; choose from iwae_k1, ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_smoke_makes_records_once(shell, tmp_path):
    (tmp_path / "list.yaml").write_text("full_covariance: {seeds: [0, 1], weights: true}")
    words = ("--list", "list.yaml", "--smoke")
    assert "full_covariance-1 is not trained yet" in shell(
        "scripts/reproduce.py", *words, "--only", "evaluate"
    )
    output = shell("scripts/reproduce.py", *words)
    folder = tmp_path / "runs" / "smoke" / "results"
    text = (folder / "results.md").read_text()
    (row,) = rows(text)
    assert row[5:7] == ["0, 1", "1 of 4,000 images"]
    assert "100 of 500 test images, 2 importance samples" in text
    for line in block_commands(folder / "results.md"):
        assert line.removeprefix("python ") in output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["list.yaml", "runs"]
    again = shell("scripts/reproduce.py", *words)
    assert again.splitlines()[:2] == ["full_covariance-0 is done", "full_covariance-1 is done"]
    assert (folder / "results.md").read_text() == text


def test_exported_weights_are_sampled_without_a_data_set(command, train, idx, tmp_path):
    words = ("data=mnist", f"data.root={idx.root}", "data.validation=10", "data.batch_size=8")
    folder = train("model.hidden=[8]", "latent_dim=3", *words)["folder"]
    out = tmp_path / "results" / "mine"
    status, _ = command("scripts/export.py", str(folder), "--weights", "--out", str(out))
    assert (status, [path.name for path in out.iterdir()]) == (0, [weights.FILE_NAME])
    (tmp_path / "idx").rename(tmp_path / "gone")
    folder.rename(tmp_path / "no-run")
    status, _ = command("scripts/sample.py", str(out), "n=4")
    assert status == 0
    assert (out / "samples" / "prior.npz").is_file()


LONGER = (
    *("model.hidden=[16]", "latent_dim=4", "logger=csv", "~callbacks.pictures", "samples=2"),
    *("trainer.max_epochs=12", "trainer.accelerator=cpu"),
)
CALL = """
import sys
from dataclasses import replace
from pathlib import Path
from vaelab.cli import entry_point
from vaelab.reproduction import reproduce
project, *overrides = sys.argv[1:]
folders = reproduce.RecordFolders(
    Path(project), Path("runs"), Path("results"), 2, 100, tuple(overrides)
)
entry = reproduce.RecordEntry("full_covariance", 0)
entry_point.run_command(lambda: reproduce.reproduce_entry(entry, folders))
"""


@pytest.mark.slow
def test_interrupted_reproduction_resumes_bit_for_bit(tmp_path):
    line = [sys.executable, "-c", CALL, str(ROOT), *LONGER]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    for folder in (whole, stopped):
        folder.mkdir()
    subprocess.run(line, cwd=whole, check=True, capture_output=True, timeout=300)
    run = stopped / "runs" / ENTRY.name
    for stop in (signal.SIGTERM, signal.SIGINT):
        began = time.time()
        with subprocess.Popen(line, cwd=stopped, stderr=subprocess.PIPE, text=True) as process:
            wait_for_file(run / "checkpoints" / "last.ckpt", began)
            process.send_signal(stop)
            _, errors = process.communicate(timeout=60)
        assert process.returncode == 128 + stop
        assert "SIGTERM after step" in errors  # printed by the training for both signals
        assert "Traceback" not in errors
        assert not (run / "metrics.json").exists()
    done = subprocess.run(line, cwd=stopped, check=True, capture_output=True, text=True)
    assert f"train.py resume=runs/{ENTRY.name}" in done.stdout
    assert len(json.loads((run / "metrics.json").read_text())["resumed"]) == 2
    assert_same_run(run, whole / "runs" / ENTRY.name)
    resumed, uninterrupted = (
        records.read_record(each / "results" / f"{ENTRY.name}.json") for each in (stopped, whole)
    )
    for name in ("nll", "nll_se", "elbo", "weights_sha256", "epochs", "bits_sha256"):
        assert resumed[name] == uninterrupted[name]
