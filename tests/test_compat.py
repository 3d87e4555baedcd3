"""The layer that makes Detectron2 usable: what it adds and what it leaves alone."""

from __future__ import annotations

import importlib.util
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from univs import compat
from univs.errors import UserError


def test_importing_the_layer_is_cheap() -> None:
    program = "import sys, univs.compat; print(sorted({'torch', 'detectron2', 'numpy', 'PIL'} & set(sys.modules)))"
    root = Path(__file__).resolve().parents[1]
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root)
    assert answer.stdout.strip() == "[]"


def test_a_second_call_changes_nothing() -> None:
    first = compat.apply()
    modules = set(sys.modules)
    assert compat.apply() == first
    assert set(sys.modules) == modules


def test_detectron2_imports_where_it_is_used() -> None:
    from detectron2 import model_zoo
    from detectron2.checkpoint import DetectionCheckpointer
    from detectron2.engine import DefaultTrainer
    from detectron2.evaluation import COCOEvaluator
    from detectron2.modeling import build_model
    from detectron2.projects.point_rend.point_features import point_sample

    assert all((model_zoo, DetectionCheckpointer, DefaultTrainer, COCOEvaluator, build_model, point_sample))


def test_missing_detectron2_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compat, "_added", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="Detectron2 is not installed .*make install"):
        compat.apply()


def test_names_that_exist_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    mark = object()
    monkeypatch.setattr(np, "float", mark, raising=False)
    assert "numpy.float" not in compat._restore_numpy_aliases()
    assert np.float is mark


def test_missing_extension_says_what_needs_it() -> None:
    stub = compat._MissingExtension("detectron2._C")
    assert stub.get_cuda_version() == "not built"
    with pytest.raises(NotImplementedError, match=r"detectron2\._C\.box_iou_rotated needs .* compiled extension"):
        stub.box_iou_rotated(1, 2)


def test_detectron2_with_its_own_fall_backs_gets_no_stub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "detectron2._C", raising=False)
    monkeypatch.setattr(compat.importlib, "import_module", lambda name: None)
    assert compat._replace_extension() == []
    assert "detectron2._C" not in sys.modules


def test_other_faults_of_detectron2_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise ImportError("No module named 'fvcore'")

    monkeypatch.setattr(compat.importlib, "import_module", fail)
    with pytest.raises(ImportError, match="fvcore"):
        compat._replace_extension()


def test_package_files_are_found_without_setuptools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pkg_resources", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", hide_pkg_resources(importlib.util.find_spec))
    assert compat._replace_pkg_resources() == ["pkg_resources"]
    import pkg_resources

    name = Path(pkg_resources.resource_filename("univs.layers", "sub/file.txt"))
    assert name.parts[-4:] == ("univs", "layers", "sub", "file.txt")
    with pytest.raises(ModuleNotFoundError, match="no package named 'nobody_has_this'"):
        pkg_resources.resource_filename("nobody_has_this", "file.txt")


def hide_pkg_resources(find_spec):
    return lambda name: None if name == "pkg_resources" else find_spec(name)


def test_checkpoints_with_numpy_scalars_load_in_safe_mode(tmp_path: Path) -> None:
    compat.apply()
    path = tmp_path / "training_state.pth"
    torch.save({"best": np.float64(0.25), "step": np.int64(3)}, path)
    assert torch.load(path, weights_only=True) == {"best": 0.25, "step": 3}


def test_safe_mode_still_refuses_code(tmp_path: Path) -> None:
    compat.apply()
    path = tmp_path / "malicious.pth"
    torch.save({"value": RunsOnLoad()}, path)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)


class RunsOnLoad:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("executed",)
