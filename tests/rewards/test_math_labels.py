# ruff: noqa: E501  # a row a line: folded, the tables could not be read
r"""
What a value is said to be, `\int_0^1 x\,dx = 1/2`, and references that say it in a sentence. A table is graded at once.
"""

import pytest

from trl_copd.rewards import math_reward


def wrong(rows):
    """Rows of a reference, an answer and the reward, which are graded otherwise."""
    references, answers, rewards = zip(*rows, strict=True)
    boxes = [rf"So \boxed{{{answer}}}." for answer in answers]
    found = math_reward(prompts=["?"] * len(rows), completions=boxes, solution=list(references))
    return [(*row[:2], grade) for row, grade in zip(rows, found, strict=True) if grade != row[2]]


# Both name what the value is of: spelling and the letter that runs are free, what is summed or integrated is not
OPERATORS = [
    (r"\int_0^1 x\,dx=\frac12", r"\int_0^1 x^2\,dx=\frac12", 0.0), (r"\int_0^1 x\,dx=\frac12", r"\int_0^2 x\,dx=\frac12", 0.0),
    (r"\int_0^1 x\,dx=\frac12", r"\lim_{x\to0} x=\frac12", 0.0), (r"\int_0^1 x\,dx=\frac12", r"\int_{0}^{1} t \, dt = 1/2", 1.0),
    (r"\int_0^1 x\,dx=\frac12", r"\displaystyle\int\limits_0^1 x\,\mathrm{d}x=0.5", 1.0), (r"\int_0^1 x\,dx=\frac12", r"I=\frac12", 1.0),
    (r"\frac12", r"\int_0^1 x\,dx=\frac12", 1.0), (r"\int_0^1 x\,dx=\frac12", r"\frac12", 1.0), (r"\int_0^1 x\,dx=\frac12", r"\int_0^1 x\,dx=\frac13", 0.0),
    (r"\lim_{x\to0}\frac{\sin x}{x}=1", r"\lim_{x\to\infty}\frac{\sin x}{x}=1", 0.0), (r"\lim_{x\to0}\frac{\sin x}{x}=1", r"\lim_{x \rightarrow 0} \dfrac{\sin x}{x} = 1", 1.0),
    (r"\sum_{k=1}^{10} k=55", r"\sum_{k=1}^{10} k^2=55", 0.0), (r"\sum_{k=1}^{10} k=55", r"\sum_{i=1}^{10} i=55", 1.0), (r"\prod_{k=1}^{4} k=24", r"\sum_{k=1}^{4} k=24", 0.0),
    (r"\det A=5", r"\det B=5", 0.0), (r"\det(A)=5", r"\det A=5", 1.0), (r"\sup S=5", r"\inf S=5", 0.0), (r"\vec a\cdot\vec b=5", r"\vec a\times\vec b=5", 0.0),
]  # fmt: skip

# Words that say which value is meant, and names in them
WORDS = [
    (r"\text{mean}=5", r"\text{median}=5", 0.0), (r"\text{Perimeter}=5", r"\text{Area}=5", 0.0), (r"\text{minimum}=2", r"\text{maximum}=2", 0.0),
    (r"\text{Area of }ABC=5", r"\text{Area of }ABD=5", 0.0), (r"\text{Area of }ABC=5", r"\text{Area}=5", 1.0), (r"\text{minimum}=2", r"\text{smallest value}=2", 1.0),
    (r"A^{-1}=2", r"A=2", 0.0), (r"A^{-1}=2", r"A^{-1}=2", 1.0),
]  # fmt: skip

# Worked references: the sentence at the end, yes and no with a reason, a plane; and what must not be taken for one
SENTENCES = [
    (r"$a \times b=c$. The area is $8 \sqrt{3}$.", r"8\sqrt3", 1.0), (r"$a \times b=c$. The area is $8 \sqrt{3}$.", "8", 0.0), ("$3x=6$. So $x=2$ and $y=5$.", "x=2,y=5", 1.0),
    ("$3x=6$. So $x=2$ and $y=5$.", "x=5,y=2", 0.0), ("It is the plane $2x+3y-z=0$.", "z=2x+3y", 1.0), ("It is the plane $2x+3y-z=0$.", "z=2x-3y", 0.0),
    ("Yes. It has a unique solution.", "Yes", 1.0), ("Yes. It has a unique solution.", "No", 0.0), ("No. It is not closed under addition.", r"\text{No}", 1.0),
    ("Yes. $F(x, y)=x^2y$", "F(x,y)=yx^2", 1.0), ("Yes. $F(x, y)=x^2y$", r"\text{Yes}, F(x,y)=yx^2", 1.0), ("Yes. $F(x, y)=x^2y$", r"\text{Yes}", 0.0),
    ("There is no solution.", r"\emptyset", 1.0), (r"\emptyset", r"\text{There is no solution}", 1.0), (r"No solution : $\oslash$", "no solution", 1.0), ("The steady state current is 2 amps.", "2", 1.0), ("$y=$ $1$", "1", 1.0),
    ("No. of apples: 5", "5", None), ("It is false that the area is 9.", "9", None), ("The area is not 9.", "9", None),
]  # fmt: skip


@pytest.mark.parametrize("rows", [OPERATORS, WORDS, SENTENCES], ids=["operators", "words", "sentences"])
def test_labels(rows):
    assert wrong(rows) == []
