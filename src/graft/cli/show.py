"""``graft show``: the card of one source."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import asdict
from inspect import cleandoc
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graft.cli.options import Json
from graft.cli.outcome import print_json, reported

if TYPE_CHECKING:
    from graft.catalogue import Entry
    from graft.contracts import Backbone

__all__ = ["show"]


def show(
    source: Annotated[str, typer.Argument(help="A source, as --source takes it: timm/resnet18; or a family: timm.")],
    load: Annotated[bool, typer.Option("--load", help="Load it, and show what it really is.")] = False,
    json: Json = False,
) -> None:
    """Show what is known of a source: its card, whether it is on this machine, and the options of its family."""
    with reported():
        from graft import registry, specs
        from graft.errors import UnknownNameError

        family = specs.name_of(source)
        if family not in registry.names("sources"):
            raise UnknownNameError("source", source, _near(source) or registry.names("sources"))
        document = _family(family) if _is_family(source, family) else _source(source, family, load)
        if json:
            print_json(document)
        else:
            _print(document)


def _near(source: str) -> list[str]:
    from graft import catalogue

    return catalogue.near(source)


def _is_family(source: str, family: str) -> bool:
    """Whether the spec is a family's bare name, and the family needs more than that."""
    from graft import registry, specs

    known = specs.parameters(registry.load("sources", family))
    return source.strip() == family and any(each.default is each.empty for each in known.values())


def _family(family: str) -> dict[str, Any]:
    from graft import catalogue, registry

    return {
        "family": family,
        "what": registry.describe("sources")[family],
        "local": list(registry.load("sources", family).local()),
        "known": sum(each.family == family for each in catalogue.entries()),
        "options": _options(family),
    }


def _source(source: str, family: str, load: bool) -> dict[str, Any]:
    from graft import registry

    built = registry.build("sources", source)
    backbone = built.load() if load else None
    entry, absent = _entry(source, built)
    bare = source.strip().partition("?")[0]
    held = bool(backbone) or bool({bare, entry.name} & set(registry.load("sources", family).local()))
    return {
        "source": source,
        "card": {**asdict(entry), "memory": entry.memory},
        "local": held,
        "fetch": None if held or absent else _fetching(entry),
        "absent": absent,
        "near": _near(source) if absent else [],
        "loaded": None if backbone is None else _loaded(backbone),
        "options": _options(family),
    }


def _entry(source: str, built: Any) -> tuple[Entry, str | None]:
    """What is known of it: from the catalogue, else from its architecture; and why that is not here."""
    from graft import catalogue, licences
    from graft.errors import UnavailableError

    if entry := catalogue.find(source):
        return entry, None
    bare = source.strip().partition("?")[0]
    try:
        card = built.load(weights=False).card
    except UnavailableError as exc:
        return catalogue.Entry(bare, built.modality or "not known", "no table; nor is it here"), str(exc)
    licence = licences.spdx(card.licence)
    facts = catalogue.Entry(
        bare, card.modality, "its architecture", card.parameters, card.flops, None, licence, None, card.outputs
    )
    return facts, None


def _fetching(entry: Entry) -> str | None:
    """The command that brings the weights here; without one, loading does."""
    where = entry.weights
    if where is None:
        return None
    if "://" not in where:
        return f"hf download {where}"
    from torch.hub import get_dir

    place = os.path.join(get_dir(), "checkpoints", where.rpartition("/")[2])
    return f"curl -L --create-dirs -o {shlex.quote(place)} {where}"


def _loaded(backbone: Backbone) -> dict[str, Any]:
    """What a loaded source really is."""
    parts = [part for part in (backbone.module, backbone.head, backbone.outputs) if part is not None]
    held = {id(each): each for part in parts for each in (*part.parameters(), *part.buffers())}
    card = backbone.card
    return {
        "features": backbone.dim,
        "stages": list(backbone.stages),
        "preprocessing": _simple(backbone.preprocess),
        "outputs": card.outputs,
        "memory": sum(each.numel() * each.element_size() for each in held.values()),
        "bytes": card.bytes,
        "licence": card.licence,
        "pretraining": card.pretraining,
        "revision": card.revision,
        "notes": list(card.notes),
    }


def _simple(preprocess: object) -> dict[str, Any]:
    """The numbers and words among what a preprocessing holds."""
    held = {key: value for key, value in getattr(preprocess, "__dict__", {}).items() if not key.startswith("_")}
    return {key: value for key, value in held.items() if _is_simple(value)}


def _is_simple(value: object) -> bool:
    if isinstance(value, list | tuple):
        return 0 < len(value) <= 4 and all(isinstance(each, int | float) for each in value)
    return isinstance(value, bool | int | float) or (isinstance(value, str) and len(value) <= 40)


def _options(family: str) -> list[dict[str, Any]]:
    """The constructor parameters of a family, as its docstring explains them."""
    from graft import registry, specs

    plugin = registry.load("sources", family)
    said = _explained(plugin.__doc__ or "")
    return [
        {
            "name": name,
            "needed": each.default is each.empty,
            "default": None if each.default is each.empty else each.default,
            "what": said.get(name, ""),
        }
        for name, each in specs.parameters(plugin).items()
    ]


