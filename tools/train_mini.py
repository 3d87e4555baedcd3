#!/usr/bin/env python3
"""Train the embedded model from the beginning: every step of its recipe, resumed where it stopped, then packed.

The data are expected below $UNIVS_DATA (datasets/README.md); about two hours of one CPU core.

Example:
  UNIVS_DATA=/path/to/data python tools/train_mini.py
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STEPS = ("follow", "answer", "answer_apart")
PARTS = {"follow": "dense_memory", "answer_apart": "backbone,prompt_answer"}


def main() -> int:
    """Entry point; the exit code of the first step that fails, else 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=ROOT / "univs" / "weights" / "univs_mini.safetensors")
    arguments = parser.parse_args()
    for step in STEPS:
        print(f"== step {step} ==", flush=True)
        code = _run("train_net.py", "--config-file", f"configs/train/univs_mini_{step}.yaml", "--resume")
        if code:
            return code
    parts = [f"--part={PARTS[step]}={_weights(step)}" for step in PARTS]
    return _run("pack_weights.py", *parts, "--output", str(arguments.weights))


def _weights(step: str) -> str:
    return f"output/univs_mini/{step}/model_final.safetensors"


def _run(tool: str, *arguments: str) -> int:
    return subprocess.run([sys.executable, str(ROOT / "tools" / tool), *arguments], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
