"""Bad input is refused before the model is loaded, with what came, why it cannot work, and what to do."""

import dataclasses
import shutil

import pytest
from datasets import Dataset, DatasetDict
from peft import AdaLoraConfig, EvaConfig, IA3Config, LoraConfig, PrefixTuningConfig, get_peft_model
from tiny import build_experts, build_trainer, letter_reward, lora, rows, settings, tiny_model, tiny_tokenizer

from trl_copd import CoPDConfig, CoPDTrainer, Expert
from trl_copd.adapters import check_mergeable
from trl_copd.adapters.configs import PLAIN
from trl_copd.rewards import MathReward, VerifierReward
from trl_copd.topology import build_topology


NOT_LOADED = "/nowhere/no-model"  # loading it would raise an OSError: a ValueError shows that nothing was loaded


def build(tmp_path, experts=None, model=NOT_LOADED, peft_config=None, extra=None, **overrides):
    args = CoPDConfig(**settings(tmp_path, **overrides))
    experts = build_experts() if experts is None else experts
    peft_config = lora() if peft_config is None else peft_config
    return CoPDTrainer(
        model, experts, args, processing_class=tiny_tokenizer(), peft_config=peft_config or None, **(extra or {})
    )


def column_reward(completions, tests, **kwargs):
    return [0.0] * len(completions)


