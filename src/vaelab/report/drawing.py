"""The composed model as boxes and arrows: x, encoder, q(z|x), z, decoder, p(x|z), and the rest."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from vaelab.report.folder import RunFolder
from vaelab.report.numbers import collapsed, format_number, format_short, sizes
from vaelab.runs import untrusted

GROUPS = {  # the config group of a box
    "encoder": "model",
    "posterior": "posterior",
    "prior": "prior",
    "decoder": "model",
    "likelihood": "loss",
    "kl": "kl",
    "objective": "objective",
}
TITLES = {
    "encoder": "encoder",
    "posterior": "posterior q(z|x)",
    "prior": "prior p(z)",
    "decoder": "decoder",
    "likelihood": "likelihood p(x|z)",
    "kl": "weight of the KL",
    "objective": "objective",
}
LETTERS = 21  # of a line in a box
LINES = 2  # of settings
OWN = ("encoder", "decoder")  # boxes that show the settings of one group, which the first has


@dataclass(frozen=True)
class Part:
    """A box: what it is, which option was taken, its settings and the number of its parameters."""

    title: str
    option: str
    settings: tuple[str, ...] = ()
    parameters: str = ""
    varied: bool = False

    @property
    def lines(self) -> list[str]:
        shown = [shortened(line) for line in self.settings[:LINES]]
        return [*shown, *([self.parameters] if self.parameters else [])]

    @property
    def whole(self) -> str:
        """What the box has no room for."""
        return "\n".join([f"{self.title}: {self.option}", *self.settings, self.parameters]).strip()


@dataclass(frozen=True)
class Model:
    """Its parts by name, without `kl` where the objective has none, and the sizes on the arrows."""

    parts: dict[str, Part]
    x: str
    encoder_outputs: str
    z: str
    decoder_outputs: str
    training: str
    collapsed: bool = False


class Place(NamedTuple):
    x: float
    y: float
    width: float
    height: float


class Label(NamedTuple):
    x: float
    y: float
    text: str
    anchor: str = "middle"


@dataclass(frozen=True)
class Layout:
    """Where boxes and arrows are; the same drawing lies on a screen and stands on a phone."""

    name: str
    width: int
    height: int
    places: dict[str, Place]
    x: tuple[float, float]
    z: tuple[float, float]
    cut: tuple[float, float]  # between z and the decoder, where collapse cuts
    arrows: dict[str, str]
    labels: dict[str, Label]


WIDE = Layout(
    "wide",
    1000,
    306,
    {
        "encoder": Place(72, 16, 160, 108),
        "posterior": Place(284, 16, 160, 108),
        "decoder": Place(606, 16, 160, 108),
        "likelihood": Place(836, 16, 160, 108),
        "kl": Place(230, 180, 160, 92),
        "prior": Place(452, 180, 160, 92),
        "objective": Place(836, 180, 160, 92),
    },
    (24, 70),
    (532, 70),
    (576, 70),
    {
        "x": "M42 70H68",
        "encoder": "M232 70H280",
        "z": "M444 70H506",
        "code": "M554 70H602",
        "decoder": "M766 70H832",
        "q": "M340 124V176",
        "p": "M452 226H394",
        "sample": "M532 180V96",
        "kl": "M310 272V292H916V276",
        "reconstruction": "M916 124V176",
    },
    {
        "encoder": Label(256, 60, "encoder_outputs"),
        "z": Label(532, 38, "z"),
        "decoder": Label(799, 60, "decoder_outputs"),
        "reconstruction": Label(908, 156, "\N{MINUS SIGN}log p(x|z)", "end"),
        "kl": Label(724, 286, "KL(q(z|x) || p(z)), weighted"),
        "x": Label(24, 110, "x"),
    },
)
TALL = Layout(
    "tall",
    374,
    742,
    {
        "encoder": Place(4, 66, 160, 108),
        "posterior": Place(4, 222, 160, 108),
        "decoder": Place(4, 444, 160, 108),
        "likelihood": Place(4, 604, 160, 108),
        "kl": Place(192, 230, 160, 92),
        "prior": Place(192, 344, 160, 92),
        "objective": Place(192, 612, 160, 92),
    },
    (84, 24),
    (84, 390),
    (84, 424),
    {
        "x": "M84 42V62",
        "encoder": "M84 174V218",
        "z": "M84 330V364",
        "code": "M84 412V440",
        "decoder": "M84 552V600",
        "q": "M164 276H188",
        "p": "M272 344V326",
        "sample": "M192 390H110",
        "kl": "M352 276H368V658H356",
        "reconstruction": "M164 658H188",
    },
    {
        "encoder": Label(92, 201, "encoder_outputs", "start"),
        "z": Label(52, 394, "z", "end"),
        "decoder": Label(92, 581, "decoder_outputs", "start"),
        "reconstruction": Label(178, 732, "\N{MINUS SIGN}log p(x|z)"),
        "kl": Label(350, 560, "KL(q(z|x) || p(z)), weighted", "end"),
        "x": Label(108, 29, "x", "start"),
    },
)
LAYOUTS = (WIDE, TALL)


def compose(run: RunFolder) -> Model | None:
    """The model of a run; None where its config is missing."""
    if not run.cfg:
        return None
    weighted = "kl" in untrusted.get_table(run.cfg, "objective")
    parts = {
        name: _part(run, name, group) for name, group in GROUPS.items() if name != "kl" or weighted
    }
    shape = run.numbers.get("shape") or untrusted.get_table(run.cfg, "data").get("shape")
    outputs, decoded = (run.numbers.get(f"{name}_outputs") for name in OWN)
    return Model(
        parts,
        sizes(shape) if shape else "",
        format_number(outputs) if outputs else "",
        str(run.cfg.get("latent_dim", "")),
        sizes(decoded) if decoded else "",
        _training(run),
        collapsed(run.numbers),
    )


def _part(run: RunFolder, name: str, group: str) -> Part:
    settings = [] if name == "decoder" else run.settings(group).items()
    count = (run.numbers.get("parameters_of") or {}).get(name)
    return Part(
        TITLES[name],
        run.options.get(group, "?"),
        tuple(f"{key} {format_short(value)}" for key, value in settings),
        f"{format_number(count)} parameter{'s' * (count != 1)}" if count else "",
    )


def _training(run: RunFolder) -> str:
    """How it is trained, in a line."""
    rate, data = run.settings("optimizer").get("lr"), run.settings("data")
    words = [
        f"{run.options.get('optimizer', '?')}, learning rate {format_short(rate)}",
        f"schedule {run.options.get('schedule', '?')}",
        f"batches of {format_short(data.get('batch_size'))} from {run.options.get('data', '?')}",
    ]
    return " · ".join(words)


def merge(models: Sequence[Model]) -> Model | None:
    """What jobs have in common, and in place of what they have not, all that they took."""
    if len(models) < 2:
        return models[0] if models else None
    names = [name for name in GROUPS if any(name in model.parts for model in models)]
    parts = {
        name: _merged([model.parts[name] for model in models if name in model.parts])
        for name in names
    }
    same: dict[str, Any] = {
        name: _either([getattr(model, name) for model in models])
        for name in ("x", "encoder_outputs", "z", "decoder_outputs")
    }
    training = dict.fromkeys(model.training for model in models)
    return Model(parts, **same, training=next(iter(training)) if len(training) == 1 else "")


def _merged(parts: list[Part]) -> Part:
    options = list(dict.fromkeys(part.option for part in parts))
    kept = [line for line in parts[0].settings if all(line in part.settings for part in parts)]
    changed = _changed(parts) if len(options) == 1 else []
    counts = list(dict.fromkeys(part.parameters for part in parts))
    merged = replace(parts[0], option=" | ".join(options), settings=(*changed, *kept))
    return replace(
        merged,
        parameters=counts[0] if len(counts) == 1 else "",
        varied=len(options) > 1 or bool(changed),
    )


def _changed(parts: list[Part]) -> list[str]:
    """The settings that differ, each with all its values."""
    values: dict[str, dict[str, None]] = {}
    for part in parts:
        for line in part.settings:
            key, _, value = line.partition(" ")
            values.setdefault(key, {})[value] = None
    return [f"{key} {' | '.join(found)}" for key, found in values.items() if len(found) > 1]


def _either(values: list[Any]) -> str:
    return shortened(" | ".join(dict.fromkeys(value for value in values if value)), 13)


def shortened(text: str, letters: int = LETTERS) -> str:
    return text if len(text) <= letters else f"{text[: letters - 1]}…"
