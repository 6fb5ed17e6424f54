"""The one place that touches PEFT's internals: adapters are created, grouped, merged, saved and loaded here."""

from .branches import PACKS_FOR_INFERENCE, activate, create_branches, only, set_trainable
from .configs import (
    BASE_PRESERVING_INITS,
    check_peft_config,
    config_settings,
    merging_settings,
    read_adapter_config,
    widened,
)
from .groups import HALVES, QUANTISED_LAYERS, RowGroups, grouped, stacking_obstacle
from .language import BEYOND, adapts_language_alone, is_multimodal, on_language_model, reaches_beyond_language
from .merging import merged_student, set_to_average
from .pairs import check_layers, check_mergeable, fits_no_layer, unpaired
from .parts import BASE, INITIAL, base_weights, branch_parameters
from .saving import (
    AdapterCopy,
    adapter_weights,
    check_exportable,
    copy_adapter,
    export_adapter,
    load_adapter,
    save_adapter,
    weights_digest,
)


__all__ = [
    "AdapterCopy",
    "BASE",
    "BASE_PRESERVING_INITS",
    "HALVES",
    "INITIAL",
    "PACKS_FOR_INFERENCE",
    "QUANTISED_LAYERS",
    "RowGroups",
    "activate",
    "adapts_language_alone",
    "adapter_weights",
    "base_weights",
    "branch_parameters",
    "check_exportable",
    "check_layers",
    "check_mergeable",
    "check_peft_config",
    "config_settings",
    "copy_adapter",
    "create_branches",
    "export_adapter",
    "fits_no_layer",
    "grouped",
    "is_multimodal",
    "reaches_beyond_language",
    "BEYOND",
    "load_adapter",
    "merged_student",
    "merging_settings",
    "on_language_model",
    "only",
    "read_adapter_config",
    "save_adapter",
    "set_to_average",
    "set_trainable",
    "stacking_obstacle",
    "unpaired",
    "weights_digest",
    "widened",
]
