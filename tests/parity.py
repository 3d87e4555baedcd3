"""Stored reference values of the method and the means to compare with them.

A case is a pair CASE.json + CASE.npz. The json says how weights and inputs are made (by ``rule.py``), which options
were set, and for every output its shape, the stored positions and the tolerance; the tests read all of it from there.

Folders with cases come from the environment variable UNIVS_PARITY_DIR (several with ":" between them); without it
the project's own archives ``tests/goldens/*.tar.xz`` are unpacked into a temporary folder.

The environment variable UNIVS_TEST_DEVICE says where the modules run, "cpu" (the default) or "cuda"; the tolerances
are the same. What a user gives on the CPU (frames, samples, masks), and every draw, stays there.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests import rule
from univs.layers.draws import Draws
from univs.modeling.published_names import to_published

GOLDENS = Path(__file__).parent / "goldens"
DEVICE = torch.device(os.environ.get("UNIVS_TEST_DEVICE", "cpu"))
if DEVICE.type == "cuda":  # the stored tolerances are those of whole float32, and of sums in a fixed order
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
# integer tables and counters that the rule does not fill
NOT_FILLED = ("relative_position_index", "num_batches_tracked")


class Case:
    """One stored case; arrays are read when first asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.stem

    @functools.cached_property
    def json(self) -> dict:
        return json.loads(self.path.read_text())

    @functools.cached_property
    def npz(self) -> dict[str, np.ndarray]:
        with np.load(self.path.with_suffix(".npz"), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}

    @property
    def tag(self) -> str:
        return self.json["tag"]

    @property
    def config(self) -> dict:
        return self.json["config"]

    @property
    def inputs(self) -> dict:
        return self.json["inputs"]

    @property
    def outputs(self) -> dict[str, dict]:
        """Output entries by name."""
        return {entry["name"]: entry for entry in self.json["outputs"]}

    def stored_input(self, name: str) -> Tensor:
        """The input that the rule does not make, stored as in/NAME."""
        return tensor(self.npz[f"in/{name}"])

    def check(self, name: str, value: Tensor | np.ndarray) -> None:
        """Assert that ``value`` (the whole tensor) agrees with the stored output ``name``."""
        entry = self.outputs[name]
        value = value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
        assert list(value.shape) == list(entry["shape"]), f"{self.name}/{name}: shape {value.shape}, {entry['shape']}"
        reference = self.npz[f"out/{name}"]
        own = value.reshape(-1)
        if isinstance(entry["stored"], dict):
            assert entry["stored"]["rule"] == "flat"
            own = own[flat_positions(own.size, entry["stored"]["count"])]
        own, reference = own.astype(np.float64), reference.reshape(-1).astype(np.float64)
        difference = np.abs(own - reference)
        limit = entry.get("atol", 0.0) + entry.get("rtol", 0.0) * np.abs(reference)
        # written so that NaN counts as outside
        outside = ~((difference <= limit) | ((own == reference) & np.isinf(reference)))
        share = outside.mean() if outside.size else 0.0
        worst = f"worst {np.max(difference[outside]):.3g}" if outside.any() else ""
        assert share <= entry.get("allowed_fraction_outside", 0.0), f"{self.name}/{name}: {share:.4%} outside, {worst}"

    def check_losses(self, losses: dict[str, Tensor | float], rtol: float = 1e-4, atol: float = 1e-4) -> None:
        """Assert that the losses have the stored names and values; tolerances of 'loss_values' win where stored."""
        entry = self.outputs.get("loss_values", {})
        rtol, atol = entry.get("rtol", rtol), entry.get("atol", atol)
        stored = self.json["losses"]
        assert sorted(losses) == sorted(stored)
        for name, reference in stored.items():
            assert abs(float(losses[name]) - reference) <= atol + rtol * abs(reference), (
                f"{self.name}/{name}: {float(losses[name])}, stored {reference}"
            )

    def __repr__(self) -> str:
        return f"Case({self.name})"


def tensor(values: np.ndarray | Tensor | list) -> Tensor:
    """What a test gives to a module, on the device of the tests."""
    return torch.as_tensor(values, device=DEVICE)


def flat_positions(total: int, count: int) -> np.ndarray:
    """Positions floor(i * total / count) of the flattened tensor, i = 0..count-1."""
    return np.arange(count, dtype=np.int64) * total // count


def folders() -> list[Path]:
    """The folders that hold cases."""
    given = os.environ.get("UNIVS_PARITY_DIR")
    if given:
        return [Path(folder) for folder in given.split(":") if folder]
    return [_unpacked(archive) for archive in sorted(GOLDENS.glob("*.tar.xz"))]


def _unpacked(archive: Path) -> Path:
    """Folder with the unpacked archive, made once per content of the archive."""
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()[:16]
    target = Path(tempfile.gettempdir()) / f"univs-goldens-{os.getuid()}" / f"{archive.name.split('.')[0]}-{digest}"
    if not target.is_dir():
        target.parent.mkdir(mode=0o700, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=target.parent))
        with tarfile.open(archive) as file:
            file.extractall(scratch, filter="data")
        try:
            scratch.rename(target)
        except OSError:  # another process was faster
            shutil.rmtree(scratch)
    return target


