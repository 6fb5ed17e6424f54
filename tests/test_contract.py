"""What is private in TRL, transformers and PEFT and used here; a failure names what moved."""

import inspect
from collections import deque

import pytest
import trl
from peft.tuners.lora import Linear, LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from tiny import build_trainer, settings
from tiny_acting import Counter, acting_model, acting_tokenizer, b, talk_reward
from tiny_acting import rows as acting_rows
from torch.distributed.fsdp import FSDPModule
from torch.distributed.fsdp._fully_shard._fsdp_param import FSDPParam
from torch.distributed.fsdp._fully_shard._fsdp_param_group import FSDPParamGroup
from torch.distributed.fsdp._fully_shard._fsdp_state import FSDPState
from transformers import DynamicCache, GenerationMixin, Trainer, TrainerCallback
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer
from trl import GRPOConfig, GRPOTrainer
from trl.extras.profiling import profiling_context
from trl.trainer.utils import print_prompt_completions_sample

from trl_copd import CoPDTrainer, Expert
from trl_copd.trainers.actor import Actor
from trl_copd.trainers.learner import Learner
from trl_copd.trainers.policy import Policy
from trl_copd.worlds import World


SIGNATURES = {
    (GRPOTrainer, "training_step"): ["self", "model", "inputs", "num_items_in_batch"],
    (GRPOTrainer, "_generate_and_score_completions"): ["self", "inputs"],
    (GRPOTrainer, "_generate"): ["self", "prompts"],
    (GRPOTrainer, "_generate_single_turn"): [
        "self", "prompt_ids", "images", "multimodal_fields", "num_generations", "has_tool_images"],
    (GRPOTrainer, "_calculate_rewards"): ["self", "inputs", "prompts", "completions", "completion_ids_list"],
    (GRPOTrainer, "_tokenize_prompts"): ["self", "prompts"],
    (GRPOTrainer, "_tool_call_loop"): [
        "self", "prompts", "prompt_ids", "completion_ids", "completions", "logprobs", "images", "multimodal_fields"],
    (GRPOTrainer, "_get_tool_suffix_ids"): ["self", "tool_messages"],
    (GRPOTrainer, "_prepare_inputs"): ["self", "generation_batch"],
    (GRPOTrainer, "create_model_card"): ["self", "model_name", "dataset_name", "tags"],
    (Trainer, "create_optimizer"): ["self", "model"],
    (Trainer, "_clip_grad_norm"): ["self", "model"],
    (Trainer, "_save"): ["self", "output_dir", "state_dict"],
    (Trainer, "_save_checkpoint"): ["self", "model", "trial"],
    (Trainer, "_save_rng_state"): ["self", "output_dir"],
    (Trainer, "_push_from_checkpoint"): ["self", "checkpoint_folder"],
    (Trainer, "_load_rng_state"): ["self", "checkpoint"],
    (Trainer, "_get_grad_norm"): ["self", "model", "grad_norm"],
    (Trainer, "_load_from_checkpoint"): ["self", "resume_from_checkpoint", "model"],
    (Trainer, "_load_best_model"): ["self"],
    (Trainer, "_prepare_for_training"): ["self", "max_steps", "train_dataloader", "resume_from_checkpoint"],
    (Trainer, "save_model"): ["self", "output_dir", "_internal_call"],
    (Trainer, "_save_optimizer_and_scheduler"): ["self", "output_dir"],
    (Trainer, "_load_optimizer_and_scheduler"): ["self", "checkpoint"],
    (Trainer, "init_hf_repo"): ["self", "token", "private"],
    (Trainer, "push_to_hub"): ["self", "commit_message", "blocking", "token", "revision", "private", "kwargs"],
    (Trainer, "_finish_current_push"): ["self"],
    (Trainer, "log"): ["self", "logs", "start_time"],
    (Trainer, "_get_dataloader"): [
        "self", "dataset", "description", "batch_size", "sampler_fn", "is_training", "dataloader_key"],
}  # fmt: skip


