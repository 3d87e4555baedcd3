"""Weights into a model and out of it: what fits, what does not, and files that are written whole or not at all."""

from __future__ import annotations

import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import safetensors.torch
import torch
from torch import Tensor, nn

from univs.errors import UserError
from univs.modeling.weight_files import read_checkpoint
from univs.modeling.weight_sources import WeightSource, backbone_of, recognised

__all__ = ["LoadReport", "compare", "load_state", "read_checkpoint", "save_weights", "select", "write_atomically"]


@dataclass
class LoadReport:
    """What did not fit: names of the model without a value, names of the file without a place, unequal shapes.

    fresh, left_out: the same where the kind of file makes it so by design (a starting point of training). title: what
    the file is; loaded: number of entries that were loaded; averaged: whether they are running averages.
    """

    missing: list[str] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)
    other_shape: list[str] = field(default_factory=list)
    fresh: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    title: str = ""
    file: str = ""
    loaded: int = 0
    averaged: bool = False

    @property
    def complete(self) -> bool:
        return not (self.missing or self.left_over or self.other_shape)

    def describe(self, limit: int = 8) -> str:
        """One line that names what did not fit, at most ``limit`` names of each kind."""
        parts = []
        for title, names in (
            ("missing in the file", self.missing),
            ("left over in the file", self.left_over),
            ("of another shape", self.other_shape),
        ):
            if names:
                more = f" and {len(names) - limit} more" if len(names) > limit else ""
                parts.append(f"{len(names)} {title} ({', '.join(names[:limit])}{more})")
        return "; ".join(parts)

    def summary(self) -> str:
        """One line: what the file is, and how it was loaded; names that differ in numbers only are told once."""
        which = "averaged weights" if self.averaged else "weights"
        if self.complete and not self.fresh:
            told = f"all {self.loaded} {which} have their place, none missing, none left over, all shapes equal"
        else:
            told = f"{self.loaded} {which} loaded"
            told += f"; {len(self.fresh)} start fresh: {_grouped(self.fresh)}" if self.fresh else ""
            told += f"; {self.describe()}" if not self.complete else ""
        told += f"; left out: {_grouped(self.left_out)}" if self.left_out else ""
        return f"{self.file}: {self.title}: {told}."


def _grouped(names: list[str]) -> str:
    """Names with "*" for numbers, each with how many there are."""
    counts = Counter(re.sub(r"(?<=\.)\d+(?=\.)", "*", name) for name in names)
    return ", ".join(name if number == 1 else f"{name} ({number})" for name, number in sorted(counts.items()))


