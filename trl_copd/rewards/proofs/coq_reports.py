"""Reads what Coq's checks print. What is not understood is refused."""

import re

from .session import Refused


LIBRARY = "TrlCopd"  # logical name under which the files of a check know each other


def assumptions(report: str) -> frozenset[str]:
    """
    The axioms in a report of `Print Assumptions`.

    Raises:
        `Refused`: The report is of another form: it names a theory that is not allowed, or is none.
    """
    lines = report.strip().split("\n")
    if lines == ["Closed under the global context"]:
        return frozenset()
    if lines[0] != "Axioms:":
        raise Refused(f"more than axioms: {' '.join(report.split())[:200]}")
    names = set()
    for line in lines[1:]:
        if line[:1].isspace():
            continue  # the type of the axiom above
        match = re.fullmatch(r"([^\s:]+)(?:\s*:.*)?", line)
        if match is None:
            raise Refused(f"more than axioms: {line[:200]}")
        names.add(match[1])
    return frozenset(names)


def unsafe_parts(report: str) -> str | None:
    """What a report of the checker says of the submission that it took on trust (axioms apart), or `None`."""
    section = ""
    if "CONTEXT SUMMARY" not in report:
        return "there is no report"
    for line in report.split("\n"):
        if line.startswith("* "):
            section, _, line = line[2:].partition(":")
        if section.startswith(("Constants", "Inductives")) and f"{LIBRARY}.Submission." in line + ".":
            return f"{section}: {line.strip()}"
        if section.startswith("Theory") and "Set is impredicative" in line:
            return line.strip()
    return None