@pytest.mark.parametrize(("cls", "method"), SIGNATURES, ids=lambda x: x if isinstance(x, str) else x.__name__)
def test_signature(cls, method):
    assert list(inspect.signature(getattr(cls, method)).parameters) == SIGNATURES[cls, method]


# What a branch has of its own after a run: TRL's state of one policy, then ours
OWN = {
    "reward_funcs", "reward_func_names", "reward_weights", "reward_processing_classes", "_metrics", "_logs",
    "_pending_metrics", "_pending_extra_logs", "_buffered_inputs", "_step", "_current_train_step_time",
    "entropy_coef", "_last_world_entropy", "_entropy_window_stats",
    "run", "name", "expert", "prompts", "parameters", "teaching", "taught", "faults", "rows", "rollouts", "talk",
    "cross_logs", "actors", "environments",
    "random_state", "taught_inputs", "shown", "cross_accuracy",
}  # fmt: skip
OF_CROSS_ROWS = {"actors", "environments", "name", "expert", "prompts", "parameters", "teaching", "taught", "faults",
                 "rows", "cross_logs", "random_state", "taught_inputs", "shown", "cross_accuracy"}  # fmt: skip
# Containers of the run that a round changes in place, for all branches on purpose
CHANGED_IN_PLACE = {"_metrics"}


def contents(value):
    """A container's contents, as far as they can be compared; `None` for what is no container of TRL's."""
    if isinstance(value, dict):
        return {key: contents(item) for key, item in value.items()}
    if isinstance(value, list | deque):
        return [contents(item) for item in value]
    return id(value)


def test_what_a_branch_owns_after_a_run(tmp_path):
    """
    TRL assigns to `self`: what it newly assigns stays in the branch, and shows here. What it changes in place without
    assigning would be shared by all branches: such a container of the run shows as changed.
    """
    trainer = build_trainer(
        tmp_path, topology="student", rlvr_steps=1, opd_steps=1, max_steps=2, overlap_every=1, logging_steps=5,
        log_completions=True, use_adaptive_entropy=True, entropy_coef=0.01, entropy_target=3.0,
    )  # fmt: skip
    of_trl = {name for name, value in vars(trainer).items() if isinstance(value, list | dict | deque)}
    of_trl -= {"experts", "branches", "fingerprint", "callback_handler"}
    before = {name: contents(getattr(trainer, name)) for name in of_trl}
    changed = set()

    class Look(TrainerCallback):
        def on_step_end(self, *args, **kwargs):
            changed.update(name for name in of_trl if contents(getattr(trainer, name)) != before[name])

    trainer.add_callback(Look())
    trainer.train()
    assert changed == CHANGED_IN_PLACE, "GRPOTrainer keeps new state in a container: decide whose it is"
    for branch in trainer.branches.values():
        assert set(vars(branch)) == OWN, "GRPOTrainer keeps new state: decide whose it is"
        assert set(vars(branch.taught)) == OWN - OF_CROSS_ROWS | {"sampled", "uncut", "mask_truncated_completions"}
    with pytest.raises(TypeError, match="CoPDTrainer.train"):
        trainer.branches["math"].train()


def test_where_completions_stand_in_what_is_generated():
    """`Taught._generate` gives every row the kind of completion that its prompt has."""
    source = inspect.getsource(GRPOTrainer._generate)
    assert 'is_conversational({"prompt": prompts[0]})' in source
    assert "return prompt_ids, completion_ids, tool_mask, completions, " in source


def test_loss_takes_token_advantages_and_inputs_are_buffered_by_step():
    assert "advantages.dim() == 1" in inspect.getsource(GRPOTrainer._compute_loss)
    assert "self._step % generate_every == 0 or self._buffered_inputs is None" in inspect.getsource(
        GRPOTrainer._prepare_inputs
    )