EXPERTS = {
    "reserved default": (lambda: Expert("default", rows(), letter_reward), ValueError, "reserved"),
    "reserved ref": (lambda: Expert("ref", rows(), letter_reward), ValueError, "reserved"),
    "reserved base": (lambda: Expert("base", rows(), letter_reward), ValueError, "reserved"),
    "reserved student": (lambda: Expert("student", rows(), letter_reward), ValueError, "reserved"),
    "reserved keys": (lambda: Expert("keys", rows(), letter_reward), ValueError, "reserved"),
    "the mean's name": (lambda: Expert("accuracy", rows(), letter_reward), ValueError, "reserved"),
    "the mean's name for a domain": (lambda: Expert("a", rows(), letter_reward, eval_dataset={"accuracy": rows()}),
                                     ValueError, "under which the mean over all domains is logged"),
    "an attribute of ModuleDict": (lambda: Expert("train", rows(), letter_reward), ValueError, "reserved"),
    "like an evaluation": (lambda: Expert("eval_math", rows(), letter_reward), ValueError, "trackers"),
    "slash": (lambda: Expert("a/b", rows(), letter_reward), ValueError, "letters, digits"),
    "empty name": (lambda: Expert("", rows(), letter_reward), ValueError, "letters, digits"),
    "name type": (lambda: Expert(3, rows(), letter_reward), TypeError, "must be a str"),
    "missing column": (lambda: Expert("code", rows(), column_reward), ValueError,
                       r"no column 'tests' in `train_dataset` \(found: prompt, solution\).*Add it, or use another"),
    "missing eval column": (lambda: Expert("a", rows(), letter_reward, eval_dataset=rows().remove_columns("solution")),
                            ValueError, "no column 'solution' in `eval_dataset"),
    "no prompt": (lambda: Expert("a", rows().rename_column("prompt", "question"), letter_reward), ValueError,
                  "no column 'prompt'"),
    "empty dataset": (lambda: Expert("a", rows().take(0), letter_reward), ValueError, "is empty"),
    "empty stream": (lambda: Expert("a", rows().to_iterable_dataset().filter(lambda row: False), letter_reward),
                     ValueError, "yields no row"),
    "number for a domain": (lambda: Expert("a", rows(), letter_reward, eval_dataset={1: rows()}), TypeError,
                            "names a domain.*not 1"),
    "rows of pandas": (lambda: Expert("a", rows().with_format("pandas"), letter_reward), TypeError,
                       r"a pandas DataFrame, not a dictionary.*`.with_format\(None\)`"),
    "hidden column": (lambda: Expert("a", rows().with_format(None, columns=["prompt"]), letter_reward), ValueError,
                      r"no column 'solution' in .*\(found: prompt; its format hides solution\)"),
    "dataset type": (lambda: Expert("a", [{"prompt": "1"}], letter_reward), TypeError, "datasets.Dataset"),
    "images": (lambda: Expert("a", Dataset.from_list([{"prompt": "1", "image": 1, "solution": "1"}]), letter_reward),
               ValueError, "row 0 of `train_dataset`: it has an image, but its prompt is a text"),
    "no reward": (lambda: Expert("a", rows(), []), ValueError, "no reward function"),
    "reward type": (lambda: Expert("a", rows(), 3), TypeError, "callable"),
    "reward class": (lambda: Expert("a", rows(), MathReward), TypeError, "Pass an instance"),
    "reward by name": (lambda: Expert("a", rows(), "math_reward"), ValueError, "Pass the function itself"),
    "all splits": (lambda: Expert("a", DatasetDict(train=rows()), letter_reward), TypeError, "several splits"),
    "all splits held out": (lambda: Expert("a", rows(), letter_reward,
                                           eval_dataset=DatasetDict(train=rows(), test=rows())),
                            TypeError, "several splits \\(train, test\\).*those that are held out"),
    "no other arguments": (lambda: Expert("a", rows(), lambda completions: [1.0]), TypeError,
                           r"'<lambda>' takes no 'prompts', but TRL passes that to every reward.*`\*\*kwargs`"),
    "one completion": (lambda: Expert("a", rows(), lambda completion, **k: 1.0), TypeError,
                       "reads 'completion', but TRL calls it once for all rows, with the list 'completions'"),
    "by position": (lambda: Expert("a", rows(), lambda completions, /, **k: [1.0]), TypeError, "Drop the '/'"),
    "columns of two lambdas": (lambda: Expert("a", rows(), [lambda tests, **k: [1.0], lambda solution, **k: [1.0]]),
                               ValueError, "no column 'tests'"),
    "weights": (lambda: Expert("a", rows(), letter_reward, reward_weights=[1.0, 2.0]), ValueError, "one weight per"),
    "rate": (lambda: Expert("a", rows(), letter_reward, learning_rate=-1.0), ValueError, "> 0"),
    "rate type": (lambda: Expert("a", rows(), letter_reward, learning_rate="1e-3"), TypeError, "float"),
    "adapter that is none": (lambda: Expert("a", rows(), letter_reward, adapter="/nowhere"), ValueError,
                             "holds no adapter"),
    "prompt type": (lambda: Expert("a", Dataset.from_list([{"prompt": 1, "solution": "1"}]), letter_reward), TypeError,
                    "a text or a list of messages.*is 1"),
    "prompt without content": (lambda: Expert("a", Dataset.from_list([{"prompt": [{"role": "user", "text": "1"}],
                               "solution": "1"}]), letter_reward), TypeError, "'role' and 'content'"),
    "prompt that is missing": (lambda: Expert("a", Dataset.from_list([{"prompt": "1", "solution": "1"},
                               {"prompt": None, "solution": "1"}]), letter_reward), ValueError,
                               "1 rows of .* no prompt"),
    "adapter type": (lambda: Expert("a", rows(), letter_reward, adapter=3), TypeError, "path or a Hub id"),
}  # fmt: skip


class MissingProver(VerifierReward):
    def check(self):
        raise RuntimeError("no prover here: install one")


@pytest.mark.parametrize("wrap", [lambda reward: reward, lambda reward: reward.asynchronous()])
def test_what_a_reward_misses_is_said_when_its_expert_is_built(wrap):
    with pytest.raises(RuntimeError, match="no prover here"):
        Expert("proofs", rows(), wrap(MissingProver(str, name="proof_reward")))


@pytest.mark.parametrize("case", EXPERTS)
def test_expert(case):
    make, error, message = EXPERTS[case]
    with pytest.raises(error, match=message):
        make()


