r"""
Characters and commands of answers, and the one spelling of each: one character where LaTeX has a command (`≤` for
`\leq`, `⦃` for `\{`), so that what reads it can look for brackets and separators character by character.
"""

import re


CHARACTERS = {
    **dict.fromkeys("−–—‐‑﹣", "-"), **dict.fromkeys("×·⋅∙∗✕", "*"), "÷": "/", "⁄": "/", "∕": "/", "√": r"\sqrt ",
    "π": "π", "𝜋": "π", "∣": "|", "⟨": "⟨", "〈": "⟨", "〉": "⟩", "′": "'", "″": "''", "’": "'", "≦": "≤",
    "≧": "≥", "⩽": "≤", "⩾": "≥", "≃": "≈", "∨": " or ", "∧": " and ", "∖": "∖", "º": "°", "˚": "°", "∘": "∘",
    "∅": "∅", "⌀": "∅", "ℝ": "ℝ", "ℤ": "ℤ", "ℕ": "ℕ", "ℚ": "ℚ", "ℂ": "ℂ", "ℏ": r"\hbar ",
    "¼": r"\frac{1}{4}", "½": r"\frac{1}{2}", "¾": r"\frac{3}{4}", "⅓": r"\frac{1}{3}",
    "⅔": r"\frac{2}{3}", "⅛": r"\frac{1}{8}", "⅕": r"\frac{1}{5}", "⅙": r"\frac{1}{6}", "∛": r"\sqrt[3]", "：": ":",
    "℃": r"°C", "℉": "°F", "％": "%", "﹪": "%", "∴": " ", "‖": "|", "⟹": "⇒", "⟺": "⇒", "⇔": "⇒",
}  # fmt: skip
CIRCLED = "①②③④⑤⑥⑦⑧⑨⑩⑪⑫⑬⑭⑮⑯⑰⑱⑲⑳"
_RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n", strict=True))
_LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋ₙₖₐₓ", "0123456789+-nkax", strict=True))
# Neighbours are one exponent, and nothing but them is touched: "x^{2}" beside them stays as it is
RAISED = re.compile(f"[{''.join(_RAISED)}]+")
LOWERED = re.compile(f"[{''.join(_LOWERED)}]+")


def scripts(text: str) -> str:
    """`x¹²` as `x^{12}`, `x₁` as `x_{1}`."""
    text = RAISED.sub(lambda match: f"^{{{''.join(_RAISED[char] for char in match[0])}}}", text)
    return LOWERED.sub(lambda match: f"_{{{''.join(_LOWERED[char] for char in match[0])}}}", text)


GREEK_LETTERS = {
    "α": r"\alpha ", "β": r"\beta ", "γ": r"\gamma ", "δ": r"\delta ", "θ": r"\theta ", "λ": r"\lambda ",
    "μ": r"\mu ", "ρ": r"\rho ", "σ": r"\sigma ", "φ": r"\phi ", "ϕ": r"\phi ", "ω": r"\omega ", "ε": r"\epsilon ",
    "τ": r"\tau ", "Δ": r"\Delta ", "Ω": r"\Omega ", "Σ": r"\Sigma ", "ψ": r"\psi ", "η": r"\eta ", "ℓ": r"\ell ",
    "ξ": r"\xi ", "ν": r"\nu ", "κ": r"\kappa ", "χ": r"\chi ", "ζ": r"\zeta ", "Γ": r"\Gamma ", "Λ": r"\Lambda ",
    "Φ": r"\Phi ", "Ψ": r"\Psi ", "Θ": r"\Theta ",
}  # fmt: skip

SPACES = {",": "\u2009", ";": " ", ":": " ", " ": " ", "\n": " ", ">": " ", "!": "", "quad": " ", "qquad": " ",
          "/": "", "-": "", "nobreakspace": " ", "thinspace": " ", "enspace": " ", "enskip": " "}  # fmt: skip
