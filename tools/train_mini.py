#!/usr/bin/env python3
"""Train the embedded model from the beginning: every step of its recipe, resumed where it stopped, then packed.

The data are expected below $UNIVS_DATA (datasets/README.md); about two hours of one CPU core. --steps is a
trial of the whole line with so few steps that nothing is learned; it leaves the shipped weights alone.

Examples:
  UNIVS_DATA=/path/to/data python tools/train_mini.py
  UNIVS_DATA=/path/to/data python tools/train_mini.py --queries
  UNIVS_DATA=/path/to/data python tools/train_mini.py --steps 2 --queries
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "univs" / "weights" / "univs_mini.safetensors"
# each step and the one whose weights it starts from
STEPS = {"follow": None, "answer": "follow", "answer_apart": "answer", "answer_again": "answer_apart"}
QUERIES = {"queries": "follow"}
PARTS = {"follow": "dense_memory", "answer_again": "backbone,prompt_answer"}
QUERY_PARTS = {"queries": "pixel_decoder,mask_decoder"}


def main(argv: list[str] | None = None) -> int:
    """Entry point; the exit code of the first step that fails, else 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--folder", type=Path, help="of all steps (output/univs_mini; a trial: output/univs_mini_trial)"
    )
    parser.add_argument("--weights", type=Path, help="packed weights (the shipped ones; a trial: in its folder)")
    parser.add_argument("--queries", action="store_true", help="train the queries too, and pack them beside the rest")
    parser.add_argument("--steps", type=int, help="a trial with so many steps of optimisation in every step")
    arguments = parser.parse_args(argv)
    folder = arguments.folder or Path("output", "univs_mini_trial" if arguments.steps else "univs_mini")
    weights = arguments.weights or (folder / "univs_mini.safetensors" if arguments.steps else SHIPPED)
    for step, start in (STEPS | (QUERIES if arguments.queries else {})).items():
        print(f"== step {step} ==", flush=True)
        code = _run("train_net.py", *_step(step, start, folder, arguments.steps))
        if code:
            return code
    code = _pack(folder, PARTS, weights)
    if code or not arguments.queries:
        return code
    return _pack(folder, PARTS | QUERY_PARTS, folder / "univs_mini_queries.safetensors")


def _step(step: str, start: str | None, folder: Path, steps: int | None) -> list[str]:
    options = ["OUTPUT_DIR", str(folder / step)]
    if start:
        options += ["MODEL.WEIGHTS", str(_weights(folder, start))]
    if steps:
        options += ["SOLVER.MAX_ITER", str(steps)]
    return ["--config-file", f"configs/train/univs_mini_{step}.yaml", "--resume", *options]


def _pack(folder: Path, parts: dict[str, str], output: Path) -> int:
    chosen = [f"--part={names}={_weights(folder, step)}" for step, names in parts.items()]
    return _run("pack_weights.py", *chosen, "--output", str(output))


def _weights(folder: Path, step: str) -> Path:
    return folder / step / "model_final.safetensors"


def _run(tool: str, *arguments: str) -> int:
    return subprocess.run([sys.executable, str(ROOT / "tools" / tool), *arguments], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
