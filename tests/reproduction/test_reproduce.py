"""scripts/reproduce.py: the list, what is done of it and what not, and the table of its records."""

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
from test_resume import _wait_for as wait_for
from test_resume import assert_same

from vaelab.reproduction import records, reproduce, results_page
from vaelab.reproduction.reproduce import RecordEntry, RecordFolders
from vaelab.runs import metrics_file, weights
from vaelab.runs.run import Run
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
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return RecordFolders(ROOT, tmp_path / "runs", tmp_path / "results")


@pytest.fixture
def called(monkeypatch):
    """The commands that would have been run; the record is in its place after an evaluation."""
    found = []

    def call(line, place):
        found.append(line)
        if line[0] == "scripts/evaluate.py":
            keep(place)

    monkeypatch.setattr(reproduce, "_run_command", call)
    return found


def keep(place, entry=ENTRY, **values):
    """A record in its place, by default one that is whole and of the experiment as it is now."""
    cfg = reproduce._compose_config(entry, place)
    said = RECORD | {"experiment": entry.experiment, "seed": entry.seed, "config": cfg} | values
    place.results.mkdir(exist_ok=True)
    metrics_file.write_numbers(said, place.record(entry))


def begin(place, entry=ENTRY, *words):
    """The folder of a run, as Hydra leaves it before the first step."""
    folder = place.run(entry) / ".hydra"
    folder.mkdir(parents=True)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        OmegaConf.save(compose("train", [*place.chosen(entry), *words]), folder / "config.yaml")
    OmegaConf.save({"hydra": {}}, folder / "hydra.yaml")
    return folder.parent


# The list


