"""What a template file may contain: one pydantic model per kind of file.

The schema checks keys and types; what the values mean together is checked when they are composed.
"""

from __future__ import annotations

import types
import typing
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError

from .errors import TemplateError, brief, suggest

__all__ = [
    "KINDS",
    "LOSS_TIMES",
    "MechanismFile",
    "ModelFile",
    "NetworkFile",
    "NeuronFile",
    "SynapseFile",
    "TemplateFile",
    "against",
    "validate",
]

# a larger whole number is none that can be computed with
Number = Annotated[int, Field(ge=-(2**63), lt=2**63)] | float
Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]


class Table(BaseModel):
    """A TOML table without room for unknown keys; values are taken as they are written, not converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ParameterTable(Table):
    """A constant: its default with a unit, that unit's base unit, and what it means.

    `positive` is whether it must be more than 0; left out, that holds for what is in seconds with such a default.
    `scale` is what a typical value would be, where the default is 0 and doesn't say.
    """

    default: str | Number
    unit: Text
    description: Text
    positive: bool | None = None
    scale: str | Number | None = None


class StateTable(Table):
    """What the equations leave open about a state variable.

    `scale` is how far the variable typically moves (``"15*mV"``); mechanisms size their defaults by it.
    """

    initial: str | Number = "0"
    description: str = ""
    scale: str | Number | None = None


class InputTable(Table):
    """What synapses and mechanisms drive: the sum of their contributions."""

    unit: Text
    description: Text
    scale: str | Number | None = None


class WeightTable(Table):
    """The weight that an arriving spike carries."""

    name: Text = "w"
    unit: Text
    description: str = ""


class DerivedTable(Table):
    """A named expression of parameters, with its base unit and what it means."""

    value: str | Number
    unit: Text
    description: Text


class ComponentFile(Table):
    """What the three kinds of components have in common."""

    title: Text
    description: Text
    references: list[str] = []
    equations: str = ""
    states: dict[str, StateTable] = {}
    parameters: dict[str, ParameterTable] = {}
    derived: dict[str, DerivedTable] = {}
    functions: dict[str, Text] = {}
    constraints: list[Text] = []


class RefractoryTable(Table):
    """What happens after a spike: for how long no other, and which states are held, for as long or for another time."""

    duration: Text
    hold: list[Text]
    hold_duration: Text | None = None
    arrivals: Literal["ignore", "apply"] = "ignore"


class AccuracyTable(Table):
    """How far results may be from the continuous system's, at the default tolerance of a simulation."""

    spike_times: Text
    gradient: Annotated[float, Field(gt=0, lt=1)]


class PseudospikeTable(Table):
    """When a neuron would spike next if from the end of the trial on an input were constant, as an expression."""

    input: Text
    drive: str | Number
    time: Text
    constraints: list[Text] = []


class NeuronFile(ComponentFile):
    """A neuron: equations, inputs, and, if it spikes, threshold and reset (an empty list if a spike resets nothing)."""

    kind: Literal["neuron"]
    equations: Text
    inputs: dict[str, InputTable] = {}
    threshold: str | None = None
    reset: str | list[str] | None = None
    refractory: RefractoryTable | None = None
    default_synapse: str | None = None
    accuracy: AccuracyTable | None = None
    pseudospike: PseudospikeTable | None = None


class SynapseAdditions(Table):
    """What a synapse adds to the neuron."""

    inputs: dict[str, str] = {}


class SourceTable(Table):
    """States that every source neuron has, and what its spikes do to them and to their own amplitude."""

    equations: Text
    on_pre: str | list[str]
    states: dict[str, StateTable] = {}


class SynapseFile(ComponentFile):
    """A synapse: what an arriving spike does, and what that drives."""

    kind: Literal["synapse"]
    on_pre: str | list[str]
    weight: WeightTable
    source: SourceTable | None = None
    add: SynapseAdditions = SynapseAdditions()


class MechanismAdditions(SynapseAdditions):
    """What a mechanism adds: terms to inputs, derivatives and threshold, statements at the end of the reset."""

    derivatives: dict[str, str] = {}
    threshold: str | None = None
    reset: str | list[str] = []


