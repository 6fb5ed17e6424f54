"""Methods of an object, by what they may do for its stand-in."""

_BINARY = ("add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "pow", "lshift", "rshift", "and", "or", "xor")
_ORDER = ("lt", "le", "gt", "ge")

# attributes that numpy would read an address by
MEMORY = ("__array", "__cuda", "__dlpack", "_as_parameter_")
# methods that read what is in a value of a builtin type
READS: dict[type, set[str]] = {
    **{
        kind: {name for name in dir(kind) if name[0] != "_"}
        for kind in (int, float, complex, str, bytes, tuple, frozenset)
    },
    list: {"count", "index", "copy"},
    dict: {"keys", "values", "items", "get", "copy"},
    set: {name for name in dir(frozenset) if name[0] != "_"},
}
# what every stand-in has
ALWAYS = ("__bool__", "__str__", "__repr__", "__hash__", "__format__")
# operators, comparisons, conversions to numbers
DECIDED = {f"__{name}__" for name in (*_BINARY, *_ORDER, "contains", "divmod")}
COMPARISONS = {f"__{name}__" for name in ("eq", "ne", *_ORDER, "contains")}
NUMBERS = {
    f"__{name}__" for name in (
        "abs", "round", "float", "int", "index", "complex", "trunc", "floor", "ceil", "bool", "neg", "pos", "invert",
    )
}  # fmt: skip
# what the plain value inside answers
OF_PLAIN = {"__len__", "__iter__", "__getitem__", "__reversed__", "__bool__", "__contains__"} | NUMBERS
# what decides about plain values, or reckons with them
POWERS = DECIDED | COMPARISONS | NUMBERS | {f"__r{name}__" for name in _BINARY}
# what changes an object
INPLACE = {f"__i{name}__" for name in ("add", "sub", "mul", "and", "or", "xor", "truediv")}
CHANGES = {
    "__call__", "setattr", "delattr", "__setitem__", "__delitem__", "__enter__", "__exit__", "__next__", *INPLACE,
}  # fmt: skip
