"""Training starts from files of others: what they lack is named in the log, what should be there stops it."""

from __future__ import annotations

import logging
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.published_file import published_state, small_model
from tools.train_net import run
from univs.engine.checkpoint import Checkpointer
from univs.errors import UserError

from .test_train_net import OPTIONS

FRESH = re.compile(r"predictor\.(transformer_prompt|prompt_|lang2|vis2|text|cls_temp|reid_temp)|query_(feat|embed)")


def mask2former() -> dict[str, np.ndarray]:
    """What Mask2Former has of the small model, with queries of its own number, and its classifier."""
    state = published_state(small_model("start"))
    arrays = {name: value.numpy() for name, value in state.items() if not FRESH.search(name)}
    arrays["sem_seg_head.predictor.static_query.weight"] = np.ones((3, 32), np.float32)
    arrays["sem_seg_head.predictor.query_embed.weight"] = np.ones((3, 32), np.float32)
    arrays["sem_seg_head.predictor.class_embed.weight"] = np.ones((134, 32), np.float32)
    return arrays | {"criterion.empty_weight": np.ones(134, np.float32)}


def load(folder: Path, content: object) -> torch.nn.Module:
    file = folder / "model_final_1.pkl"
    file.write_bytes(pickle.dumps(content))
    model = small_model("fresh")
    Checkpointer(model).resume_or_load(str(file), resume=False)
    return model


def test_mask2former_is_loaded_and_what_starts_fresh_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = {name: value.clone() for name, value in small_model("fresh").state_dict().items()}
    with caplog.at_level(logging.INFO, "univs"):
        model = load(tmp_path, {"model": mask2former(), "__author__": "Mask2Former"})
    start, after = small_model("start").state_dict(), model.state_dict()
    fresh = {name for name in after if not torch.equal(after[name], start[name])}
    assert fresh and all(torch.equal(after[name], before[name]) for name in fresh)
    told = next(record.getMessage() for record in caplog.records if "start fresh" in record.getMessage())
    assert "model_final_1.pkl: Mask2Former with ResNet-50" in told
    named = re.search(r"(\d+) start fresh: (.*); left out: (.*)\.$", told)
    assert int(named[1]) >= len(fresh) and "class_embed" in named[3]
    patterns = {re.sub(r" \(\d+\)$", "", name) for name in named[2].split(", ")}
    assert {re.sub(r"(?<=\.)\d+(?=\.)", "*", name) for name in fresh} <= patterns


def test_a_mask2former_file_that_lacks_more_stops_training(tmp_path: Path) -> None:
    arrays = mask2former()
    del arrays["sem_seg_head.pixel_decoder.mask_features.weight"]
    with pytest.raises(UserError, match=r"1 missing in the file \(pixel_decoder.mask_features.weight\)"):
        load(tmp_path, {"model": arrays, "__author__": "Mask2Former"})


def test_the_oldest_names_of_a_classifier_are_known(tmp_path: Path) -> None:
    """Detectron's names, with the scales and shifts of batch norms that have no means and variances."""
    start = small_model("start").state_dict()
    parameters = {
        name: value
        for name, value in start.items()
        if name.startswith("backbone.") and not name.endswith(("running_mean", "running_var"))
    }
    blobs = {_detectron_name(name): value.numpy() for name, value in parameters.items()}
    blobs |= {"fc1000_w": np.ones((1000, 8), np.float32), "conv1_w_momentum": np.ones(3, np.float32)}
    after = load(tmp_path, {"blobs": blobs}).state_dict()
    assert all(torch.equal(after[name], value) for name, value in parameters.items())
    assert not after["backbone.res3.0.conv1.norm.running_mean"].any()


def test_the_log_of_a_run_says_what_was_loaded(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = [*OPTIONS, "OUTPUT_DIR", str(folder / "first"), "SOLVER.MAX_ITER", "1"]
    assert run(first) == 0
    weights = str(folder / "first" / "model_final.safetensors")
    more = [*OPTIONS, "OUTPUT_DIR", str(folder / "more"), "SOLVER.MAX_ITER", "1", "MODEL.WEIGHTS", weights]
    assert run(more) == 0
    told = "weights have their place, none missing, none left over, all shapes equal"
    assert told in capsys.readouterr().out and told in (folder / "more" / "log.txt").read_text()


def _detectron_name(name: str) -> str:
    name = name.removeprefix("backbone.").replace("stem.conv1.norm", "res_conv1_bn").replace("stem.", "")
    for ours, theirs in (("conv1", "branch2a"), ("conv2", "branch2b"), ("conv3", "branch2c"), ("shortcut", "branch1")):
        name = re.sub(rf"(res\d\.\d+\.){ours}", rf"\g<1>{theirs}", name)
    name = name.replace(".norm", "_bn").replace("_bn.weight", "_bn_s").replace("_bn.bias", "_bn_b")
    return name.replace(".weight", "_w").replace(".", "_")