@functools.cache
def all_cases() -> tuple[Case, ...]:
    """Every case of every folder, by name."""
    paths = [path for folder in folders() for path in sorted(folder.glob("*.json"))]
    return tuple(Case(path) for path in paths if path.with_suffix(".npz").exists())


def cases(which: str | Callable[[Case], bool]) -> list:
    """Parameters for pytest: the cases whose name starts with ``which`` or for which ``which(case)`` is true.

    Where there is none, one parameter that is skipped with that reason.
    """
    chosen = which if callable(which) else lambda case: case.name.startswith(which)
    found = [pytest.param(case, id=case.name) for case in all_cases() if chosen(case)]
    label = which if isinstance(which, str) else getattr(which, "__name__", "wanted")
    reason = f"no case of the kind '{label}' in the folder of reference values"
    return found or [pytest.param(None, id="absent", marks=pytest.mark.skip(reason=reason))]


def fill(
    module: nn.Module,
    tag: str,
    prefix: str = "",
    weight: Callable[[str, str, tuple[int, ...]], np.ndarray] = rule.weight,
    name_of: Callable[[str], str] = to_published,
) -> nn.Module:
    """Set every parameter and buffer of the state by rule, each by its published name, and move to the tests' device.

    ``prefix`` is put before the names of the module's state ("backbone.", "pixel_decoder.", "mask_decoder.") to make
    our full names; ``name_of`` gives the published key of a full name.
    """
    with torch.no_grad():
        for name, value in module.state_dict(keep_vars=True).items():
            if not name.endswith(NOT_FILLED):
                value.copy_(torch.from_numpy(weight(tag, name_of(prefix + name), tuple(value.shape))))
    return module.to(DEVICE)


class RuleDraws(Draws):
    """Draws that depend on the purpose and the shape only, on the CPU; the fixed values of a case come first."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.fixed = case.json.get("random_draws", {}).get("fixed_values", {})

    def uniform(self, purpose: str, shape: tuple[int, ...]) -> Tensor:
        fixed = self.fixed.get(purpose)
        if fixed is None:
            return torch.from_numpy(rule.uniform(purpose, shape))
        if isinstance(fixed, list):
            fixed = fixed[: shape[0]]
        return torch.tensor(fixed, dtype=torch.float32).expand(tuple(shape)).clone()

    def permutation(self, purpose: str, n: int) -> Tensor:
        if self.fixed.get(purpose) == "[1,2,..,T-1,0]":
            return torch.arange(n).roll(-1)
        return torch.from_numpy(rule.perm(purpose, n))

    def number(self, purpose: str) -> float:
        return float(self.uniform(purpose, (1,))[0])


class SignBits:
    """Sets the sides of near-zero logits of the attention masks to those of the reference run.

    Rows of a case: "clip prediction query frame row column allowed". The owner calls ``start(clip)`` before every call
    of the mask decoder; predictions are counted from there. In batches the clip of a row is the number of the video.
    ``skip`` is the number of leading queries that the program leaves out; it may leave out the last ones, too.
    """

    TARGET = "univs.modeling.mask_decoder.attention_mask_from_logits"

    def __init__(self, case: Case, skip: int = 0) -> None:
        rows = case.json.get("sign_bits", {}).get("attention", [])
        self.skip = skip
        self.rows: dict[tuple[int, int], list[list[int]]] = {}
        for row in rows:
            clip, prediction, *place = (int(number) for number in row.split())
            self.rows.setdefault((clip, prediction), []).append(place)
        self.start(0)

    def start(self, clip: int) -> None:
        """The next prediction is the first one of this clip."""
        self.clip, self.prediction = clip, 0

    def set_signs(self, resized_logits: Tensor) -> Tensor:
        """Copy of the logits [B, N, T, h, w] with the listed entries at +1 (allowed) or -1."""
        logits = resized_logits.detach().clone()
        for video in range(logits.shape[0]):
            clip = video if logits.shape[0] > 1 else self.clip
            for query, frame, row, column, allowed in self.rows.get((clip, self.prediction), ()):
                if self.skip <= query < self.skip + logits.shape[1]:
                    logits[video, query - self.skip, frame, row, column] = 1.0 if allowed else -1.0
        self.prediction += 1
        return logits


@contextlib.contextmanager
def sign_bits(case: Case, skip: int = 0) -> Iterator[SignBits]:
    """Within this context the attention step sees logits whose near-zero signs are those of the reference run."""
    import univs.modeling.mask_decoder as module

    bits = SignBits(case, skip)
    original = module.attention_mask_from_logits
    with mock.patch(SignBits.TARGET, lambda logits, *args, **kwargs: original(bits.set_signs(logits), *args, **kwargs)):
        yield bits


def published_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Shapes by key of a published state: "univs_r50", "mask2former_swinb_initial", "clip_text_encoder" and so on."""
    stored = json.loads((_unpacked(GOLDENS / "schema.tar.xz") / f"{name}_keys.json").read_text())
    return {key: tuple(shape) for key, shape in stored.items()}
