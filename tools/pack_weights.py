#!/usr/bin/env python3
"""Put trained parts together into one weights file in half precision.

Example (the last step of ``make train-mini``):
  python tools/pack_weights.py --part dense_memory=output/univs_mini/follow/model_final.safetensors \\
    --part backbone,prompt_answer=output/univs_mini/answer/model_final.safetensors \\
    --output univs/weights/univs_mini.safetensors
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from univs.errors import UserError  # noqa: E402
from univs.modeling.weights import read_checkpoint, save_weights  # noqa: E402


def main() -> int:
    """Entry point; exit code 2 for a user's mistake."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", required=True, metavar="NAME[,NAME...]=FILE")
    parser.add_argument("--output", required=True, type=Path)
    arguments = parser.parse_args()
    try:
        state = pack(arguments.part)
        save_weights(state, arguments.output)
    except UserError as error:
        print(f"pack_weights: {error}", file=sys.stderr)
        return 2
    size = arguments.output.stat().st_size / 1e6
    print(f"Wrote {arguments.output}: {len(state)} tensors, {size:.1f} MB.")
    return 0


def pack(parts: list[str]) -> dict:
    """Tensors in half precision of the parts named in ``NAME[,NAME...]=FILE`` strings."""
    state = {}
    for part in parts:
        names, _, file = part.partition("=")
        if not file:
            raise UserError(f"--part {part!r} must be NAME[,NAME...]=FILE.")
        tensors = read_checkpoint(file)["model"]
        for name in names.split(","):
            chosen = {key: value.half() for key, value in tensors.items() if key.startswith(f"{name}.")}
            if not chosen:
                raise UserError(f"{file} holds no part {name!r}.")
            state |= chosen
    return state


if __name__ == "__main__":
    sys.exit(main())