CONFIGS = {
    "rlvr_steps type": ({"rlvr_steps": 1.5}, TypeError, "rlvr_steps"),
    "bool is no number": ({"opd_steps": True}, TypeError, "opd_steps"),
    "negative": ({"rlvr_steps": -1}, ValueError, ">= 0"),
    "no round": ({"rlvr_steps": 0, "opd_steps": 0, "topology": "mutual"}, ValueError, "no round"),
    "topology": ({"topology": "ring"}, ValueError, "'student', 'mutual', 'hub', 'mopd'"),
    "hub without topology": ({"hub": "math"}, ValueError, "topology='hub'"),
    "topology without hub": ({"topology": "hub"}, ValueError, "name of an expert"),
    "beta zero": ({"opd_beta": 0.0}, ValueError, "opd_steps=0"),
    "beta of one learner": ({"opd_beta": {"math": -1.0}}, ValueError, "> 0"),
    "beta type": ({"opd_beta": "1.0"}, TypeError, "opd_beta"),
    "fraction 0": ({"opd_fraction": 0.0}, ValueError, "strictly between"),
    "fraction 1": ({"opd_fraction": 1.0}, ValueError, "strictly between"),
    "opd_loss": ({"opd_loss": "ppo"}, ValueError, "'sampled', 'reverse_kl', 'forward_kl', 'jsd', 'topk'"),
    "final phase": ({"final_opd_steps": -1}, ValueError, ">= 0"),
    "final phase without a student": (
        {"final_opd_steps": 2, "topology": "mutual"},
        ValueError,
        "or topology='student'",
    ),
    "final phase of a run without an end": ({"final_opd_steps": 9, "max_steps": -1}, ValueError, "Set max_steps > 0"),
    "final phase alone": ({"final_opd_steps": 9, "max_steps": 9}, ValueError, "so the experts would never learn"),
    "opd_clip": ({"opd_clip": 0.0}, ValueError, "> 0"),
    "opd_clip of a divergence": ({"opd_clip": 2.0, "opd_loss": "jsd"}, ValueError, "Remove it"),
    "thresholds": ({"schedule": "overlap", "overlap_low": 0.9, "overlap_high": 0.8}, ValueError, "overlap_low < "),
    "overlap unmeasured": ({"schedule": "overlap", "overlap_every": 0}, ValueError, "overlap_every=0"),
    "overlap and mopd": ({"schedule": "overlap", "topology": "mopd"}, ValueError, "before they teach"),
    "overlap inside a generation": (
        {"schedule": "overlap", "num_iterations": 2, "rlvr_steps": 4, "opd_steps": 4, "overlap_every": 3},
        ValueError,
        "not a multiple",
    ),
    "opd_top_k": ({"opd_top_k": 0}, ValueError, ">= 1"),
    "schedule": ({"schedule": "cosine"}, ValueError, "'fixed', 'overlap'"),
    "merge_method": ({"merge_method": "slerp"}, ValueError, "'average', 'linear', 'svd', 'ties', 'dare'"),
    "merge_density": ({"merge_density": 0.0}, ValueError, "> 0 and <= 1"),
    "student needs OPD": ({"opd_steps": 0}, ValueError, "topology='mutual'"),
    "overlap_top_k": ({"overlap_top_k": 0}, ValueError, ">= 1"),
    "probe_prompts": ({"probe_prompts": 0}, ValueError, "overlap_every=0"),
    "share_prompts": ({"share_prompts": "yes"}, ValueError, "'auto', True or False"),
    "share_prompts type": ({"share_prompts": 1}, TypeError, "'auto', True or False"),
    "overlap_edges": ({"overlap_edges": "some"}, ValueError, "'turns', 'all'"),
    "short cross rollouts": ({"opd_max_completion_length": 0}, ValueError, ">= 1"),
    "chunk": ({"rollout_chunk_rows": 0}, ValueError, ">= 1"),
    "live_view type": ({"live_view": "yes"}, TypeError, "live_view"),
    "group size": ({"per_device_train_batch_size": 6}, ValueError, "divisible by num_generations"),
    "reuse straddles a phase": ({"num_iterations": 2, "rlvr_steps": 15}, ValueError, "span two phases"),
    "reuse straddles a round": ({"steps_per_generation": 3, "gradient_accumulation_steps": 2}, ValueError, "whole"),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_config(tmp_path, case):
    overrides, error, message = CONFIGS[case]
    with pytest.raises(error, match=message):
        CoPDConfig(**settings(tmp_path, **overrides))


def one(**options):
    return [Expert("math", rows(), letter_reward, **options)]


RUNS = {
    "no experts": ({"experts": []}, ValueError, "nothing to train"),
    "experts type": ({"experts": ["math"]}, TypeError, "list of `Expert`"),
    "duplicate": ({"experts": one() + one()}, ValueError, "Two experts have the name 'math'"),
    "case": ({"experts": one() + [Expert("Math", rows(), letter_reward)]}, ValueError, "differ only in case"),
    "same eval domain": ({"experts": one(eval_dataset={"x": rows()})
                          + [Expert("b", rows(), letter_reward, eval_dataset={"x": rows()})]}, ValueError, "'x'"),
    "hub is no expert": ({"topology": "hub", "hub": "physics"}, ValueError, "math, code, logic"),
    "divergence and reference": ({"opd_loss": "jsd", "beta": 0.1}, ValueError, "beta=0.0, or opd_loss='sampled'"),
    "no edge": ({"experts": one(), "topology": "mutual"}, ValueError, "opd_steps=0"),
    "mopd untrained": ({"topology": "mopd", "rlvr_steps": 0}, ValueError, "Expert\\(adapter=PATH\\)"),
    "too few rows": ({"experts": one(), "per_device_train_batch_size": 64}, ValueError, "12 training rows.* 16 "),
    "short stream": ({"experts": [Expert("s", rows(0, 1).to_iterable_dataset(), letter_reward)]}, ValueError,
                     "1 training rows.* 2 different prompts"),
    "stream without max_steps": ({"experts": [Expert("s", rows().to_iterable_dataset(), letter_reward)],
                                  "max_steps": -1}, ValueError, "max_steps"),
    "beta of nobody": ({"opd_beta": {"physics": 1.0}}, ValueError, "not a branch"),
    "beta missing": ({"opd_beta": {"math": 1.0}}, ValueError, "no value for"),
    "beta list": ({"opd_beta": [1.0, 2.0]}, ValueError, "4 branches"),
    "weights for another": ({"reward_weights": [1.0, 1.0]}, ValueError, "reward_weights"),
    "eval without data": ({"eval_strategy": "steps", "eval_steps": 1}, ValueError, "eval_dataset"),
    "best without data": ({"save_strategy": "best", "metric_for_best_model": "eval_student/accuracy"}, ValueError,
                          "no expert has an eval_dataset, so no checkpoint can be the best"),
    "best without evaluation": ({"save_strategy": "best", "experts": one(eval_dataset=rows())}, ValueError,
                                "eval_strategy='no'"),
    "best by nothing": ({"save_strategy": "best", "experts": one(eval_dataset=rows()), "eval_strategy": "steps",
                         "eval_steps": 1, "metric_for_best_model": "loss"}, ValueError,
                        "'loss' is not measured by this run.*student/accuracy, student/math, math/accuracy"),
    "a metric that is not measured": ({"experts": one(eval_dataset=rows()), "eval_strategy": "steps", "eval_steps": 1,
                                       "metric_for_best_model": "accuracy"}, ValueError, "'accuracy' is not measured"),
    "KL to a trained adapter": ({"experts": one(adapter="x"), "beta": 0.1}, ValueError, "beta=0.0"),
    "head": ({"peft_config": lora(target_modules=["q_proj", "lm_head"])}, ValueError, "lm_head"),
    "head by regex": ({"peft_config": lora(target_modules=r".*(q_proj|lm_head)")}, ValueError, "lm_head"),
    "head as a whole": ({"peft_config": lora(modules_to_save=["lm_head"])}, ValueError, "lm_head"),
    "no LoRA": ({"peft_config": False}, ValueError, "LoraConfig"),
    "LoRA type": ({"peft_config": {"r": 8}}, TypeError, "PeftConfig"),
    "prompts": ({"peft_config": PrefixTuningConfig(task_type="CAUSAL_LM")}, ValueError, "prompts"),
    "bias": ({"peft_config": lora(bias="all")}, ValueError, "bias='none'"),
    "base rewritten": ({"peft_config": lora(init_lora_weights="pissa")}, ValueError, "rewrites the base"),
    "one adapter alone": ({"peft_config": AdaLoraConfig(total_step=9)}, ValueError, "allows one trainable adapter"),
    "factors from data": ({"peft_config": lora(init_lora_weights="eva", eva_config=EvaConfig())}, ValueError,
                          "plain LoRA would be trained"),
    "merge of no LoRA": ({"peft_config": IA3Config(), "topology": "mutual"}, ValueError, "merges LoRA"),
    "merge of DoRA": ({"peft_config": LoraConfig(use_dora=True), "topology": "mutual"}, ValueError, "DoRA"),
    "adapters of another trainer": ({"model": get_peft_model(tiny_model(), lora()).base_model.model}, ValueError,
                                    "has adapters in its layers.*load the base anew"),
    "no weights": ({"model": tiny_model().to("meta")}, ValueError, "built on the meta device"),
    "home in a path": ({"model": "~/"}, ValueError, "nothing replaces the '~'. Write '/"),
    "model type": ({"model": 3}, TypeError, "PreTrainedModel"),
    "tools": ({"extra": {"tools": [print]}}, ValueError, "belong to an expert"),
    "rollout_func": ({"extra": {"rollout_func": print}}, ValueError, "belongs to an expert"),
    "train_dataset": ({"extra": {"train_dataset": rows()}}, ValueError, "Expert\\(train_dataset"),
    "unknown argument": ({"extra": {"teachers": 3}}, TypeError, "unexpected"),
    "optimizer": ({"extra": {"optimizers": (object(), None)}}, ValueError, "args.optim"),
    "scheduler": ({"extra": {"optimizers": (None, object())}}, ValueError, "args.lr_scheduler_type"),
    "fsdp": ({"fsdp": True}, ValueError, "FSDP"),
}  # fmt: skip


@pytest.mark.parametrize("case", RUNS)
def test_run(tmp_path, case):
    overrides, error, message = RUNS[case]
    with pytest.raises(error, match=message):
        build(tmp_path, **overrides)


# Only what is known to be a pair of factors on each layer has an exact mean; a field that PEFT adds is none until then
NO_PAIRS = {
    "lora_bias": (lora(lora_bias=True), "a bias beside the factors"),
    "trained tokens": (lora(trainable_token_indices=[5]), "trains rows of the embedding"),
    "trained tokens by layer": (lora(trainable_token_indices={"embed_tokens": [5]}), "trains rows of the embedding"),
    "whole modules": (lora(modules_to_save=["norm"]), "whole modules"),
    "DoRA": (lora(use_dora=True), "magnitudes"),
    "QALoRA": (lora(use_qalora=True), "use_qalora=True"),
    "activated LoRA": (lora(alora_invocation_tokens=[1]), "alora_invocation_tokens"),
    "tied weights": (lora(ensure_weight_tying=True), "ensure_weight_tying"),
    "IA3": (IA3Config(), "IA3Config is not LoRA"),
}


@pytest.mark.parametrize("setting", [{"topology": "mutual"}, {"student_init": "merge"}])
@pytest.mark.parametrize("case", NO_PAIRS)
def test_what_is_no_plain_pair_of_factors_is_not_merged(tmp_path, case, setting):
    config, message = NO_PAIRS[case]
    with pytest.raises(ValueError, match=f"merges LoRA adapters into the student, but .*{message}.*Use a plain"):
        build(tmp_path, peft_config=config, **setting)


def test_every_field_of_a_lora_configuration_is_allowed_by_name_or_refused():
    unknown = {field.name for field in dataclasses.fields(LoraConfig)} - PLAIN
    assert unknown == {
        "alora_invocation_tokens", "arrow_config", "bias", "corda_config", "ensure_weight_tying", "kasa_config",
        "layer_replication", "lora_bias", "lora_ga_config", "megatron_config", "modules_to_save", "monteclora_config",
        "trainable_token_indices", "use_bdlora", "use_dora", "use_qalora", "velora_config",
    }  # fmt: skip


@pytest.mark.parametrize("setting", [{}, {"topology": "mutual"}])
def test_layers_that_are_replicated_for_every_adapter_are_refused(tmp_path, setting):
    with pytest.raises(ValueError, match="of the shared base for every adapter"):
        build(tmp_path, peft_config=lora(layer_replication=[(0, 2), (0, 2)]), **setting)


@pytest.mark.parametrize("setting", [{"lora_alpha": 0}, {"r": 4, "lora_alpha": 0.0}])
def test_an_adapter_that_is_multiplied_by_nothing_is_refused(tmp_path, setting):
    with pytest.raises(ValueError, match="train nothing: r is the rank, at least 1, and every adapter is multiplied"):
        build(tmp_path, peft_config=lora(**setting))


LOADED = {
    "bias": (lora(lora_bias=True), "q_proj .Linear. has other parameters"),
    "DoRA": (lora(use_dora=True), "q_proj .Linear. has other parameters"),
    "tokens": (lora(trainable_token_indices=[5]), "embed_tokens is trained itself"),
    "module": (lora(modules_to_save=["norm"]), "norm is trained itself"),
    "IA3": (IA3Config(target_modules=["q_proj"], feedforward_modules=[], task_type="CAUSAL_LM"), "other parameters"),
    "LoRA": (lora(), None),
    "rsLoRA": (lora(use_rslora=True, rank_pattern={"q_proj": 2}), None),
    "embedding": (lora(target_modules=["embed_tokens", "q_proj"]), None),
}


@pytest.mark.parametrize("case", LOADED)
def test_the_loaded_model_tells_what_is_a_pair(case):
    config, message = LOADED[case]
    model = get_peft_model(tiny_model(), config)
    mutual = build_topology("mutual", ("default",), None)
    if message is None:
        return check_mergeable(model, mutual, "fresh", "average")
    with pytest.raises(ValueError, match=f"merges LoRA adapters into the student, but .*{message}"):
        check_mergeable(model, mutual, "fresh", "average")


@pytest.mark.parametrize("inside", [[], ["run", "again"]])
def test_output_dir_that_cannot_be(tmp_path, inside):
    (tmp_path / "taken").touch()
    with pytest.raises(ValueError, match="taken' is not a folder"):
        build(tmp_path.joinpath("taken", *inside))
    with pytest.raises(ValueError, match="variables of the environment are not replaced"):
        build(tmp_path.joinpath("$HOME", *inside))


def test_wrong_args_class(tmp_path):
    from trl import GRPOConfig

    with pytest.raises(TypeError, match="CoPDConfig"):
        CoPDTrainer(NOT_LOADED, build_experts(), GRPOConfig(**settings(tmp_path)), peft_config=lora())


def test_peft_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match="already"):
        build(tmp_path, model=get_peft_model(tiny_model(), lora()))