def test_what_checkpoints_are_completed_and_resumed_by():
    """`Saver` holds pushing and rotation back; `CoPDTrainer` restores the loss since the last log."""
    source = inspect.getsource(Trainer._save_checkpoint)
    assert "if self.args.push_to_hub:" in source and "save_total_limit=self.args.save_total_limit" in source
    loop = inspect.getsource(Trainer._inner_training_loop)
    assert "self._tr_loss = torch.tensor(0.0" in loop
    assert loop.index("self._globalstep_last_logged =") < loop.index("self._run_epoch(")
    assert "resume_from_checkpoint=resume_from_checkpoint," in loop[loop.index("self._run_epoch(") :]
    assert "self._load_rng_state(resume_from_checkpoint)" in inspect.getsource(Trainer._run_epoch)
    assert 'accelerator.clip_grad_norm_(model.parameters(), float("inf"))' in inspect.getsource(Trainer._get_grad_norm)


def test_ungraded_rewards_are_nan_in_trl():
    assert "unscorable_mask = torch.isnan(rewards_per_func).all(dim=1)" in inspect.getsource(
        GRPOTrainer._generate_and_score_completions
    )
    assert "if isinstance(reward_func, nn.Module)" in inspect.getsource(GRPOTrainer._calculate_rewards)


def test_reference_is_the_base_when_no_adapter_is_called_ref():
    assert '"ref" if "ref" in model.peft_config else None' in inspect.getsource(
        GRPOTrainer._generate_and_score_completions
    )


def test_logging_is_what_ours_replaces():
    """TRL prints and tracks one table if `log_completions`, and sends timings to what `args.report_to` names."""
    source = inspect.getsource(GRPOTrainer.log)
    assert "and self.log_completions:" in source
    assert 'logging_backend.log({"completions": logging_backend.Table(dataframe=df)})' in source
    assert "report_to=trainer.args.report_to" in inspect.getsource(profiling_context)
    parameters = inspect.signature(print_prompt_completions_sample).parameters
    assert list(parameters) == ["prompts", "completions", "rewards", "advantages", "step", "num_samples", "extra"]


def test_lora_layer_computes_what_the_grouped_forward_computes():
    assert "result = result + lora_B(lora_A(dropout(x))) * scaling" in inspect.getsource(Linear.forward)
    assert {"lora_A", "lora_B"} <= set(LoraLayer.adapter_layer_names)
    assert hasattr(BaseTunerLayer, "set_adapter")


def test_versions_are_the_ones_that_were_read():
    assert trl.__version__.startswith("1.16"), "read GRPOTrainer anew before you raise the bound in pyproject.toml"


HOOKS = {
    "training_step", "get_train_dataloader", "create_optimizer", "_clip_grad_norm", "_get_grad_norm", "train", "log",
    "evaluate", "_prepare_for_training", "_run_epoch", "_save_checkpoint", "save_model", "_save", "_save_rng_state",
    "_save_optimizer_and_scheduler", "_load_optimizer_and_scheduler", "_load_from_checkpoint", "_load_rng_state",
    "_load_best_model", "create_scheduler", "create_model_card", "init_hf_repo", "push_to_hub",
    "_push_from_checkpoint", "_finish_current_push",
}  # fmt: skip
BRANCH_HOOKS = {
    "train", "_prepare_inputs", "_tokenize_prompts", "_generate_single_turn", "_generate_and_score_completions",
    "_calculate_rewards", "_compute_loss", "_get_per_token_logps_and_entropies", "_generate", "_tool_call_loop",
}  # fmt: skip


@pytest.mark.parametrize(("cls", "hooks"), [(CoPDTrainer, HOOKS), (Learner, BRANCH_HOOKS)])
def test_what_is_overridden(cls, hooks):
    """Few methods of TRL's and transformers', all of them here: each must be read anew when TRL is."""
    ours = cls.__mro__[: cls.__mro__.index(GRPOTrainer)]
    overridden = {
        name for c in ours for name, value in vars(c).items() if callable(value) and name in dir(GRPOTrainer)
    }
    assert {name for name in overridden if not name.startswith("__")} == hooks
    assert sum(c.__module__.startswith("trl_copd") for c in cls.__bases__) <= 1


OF_A_WORLD = {
    "tools", "_standalone_tools", "_multi_environment", "environment_factories", "_env_tools", "_environment_pool",
    "environments", "rollout_func", "max_tool_calling_iterations", "chat_template_kwargs", "chat_template",
    "processing_class", "_tokenizer", "vllm_generation", "_last_loaded_step",
}  # fmt: skip


