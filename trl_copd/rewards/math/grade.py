"""
What `math_reward` runs in its workers: references checked and answers compared by this package's grammar, or by
math-verify where the reference has a command that the grammar lacks. Both are imported there only, off the clock.
"""

import re

from .bounds import NoGrammar, Unreadable


SYMBOLIC = "it needs math-verify"
_SUM = re.compile("[∑∏]")


def prepare() -> None:
    """Import what `compare` needs, and let it build its tables."""
    compare("x+1", r"\sqrt {x}")


def check_reference(text: str) -> str | None:
    """`None` if the normalised reference can be compared with, else why not."""
    from . import answer as math_answer
    from . import same as math_same

    try:
        for reading in math_answer.readings(text):
            math_same.check(reading)
    except NoGrammar:
        return SYMBOLIC
    except Unreadable as problem:
        return str(problem)
    return None


def compare(gold: str, given: str, tolerance: float = 0.0) -> tuple[bool, str]:
    """Whether two normalised texts are the same answer, numbers up to a share of their size, and why."""
    from . import answer as math_answer
    from . import same as math_same
    from .kinds import rounded

    if _SUM.search(given) and not _SUM.search(gold):
        return False, "a sum that is left to compute"
    try:
        references = math_answer.readings(gold)
        answers = math_answer.readings_for(references, given)
    except Unreadable as problem:
        return False, f"the answer cannot be compared: {problem}"
    reason = "it is another value"
    for reference in references:
        if tolerance:
            reference = rounded(reference, tolerance)
        for answer in answers:
            try:
                if math_same.same(reference, answer):
                    return True, "equal"
            except Unreadable as problem:
                reason = f"the answer cannot be compared: {problem}"
    return False, reason


def prepare_symbolic() -> None:
    """Import sympy and let math-verify build its grammar, which takes longer than a grade may."""
    from . import symbolic as math_symbolic

    math_symbolic.equal("x+1", "1+x")


def check_reference_symbolically(text: str) -> str | None:
    """As `check_reference`, by math-verify, on a text that is not normalised."""
    from . import symbolic as math_symbolic

    try:
        math_symbolic.parse_bounded(text)
    except Unreadable as problem:
        return str(problem)
    return None


def compare_symbolically(gold: str, given: str, tolerance: float = 0.0) -> tuple[bool, str]:
    """As `compare`, by math-verify, on texts that are not normalised, and exactly."""
    from . import symbolic as math_symbolic

    try:
        return math_symbolic.equal(gold, given), "by math-verify"
    except Unreadable as problem:
        return False, f"the answer cannot be compared: {problem}"