class MechanismReplacements(Table):
    """What a mechanism replaces."""

    threshold: str | None = None
    reset: str | list[str] | None = None
    initial: dict[str, str | Number] = {}


class MechanismFile(ComponentFile):
    """A mechanism: what it adds to a neuron or replaces in it."""

    kind: Literal["mechanism"]
    requires: list[str] = []
    add: MechanismAdditions = MechanismAdditions()
    replace: MechanismReplacements = MechanismReplacements()
    refractory: RefractoryTable | None = None


class ModelFile(Table):
    """A whole model: a composition, with other defaults of its parameters and templates of its own."""

    kind: Literal["model"]
    title: Text
    description: Text
    references: list[str] = []
    model: str | list[str]
    parameters: dict[str, str | Number] = {}
    components: dict[str, dict[str, Any]] = {}


class SpikeInputTable(Table):
    """Sources of input spikes."""

    kind: Literal["spikes"] = "spikes"
    n: Count


class DrawTable(Table):
    """A number for each neuron, drawn: `mean` and `std` of a normal distribution, `low` and `high` of a uniform one."""

    distribution: Literal["normal", "uniform"]
    mean: str | Number | None = None
    std: str | Number | None = None
    low: str | Number | None = None
    high: str | Number | None = None


class ArrayTable(Table):
    """A file of numbers in SI units, and which of its arrays where it is an archive."""

    file: Text
    array: Text | None = None


def _way(value: Any) -> str:
    if isinstance(value, ArrayTable) or (isinstance(value, dict) and "file" in value):
        return "array of a file"
    if isinstance(value, dict | DrawTable):
        return "drawn values"
    return "values of neurons" if isinstance(value, list) else "one value"


# one number for all neurons, one for each in a list or a file, or how they are drawn; an error is then about what was
# meant
ParameterEntry = Annotated[
    Annotated[str | Number, Tag("one value")]
    | Annotated[list[str | Number], Tag("values of neurons")]
    | Annotated[DrawTable, Tag("drawn values")]
    | Annotated[ArrayTable, Tag("array of a file")],
    Discriminator(_way),
]


class CurrentInputTable(Table):
    """Channels of sampled currents."""

    kind: Literal["current"]
    n: Count
    interval: str | Number
    interpolation: Literal["hold", "linear"] = "hold"
    start: str | Number = 0
    unit: Text = "1"


def _kind_of_input(value: Any) -> str:
    kind = value.get("kind", "spikes") if isinstance(value, dict) else getattr(value, "kind", "spikes")
    return "spikes" if kind == "spikes" else "current"


NetworkInput = Annotated[
    Annotated[SpikeInputTable, Tag("spikes")] | Annotated[CurrentInputTable, Tag("current")],
    Discriminator(_kind_of_input),
]


class PopulationTable(Table):
    """A population: a composition of components, how many, and its own parameter values."""

    model: str | list[str]
    n: Count
    parameters: dict[str, ParameterEntry] = {}
    learnable: list[str] = []


class ValuesTable(Table):
    """A number for each connection: drawn (`distribution`), equal (`value`), given (`matrix`), or read (`file`)."""

    distribution: Literal["normal", "uniform"] | None = None
    mean: str | Number | None = None
    std: str | Number | None = None
    low: str | Number | None = None
    high: str | Number | None = None
    value: str | Number | None = None
    matrix: list[list[Number]] | None = None
    file: Text | None = None
    array: Text | None = None


class MaskTable(Table):
    """Connections that exist: each with a `probability`, or those that are true in a `file`."""

    probability: Annotated[Number, Field(gt=0, le=1)] | None = None
    file: Text | None = None
    array: Text | None = None


# one number for all connections, or a table as for weights; an error is then about the one that was meant
DelayEntry = Annotated[
    Annotated[str | Number, Tag("one delay")] | Annotated[ValuesTable, Tag("table of delays")],
    Discriminator(lambda value: "table of delays" if isinstance(value, dict | ValuesTable) else "one delay"),
]