def save_weights(state: Mapping[str, Tensor], path: str | Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors by name as safetensors, whole or not at all."""
    # the file format knows no tensors that share memory
    tensors = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in state.items()
    }
    data = safetensors.torch.save(tensors, dict(metadata or {}))
    write_atomically(Path(path), lambda file: file.write(data))


def write_atomically(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Let ``write`` fill a temporary file beside ``path`` and rename it, so that no half file ever has the name.

    Raises:
        UserError: the folder cannot be written to or the disk is full.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_file_mask())
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise UserError(f"{path} cannot be written: {error.strerror or error}.") from error


def _file_mask() -> int:
    """Permissions that this process takes from new files; it can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def load_state(
    model: nn.Module,
    state: Mapping[str, Tensor] | WeightSource,
    partial: bool = False,
    source: str = "",
    *,
    averaged: bool = True,
    start: bool = True,
) -> LoadReport:
    """Load tensors into ``model``, whatever known kind of file (``source``) they are from; names are translated.

    Parameters that the model does not store (a frozen text encoder) are not missed.

    Args:
        partial: load what fits and report the rest.
        averaged: prefer the running averages that a file holds beside the weights: those of all parameters that
            train, while frozen ones and constants stay the plain ones.
        start: take starting points of training, of which parts of the model start fresh by design.

    Raises:
        UserError: something does not fit and ``partial`` is off; the model is unchanged then.
    """
    weights = state if isinstance(state, WeightSource) else recognised(state, source)
    fitting, report = select(model, weights, partial, averaged=averaged, start=start)
    model.load_state_dict(fitting, strict=False)
    return report


def select(
    model: nn.Module, weights: WeightSource, partial: bool = False, *, averaged: bool = True, start: bool = True
) -> tuple[dict[str, Tensor], LoadReport]:
    """The tensors that ``load_state`` loads, by our names; ``model`` may be without values, on the meta device.

    Raises:
        UserError: as for ``load_state``.
    """
    own = model.state_dict()
    report = compare(own, weights)
    if weights.origin.fresh and not start and not partial:
        raise UserError(
            f"The weights {weights.file} are a {weights.title}, which training can start from but no whole UniVS model."
        )
    if not report.complete and not partial:
        _check_encoder(own, weights)
        raise UserError(
            f"The weights {weights.file} do not fit the model: {_reason(own, weights)}{report.describe()}. Use the "
            "configuration that they were trained with, or set MODEL.WEIGHTS_PARTIAL to True to load what fits (`univs "
            "demo` takes --set MODEL.WEIGHTS_PARTIAL=True)."
        )
    chosen = _averaged(model, weights, report) if averaged and weights.averaged else weights.tensors
    fitting = {name: chosen[name] for name in own.keys() & chosen.keys() if chosen[name].shape == own[name].shape}
    if not fitting:
        raise UserError(f"The weights {weights.file} have no parameter in common with the model.")
    report.loaded = len(fitting)
    return fitting, report


def compare(own: Mapping[str, Tensor], weights: WeightSource) -> LoadReport:
    """What of a file fits into a model's state ``own``, and what does not."""
    origin, report = weights.origin, LoadReport(title=weights.title, file=weights.file)
    for name in sorted(own.keys() - weights.tensors.keys()):
        (report.fresh if origin.starts_fresh(name) else report.missing).append(name)
    for copy, tensors in (("", weights.tensors), ("averaged ", weights.averaged)):
        for name in sorted(tensors.keys() - own.keys()):
            (report.left_out if origin.leaves_out(name) else report.left_over).append(copy + name)
        for name in sorted(own.keys() & tensors.keys()):
            if tensors[name].shape == own[name].shape:
                continue
            if origin.starts_fresh(name):
                report.fresh.append(name)
            else:
                found, wanted = list(tensors[name].shape), list(own[name].shape)
                report.other_shape.append(f"{copy}{name} {found} instead of {wanted}")
    return report


def _averaged(model: nn.Module, weights: WeightSource, report: LoadReport) -> dict[str, Tensor]:
    """The averages of the parameters that train, and the plain values of all else."""
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    lacking = sorted(trained & weights.tensors.keys() - weights.averaged.keys())
    if lacking:
        raise UserError(
            f"The weights {weights.file} hold averaged copies, but none of {', '.join(lacking[:8])}; set "
            "MODEL.WEIGHTS_AVERAGED to False to load the plain weights."
        )
    report.averaged = True
    return {**weights.tensors, **{name: value for name, value in weights.averaged.items() if name in trained}}


def _check_encoder(own: Mapping[str, Tensor], weights: WeightSource) -> None:
    """Another image encoder explains everything else that does not fit."""
    theirs, ours = backbone_of(weights.tensors), backbone_of(own)
    if theirs.title != ours.title:
        fitting = f"one with '{theirs.key}' in its name" if theirs.key else "the one that they were trained with"
        raise UserError(
            f"The weights {weights.file} are a {weights.title}, and the configuration asks for {ours.title}; use "
            f"{fitting}."
        )


def _reason(own: Mapping[str, Tensor], weights: WeightSource) -> str:
    """The likeliest mistake in words, with a semicolon behind it; empty if the names must speak for themselves."""
    parts = {name.split(".")[0] for name in own}
    lacking = sorted(parts - {name.split(".")[0] for name in weights.tensors})
    surplus = sorted({name.split(".")[0] for name in weights.tensors} - parts)
    if lacking or surplus:
        said = [f"the configuration asks for the parts {', '.join(lacking)} that the file lacks"] if lacking else []
        said += [f"the file holds the parts {', '.join(surplus)} that the configuration leaves out"] if surplus else []
        return f"{' and '.join(said)}; "
    return ""
