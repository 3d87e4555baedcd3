"""Configs and weights are found in a clone and in an installed package."""

from __future__ import annotations

from pathlib import Path

import pytest

from univs import resources
from univs.errors import UserError


def test_configs_of_the_clone_are_found() -> None:
    assert resources.config_file("_base/model.yaml").read_text()


def test_configs_of_an_installed_package_come_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    installed, beside = tmp_path / "installed", tmp_path / "beside"
    for folder in (installed, beside):
        folder.mkdir()
        (folder / "model.yaml").touch()
    monkeypatch.setattr(resources, "_CONFIG_FOLDERS", (installed, beside))
    assert resources.config_file("model.yaml") == installed / "model.yaml"


def test_unknown_config_names_those_that_are_near() -> None:
    with pytest.raises(UserError, match=r"No config 'model_typo\.yaml' .*_base/model\.yaml"):
        resources.config_file("model_typo.yaml")


def test_weights_are_found_or_listed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "small.safetensors").touch()
    monkeypatch.setattr(resources, "_WEIGHT_FOLDER", tmp_path)
    assert resources.weights_file("small.safetensors") == tmp_path / "small.safetensors"
    with pytest.raises(UserError, match=r"there are: small\.safetensors"):
        resources.weights_file("large.safetensors")