SYMBOLS = {
    **dict.fromkeys("left right big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr displaystyle textstyle".split(), ""),
    **dict.fromkeys("middle limits nolimits Large large LARGE huge Huge small footnotesize normalsize".split(), ""),
    **dict.fromkeys("boxed fbox mathbf boldsymbol mathit bm bold mathcal mathsf ensuremath rm bf it".split(), ""),
    **dict.fromkeys("dfrac tfrac cfrac frac".split(), r"\frac "),
    **dict.fromkeys("dbinom tbinom binom".split(), r"\binom "),
    **dict.fromkeys("cdot cdotp times ast bullet".split(), "*"), "div": "/",
    **dict.fromkeys("le leq leqslant".split(), "≤"),
    **dict.fromkeys("ge geq geqslant".split(), "≥"), "lt": "<", "gt": ">", **dict.fromkeys("ne neq".split(), "≠"),
    **dict.fromkeys("approx simeq".split(), "≈"), "pm": "±", "mp": "∓",
    **dict.fromkeys("cup bigcup".split(), "∪"), **dict.fromkeys("cap bigcap".split(), "∩"), "notin": "∉",
    "in": "∈",
    **dict.fromkeys("setminus backslash smallsetminus".split(), "∖"), "infty": "∞", "pi": "π", "{": "⦃", "}": "⦄",
    "lbrace": "⦃", "rbrace": "⦄", "lbrack": "[", "rbrack": "]",
    **dict.fromkeys("lvert rvert vert mid | lVert rVert Vert".split(), "|"),
    "langle": "⟨", "rangle": "⟩", "lfloor": "⌊", "rfloor": "⌋", "lceil": "⌈", "rceil": "⌉", "degree": "°",
    "circ": "∘", "%": "%", "$": "\ue000", "lor": " or ", "vee": " or ", "land": " and ", "wedge": " and ", "(": "",
    ")": "",
    "[": "", "]": "", "emptyset": "∅", "varnothing": "∅", "oslash": "∅", "prime": "'", "colon": ":", "R": "ℝ",
    "Reals": "ℝ", "i": "i",
    "imath": "i", "jmath": "j", **dict.fromkeys(("cent", "textcent"), "¢"), "euro": "€", "pounds": "£", "yen": "¥",
    "varphi": r"\phi ", "varepsilon": r"\epsilon ", "lg": r"\log ", "text": r"\text", "to": "→", "rightarrow": "→",
    **dict.fromkeys("textbf textit textrm textsf texttt textnormal mathrm mbox hbox operatorname emph".split(),
                    r"\text"),
    **dict.fromkeys("Rightarrow implies Longrightarrow Leftrightarrow iff Longleftrightarrow".split(), "⇒"),
    "equiv": "≡", **dict.fromkeys("pmod mod bmod".split(), "₥"), "triangle": "△", "angle": "∠", "perp": "⊥",
    "parallel": "∥", "leftrightarrow": "↔", "odot": "⊙", "oplus": "⊕", "partial": "∂",
    **dict.fromkeys("cdots ldots dots dotsb dotsc".split(), "…"), "sum": "∑", "prod": "∏",
    # what they are applied to is named, not computed
    **{name: f" «{name}» " for name in "det dim deg arg Re Im Pr ker".split()},
}  # fmt: skip
FUNCTIONS = frozenset(
    "sin cos tan cot sec csc arcsin arccos arctan arccot sinh cosh tanh coth sech csch arcsinh arccosh arctanh ln log "
    "exp cis gcd lcm min max sqrt frac binom".split()
)
GREEK = frozenset(
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau phi chi psi omega "
    "Gamma Delta Theta Lambda Xi Sigma Phi Psi Omega ell hbar aleph".split()
)
# Marks over letters, which make another name of them: combining characters, which no text may bring along itself
ACCENTS = {
    "dot": "\u0307", "ddot": "\u0308", "hat": "\u0302", "widehat": "\u0302", "bar": "\u0304", "overline": "\u0304",
    "tilde": "\u0303", "widetilde": "\u0303", "vec": "\u20d7", "overrightarrow": "\u20d7",
}  # fmt: skip
MARKS = "".join(sorted(set(ACCENTS.values())))
