"""Train a model: Detectron2's arguments, one configuration.

python tools/train_net.py --config-file configs/train/univs_r50_stage1.yaml --num-gpus 8
torchrun --nproc-per-node 8 tools/train_net.py --config-file configs/train/univs_r50_stage1.yaml
python tools/train_net.py --config-file ... --resume                  # go on after an interruption
python tools/train_net.py --config-file ... SOLVER.BASE_LR 0.0001     # change single keys
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

# A clone works without being installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from univs import compat
from univs.errors import UserError


def main(arguments: argparse.Namespace) -> None:
    """One process of the run."""
    from univs.engine.objectives import build_objective
    from univs.engine.setup import build_model, prepare_run
    from univs.engine.trainer import Trainer

    cfg = prepare_run(arguments)
    model = build_model(cfg)
    trainer = Trainer(cfg, model, objective=build_objective(cfg, model))
    trainer.resume_or_load(resume=arguments.resume)
    trainer.train()


def run(argv: list[str] | None = None) -> int:
    """Run the program; returns its exit code, 2 for a user's mistake."""
    try:
        compat.apply()
        from detectron2.engine import default_argument_parser

        from univs.engine.distributed import run_processes

        arguments = default_argument_parser(epilog=__doc__).parse_args(argv)
        run_processes(main, arguments)
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted; --resume goes on from the last checkpoint.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(run())
