"""How large an answer may be, and what is raised for one that cannot be compared."""

MAX_CHARS = 1000  # of an answer, before anything looks at it
MAX_DEPTH = 12  # of brackets
MAX_EXPONENT = 400  # of a number in scientific notation


class Unreadable(ValueError):
    """An answer or a reference that cannot be compared; the message says why."""


class NoGrammar(Unreadable):
    """Of these, what only lacks a rule here: math-verify may have one."""
