"""Names of what calculus asks for, in one spelling: `max at x = 7`, `concave up on (0, ∞)`, `saddle point: (1, 0)`."""

import re


_POINT = "p(?:oin)?ts?"
_NAMES = (
    rf"(?P<local>(?:local|relative|absolute|global) )?\\?(?P<end>max|min)(?:ima|imum)?(?: {_POINT})?"
    rf"|(?P<point>saddle|inflection) {_POINT}|concave (?P<side>up|down)(?:wards?)?|(?P<way>increasing|decreasing)"
)
_LINK = "«? *(?:(?:occurs )?(?:at|on|when|for)(?![a-z])|:) *»?"
_NAMED = re.compile(rf"«? ?(?<![A-Za-z0-9])(?<![0-9] )(?:{_NAMES})(?P<dot> *\.)?»? *(?P<link>{_LINK})? *")


_NEITHER = re.compile(r"[,;] ?(?:and )?«? ?neither»? «?at»? ?[^,;{}]*")


def named_features(text: str) -> str:
    r"""Each name as `«✦max»: `. A name needs "at" or its like behind it, so that `\max(1, 2)` stays a function."""
    return _NAMED.sub(_named, _NEITHER.sub("", text))


def _named(match: re.Match) -> str:
    if not (match["link"] or match["dot"] or match["local"]):
        return match[0]
    name = match["end"] or match["way"]
    if match["point"] or match["side"]:
        name = f"{match['point']} point" if match["point"] else f"concave {match['side']}"
    return f"«✦{name}»: "
