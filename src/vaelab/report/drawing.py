"""The model diagram of a report: x, encoder, q(z|x), z, decoder, p(x|z) and objective as boxes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from vaelab.report.folder import RunFolder
from vaelab.report.numbers import format_number, format_setting, format_shape
from vaelab.runs import untrusted
from vaelab.runs.verdicts import is_collapsed
from vaelab.runtime.language import TO_ENGLISH, Translate

GROUPS = {  # the config group of each box
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
MAX_LETTERS = 21  # of a line in a box
MAX_JOINED_LETTERS = 13  # of a size on an arrow
MAX_LINES = 2  # of settings in a box
NETWORKS = ("encoder", "decoder")  # both have the settings of `model`, shown in the encoder's box


@dataclass(frozen=True)
class DiagramPart:
    """The text of a box.

    Attributes:
        title: The role of the part in the model.
        option: The option of its config group.
        settings: Such as "channels [32, 64]".
        parameters: The number of its parameters, empty if it has none.
        varied: True if it differs among the jobs of a multirun.
    """

    title: str
    option: str
    settings: tuple[str, ...] = ()
    parameters: str = ""
    varied: bool = False

    @property
    def lines(self) -> list[str]:
        """The lines below the option, shortened to the size of the box."""
        shown = [shorten_text(line) for line in self.settings[:MAX_LINES]]
        return [*shown, *([self.parameters] if self.parameters else [])]

    @property
    def full_text(self) -> str:
        """The tooltip of the box, with all settings."""
        return "\n".join([f"{self.title}: {self.option}", *self.settings, self.parameters]).strip()


@dataclass(frozen=True)
class ModelDiagram:
    """The texts of a diagram.

    Attributes:
        parts: The boxes by name, without `kl` if the objective has no KL weight.
        x, encoder_outputs, z, decoder_outputs: The sizes on the arrows.
        training: Optimizer, schedule and batch size in one line.
        collapsed: True if the posterior has collapsed.
    """

    parts: dict[str, DiagramPart]
    x: str
    encoder_outputs: str
    z: str
    decoder_outputs: str
    training: str
    collapsed: bool = False


class DiagramBox(NamedTuple):
    """The upper left corner and the size of a box."""

    x: float
    y: float
    width: float
    height: float


class DiagramLabel(NamedTuple):
    """The position of a text; `text` may be the name of a size of the ModelDiagram."""

    x: float
    y: float
    text: str
    anchor: str = "middle"


@dataclass(frozen=True)
class DiagramLayout:
    """The positions of boxes, arrows and labels: horizontal for wide screens, vertical for phones.

    Attributes:
        boxes: The boxes by name.
        x, z: The centres of the nodes x and z.
        cut: The centre of the cross that marks posterior collapse, between z and the decoder.
        arrows: SVG paths by name.
        labels: The texts on the arrows by name.
    """

    name: str
    width: int
    height: int
    boxes: dict[str, DiagramBox]
    x: tuple[float, float]
    z: tuple[float, float]
    cut: tuple[float, float]
    arrows: dict[str, str]
    labels: dict[str, DiagramLabel]


WIDE = DiagramLayout(
    "wide",
    1000,
    306,
    {
        "encoder": DiagramBox(72, 16, 160, 108),
        "posterior": DiagramBox(284, 16, 160, 108),
        "decoder": DiagramBox(606, 16, 160, 108),
        "likelihood": DiagramBox(836, 16, 160, 108),
        "kl": DiagramBox(230, 180, 160, 92),
        "prior": DiagramBox(452, 180, 160, 92),
        "objective": DiagramBox(836, 180, 160, 92),
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
        "encoder": DiagramLabel(256, 60, "encoder_outputs"),
        "z": DiagramLabel(532, 38, "z"),
        "decoder": DiagramLabel(799, 60, "decoder_outputs"),
        "reconstruction": DiagramLabel(908, 156, "\N{MINUS SIGN}log p(x|z)", "end"),
        "kl": DiagramLabel(724, 286, "KL(q(z|x) || p(z)), weighted"),
        "x": DiagramLabel(24, 110, "x"),
    },
)
TALL = DiagramLayout(
    "tall",
    374,
    742,
    {
        "encoder": DiagramBox(4, 66, 160, 108),
        "posterior": DiagramBox(4, 222, 160, 108),
        "decoder": DiagramBox(4, 444, 160, 108),
        "likelihood": DiagramBox(4, 604, 160, 108),
        "kl": DiagramBox(192, 230, 160, 92),
        "prior": DiagramBox(192, 344, 160, 92),
        "objective": DiagramBox(192, 612, 160, 92),
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
        "encoder": DiagramLabel(92, 201, "encoder_outputs", "start"),
        "z": DiagramLabel(52, 394, "z", "end"),
        "decoder": DiagramLabel(92, 581, "decoder_outputs", "start"),
        "reconstruction": DiagramLabel(178, 732, "\N{MINUS SIGN}log p(x|z)"),
        "kl": DiagramLabel(350, 560, "KL(q(z|x) || p(z)), weighted", "end"),
        "x": DiagramLabel(108, 29, "x", "start"),
    },
)
LAYOUTS = (WIDE, TALL)


def make_model_diagram(run: RunFolder, t: Translate = TO_ENGLISH) -> ModelDiagram | None:
    """Return the diagram of a run's model, None if the config is missing."""
    if not run.cfg:
        return None
    has_kl_weight = "kl" in untrusted.get_table(run.cfg, "objective")
    parts = {
        name: _make_part(run, name, group, t)
        for name, group in GROUPS.items()
        if name != "kl" or has_kl_weight
    }
    shape = run.numbers.get("shape") or untrusted.get_table(run.cfg, "data").get("shape")
    encoder_outputs, decoder_outputs = (run.numbers.get(f"{name}_outputs") for name in NETWORKS)
    return ModelDiagram(
        parts,
        format_shape(shape) if shape else "",
        format_number(encoder_outputs) if encoder_outputs else "",
        str(run.cfg.get("latent_dim", "")),
        format_shape(decoder_outputs) if decoder_outputs else "",
        _describe_training(run, t),
        is_collapsed(run.numbers),
    )


