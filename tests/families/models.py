"""Tiny models of many families of transformers, built from their configurations."""

import torch
from tiny import CHARACTERS
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel


VOCABULARY = 4 + len(CHARACTERS)
# What makes a configuration tiny, under the names that it knows
TINY = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "n_embd": 32, "d_model": 32, "intermediate_size": 48, "ffn_dim": 48,
    "n_inner": 48, "num_hidden_layers": 2, "n_layer": 2, "n_layers": 2, "num_layers": 2, "num_attention_heads": 4,
    "n_head": 4, "n_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 64,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": False, "initializer_range": 0.3,
    "word_embed_proj_dim": 32, "max_seq_len": 64, "expansion_ratio": 2,
    "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4, "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "n_group": 1, "topk_group": 1, "shared_expert_intermediate_size": 16, "first_k_dense_replace": 1,
    "sliding_window": 8, "rotary_dim": 4,
}  # fmt: skip

MLA = {"q_lora_rank": 8, "kv_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 8, "v_head_dim": 8,
       "head_dim": 4, "num_key_value_heads": 4}  # fmt: skip
MIXED = {"layer_types": ["sliding_attention", "full_attention"]}
# family: what its configuration needs besides
FAMILIES: dict[str, dict[str, dict]] = {
    "dense": {
        "llama": {}, "mistral": {"sliding_window": None}, "qwen2": {}, "qwen3": {},
        "phi": {"partial_rotary_factor": 0.5},
        "phi3": {"rope_scaling": None}, "gemma": {}, "glm": {}, "glm4": {}, "granite": {}, "olmo": {}, "olmo2": {},
        "stablelm": {}, "starcoder2": {"sliding_window": None}, "cohere": {}, "helium": {}, "nemotron": {},
        "smollm3": {}, "seed_oss": {}, "arcee": {}, "apertus": {}, "ernie4_5": {},
        "exaone4": {"sliding_window_pattern": None, "layer_types": ["full_attention"] * 2},
        "hunyuan_v1_dense": {}, "minicpm3": MLA, "gpt2": {}, "gpt_neox": {}, "gptj": {}, "opt": {}, "bloom": {},
        "falcon": {"num_kv_heads": 2, "new_decoder_architecture": True}, "mpt": {}, "codegen": {}, "gpt_bigcode": {},
    },
    "sliding window": {
        "gemma2": MIXED, "gemma3_text": MIXED, "cohere2": MIXED, "olmo3": MIXED,
        "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": 8},
    },
    "fused experts": {
        "mixtral": {"sliding_window": None}, "qwen2_moe": {}, "qwen3_moe": {}, "olmoe": {}, "phimoe": {},
        "granitemoe": {}, "gpt_oss": MIXED, "deepseek_v2": MLA | {"n_shared_experts": 1}, "deepseek_v3": MLA,
        "glm4_moe": {}, "minimax": {"layer_types": ["linear_attention", "full_attention"], "block_size": 8},
    },
    "hybrid": {
        "qwen3_next": {"layer_types": ["linear_attention", "full_attention"], "linear_num_key_heads": 2,
                       "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8},
        "lfm2": {"layer_types": ["conv", "full_attention"]},
        "recurrent_gemma": {"block_types": ["recurrent", "attention"], "lru_width": 32, "attention_window_size": 16},
        "bamba": {"attn_layer_indices": [1], "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8},
    },
}  # fmt: skip
KINDS = {family: kind for kind, families in FAMILIES.items() for family in families}


def family_model(family: str, seed: int = 0, **overrides) -> PreTrainedModel:
    """A tiny random model of a family; `overrides` of its configuration."""
    own = FAMILIES[KINDS[family]][family]
    default = AutoConfig.for_model(family)
    names = {**default.to_dict(), **default.attribute_map}
    # where a family has its own name for a size, the own name is set
    shared = {
        name: value for name, value in TINY.items() if name in names and default.attribute_map.get(name) not in TINY
    }
    torch.manual_seed(seed)
    config = AutoConfig.for_model(family, **shared | own | overrides)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


def vision_language_model(seed: int = 0) -> PreTrainedModel:
    """A tiny Qwen2.5-VL, which is trained on text."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}
    text = {name: value for name, value in TINY.items() if name in ("hidden_size", "intermediate_size",
            "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "vocab_size",
            "max_position_embeddings", "initializer_range", "pad_token_id", "bos_token_id",
            "eos_token_id")}  # fmt: skip
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 32}
    torch.manual_seed(seed)
    config = Qwen2_5_VLConfig(text_config=text | {"rope_scaling": rope}, vision_config=vision, image_token_id=28,
                              video_token_id=29, vision_start_token_id=27, vision_end_token_id=26)  # fmt: skip
    return Qwen2_5_VLForConditionalGeneration(config).float().eval()