class ProjectionTable(Table):
    """A projection between two populations, or from an input; from a current to an `input` instead of a receptor."""

    source: Text
    target: Text
    name: Text | None = None
    receptor: Text | None = None
    input: Text | None = None
    weights: ValuesTable
    mask: MaskTable | None = None
    delay: DelayEntry | None = None
    learnable: bool | list[str] = True


class EncodingTable(Table):
    """How samples become input spikes: a function of `snnmodels.datasets`, its longest latency, input dropout."""

    code: Literal["yin_yang_latency", "image_latency"]
    longest: str | Number
    dropout: Annotated[Number, Field(ge=0, lt=1)] = 0


class PseudospikesTable(Table):
    """What stands in for spikes that are missing; see `snnmodels.losses.Pseudospikes`."""

    drive: str | Number | None = None
    spikes: Count | None = None


# whether there are any, or what they are made with; an error is then about what was meant
PseudospikesEntry = Annotated[
    Annotated[bool, Tag("true or false")] | Annotated[PseudospikesTable, Tag("table of pseudospikes")],
    Discriminator(
        lambda value: "table of pseudospikes" if isinstance(value, dict | PseudospikesTable) else "true or false"
    ),
]


LOSS_TIMES = ("interval", "tau", "tau0", "tau1", "missing", "width", "end")
"""Options of losses that are times."""


class LossTable(Table):
    """A term of a loss: its kind, or an expression, and what that kind takes; see `snnmodels.losses.loss_of`."""

    kind: Literal[
        "expression",
        "ttfs_cross_entropy",
        "max_voltage_cross_entropy",
        "spike_time_error",
        "voltage_error",
        "van_rossum_distance",
        "interval_error",
        "count_error",
        "activity_price",
    ] = "expression"
    factor: Number = 1
    population: Text | None = None
    expression: Text | None = None
    constants: dict[str, str | Number | list[Number]] | None = None
    targets: dict[str, Text] | None = None
    score: Text | None = None
    variable: Text | None = None
    surrogate: Text | None = None
    skip: Annotated[int, Field(ge=0)] | None = None
    interval: str | Number | None = None
    tau: str | Number | None = None
    tau0: str | Number | None = None
    tau1: str | Number | None = None
    missing: str | Number | None = None
    width: str | Number | None = None
    end: str | Number | None = None
    per: str | Number | None = None
    scale: str | Number | None = None
    alpha: str | Number | None = None
    price: str | Number | None = None
    pseudospikes: PseudospikesEntry | None = None


# one table, or several that add up; an error is then about what was meant
LossEntry = Annotated[
    Annotated[LossTable, Tag("one loss")] | Annotated[list[LossTable], Tag("several losses")],
    Discriminator(lambda value: "several losses" if isinstance(value, list) else "one loss"),
]


class NetworkFile(Table):
    """A network; `components` are templates of its own, which its populations name as those of the library."""

    kind: Literal["network"]
    name: Text | None = None
    title: Text
    description: Text
    references: list[str] = []
    duration: str | Number
    output: Text
    seed: Annotated[int, Field(ge=0)] = 0
    encoding: EncodingTable | None = None
    loss: LossEntry | None = None
    inputs: dict[str, NetworkInput]
    populations: dict[str, PopulationTable]
    projections: list[ProjectionTable]
    components: dict[str, dict[str, Any]] = {}


TemplateFile = NeuronFile | SynapseFile | MechanismFile | ModelFile | NetworkFile
KINDS: dict[str, type[TemplateFile]] = {
    "neuron": NeuronFile,
    "synapse": SynapseFile,
    "mechanism": MechanismFile,
    "model": ModelFile,
    "network": NetworkFile,
}


def validate(data: dict[str, Any], file: str) -> TemplateFile:
    """Check a TOML document against the schema of its kind.

    Parameters
    ----------
    data : dict
        The document.
    file : str
        Its name, for messages.

    Raises
    ------
    TemplateError
        For an unknown kind, and the first unknown, missing or ill-typed key.
    """
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        found = "is missing" if kind is None else f"is {kind!r}"
        raise TemplateError(file, "kind", f"{found}; expected one of {', '.join(KINDS)}")
    return against(KINDS[kind], data, file)


