"""Data sets, samples, prompts from geometry and loaders."""

from univs import compat

compat.apply()
