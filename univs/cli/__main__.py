"""``python -m univs.cli`` is the command ``univs``."""

import sys

from univs.cli import main

sys.exit(main())
