"""From component files to one model: a neuron, its synapses, and the mechanisms that extend it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ._check import check_composition, check_defaults, check_used
from ._component import IDLE, Component, Context, read_component
from ._merge import Merged, merge
from .arguments import check_kind
from .errors import TemplateError, located, suggest
from .expressions import add_term, free_names, is_name, substitute
from .library import find, read_toml
from .model import DRIVE, Assignment, Document, Input, Model, Parameter
from .schema import MechanismFile, ModelFile, NetworkFile, NeuronFile, SynapseFile, validate

__all__ = ["as_model", "component", "compose_model", "load_components", "load_model"]

_ORDER = ("neuron", "synapse", "mechanism")
_NO_COMPONENT = "is no component; expected neuron, synapse or mechanism"


def load_model(*components: str | Path, name: str | None = None) -> Model:
    """Compose a model from files of the library or of the user's own.

    Exactly one component is a neuron; synapses and mechanisms follow in any number. Without a synapse, the neuron's
    own `default_synapse` is taken. ``"exp_synapse:inh"`` is the same synapse under the receptor name ``inh``, its
    variables ending in ``_inh``, so that a model may have several of a kind; so it is with mechanisms
    (``"adaptive_threshold:slow"``). An instance of a mechanism that extends another extends the instance of the same
    name, if there is one.

    Rules of composition:

    * An input of the neuron (``I_syn``) is the sum of what synapses and mechanisms add to it. One that nothing
      drives becomes a parameter with default 0, to be set for a constant drive.
    * Two files may declare the same variable only if they agree on it: equation, unit and initial value of a state,
      unit and default of a parameter. Anything else is a conflict.
    * Mechanisms apply in the order given: terms are added to inputs, derivatives and the right side of the threshold,
      statements to the end of the reset. Only one may replace the neuron's threshold, and one its reset, wherever it
      stands; only one component may declare a refractory period.

    Parameters
    ----------
    *components : str or Path
        Library names (``"lif"``), paths ending in ``.toml``, or several of them joined by plus signs
        (``"lif+exp_synapse+adaptive_threshold"``). A file of ``kind = "model"`` stands for the components that it
        names, with its defaults.
    name : str, optional
        Name of the model; by default that of the file of a whole model, or the components' names joined by plus signs.

    Returns
    -------
    Model

    Raises
    ------
    TemplateError
        If a file can't be used, or the components don't fit together.

    Examples
    --------
    >>> load_model("lif", "adaptive_threshold").name
    'lif+exp_synapse+adaptive_threshold'
    """
    return load_components(_split(components), name)


def load_components(components: Iterable[str | Document], name: str | None = None) -> Model:
    """As `load_model`, of components one by one, of which some may be documents.

    Parameters
    ----------
    components : iterable of str or Document
    name : str, optional
    """
    given = list(components)
    documents: list[Document] = []
    whole: list[tuple[ModelFile, Document]] = []
    for reference in given:
        document = reference if isinstance(reference, Document) else _found(reference)
        source = validate(dict(document.content), document.where)
        if isinstance(source, ModelFile):
            whole.append((source, document))
            documents += _of_model(source, document)
        else:
            documents.append(document)
    if len(given) > 1 or not whole:
        return _composed(*_read_components(documents), name)
    ((head, document),) = whole
    model = _composed(*_read_components(documents), name or document.name)
    references = tuple(head.references) or model.references
    return replace(model, title=head.title, description=head.description.strip(), references=references)


def component(part: str, folder: Path, own: Mapping[str, Document]) -> str | Document:
    """A component as a file names it: one of the file's own tables, or a user's file that stands beside it.

    Parameters
    ----------
    part : str
        As in a composition, with its instance.
    folder : Path
        Of the file.
    own : mapping of str to Document
        The file's tables.
    """
    file, colon, alias = part.rpartition(":")
    if not (colon and is_name(alias)):
        file, colon, alias = part, "", ""
    if file in own:
        return replace(own[file], alias=alias)
    return f"{folder / file}{colon}{alias}" if os.path.isfile(folder / file) else part


def _of_model(head: ModelFile, document: Document) -> list[Document]:
    """The components that the file of a whole model names, with its defaults in the place of theirs."""
    if document.alias:
        raise TemplateError(document.where, "", f"only synapses and mechanisms can be renamed (':{document.alias}')")
    file, folder = document.where, Path(document.where).parent
    own = {name: Document(name, f"{file}: components.{name}", table) for name, table in head.components.items()}
    parts = head.model.split("+") if isinstance(head.model, str) else head.model
    documents = []
    with located(file, "model"):
        for part in parts:
            found = component(part.strip(), folder, own)
            documents.append(found if isinstance(found, Document) else _found(found))
            if documents[-1].content.get("kind") == "model":
                raise ValueError(f"{part} is a whole model itself; name its components")
    if unused := own.keys() - {d.name for d in documents}:
        raise TemplateError(file, f"components.{min(unused)}", "the model doesn't name it")
    for name, value in head.parameters.items():
        documents = _with_default(documents, name, value, file)
    return documents


def _with_default(documents: Sequence[Document], name: str, value: str | float, file: str) -> list[Document]:
    """Documents with another default of a parameter in all that declare it."""
    changed = []
    for d in documents:
        tables = d.content.get("parameters", {})
        own = name.removesuffix(f"_{d.alias}") if d.alias else name
        if (own != name or not d.alias) and own in tables:
            content = {**d.content, "parameters": {**tables, own: {**tables[own], "default": value}}}
            d = replace(d, content=content, where=d.where if d.where.startswith(file) else f"{file}: {d.reference}")
        changed.append(d)
    if changed == list(documents):
        names = [f"{p}_{d.alias}" if d.alias else p for d in documents for p in d.content.get("parameters", {})]
        raise TemplateError(file, f"parameters.{name}", f"no component has such a parameter; {suggest(name, names)}")
    return changed


def compose_model(*documents: Document, name: str) -> Model:
    """As `load_model`, of components that are in no files.

    Parameters
    ----------
    *documents : Document
        A neuron, its synapses, then mechanisms.
    name : str
        Name of the model.

    Raises
    ------
    TemplateError
        As `load_model`; where the first, and no other, isn't a neuron.
    """
    context = Context()
    parts = []
    for document in documents:
        source = _checked(document)
        parts.append(read_component(source, document.name, document.where, context))
    if [part.kind == "neuron" for part in parts] != [True, *(False for _ in parts[1:])]:
        raise TemplateError(name, "", "expected documents of a neuron, then of its synapses and mechanisms")
    return _composed(parts, documents, name)


def _checked(document: Document) -> NeuronFile | SynapseFile | MechanismFile:
    source = validate(dict(document.content), document.where)
    if isinstance(source, NetworkFile | ModelFile):
        raise TemplateError(document.where, "kind", f"a {source.kind} {_NO_COMPONENT}")
    return source


def _composed(components_read: list[Component], documents: Sequence[Document], name: str | None) -> Model:
    parts = _connect_inputs(components_read)
    merged = merge(parts)
    opened = merge(_connect_inputs(components_read, opened=True))
    check_composition(parts, merged)
    # last, as a misspelt name is first of all undefined
    for part in components_read:
        check_used(part)
    model = _model(name or "+".join(part.name for part in parts), parts, merged, opened)
    model = replace(model, components=tuple(documents))
    if model.pseudospike is not None:
        free = merge(_connect_inputs(components_read, constant=model.pseudospike.input))
        inner = _flattened(free)
        derivatives = {n: substitute(rhs, inner) for n, rhs in free.derivatives.items()}
        model = replace(model, pseudospike=replace(model.pseudospike, derivatives=derivatives))
    check_defaults(parts, model)
    return model


def as_model(given: str | Path | Model) -> Model:
    """A model, or the one that a name or a path stands for.

    Parameters
    ----------
    given : str, Path or Model
        Names and paths as `load_model` takes them.

    Raises
    ------
    TemplateError
        If there is no such model.
    ValueError
        For what is neither.
    """
    if isinstance(given, str | Path):
        return load_model(given)
    check_kind("model", given, Model, "a Model, as load_model gives, or the name of one, such as 'lif'")
    return given


def _split(components: Iterable[str | Path]) -> list[str]:
    references = []
    for component in components:
        check_kind("a component", component, (str, Path), "a name of the library or a path")
        text = str(component)
        whole = isinstance(component, Path) or os.path.isfile(text)
        references += [text] if whole else [part.strip() for part in text.split("+")]
    if not references or not all(references):
        raise TemplateError("+".join(references), "", "a component has no name; write them as in lif+exp_synapse")
    return references


def _read_components(documents: Iterable[Document]) -> tuple[list[Component], list[Document]]:
    """The components in the order neuron, synapses, mechanisms, each read knowing those before it."""
    files: list[tuple[NeuronFile | SynapseFile | MechanismFile, Document]] = []
    for document in documents:
        source, alias = _checked(document), document.alias
        if alias and source.kind == "neuron":
            raise TemplateError(document.where, "", f"only synapses and mechanisms can be renamed (':{alias}')")
        same = (other for _, other in files if (other.where, other.alias) == (document.where, alias))
        if source.kind == "mechanism" and any(same):
            name = f"{document.name}:{alias}" if alias else document.name
            raise TemplateError(document.where, "", f"{name} is there twice; rename one, as in {document.name}:slow")
        files.append((source, document))

    neurons = [(source, document) for source, document in files if isinstance(source, NeuronFile)]
    if len(neurons) != 1:
        label = "+".join(document.name for _, document in files)
        found = " and ".join(document.name for _, document in neurons) or "none"
        raise TemplateError(label, "", f"a model has exactly one neuron, found {found}")
    neuron, of_neuron = neurons[0]
    if neuron.default_synapse and not any(isinstance(source, SynapseFile) for source, _ in files):
        with located(of_neuron.where, "default_synapse"):
            file = find(neuron.default_synapse, ("synapse",))
            default = Document(file.stem, str(file), read_toml(file))
            synapse = _checked(default)
        if not isinstance(synapse, SynapseFile):
            raise TemplateError(of_neuron.where, "default_synapse", f"{file} is a {synapse.kind}, not a synapse")
        files.append((synapse, default))

    files.sort(key=lambda entry: _ORDER.index(entry[0].kind))
    context = Context()
    parts: list[tuple[Component, str]] = []
    written: dict[tuple[str, str], Component] = {}
    for source, document in files:
        name, alias = document.name, document.alias
        required = source.requires if isinstance(source, MechanismFile) else ()
        here = context.for_instance(alias, [written[other, alias] for other in required if (other, alias) in written])
        part = read_component(source, name, document.where, here)
        context.add_instance(alias, part, here)
        parts.append((part, alias))
        written[name, alias] = part
    return [_instance(part, alias, written) for part, alias in parts], [document for _, document in files]


def _found(reference: str) -> Document:
    """The component that a name of the library or a path stands for, with its instance."""
    path, colon, alias = reference.rpartition(":")
    if not (colon and is_name(alias)):
        path, alias = reference, ""
    file = find(path, _ORDER)
    return Document(file.stem, str(file), read_toml(file), alias)


def _instance(part: Component, alias: str, written: Mapping[tuple[str, str], Component]) -> Component:
    """A component under the names of its instance, and of what it extends."""
    extended = []
    for required in part.requires:
        if (required, alias) in written:
            extended.append(written[required, alias])
        elif (required, "") not in written:
            others = [its for name, its in written if name == required]
            hint = f"add {required} too"
            if others:
                hint = f"it would extend {required}:{others[0]} as {part.name}:{others[0]}"
            name = f"{part.name}:{alias}" if alias else part.name
            raise TemplateError(part.file, "requires", f"{name} extends {required}; {hint}")
    return part.renamed(alias, extended) if alias else part


def _connect_inputs(parts: Sequence[Component], *, opened: bool = False, constant: str = "") -> list[Component]:
    """Put the sum of the contributions in the place of each input, wherever a neuron or mechanism reads it.

    Opened, each sum has another term: what a current adds (`Input.drive`). In the place of the input that is named
    constant comes the constant of a pseudospike.
    """
    neuron = parts[0]
    drive: dict[str, str] = {}
    for part in parts:
        for name, term in part.add_inputs.items():
            if name not in neuron.inputs:
                hint = suggest(name, neuron.inputs)
                raise TemplateError(part.file, f"add.inputs.{name}", f"{neuron.name} has no such input; {hint}")
            drive[name] = add_term(drive[name], term) if name in drive else term
    idle = {name: parameter for name, parameter in neuron.inputs.items() if name not in drive}
    if constant:
        drive[constant] = DRIVE
    if opened:
        drive = {name: add_term(drive.get(name, name), _input(p).drive) for name, p in neuron.inputs.items()}
    connected = [
        part if part.kind == "synapse" else replace(part.mapped(drive, {}), add_inputs=part.add_inputs)
        for part in parts
    ]
    connected[0] = replace(connected[0], parameters={**connected[0].parameters, **idle})
    return connected


def _input(parameter: Parameter, read_at: str = "") -> Input:
    """An input of the neuron, from the parameter that it would be without anything that drives it."""
    description = parameter.description.partition(IDLE)[0]
    return Input(parameter.name, parameter.unit, description, read_at, parameter.scale)


def _flattened(merged: Merged) -> dict[str, str]:
    """Subexpressions and what is derived by name, none of which reads another."""
    inner = {n: s.expression for n, s in merged.subexpressions.items()}
    inner |= {n: d.expression for n, d in merged.derived.items()}
    # each round resolves one level; Brian2 has refused circular ones
    for _ in inner:
        inner = {n: substitute(expression, inner) for n, expression in inner.items()}
    return inner


def _inputs(neuron: Component, opened: Merged) -> dict[str, Input]:
    """The inputs of a neuron, and whether events read them, by an opened composition."""
    inner = _flattened(opened)
    reads = {
        "threshold": list(opened.threshold or ()),
        "reset": [s.expression for s in opened.reset],
        "on_pre": [s.expression for r in opened.receptors.values() for s in r.on_pre],
    }
    found = {}
    for name, parameter in neuron.inputs.items():
        drive = _input(parameter).drive
        read_at = (key for key, texts in reads.items() if any(drive in free_names(substitute(t, inner)) for t in texts))
        found[name] = _input(parameter, next(read_at, ""))
    return found


def _model(name: str, parts: Sequence[Component], merged: Merged, opened: Merged) -> Model:
    """The model, with subexpressions substituted where it says so."""
    inner, outer = _flattened(merged), _flattened(opened)

    def plain(statements: tuple[Assignment, ...]) -> tuple[Assignment, ...]:
        return tuple(replace(s, expression=substitute(s.expression, inner)) for s in statements)

    threshold = None
    if merged.threshold is not None:
        left, right = merged.threshold
        threshold = f"{substitute(left, inner)} > {substitute(right, inner)}"
    initial: dict[str, str] = {}
    for state in merged.states.values():  # each may read those above it
        initial[state.name] = substitute(substitute(state.initial, initial), inner)
    refractory = merged.refractory
    references = dict.fromkeys(reference for part in parts for reference in part.references)
    return Model(
        name=name,
        title=" + ".join(part.title for part in parts),
        description="\n\n".join(dict.fromkeys(part.description for part in parts)),
        references=tuple(references),
        states=tuple(replace(s, initial=initial[s.name]) for s in merged.states.values()),
        derivatives={n: substitute(rhs, inner) for n, rhs in merged.derivatives.items()},
        parameters=merged.parameters,
        threshold=threshold,
        reset=plain(merged.reset),
        receptors={n: r.mapped(lambda e: substitute(e, inner), str) for n, r in merged.receptors.items()},
        equations=merged.equations(),
        files=tuple(part.file for part in parts),
        refractory=refractory and refractory.mapped(lambda e: substitute(e, inner), str),
        constraints=tuple(dict.fromkeys(substitute(text, inner) for part in parts for text in part.constraints)),
        derived={n: replace(d, expression=inner[n]) for n, d in merged.derived.items()},
        functions=tuple(dict.fromkeys(str(function) for part in parts for function in part.functions)),
        inputs=_inputs(parts[0], opened),
        accuracy=parts[0].accuracy,
        pseudospike=parts[0].pseudospike and parts[0].pseudospike.mapped(lambda e: substitute(e, inner)),
        open_derivatives={
            n: substitute(rhs, outer)
            for n, rhs in opened.derivatives.items()
            if substitute(rhs, outer) != substitute(merged.derivatives[n], inner)
        },
    )
