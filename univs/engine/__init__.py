"""Training on Detectron2's hooks: trainer, optimiser, checkpoints, processes."""

from univs import compat

compat.apply()
