"""What a run came to, on one screen: what beat what, where the adapters are, how to go on."""

import math
from collections.abc import Mapping, Sequence

from ..history import Matrix, mean_of
from ..run.folder import expert_place
from ..topology import STUDENT


def run_summary(
    matrix: Matrix, held_out: Mapping[str, int], experts: Sequence[str], output_dir: str, base: str | None
) -> str:
    """
    The lines that a run ends with.

    Args:
        matrix (`dict[str, dict[str, float | None]]`): The capability matrix.
        held_out (`Mapping[str, int]`): Completions per domain that it was measured on, where that is known.
        experts (`Sequence[str]`): Names of the experts.
        output_dir (`str`): Folder of the run.
        base (`str`, *optional*): Path or Hub id of the base.

    Returns:
        `str`: Comparisons with 95 % intervals where the number of rows is known, places and three commands.
    """
    lines = [*_against_base(matrix, held_out), *_against_experts(matrix, held_out, experts)]
    where = repr(base) if base else "BASE"
    lines += [
        f"save_model(), which a recipe calls itself, writes the student to {output_dir} and the experts to "
        f"{output_dir}/{expert_place('{' + ','.join(experts) + '}' if len(experts) > 1 else experts[0])}.",
        "To go on:",
        f"  use    PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained({where}), {output_dir!r})",
        f"  merge  trl-copd export {output_dir} --output {output_dir}-merged",
        f"  push   hf upload YOUR_NAME/REPO {output_dir}    (or trainer.push_to_hub())",
    ]
    return "\n".join(lines)


def _against_base(matrix: Matrix, held_out: Mapping[str, int]) -> list[str]:
    student, base = (matrix.get(name, {}) for name in (STUDENT, "base"))
    after, before = mean_of(student), mean_of(base)
    if after is None or before is None:
        return []
    gap, error = after - before, _error(held_out, student, base)
    return [f"Student {after:.3f}, base {before:.3f}: {_verdict(gap, error)}, averaged over {len(student)} domain(s)."]


def _against_experts(matrix: Matrix, held_out: Mapping[str, int], experts: Sequence[str]) -> list[str]:
    """The student beside each expert, on that expert's own domain."""
    lines = []
    for name in experts:
        own, student = matrix.get(name, {}).get(name), matrix.get(STUDENT, {}).get(name)
        if own is not None and student is not None:
            error = _error(held_out, {name: student}, {name: own})
            lines.append(f"  on {name}: student {student:.3f}, its expert {own:.3f}: {_verdict(student - own, error)}")
    return lines


def _verdict(gap: float, error: float | None) -> str:
    if error is None:
        return f"{gap:+.3f}"
    bound = 1.96 * error
    word = "a gain" if gap > bound else "a loss" if gap < -bound else "no clear difference"
    return f"{gap:+.3f} [{gap - bound:+.3f}, {gap + bound:+.3f}], {word}"


def _error(held_out: Mapping[str, int], *rows: Mapping[str, float | None]) -> float | None:
    """Standard error of a difference of means over domains, as if each were measured on rows of its own."""
    total = 0.0
    for row in rows:
        for domain, share in row.items():
            if share is None or not 0 <= share <= 1 or not held_out.get(domain):
                return None
            total += share * (1 - share) / held_out[domain] / len(row) ** 2
    return math.sqrt(total)