def test_an_actor_has_what_trl_keeps_of_tools_and_environments(tmp_path):
    """Every attribute that GRPOTrainer makes of tools and environments is an actor's own, and nothing else is."""
    trainer = build_trainer(tmp_path, overlap_every=0)
    trainer.processing_class = acting_tokenizer()
    expert = Expert("acting", acting_rows(), talk_reward, tools=[b], environment_factory=Counter)
    own = set(vars(Actor(trainer, World(expert)))) - {
        "run",
        "world",
        "guard",
        "rows",
        "unavailable",
        "counts",
        "longest",
    }
    assert own - set(vars(Policy(trainer))) - {"accelerator", "state"} == OF_A_WORLD
    reference = GRPOTrainer(
        acting_model(), talk_reward, GRPOConfig(**settings(tmp_path)), acting_rows(), tools=[b],
        processing_class=acting_tokenizer(), environment_factory=Counter,
    )  # fmt: skip
    theirs = {name for name in vars(reference) if "tool" in name or "env" in name.replace("environ", "env")}
    assert theirs <= OF_A_WORLD
    source = inspect.getsource(GRPOTrainer._generate_and_score_completions)
    assert "self._sync_tool_dicts.append(sync_tool_dict)" in source and "if self.environments:" in source
    assert source.index("environment.reset(**reset_kwargs)") < source.index("self._generate(prompts)")


def test_trainer_pushes_where_hub_py_overrides():
    """`run/hub.py` replaces how a push is done, not when; at the end of `train`, `is_in_train` is still set."""
    assert "self._push_from_checkpoint(output_dir)" in inspect.getsource(Trainer._save_checkpoint)
    assert "self.init_hf_repo()" in inspect.getsource(Trainer.__init__)
    finalize = inspect.getsource(Trainer._finalize_training)
    assert 0 < finalize.index("self._finish_current_push()") < finalize.index("self.is_in_train = False")


def test_a_dynamic_cache_can_copy_rows():
    """What `shared_prefill` needs of transformers; `generate` reads the signature of the forward that it calls."""
    assert list(inspect.signature(DynamicCache.batch_select_indices).parameters) == ["self", "indices"]
    assert issubclass(DynamicSlidingWindowLayer, DynamicLayer)
    assert "inspect.signature(self.forward)" in inspect.getsource(GenerationMixin)


def test_fsdp2_gathers_and_reshards_as_sharding_expects():
    """What `sharding.gathered` reads and sets, and how a parameter that PEFT freezes passes it on when it is whole."""
    assert {"_lazy_init"} <= set(dir(FSDPState)) and "self._fsdp_param_groups" in inspect.getsource(FSDPState.__init__)
    assert "return state" in inspect.getsource(FSDPModule._get_fsdp_state)
    assert isinstance(FSDPParamGroup.is_unsharded, property)
    assert "if not self._reshard_after_forward" in inspect.getsource(FSDPParamGroup.reshard)
    assert "self.post_forward_mesh_info is not None" in inspect.getsource(FSDPParamGroup._reshard_after_forward.fget)
    assert "set_requires_grad_if_needed(self.sharded_param, self._unsharded_param)" in inspect.getsource(
        FSDPParam.to_unsharded
    )


def test_where_trl_asks_whether_vllm_samples():
    """CoPDTrainer hides `use_vllm` from `__init__`, which would start an engine, and shows it to the scoring."""
    init = inspect.getsource(GRPOTrainer.__init__)
    score = inspect.getsource(GRPOTrainer._generate_and_score_completions)
    assert "self.use_vllm = args.use_vllm" in init and "self.vllm_generation = VLLMGeneration(" in init
    assert init.count("self.use_vllm") == 3, "another check in __init__ that a hidden `use_vllm` passes by"
    assert "self.use_vllm and self.vllm_importance_sampling_correction" in score
    assert "sampling_per_token_logps" in score and "importance_sampling_ratio" in score