def against[Schema: BaseModel](schema: type[Schema], data: dict[str, Any], file: str) -> Schema:
    """Check a document against one schema.

    Parameters
    ----------
    schema : type
        A pydantic model.
    data : dict
    file : str
        Its name, for messages.

    Raises
    ------
    TemplateError
        For the first unknown, missing or ill-typed key.
    """
    try:
        return schema.model_validate(data)
    except ValidationError as error:
        # an unknown key before a missing one: the latter may be the former, misspelt
        errors = sorted(error.errors(include_url=False), key=lambda e: e["type"] != "extra_forbidden")
    location = _location(errors[0], data)
    same = [e for e in errors if _location(e, data) == location]
    raise TemplateError(file, ".".join(location), _explain(same, schema, location))


def _location(error: Any, data: Any) -> list[str]:
    """The keys that lead to an error; what is no key of the document may be the branch of a union."""
    keys = []
    for part in error["loc"]:
        found = part in data if isinstance(data, dict) else isinstance(data, list) and isinstance(part, int)
        data = data[part] if found else data
        if found or str(part) not in _UNION_BRANCHES:
            keys.append(str(part))
    return keys


# pydantic adds the branch of a union that it tried to the location of an error
_UNION_BRANCHES = {
    *("str", "int", "float", "bool", "list[str]", "list[union[str,int,float]]"),
    *("one delay", "table of delays", "one value", "values of neurons", "drawn values", "array of a file"),
    *("spikes", "current"),
    *("table of a parameter", "expression", "table of a cost"),
    *("one loss", "several losses", "list[union[int,float]]", "true or false", "table of pseudospikes"),
}


def _explain(errors: list[Any], schema: type[BaseModel], location: list[str]) -> str:
    """What is wrong at one location; there is one error for every type that it could have had."""
    first = errors[0]
    if first["type"] == "missing":
        return "is missing"
    if first["type"] == "extra_forbidden":
        if location[-1] == "on_post":  # of Brian2's synapses
            return "a synapse that changes while it runs has no gradient; leave plasticity out, and learn its weights"
        fields = set(_table_at(schema, location[:-1]).model_fields)
        return f"unknown key; {suggest(location[-1], fields)}"
    messages = (_wanted(e) for e in errors)
    return f"expected {' or '.join(dict.fromkeys(messages))}, got {brief(first['input'])}"


def _wanted(error: Any) -> str:
    """What pydantic wants, in the words of TOML."""
    message = error["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    if error["type"] in ("model_type", "model_attributes_type", "dict_type"):
        name = error.get("ctx", {}).get("class_name")
        return f"a table such as {_EXAMPLES[name]}" if name in _EXAMPLES else "a table"
    if error["type"] in ("greater_than", "greater_than_equal", "less_than", "less_than_equal"):
        return f"a number {message}"
    return message


# Tables that are easily taken for what stands in them
_EXAMPLES = {
    "ValuesTable": "{ value = 0.5 }",
    "SpikeInputTable": "{ n = 10 }",
    "MaskTable": "{ probability = 0.1 }",
    "PopulationTable": '{ model = "lif+exp_synapse", n = 10 }',
}


def _table_at(schema: type[BaseModel], location: list[str]) -> type[BaseModel]:
    """The table of the schema at a path of keys; keys of dictionaries and indices of lists have no field."""
    for key in location:
        if key in schema.model_fields:
            tables = [t for t in _leaves(schema.model_fields[key].annotation) if issubclass(t, BaseModel)]
            schema = tables[0] if tables else schema
    return schema


def _leaves(annotation: Any) -> list[type]:
    origin = typing.get_origin(annotation)
    if origin in (dict, list, typing.Union, types.UnionType):
        return [leaf for argument in typing.get_args(annotation) for leaf in _leaves(argument)]
    if origin is Annotated:
        return _leaves(typing.get_args(annotation)[0])
    return [annotation] if isinstance(annotation, type) else []
