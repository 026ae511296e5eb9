"""The names of the classes, and no label."""

from __future__ import annotations

from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from graft.contracts import Backbone, FittedTask, History, Rows, Start, Strategy, TransferData
from graft.errors import RequestError
from graft.evaluate.goal import goal_of
from graft.features import extract
from graft.limits import above, faults, refuse
from graft.linear.folds import hard
from graft.linear.platt import platt
from graft.linear.scaling import check_finite
from graft.linear.sharpness import sharpness
from graft.nn.freeze import freeze
from graft.nn.glm import one_hot
from graft.nn.grafted import Grafted
from graft.nn.prototypes import NearestMean

__all__ = ["ZeroShot"]


class ZeroShot(Strategy):
    """The class whose name is nearest, by the angle between a row and the name as the source reads it.

    No label is learnt from, but for one number at most: how surely it speaks.  Names that are words
    serve best; numbers and codes are read as they are written, and say little.  Where a row may have
    several labels, they apply above one common angle.

    Parameters
    ----------
    templates
        What a name is put into, ``"a photo of a {}"``; of several the mean is taken.
    temperature
        The factor on the cosines; ``None`` sets it, for labels the common angle too, on the training
        rows.  With a number no label is looked at: the common angle is then the mean one.

    References
    ----------
    Radford et al., Learning transferable visual models from natural language supervision, ICML 2021.
    """

    family: ClassVar[str] = "model"
    starts_from: ClassVar[Start] = "pretrained"
    uses_validation: ClassVar[bool] = False
    needs: ClassVar[str] = "a source with a text side"

    def __init__(self, templates: str | tuple[str, ...] = "{}", temperature: float | None = None) -> None:
        self.templates = templates
        self.temperature = temperature

    def build(self, backbone: Backbone, task: FittedTask) -> nn.Module:
        found = faults(self, {"temperature": above().or_none()})
        odd = [each for each in self._templates() if not isinstance(each, str) or each.count("{}") != 1]
        if odd or not self._templates():
            found.append(f"templates has {odd[0] if odd else 'none'!r}, expected texts with one {{}} in each")
        refuse(found)
        if task.link == "identity":
            raise RequestError(
                f"zero_shot needs {self.needs} and classes with names, and this task predicts numbers; "
                "choose another strategy, such as linear_probe."
            )
        # A saved model needs no text side any more: what the names mean is among its weights.
        module = Grafted(backbone, NearestMean(backbone.dim, task.n_outputs, "cosine"))
        if backbone.words is None:
            raise RequestError(
                f"zero_shot needs {self.needs}, and {backbone.card.name} reads none of the names of classes; "
                "choose an encoder of texts, or of images and texts."
            )
        freeze(module.trunk)
        return module.eval()

    def fit(self, module: nn.Module, task: FittedTask, data: TransferData) -> History:
        grafted = cast("Grafted", module)
        head, rows = cast("NearestMean", grafted.head), data.train
        features = extract(
            grafted.backbone, rows.examples, machine=data.machine, cache=data.cache, progress=data.progress
        )
        head.towards.copy_(self._meanings(grafted.backbone, task))
        head.offset.zero_()
        with torch.inference_mode():
            cosines = head(torch.from_numpy(check_finite(features)))
        factor, shift = self._speech(cosines, task, rows)
        head.towards.mul_(factor)
        head.offset.fill_(shift)
        truth = hard(rows.targets, task.link).numpy()
        score = goal_of(task).measure((factor * cosines + shift).numpy(), truth)
        return History(score=score, chosen={"temperature": factor})

    def _templates(self) -> tuple[str, ...]:
        return (self.templates,) if isinstance(self.templates, str) else tuple(self.templates)

    def _meanings(self, backbone: Backbone, task: FittedTask) -> Tensor:
        """``(c, d)``, of length 1: what the source makes of each class's name."""
        assert backbone.words is not None
        ways = [
            nn.functional.normalize(
                backbone.words([template.replace("{}", str(name)) for name in task.classes]).float(), dim=1
            )
            for template in self._templates()
        ]
        return nn.functional.normalize(torch.stack(ways).mean(0), dim=1)

    def _speech(self, cosines: Tensor, task: FittedTask, rows: Rows) -> tuple[float, float]:
        """The factor on the cosines, and the shift: for labels, from the angle at which one applies."""
        heard = torch.ones(len(rows), dtype=torch.bool) if rows.weights is None else rows.weights > 0
        if task.link == "softmax":
            wanted = one_hot(rows.targets, task.link, task.n_outputs)
            told = sharpness(cosines, wanted, task.link, rows.weights) if heard.any() else 1.0
            return (told if self.temperature is None else self.temperature), 0.0
        if self.temperature is None:
            return platt(cosines[heard].flatten().numpy(), rows.targets[heard].flatten().numpy())
        return self.temperature, -self.temperature * float(cosines.mean())
