"""The installer's modules stand beside each other in tools/, and import each other from there."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "tools"))