def _make_part(run: RunFolder, name: str, group: str, t: Translate) -> DiagramPart:
    settings = [] if name == "decoder" else run.get_settings(group).items()
    count = (run.numbers.get("parameters_of") or {}).get(name)
    return DiagramPart(
        t(TITLES[name]),
        run.options.get(group, "?"),
        tuple(f"{key} {format_setting(value)}" for key, value in settings),
        t(f"{{count}} parameter{'s' * (count != 1)}", count=format_number(count)) if count else "",
    )


def _describe_training(run: RunFolder, t: Translate) -> str:
    """Describe optimizer, schedule and batches in one line."""
    lr, data = run.get_settings("optimizer").get("lr"), run.get_settings("data")
    optimizer, schedule, source = (
        run.options.get(group, "?") for group in ("optimizer", "schedule", "data")
    )
    size = format_setting(data.get("batch_size"))
    phrases = [
        t("{optimizer}, learning rate {lr}", optimizer=optimizer, lr=format_setting(lr)),
        t("schedule {schedule}", schedule=schedule),
        t("batches of {size} from {data}", size=size, data=source),
    ]
    return " · ".join(phrases)


def merge_model_diagrams(diagrams: Sequence[ModelDiagram]) -> ModelDiagram | None:
    """Merge the diagrams of several jobs; texts that differ show all their values.

    Returns:
        None if there are no diagrams.
    """
    if len(diagrams) < 2:
        return diagrams[0] if diagrams else None
    names = [name for name in GROUPS if any(name in diagram.parts for diagram in diagrams)]
    parts = {
        name: _merge_parts([diagram.parts[name] for diagram in diagrams if name in diagram.parts])
        for name in names
    }
    sizes: dict[str, Any] = {
        name: _join_distinct([getattr(diagram, name) for diagram in diagrams])
        for name in ("x", "encoder_outputs", "z", "decoder_outputs")
    }
    training = dict.fromkeys(diagram.training for diagram in diagrams)
    return ModelDiagram(parts, **sizes, training=next(iter(training)) if len(training) == 1 else "")


def _merge_parts(parts: list[DiagramPart]) -> DiagramPart:
    options = list(dict.fromkeys(part.option for part in parts))
    common = [line for line in parts[0].settings if all(line in part.settings for part in parts)]
    changed = _list_changed_settings(parts) if len(options) == 1 else []
    parameters = list(dict.fromkeys(part.parameters for part in parts))
    return replace(
        parts[0],
        option=" | ".join(options),
        settings=(*changed, *common),
        parameters=parameters[0] if len(parameters) == 1 else "",
        varied=len(options) > 1 or bool(changed),
    )


def _list_changed_settings(parts: list[DiagramPart]) -> list[str]:
    """Return the settings that differ, each with all its values: "beta 4 | 0.5"."""
    values: dict[str, dict[str, None]] = {}
    for part in parts:
        for line in part.settings:
            key, _, value = line.partition(" ")
            values.setdefault(key, {})[value] = None
    return [
        f"{key} {' | '.join(distinct)}" for key, distinct in values.items() if len(distinct) > 1
    ]


def _join_distinct(values: list[str]) -> str:
    distinct = dict.fromkeys(value for value in values if value)
    return shorten_text(" | ".join(distinct), MAX_JOINED_LETTERS)


def shorten_text(text: str, letters: int = MAX_LETTERS) -> str:
    """Cut a text to at most `letters` letters, the last one an ellipsis."""
    return text if len(text) <= letters else f"{text[: letters - 1]}…"
