"""The configuration that builds the model of a file of weights: the user's, the file's own, or the one that fits."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from detectron2.config import CfgNode

from univs.config import get_config
from univs.errors import UserError
from univs.modeling.weight_sources import WeightSource, backbone_of
from univs.resources import config_file

# under these keys a file of weights holds the settings of its model, and the release that wrote them
SETTINGS_KEY, RELEASE_KEY = "univs_config", "univs_version"
# what says where and on what a program ran, not what a model is
_OF_THE_RUN = (
    *("DATALOADER", "DATASETS", "OUTPUT_DIR", "SEED", "SOLVER"),
    *("MODEL.DEVICE", "MODEL.WEIGHTS", "MODEL.WEIGHTS_AVERAGED", "MODEL.WEIGHTS_PARTIAL"),
)
_PUBLISHED_NAME = re.compile(r"published: (\S+?\.yaml)")
# a model is the same in all tasks; where no task is named, its settings are those of following given masks
_ANY_TASK = "vos"


def find_config(config: str | os.PathLike) -> CfgNode:
    """The configuration at a path, ours of that name (with or without folders), or ours for a published one's name.

    Raises:
        UserError: there is none, several of ours have the name, or it cannot be used.
    """
    published = published_configs().get(_plain_name(config))
    if published is not None:
        return get_config(published)
    if Path(config).is_file():
        return get_config(config)
    ours = _shipped_configs(config)
    if len(ours) > 1:
        names = ", ".join("/".join(path.parts[-2:]).removesuffix(".yaml") for path in ours)
        raise UserError(f"Several configs are called {str(config)!r}: {names}; name one of them so.")
    if not ours:
        raise UserError(f"There is no model or config {str(config)!r}; check the path; shipped models: univs_mini.")
    return get_config(ours[0])


def _shipped_configs(name: str | os.PathLike) -> list[Path]:
    """Our configurations whose paths end so: eval/vos/univs_r50_davis17.yaml, vos/univs_r50_davis17, ..."""
    wanted = Path(str(name).removesuffix(".yaml")).parts
    wanted = wanted[1:] if wanted[:1] == ("configs",) else wanted
    folder = config_file("_base/model.yaml").parents[1]
    found = sorted(folder.glob("*/**/univs_*.yaml"))
    return [path for path in found if wanted and path.with_suffix("").parts[-len(wanted) :] == wanted]


def published_configs() -> dict[str, Path]:
    """Our configurations by the names of the published files that their first lines name, without folders."""
    folder = config_file("_base/model.yaml").parents[1]
    named = {}
    for path in sorted(folder.glob("*/**/univs_*.yaml")):
        found = _PUBLISHED_NAME.search(path.read_text(encoding="utf-8").partition("\n")[0])
        if found and _plain_name(found[1]) != _plain_name(path):
            named[_plain_name(found[1])] = path
    return named


def _plain_name(path: str | os.PathLike) -> str:
    return Path(path).name.lower().removesuffix(".yaml")


def choose_config(weights: WeightSource, metadata: Mapping[str, str], task: str = "any") -> CfgNode:
    """The configuration of a file of weights that came without one.

    Settings inside the file come first, unless they are of another task than the one asked for; else that of ours for
    the image encoder and the task.

    Raises:
        UserError: nothing fits, or the settings inside the file cannot be used.
    """
    stored = stored_config(metadata, weights.file)
    if stored is not None and task in ("any", stored.INFERENCE.TASK):
        return stored
    backbone = backbone_of(weights.tensors)
    if backbone.key == "mini":
        queries = any(name.startswith("mask_decoder.") for name in weights.tensors)
        return get_config(config_file(f"mini/univs_mini{'_queries' if queries else ''}.yaml"))
    folder = config_file("_base/model.yaml").parents[1] / "eval"
    for name in (task, _ANY_TASK) if backbone.key else ():
        found = sorted((folder / name).glob(f"univs_{backbone.key}_*.yaml"))
        if found:
            return get_config(found[0])
    if stored is not None:
        return stored
    raise UserError(
        f"The weights {weights.file} are a {weights.title}, for which no configuration comes with the library; name "
        "yours with --config."
    )


def stored_config(metadata: Mapping[str, str], file: str) -> CfgNode | None:
    """The settings inside a file of weights, None where there are none.

    Raises:
        UserError: they cannot be used.
    """
    if SETTINGS_KEY not in metadata:
        return None
    try:
        cfg = get_config()
        cfg.merge_from_other_cfg(CfgNode(json.loads(metadata[SETTINGS_KEY])))
    except Exception as error:  # text of any kind, with values of any kind
        reason = error.args[0] if isinstance(error, KeyError) else error
        raise UserError(
            f"The settings inside {file} (of release {metadata.get(RELEASE_KEY, '?')}) cannot be used: {reason}; name "
            "a configuration with --config."
        ) from error
    return cfg


def settings_text(cfg: CfgNode) -> str:
    """What of a configuration differs from the defaults, as JSON, without what is of one run only."""
    changed = _changes(yaml.safe_load(cfg.dump()), yaml.safe_load(get_config().dump()))
    return json.dumps(changed, sort_keys=True)


def _changes(values: Mapping[str, Any], defaults: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    changed = {}
    for key, value in values.items():
        if f"{place}{key}" in _OF_THE_RUN:
            continue
        if isinstance(value, Mapping):
            inner = _changes(value, defaults.get(key, {}), f"{place}{key}.")
            changed |= {key: inner} if inner else {}
        elif key not in defaults or value != defaults[key]:
            changed[key] = value
    return changed