def _explained(docstring: str) -> dict[str, str]:
    """Name → sentence, from the section ``Parameters`` of a numpydoc docstring."""
    found = re.search(r"^Parameters\n-+\n(.*?)(?=^\w[\w ]*\n-{3,}$|\Z)", cleandoc(docstring), re.DOTALL | re.MULTILINE)
    said: dict[str, str] = {}
    names: list[str] = []
    for each in (found[1] if found else "").splitlines():
        if each and not each.startswith(" "):
            names = [name.strip() for name in each.partition(":")[0].split(",")]
        elif each.strip():
            said |= {name: f"{said.get(name, '')} {each.strip()}".strip().replace("``", "") for name in names}
    return said


def _print(document: dict[str, Any]) -> None:
    if "family" in document:
        _print_family(document)
        return
    print(f"{document['source']}\n")
    _print_rows(_card(document))
    if document["loaded"]:
        print("\nloaded")
        _print_rows(_facts(document["loaded"]))
    _print_options(document["options"], document["source"])
    print(f"\nnext     graft fit DATA --source {_quoted(document['source'])} -o MODEL")


def _print_family(document: dict[str, Any]) -> None:
    family = document["family"]
    print(f"{document['what']}\n")
    held = ", ".join(document["local"][:6]) + (", …" if len(document["local"]) > 6 else "")
    _print_rows([("on disk", held or "nothing"), ("known", f"{document['known']} sources in the catalogue")])
    _print_options(document["options"], family)
    print(f"\nnext     graft ls sources --family {family}")


def _card(document: dict[str, Any]) -> list[tuple[str, str]]:
    from graft import licences
    from graft.cli import tables

    card = document["card"]
    size, flops, kind = card["memory"], card["flops"], licences.terms(card["licence"])
    stated = f"{card['licence']} ({kind})" if card["licence"] else "not known: read what its author says"
    rows = [
        ("reads", card["modality"]),
        ("weights", "not known" if size is None else f"{tables.amount(card['parameters'])}, without its head"),
        ("memory", "not known" if size is None else f"{_megabytes(size)} in float32; training and batches need more"),
        ("download", _megabytes(card["bytes"]) if card["bytes"] else ""),
        ("compute", "" if flops is None else f"{tables.amount(flops)} multiply-adds a row"),
        ("licence", stated),
        ("learnt from", card["pretraining"] or "not known"),
        ("outputs", {None: "not known", 0: "none of its own"}.get(card["outputs"], f"{card['outputs']} of its own")),
        ("top-1", f"{100 * card['top1']:.1f} % on ImageNet-1k" if card["top1"] else ""),
        ("facts from", card["source"]),
        ("on disk", _where(document)),
        ("like it", ", ".join(document["near"])),
    ]
    return [(name, value) for name, value in rows if value]


def _where(document: dict[str, Any]) -> str:
    if document["local"]:
        return "yes: it loads without a network"
    if document["fetch"]:
        return f"no; where there is a network: {document['fetch']}"
    return f"no: {document['absent']}" if document["absent"] else "no: it is fetched when it is loaded"


def _facts(loaded: dict[str, Any]) -> list[tuple[str, str]]:
    stages = loaded["stages"]
    shown = ", ".join(stages if len(stages) <= 6 else [*stages[:3], "…", *stages[-2:]])
    form = ", ".join(f"{key} {_written(value)}" for key, value in loaded["preprocessing"].items())
    outputs = loaded["outputs"]
    rows = [
        ("features", f"{loaded['features']} a row"),
        ("stages", f"{len(stages)}: {shown}" if stages else "none"),
        ("rows", form),
        ("outputs", f"{outputs} of its own" if outputs else "none of its own" if outputs == 0 else ""),
        ("memory", f"{_megabytes(loaded['memory'])} as loaded"),
        ("licence", loaded["licence"] or ""),
        ("learnt from", loaded["pretraining"] or ""),
        ("revision", loaded["revision"] or ""),
        *(("note", note) for note in loaded["notes"]),
    ]
    return [(name, value) for name, value in rows if value]


def _written(value: object) -> str:
    if isinstance(value, list | tuple):
        whole = all(isinstance(each, int) for each in value)
        return ("×" if whole else " ").join(f"{each:g}" for each in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _megabytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _quoted(source: str) -> str:
    return f'"{source}"' if re.search(r"[?& ]", source) else source


def _print_options(options: list[dict[str, Any]], source: str) -> None:
    if not options:
        return
    first, family = options[0]["name"], source.partition("/")[0].partition("?")[0]
    print(f"\noptions  {family}/<{first}>" + ("?key=value&key=value" if len(options) > 1 else ""))
    _print_rows([(each["name"], each["what"] + _default(each)) for each in options])


def _default(option: dict[str, Any]) -> str:
    if option["needed"] or option["default"] is None or re.search(r"default", option["what"]):
        return ""
    return f" Default: {option['default']}."


def _print_rows(rows: list[tuple[str, str]]) -> None:
    from rich.table import Table
    from rich.text import Text

    from graft.cli import tables

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="dim", no_wrap=True, min_width=11)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(Text(name), Text(value))
    tables.printed(table)
