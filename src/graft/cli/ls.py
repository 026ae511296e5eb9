"""``graft ls``: what there is to choose from."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from graft.cli.options import Json
from graft.cli.outcome import print_json, reported

if TYPE_CHECKING:
    from graft.catalogue import Entry, Selection, Wanted

__all__ = ["ls"]

_EXAMPLE = "graft ls sources --modality image --licence permissive --max-params 30M"


def ls(
    kind: Annotated[
        str | None,
        typer.Argument(help="sources, strategies, scores, tasks, readers or bridges; all without it."),
    ] = None,
    modality: Annotated[
        str | None, typer.Option("--modality", help="Sources that read text, image, table or audio.")
    ] = None,
    licence: Annotated[
        str | None, typer.Option("--licence", help="Sources whose licence is permissive, or is this one (SPDX).")
    ] = None,
    max_params: Annotated[
        str | None, typer.Option("--max-params", help="Sources with at most so many weights: 500k, 30M, 1.2B.")
    ] = None,
    family: Annotated[str | None, typer.Option("--family", help="Sources of one family: timm, hf, …")] = None,
    search: Annotated[
        str | None, typer.Option("--search", help="Sources with this word in name, licence or pretraining.")
    ] = None,
    local: Annotated[bool, typer.Option("--local", help="Sources that load now without a network.")] = False,
    limit: Annotated[int, typer.Option("--limit", help="How many sources to print; 0 prints all.")] = 40,
    json: Json = False,
) -> None:
    """List what there is to choose from; with a filter, the well-known sources that pass it."""
    with reported():
        from graft import catalogue, registry
        from graft.errors import RequestError

        given = (modality, licence, max_params, family, search)
        if local or any(each is not None for each in given):
            if kind not in (None, "sources"):
                raise RequestError(f"filters choose among sources, not among {kind}; write graft ls sources.")
            most = None if max_params is None else catalogue.count(max_params)
            _catalogue(catalogue.Wanted(modality, licence, most, family, search), local, max(limit, 0), json)
            return
        kinds = [kind] if kind else sorted(registry.kinds())
        document = {each: _entries(each) for each in kinds}
        if json:
            print_json(document)
            return
        for each, entries in document.items():
            _show(each, entries)
        chosen = "SPEC" if kind != "strategies" else "minilm --strategy NAME"
        follows = "graft rank DATA --score NAME" if kind == "scores" else f"graft fit DATA --source {chosen} -o MODEL"
        print(f"\nnext     {follows}")
        if "sources" in document:
            print(f"         {_EXAMPLE}   ({len(catalogue.entries())} are known)")


def _entries(kind: str) -> list[dict[str, Any]]:
    from graft import registry

    entries: list[dict[str, Any]] = [{"name": name, "what": what} for name, what in registry.describe(kind).items()]
    if kind == "sources":
        for entry in entries:
            entry |= _local(entry["name"])
    if kind == "scores":
        for entry in entries:
            entry |= _stated(kind, entry["name"], ("needs",))
    if kind == "strategies":
        for entry in entries:
            entry |= _stated(kind, entry["name"], ("family", "needs"))
        entries.sort(key=lambda entry: (entry["family"] == "control", entry["family"], entry["name"]))
    return entries


def _stated(kind: str, name: str, keys: Sequence[str]) -> dict[str, str]:
    """What an option says of itself, such as what it needs; one that cannot be asked hides no other."""
    from graft import registry
    from graft.errors import GraftError

    try:
        return registry.stated(kind, name, keys)
    except GraftError:
        return dict.fromkeys(keys, "")


def _local(name: str) -> dict[str, Any]:
    """What loads now; one family that cannot be asked does not hide the others."""
    from graft import registry
    from graft.errors import GraftError

    try:
        return {"local": list(registry.load("sources", name).local())}
    except GraftError as exc:
        return {"local": [], "why": str(exc)}


def _show(kind: str, entries: list[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    from graft.cli import tables

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(kind, no_wrap=True)
    table.add_column("")
    if kind == "sources":
        table.add_column("loads now without a network")
    told = {"strategies": ("family", "needs"), "scores": ("needs",)}.get(kind, ())
    for each in told:
        table.add_column(each, no_wrap=each == "family")
    for entry in entries:
        cells = [Text(entry["name"], style="bold"), Text(entry["what"])]
        if kind == "sources":
            cells.append(Text(", ".join(entry["local"]) or entry.get("why", "–")))
        cells += [Text(entry[each]) for each in told]
        table.add_row(*cells)
    tables.printed(table)


def _catalogue(wanted: Wanted, local: bool, limit: int, json: bool) -> None:
    from graft import catalogue

    _check(wanted)
    here = _held(wanted.family)
    known = {each.name for each in catalogue.entries()}
    among = [*catalogue.entries(), *(each for name, each in here.items() if name not in known)]
    selection = catalogue.select(wanted, [each for each in among if each.name in here or not local])
    found = sorted(selection.found, key=lambda each: _rank(each, each.name in here))
    shown = found[:limit] if limit else found
    if json:
        facts = [{**asdict(each), "memory": each.memory, "local": each.name in here} for each in shown]
        left_out = {key: value for key, value in vars(selection).items() if key != "found"}
        print_json({"sources": facts, "more": len(found) - len(shown), **left_out})
        return
    if shown:
        _table(shown, here)
    _footer(selection, shown, len(found) - len(shown), any(each.name in here for each in shown))


def _check(wanted: Wanted) -> None:
    """Refuse a word that nothing carries: an empty list would not say why it is empty."""
    from graft import catalogue, registry
    from graft.errors import UnknownNameError

    modalities = sorted({each.modality for each in catalogue.entries()})
    if wanted.modality is not None and wanted.modality not in modalities:
        raise UnknownNameError("modality", wanted.modality, modalities)
    families = {*registry.names("sources"), *(each.family for each in catalogue.entries())}
    if wanted.family is not None and wanted.family not in families:
        raise UnknownNameError("family of sources", wanted.family, families)


def _held(family: str | None) -> dict[str, Entry]:
    """What loads now without a network, by spec, with what is known of it."""
    from graft import catalogue, registry
    from graft.errors import GraftError

    held = {}
    for name in registry.names("sources"):
        for spec in _local(name)["local"] if family in (None, name) else ():
            entry = catalogue.find(spec)
            if entry is None:
                try:
                    modality = registry.build("sources", spec).reads()
                except GraftError:
                    continue
                if modality == "any":  # no source of anything
                    continue
                entry = catalogue.Entry(spec, modality, "found on this machine")
            held[entry.name] = entry if entry.name == spec else replace(entry, name=spec)
    return held


def _rank(entry: Entry, here: bool) -> tuple[Any, ...]:
    """What is here first, then the best, then the smallest; what never learnt comes last."""
    size = float("inf") if entry.parameters is None else entry.parameters
    return entry.pretraining == "none", not here, -(entry.top1 or 0.0), size, entry.name


def _cells(entry: Entry, here: bool) -> dict[str, str]:
    """What the table says of a source, by heading."""
    from graft.cli import tables

    return {
        "": "●" if here else "",
        "source": entry.name,
        "weights": tables.amount(entry.parameters),
        "MB": "–" if entry.memory is None else f"{(entry.bytes or entry.memory) / 1e6:,.0f}".replace(",", " "),
        "mult-adds": tables.amount(entry.flops),
        "top-1": f"{100 * entry.top1:.1f} %" if entry.top1 else "–",
        "licence": entry.licence or "not known",
        "learnt from": (entry.pretraining or "–").replace(", then ", " → "),
    }


_RIGHT = ("weights", "MB", "mult-adds", "top-1")
_LESSER = ("learnt from", "mult-adds", "MB", "top-1")
"""What goes first where the terminal is too narrow."""
_NAME, _LAST, _NARROW = 44, 14, 20
"""Characters that a name keeps while other columns can go, that the last one needs, that a name keeps at all."""


def _table(shown: Sequence[Entry], here: Mapping[str, Entry]) -> None:
    from rich.table import Table
    from rich.text import Text

    from graft.cli import tables

    rows = [_cells(each, each.name in here) for each in shown]
    widths = _widths(rows, tables.room())
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading, width in widths.items():
        justify: Literal["left", "right"] = "right" if heading in _RIGHT else "left"
        table.add_column(heading, justify=justify, no_wrap=heading != "source", overflow="ellipsis", max_width=width)
    for row in rows:
        cells = {**row, "source": _broken(row["source"], widths["source"])}
        table.add_row(*(Text(cells[each], style="bold" if each == "source" else "") for each in widths))
    tables.printed(table)


def _widths(rows: Sequence[Mapping[str, str]], room: int) -> dict[str, int]:
    """The columns that there is room for, each with its width."""
    told = [each for each in rows[0] if any(row[each] != "–" for row in rows)]
    widths = {each: max(len(each), *(len(row[each]) for row in rows)) for each in told}
    for lesser in ("no column", *_LESSER):
        widths.pop(lesser, None)
        least = {"source": min(widths["source"], _NAME), "learnt from": min(widths.get("learnt from", 0), _LAST)}
        if sum(least.get(each, width) + 2 for each, width in widths.items()) - 2 <= room:
            break
    for each, floor in (("source", _NARROW), ("learnt from", 1)):  # what is left goes to the names first
        if each in widths:
            rest = sum(least.get(other, width) for other, width in widths.items() if other != each)
            widths[each] = least[each] = min(widths[each], max(floor, room - rest - 2 * (len(widths) - 1)))
    return widths


def _broken(name: str, width: int) -> str:
    """A name on as many lines as it needs, broken where its parts meet."""
    lines: list[str] = []
    line = ""
    for part in re.split(r"(?<=[/._-])", name):
        if line and len(line) + len(part) > width - 2 * bool(lines):
            lines.append(line)
            line = ""
        line += part
    return "\n  ".join([*lines, line])


def _footer(selection: Selection, shown: Sequence[Entry], more: int, here: bool) -> None:
    """What the table does not show, and what to do with it."""
    other = f"; {selection.other_licence} would without --licence" if selection.other_licence else ""
    said = [] if shown else [f"nothing that is known passes this filter{other}"]
    said += [f"{more} more; --limit 0 prints all"] if more else []
    said += ["● loads now without a network"] if here else []
    for count, fact in ((selection.without_licence, "licence"), (selection.without_parameters, "size")):
        said += [f"{count} left out, because the {fact} is not known"] if count else []
    learnt = [each.name for each in shown if each.pretraining != "none"]
    said.append(f"next     graft show {learnt[0] if learnt else shown[0].name}" if shown else f"next     {_EXAMPLE}")
    print(*([""] if shown else []), *said, sep="\n")