def test_messages_without_a_chat_template(tmp_path):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = None
    talk = Dataset.from_list([{"prompt": [{"role": "user", "content": f"{i}"}], "solution": "a"} for i in range(12)])
    with pytest.raises(ValueError, match="prompts of expert 'talk' are messages.*chat: false"):
        CoPDTrainer(
            tiny_model(),
            [Expert("talk", talk, letter_reward)],
            CoPDConfig(**settings(tmp_path)),
            processing_class=tokenizer,
            peft_config=lora(),
        )


OTHER_RUNS = {
    "experts": lambda: {"experts": build_experts(2)},
    "data": lambda: {"experts": build_experts(size=21)},
    "topology": lambda: {"topology": "mutual"},
    "LoRA": lambda: {"peft_config": lora(r=2)},
    "schedule": lambda: {"opd_steps": 4},
    "rewards": lambda: {"experts": [*build_experts(2), Expert("logic", rows(2, 20), lambda completions, **k: [0.0])]},
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    build_trainer(folder, max_steps=1, save_strategy="steps", save_steps=1, rlvr_steps=2, opd_steps=2).train()
    return str(folder / "checkpoint-1")


@pytest.mark.parametrize("case", OTHER_RUNS)
def test_checkpoint_of_another_run(tmp_path, checkpoint, case):
    overrides = {"rlvr_steps": 2, "opd_steps": 2, **OTHER_RUNS[case]()}
    with pytest.raises(ValueError, match="checkpoint of another run"):
        build(tmp_path, resume_from_checkpoint=checkpoint, **overrides)  # before the model is loaded
    trainer = build_trainer(tmp_path, **overrides)
    with pytest.raises(ValueError, match="checkpoint of another run"):
        trainer.train(resume_from_checkpoint=checkpoint)


def test_no_checkpoint(tmp_path):
    trainer = build_trainer(tmp_path)
    with pytest.raises(ValueError, match="No checkpoint"):
        trainer.train(resume_from_checkpoint=True)
    with pytest.raises(ValueError, match="not a checkpoint of a CoPD run"):
        trainer.train(resume_from_checkpoint=str(tmp_path))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with adapters of rank 2 in `experts/math`."""
    folder = tmp_path_factory.mktemp("trained")
    build_trainer(folder, peft_config=lora(r=2)).save_model()
    return folder / "experts" / "math"


def without(folder, source, name):
    copy = folder / "adapter"
    shutil.copytree(source, copy)
    (copy / name).unlink()
    return copy


ADAPTERS = {
    "no folder": (lambda folder, trained: folder / "nowhere", "holds no adapter"),
    "no repository": (
        lambda folder, trained: "someone/no-such-adapter",
        "neither a readable folder nor",
    ),
    "no configuration": (
        lambda folder, trained: without(folder, trained, "adapter_config.json"),
        "holds no adapter",
    ),
    "no weights": (lambda folder, trained: without(folder, trained, "adapter_model.safetensors"), "but no weights"),
    "torn weights": (lambda folder, trained: torn(folder, trained), "adapter_model.safetensors cannot be read"),
    "DoRA": (lambda folder, trained: saved(folder, LoraConfig(use_dora=True)), "DoRA"),
}


def torn(folder, source):
    copy = shutil.copytree(source, folder / "adapter")
    weights = copy / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    return copy


def saved(folder, config):
    get_peft_model(tiny_model(), config).save_pretrained(folder / "adapter")
    return folder / "adapter"


@pytest.mark.parametrize("case", ADAPTERS)
def test_adapter_to_start_from(tmp_path, trained, case):
    make, message = ADAPTERS[case]
    with pytest.raises(ValueError, match=f"Expert 'math'[,:] adapter=.*{message}"):
        build(tmp_path, experts=one(adapter=make(tmp_path, trained)), topology="mutual", opd_steps=0)


def test_adapters_of_two_ranks_and_linear_merging(tmp_path, trained):
    experts = [*one(adapter=trained), Expert("code", rows(1), letter_reward)]
    with pytest.raises(ValueError, match="differ \\(r: {'math': 2, 'code': 4}\\).*merge_method='average'"):
        build(tmp_path, experts=experts, topology="mutual", merge_method="linear")
    build_trainer(tmp_path, experts, topology="mutual", merge_method="average", max_steps=1).train()


def test_adapter_of_the_hub_in_the_cache(tmp_path, trained, monkeypatch):
    """Without a network, what the cache holds is enough; the base is then looked for, in vain."""
    cache = tmp_path / "cache" / "models--someone--adapter"
    shutil.copytree(trained, cache / "snapshots" / ("0" * 40))
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(OSError, match="no-model"):
        build(tmp_path, experts=one(adapter="someone/adapter"), topology="mutual", opd_steps=0)
