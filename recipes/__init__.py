"""Old names: the builders live in `trl_copd.recipes` and `trl_copd.train` now. These imports go with version 0.3."""

import importlib
import sys
import warnings


warnings.warn(
    "Import from `trl_copd.recipes` instead of `recipes`, and from `trl_copd.train` instead of `recipes.copd`: the "
    "old names go with version 0.3.",
    DeprecationWarning,
    stacklevel=2,
)
for _old, _new in {
    "copd": "trl_copd.train",
    **{
        name: f"trl_copd.recipes.{name}"
        for name in ("build", "demo_base", "domains", "gym", "rows", "small", "smollm2")
    },
}.items():
    globals()[_old] = sys.modules[f"{__name__}.{_old}"] = importlib.import_module(_new)
