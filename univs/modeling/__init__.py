"""The model and its parts: backbones, pixel decoder, prompt encoders, mask decoder, losses."""

from univs import compat

compat.apply()