def test_a_list_gives_its_runs_in_order_and_keeps_the_weights_of_first_seeds(tmp_path):
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
        ("taste: {seeds: [0]}", r"taste is no experiment; choose from aae, .*, warmup"),
        ("iwae: [0, 1]", r"iwae is \[0, 1\], but must be like \{seeds: \[0, 1\]"),
        ("iwae: {weights: true}", "but must be like"),
        ("iwae: {seeds: []}", "but must be like"),
        ("iwae: {seeds: [0, 0]}", "but must be like"),
        ("iwae: {seeds: [-1]}", "but must be like"),
        ("iwae: {seeds: 0}", "but must be like"),
        ("iwae: {seeds: [0], weight: true}", "but must be like"),
        ("iwae: {seeds: [0], weights: 1}", "but must be like"),
        ("iwae: {seeds: [0], train: [latent_dim=3]}", "but must be like"),
        ("- iwae", "is no config"),
        ("iwae: {", "is damaged"),
    ],
)
def test_a_list_of_another_form_is_refused(tmp_path, text, message):
    (tmp_path / "list.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        reproduce.read_entries(tmp_path / "list.yaml", CONF)


def test_some_of_a_list_are_chosen_and_what_is_not_in_it_is_named():
    listed = [RecordEntry("iwae", 0), RecordEntry("parts", 0), RecordEntry("parts", 1)]
    assert reproduce.select_entries(listed, []) == listed
    assert reproduce.select_entries(listed, ["parts"]) == listed[1:]
    with pytest.raises(ValueError, match=r"^taste is not in the list; choose from iwae, parts$"):
        reproduce.select_entries(listed, ["parts", "taste"])


# What is done of it


def test_a_run_is_trained_and_evaluated_by_commands(place, called):
    reproduce.reproduce_entry(ENTRY, place)
    folder = f"{place.runs}/full_covariance-0"
    asked = ["--parts", "likelihood", "--samples", "5000", "--results", str(place.results)]
    assert called == [
        ["train.py", "experiment=full_covariance", "seed=0", f"hydra.run.dir={folder}"],
        ["scripts/evaluate.py", folder, *asked, "--precision", "auto", "--compile"],
    ]


def test_what_is_done_is_not_done_again(place, called, capsys):
    keep(place)
    reproduce.reproduce_entry(ENTRY, place)
    assert called == []
    assert "full_covariance-0 is done" in capsys.readouterr().out


@pytest.mark.parametrize("less", [{"samples": 4999}, {"images": 9_999}, {"split": "val"}], ids=str)
def test_a_record_of_less_is_evaluated_again(place, called, less):
    begin(place).joinpath("metrics.json").write_text("{}")
    keep(place, **less)
    reproduce.reproduce_entry(ENTRY, place)
    assert [line[0] for line in called] == ["scripts/evaluate.py"]


def test_a_training_that_was_begun_goes_on(place, called):
    folder = begin(place)
    reproduce.reproduce_entry(ENTRY, place, only="train")
    assert called == [["train.py", f"resume={folder}"]]


@pytest.mark.parametrize("only", ["train", "evaluate"])
def test_training_and_evaluation_have_sittings_of_their_own(place, called, only):
    reproduce.reproduce_entry(ENTRY, place, only)
    assert [line[0] for line in called] == {"train": ["train.py"], "evaluate": []}[only]
    begin(place).joinpath("metrics.json").write_text("{}")
    called.clear()
    reproduce.reproduce_entry(ENTRY, place, only)
    assert [line[0] for line in called] == {"train": [], "evaluate": ["scripts/evaluate.py"]}[only]


def test_weights_are_kept_unless_they_are_those_of_the_record(place, called, train):
    entry = RecordEntry("full_covariance", 0, weights=True)
    run = Run.open(train("model.hidden=[8]", "latent_dim=3")["folder"], with_data=False)
    keep(place, weights_sha256=hash_weights(run.vae.state_dict()))
    begin(place).joinpath("metrics.json").write_text("{}")
    out = place.results / "full_covariance"
    line = ["scripts/export.py", str(place.run(entry)), "--weights", "--out", str(out)]
    reproduce.reproduce_entry(entry, place)
    assert called == [line]
    run.save(out / weights.FILE_NAME)
    reproduce.reproduce_entry(entry, place)
    assert called == [line]
    keep(place, weights_sha256="another")
    reproduce.reproduce_entry(entry, place)
    assert called == [line, line]


def test_what_is_of_the_experiment_as_it_was_is_refused_with_what_to_remove(place):
    reproduce.check_entry(ENTRY, place)  # there is nothing yet
    folder = begin(place, ENTRY, "optimizer.lr=0.5")
    with pytest.raises(ValueError, match=r"optimizer\.lr was 0\.5, is 0\.001") as refused:
        reproduce.check_entry(ENTRY, place)
    assert f"remove {folder} to do it anew" in str(refused.value)
    keep(place, config=reproduce._compose_config(ENTRY, place) | {"latent_dim": 3})
    with pytest.raises(ValueError, match="has changed since") as refused:
        reproduce.check_entry(ENTRY, place)
    assert f"remove {folder} and {place.record(ENTRY)} to do it anew" in str(refused.value)


def test_what_trains_nothing_may_change_and_so_may_a_key_that_came_with_null(place):
    begin(place, ENTRY, "logger=none", "published={value: 1, source: a}")
    cfg = reproduce._compose_config(ENTRY, place) | {"more": None}
    assert cfg.pop("start") is None
    keep(place, config=cfg)
    reproduce.check_entry(ENTRY, place)
    keep(place, config=cfg | {"more": False})
    with pytest.raises(ValueError, match="more was False, is None"):
        reproduce.check_entry(ENTRY, place)


def test_processes_that_share_a_training_are_a_change(place):
    """Batch normalization sees the share of one."""
    keep(place, config=reproduce._compose_config(ENTRY, replace(place, words=("trainer=ddp",))))
    with pytest.raises(ValueError, match=r"trainer\.devices was 2, is 1"):
        reproduce.check_entry(ENTRY, place)


def test_a_corrected_figure_of_a_paper_goes_into_the_record(place, called):
    entry = RecordEntry("iwae", 0)
    keep(place, entry, published={"value": 1, "source": "a misprint"})
    reproduce.check_entry(entry, place)
    reproduce.reproduce_entry(entry, place)
    now = OmegaConf.to_container(OmegaConf.load(CONF / "experiment" / "iwae.yaml").published)
    assert records.read_record(place.record(entry))["published"] == now
    assert called == []


def test_a_command_that_fails_ends_it_in_one_line(place, capfd):
    with pytest.raises(ValueError, match=r"train\.py token=taste ended with status 1, see above$"):
        reproduce._run_command(["train.py", "token=taste"], place)
    printed = capfd.readouterr()
    assert printed.out.endswith("train.py token=taste\n")
    assert printed.err.startswith("error: token: the run folder keeps the command")


# The table


def rows(text):
    return [line.split(" | ") for line in text.splitlines() if line.startswith("| `")]


def test_a_row_is_the_mean_over_seeds_with_its_standard_error(place):
    listed = [RecordEntry("iwae", seed) for seed in (0, 1, 2)]
    for entry, nll, units in zip(listed, (85.0, 85.3, 85.9), (25, 24, 25), strict=True):
        keep(place, entry, nll=nll, elbo=-nll - 2, active_units=units, wall_s=60 * (entry.seed + 1))
    (row,) = rows(results_page.render_results_table(listed, place))
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


def test_of_one_seed_it_is_that_over_the_images(place):
    keep(place, wall_s=None, published=None, active_units=None)
    (row,) = rows(results_page.render_results_table([ENTRY], place))
    assert row[1:5] == ["", "85.00 +- 0.25 (images)", "-87.00", ""]
    assert row[-1] == " |"


def test_an_evaluation_of_fewer_bits_says_so(place):
    keep(place, arithmetic="bf16-mixed")
    assert "| 85.00 +- 0.25 (images), bf16-mixed |" in results_page.render_results_table(
        [ENTRY], place
    )
    keep(place, arithmetic="32-true")
    assert "| 85.00 +- 0.25 (images) |" in results_page.render_results_table([ENTRY], place)
    listed = [ENTRY, RecordEntry("full_covariance", 3)]
    keep(place, listed[1], arithmetic="bf16-mixed")
    assert "| 85.00 +- 0.00 (seeds), bf16-mixed (seed 3) |" in results_page.render_results_table(
        listed, place
    )


def test_a_training_on_a_gpu_names_it(place):
    keep(place, machine={"gpus": ["Great GPU"]}, wall_s=90)
    assert "1.5 min, Great GPU |" in results_page.render_results_table([ENTRY], place)


def test_of_an_unknown_machine_there_is_the_time_alone(place):
    for machine in (None, {"gpus": None}):
        keep(place, machine=machine, threads=None, wall_s=90)
        assert "| 1.5 min |" in results_page.render_results_table([ENTRY], place)


def test_what_cannot_be_compared_stands_in_tables_of_its_own(place):
    listed = [
        RecordEntry("iwae", 0),
        RecordEntry("parts", 0),
        RecordEntry("beta_vae", 0),
        RecordEntry("parts", 1),
    ]
    keep(place, listed[0])
    keep(place, listed[1], data="fashion_mnist", pixels="levels", bits_sha256=None)
    keep(place, listed[2], bits_sha256="cd" * 32)
    text = results_page.render_results_table(listed, place)
    heads = [line for line in text.splitlines() if line.startswith("### ")]
    assert heads == [
        "### mnist, binary pixels (dynamic), bce (probability), bits abababab",
        "### fashion_mnist, levels pixels (dynamic), bce (probability)",
        "### mnist, binary pixels (dynamic), bce (probability), bits cdcdcdcd",
    ]
    of = "10,000 of 10,000 test images, 5,000 samples of the bound"
    assert f"{of}; SHA-256 of their bits: `{'ab' * 32}`." in text
    assert f"{of}.\n" in text
    assert text.endswith("No record yet of these seeds: parts 1.")


@pytest.mark.parametrize("less", [{"samples": 4999}, {"images": 9_999}, {"nll": None}])
def test_a_record_that_is_not_whole_stays_out(place, less):
    keep(place, **less)
    assert (
        results_page.render_results_table([ENTRY], place)
        == "No record yet of these seeds: full_covariance 0."
    )


def test_runs_that_are_not_in_the_list_stay_out(place):
    keep(place, RecordEntry("iwae", 0))
    keep(place, RecordEntry("iwae", 7), nll=1.0)
    assert (
        rows(results_page.render_results_table([RecordEntry("iwae", 0)], place))[0][2]
        == "85.00 +- 0.25 (images)"
    )


def test_below_a_table_are_the_commands_of_the_first_seeds(tmp_path, place, monkeypatch):
    relative = RecordFolders(
        ROOT, place.runs.relative_to(tmp_path), place.results.relative_to(tmp_path)
    )
    keep(relative, RecordEntry("iwae", 2, weights=True))
    keep(relative, RecordEntry("iwae", 0))
    listed = [RecordEntry("iwae", 2, weights=True), RecordEntry("iwae", 0)]
    assert results_page.render_results_table(listed, relative).partition("```bash\n")[
        2
    ].splitlines() == [
        "python train.py experiment=iwae seed=2 hydra.run.dir=runs/iwae-2",
        "python scripts/evaluate.py runs/iwae-2 --parts likelihood --samples 5000 --results results"
        " --precision auto --compile",
        "python scripts/export.py runs/iwae-2 --weights --out results/iwae",
        "```",
    ]


def test_the_table_goes_between_the_marks_of_a_page(tmp_path):
    path = tmp_path / "page.md"
    path.write_text(f"# A\n\n{results_page.BEGIN_MARK}old\n{results_page.END_MARK}\nafter\n")
    for _ in range(2):
        results_page.write_results_page(path, "new")
        assert (
            path.read_text() == f"# A\n\n{results_page.BEGIN_MARK}\nnew\n\n{results_page.END_MARK}\nafter\n"
        )
    results_page.write_results_page(tmp_path / "more" / "page.md", "new")
    assert "\nnew\n" in (tmp_path / "more" / "page.md").read_text()


@pytest.mark.parametrize(
    "text", ["", results_page.BEGIN_MARK, results_page.END_MARK, results_page.END_MARK + results_page.BEGIN_MARK]
)
def test_a_page_without_the_marks_is_left_alone(tmp_path, text):
    path = tmp_path / "page.md"
    path.write_text(text)
    with pytest.raises(
        ValueError, match=r"page\.md has no place for the table: put a line <!-- rec"
    ):
        results_page.write_results_page(path, "new")
    assert path.read_text() == text


# The record as it is


def test_the_page_has_the_table_of_the_records(monkeypatch):
    monkeypatch.chdir(ROOT)
    place = RecordFolders(ROOT, Path("runs/record"), Path("results"))
    text = results_page.render_results_table(reproduce.read_entries(LIST, CONF), place)
    assert f"{results_page.BEGIN_MARK}\n{text}\n\n{results_page.END_MARK}" in PAGE.read_text()


@pytest.mark.parametrize("entry", reproduce.read_entries(LIST, CONF), ids=lambda entry: entry.name)
def test_a_record_is_of_the_experiment_as_it_is_now(entry):
    place = RecordFolders(ROOT, ROOT / "none", ROOT / "results")
    if not place.record(entry).is_file():
        pytest.skip("there is no record yet")
    reproduce.check_entry(entry, place)
    found = records.read_record(place.record(entry))
    assert records.is_complete(found)
    assert found["published"] == reproduce._compose_config(entry, place)["published"]
    assert reproduce._has_weights(entry, place)


# By the command


def test_smoke_never_writes_to_the_record(command):
    for word in ("--results", "--page"):
        status, _ = command("scripts/reproduce.py", "--smoke", word, "x", "--list", str(LIST))
        assert "leave out --results and --page" in status


def test_an_experiment_that_is_not_there_is_named(command, tmp_path):
    status, _ = command("scripts/reproduce.py", "taste", "--list", str(LIST))
    assert status.startswith("error: taste is not in the list; choose from iwae_k1, ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_smoke_makes_a_record_and_is_then_done(shell, tmp_path):
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
    assert "100 of 500 test images, 2 samples of the bound" in text
    for line in block_commands(folder / "results.md"):
        assert line.removeprefix("python ") in output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["list.yaml", "runs"]
    again = shell("scripts/reproduce.py", *words)
    assert again.splitlines()[:2] == ["full_covariance-0 is done", "full_covariance-1 is done"]
    assert (folder / "results.md").read_text() == text


def test_kept_weights_are_sampled_without_a_data_set(command, train, idx, tmp_path):
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
from vaelab import command, reproduce
place = reproduce.Place(Path(sys.argv[1]), Path("runs"), Path("results"), 2, 100, sys.argv[2:])
command.run(lambda: reproduce.reproduce(reproduce.Entry("full_covariance", 0), place))
"""


@pytest.mark.slow
def test_stopped_in_a_training_it_goes_on_to_the_same_bits(tmp_path):
    line = [sys.executable, "-c", CALL, str(ROOT), *LONGER]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    for folder in (whole, stopped):
        folder.mkdir()
    subprocess.run(line, cwd=whole, check=True, capture_output=True, timeout=300)
    run = stopped / "runs" / ENTRY.name
    for stop in (signal.SIGTERM, signal.SIGINT):
        began = time.time()
        with subprocess.Popen(line, cwd=stopped, stderr=subprocess.PIPE, text=True) as process:
            wait_for(run / "checkpoints" / "last.ckpt", began)
            process.send_signal(stop)
            _, errors = process.communicate(timeout=60)
        assert process.returncode == 128 + stop
        assert "SIGTERM after step" in errors  # as the training tells it, whatever has stopped this
        assert "Traceback" not in errors
        assert not (run / "metrics.json").exists()
    done = subprocess.run(line, cwd=stopped, check=True, capture_output=True, text=True)
    assert f"train.py resume=runs/{ENTRY.name}" in done.stdout
    assert len(json.loads((run / "metrics.json").read_text())["resumed"]) == 2
    assert_same(run, whole / "runs" / ENTRY.name)
    ours, theirs = (
        records.read_record(each / "results" / f"{ENTRY.name}.json") for each in (stopped, whole)
    )
    for name in ("nll", "nll_se", "elbo", "weights_sha256", "epochs", "bits_sha256"):
        assert ours[name] == theirs[name]
