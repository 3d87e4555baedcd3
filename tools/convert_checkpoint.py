#!/usr/bin/env python3
"""Write a checkpoint, ours or a published one, as safetensors under our names with the settings of the model inside.

  python tools/convert_checkpoint.py univs_r50_stage3.pth univs_r50.safetensors
  univs demo --video clip.mp4 --mask first.png@0 --weights univs_r50.safetensors

Every parameter of the model must be in the file and the other way round. Nothing in the file is run.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from univs import compat  # noqa: E402

compat.apply()

import torch  # noqa: E402

from univs import __version__  # noqa: E402
from univs.errors import UserError  # noqa: E402
from univs.inference.model_choice import (  # noqa: E402
    RELEASE_KEY,
    SETTINGS_KEY,
    choose_config,
    find_config,
    settings_text,
)
from univs.modeling.build import build_model  # noqa: E402
from univs.modeling.weight_files import read_checkpoint, read_metadata  # noqa: E402
from univs.modeling.weight_sources import recognised  # noqa: E402
from univs.modeling.weights import LoadReport, save_weights, select  # noqa: E402


def main(argv: list[str] | None = None) -> int:
    """Entry point; exit code 2 for a user's mistake."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", type=Path, help="checkpoint: .pth, .pkl, .safetensors")
    parser.add_argument("output", type=Path, help="file to write: .safetensors")
    parser.add_argument("--config", help="settings of the model (default: what fits the checkpoint)")
    parser.add_argument(
        "--plain",
        action="store_true",
        help="the plain weights, where the checkpoint also holds running averages of them",
    )
    arguments = parser.parse_args(argv)
    try:
        report = convert(arguments.input, arguments.output, arguments.config, averaged=not arguments.plain)
    except UserError as error:
        print(f"convert_checkpoint: {error}", file=sys.stderr)
        return 2
    print(report.summary())
    print(f"Wrote {arguments.output}: {report.loaded} tensors, {arguments.output.stat().st_size / 1e6:.1f} MB.")
    return 0


def convert(source: Path, target: Path, config: str | None = None, averaged: bool = True) -> LoadReport:
    """Write ``source`` as ``target``; tells what was taken.

    Raises:
        UserError: it cannot be read, is no whole model, or does not fit the configuration.
    """
    if target.suffix != ".safetensors":
        raise UserError(f"The output {target} must end in .safetensors.")
    weights = recognised(read_checkpoint(source)["model"], source)
    cfg = find_config(config) if config else choose_config(weights, read_metadata(source))
    cfg.MODEL.DEVICE = "meta"  # names and shapes are enough
    with torch.device("meta"):
        model = build_model(cfg)
    tensors, report = select(model, weights, averaged=averaged, start=False)
    save_weights(tensors, target, {SETTINGS_KEY: settings_text(cfg), RELEASE_KEY: __version__, "source": weights.title})
    return report


if __name__ == "__main__":
    sys.exit(main())
