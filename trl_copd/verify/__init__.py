"""Grade files of completions: `trl-copd verify`, or `grade_rows` from Python."""

from .grading import Grade, grade_rows
from .rows import read_rows


__all__ = ["Grade", "grade_rows", "read_rows"]
