"""`python -m trl_copd` is `trl-copd`."""

import sys

from .cli import main


if __name__ == "__main__":
    sys.exit(main())
