"""
Train a recipe from a checkout: `accelerate launch recipes/copd.py --config recipes/demo.yaml`.

An installed package does the same from anywhere: `accelerate launch -m trl_copd.train --config demo`.
"""

import sys
from pathlib import Path


sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # also where the package is not installed

from trl_copd.train import cli


if __name__ == "__main__":
    sys.exit(cli())
