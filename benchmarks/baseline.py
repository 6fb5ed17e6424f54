"""
One run of a baseline that the package has no method for: `python benchmarks/baseline.py --config recipe.yaml`.

`benchmarks/compare.py` starts it. The recipe is that of `recipes/copd.py` with one more key, `baseline`:

    {"advantage": -1.0}       the recipe's own run, but what a teacher says about a token is this number: the control
                              for every claim about teaching (`opd_loss: sampled` only)
    {"trick": "bounded-ratio", "alpha": 0.5}
                              the recipe's own run, but taught in another way: `benchmarks/tricks.py`
    {"watch": [0.25, 0.5]}    the recipe's own run, evaluated also after these shares of `max_rollouts`
    {"measure": ["student"]}  the recipe's own run, of whose matrix only these rows are measured; `own` is each expert
                              on its own domain
    {"scale": 0.5}            task arithmetic: the base plus `scale` times the sum of the experts' deltas
    {"epochs": 4, "rollouts": 20480}
                              TRL's `SFTTrainer` on rollouts that the experts got right

It leaves what a run of a recipe leaves: `capability_matrix.json` and `trainer_state.json`. Prompts of training and
evaluation, rewards, base and seed are the recipe's.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
import yaml
from datasets import Dataset
from peft import LoraConfig, PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase, TrainerCallback, set_seed
from trl import SFTConfig, SFTTrainer


ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.tricks import play  # noqa: E402
from trl_copd import Expert  # noqa: E402
from trl_copd.measure.matrix import CapabilityMatrix, write_matrix  # noqa: E402
from trl_copd.recipes.build import build_experts  # noqa: E402
from trl_copd.train import prepare  # noqa: E402
from trl_copd.train import run as train_and_save  # noqa: E402
from trl_copd.trainers import teaching  # noqa: E402


STUDENT = "student"
ROWS = 256  # sampled at once
Matrix = dict[str, dict[str, float]]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True)
    path = parser.parse_args(argv).config
    settings = yaml.safe_load(path.read_text())
    baseline = settings.pop("baseline")
    if {"advantage", "trick", "watch", "measure"} & set(baseline):
        plain = path.with_name("plain.yaml")
        plain.write_text(yaml.safe_dump(settings, sort_keys=False))
        if "advantage" in baseline:
            teaching.token_advantages = constant_teacher(baseline["advantage"])
        if "trick" in baseline:
            play(**baseline)
        if "measure" in baseline:
            CapabilityMatrix._grade = some_rows(CapabilityMatrix._grade, baseline["measure"])
        trainer, method = prepare(["--config", str(plain)])
        if "watch" in baseline:
            trainer.add_callback(Watch(trainer, [share * settings["max_rollouts"] for share in baseline["watch"]]))
        train_and_save(trainer, method)
    elif "scale" in baseline:
        task_arithmetic(settings, baseline["scale"])
    else:
        supervised(settings, **baseline)


# ---- The recipe's own run, with one thing changed -------------------------------------------------------------------


def constant_teacher(value: float) -> Any:
    """What stands for [`trl_copd.distillation.token_advantages`]: beta times `value` for each token, 0 on padding."""

    def advantages(
        teacher_logps: torch.Tensor, learner_logps: torch.Tensor, mask: torch.Tensor, beta: float, bound: float | None
    ) -> torch.Tensor:
        return torch.full_like(learner_logps, beta * value).masked_fill(mask == 0, 0.0)  # (B, T)

    return advantages


def some_rows(grade: Any, wanted: list[str]) -> Any:
    """What stands for `CapabilityMatrix._grade`: adapters that are not wanted are ungraded, and cost nothing."""

    def graded(self: Any, names: list[str], expert: str, rows: list[dict], samples: int) -> torch.Tensor:
        some = [name for name in names if name in wanted or (name == expert and "own" in wanted)]
        found = grade(self, some, expert, rows, samples)
        whole = found.new_full((len(names), found.size(1)), float("nan"))
        whole[[names.index(name) for name in some]] = found
        return whole  # (adapters, rows)

    return graded


class Watch(TrainerCallback):
    """Evaluates at the end of the first round by which so many rollouts were sampled."""

    def __init__(self, trainer: Any, marks: list[float]):
        self.trainer, self.marks = trainer, sorted(marks)

    def on_step_end(self, args, state, control, **kwargs):
        if self.marks and self.trainer.round.rollouts >= self.marks[0]:
            self.marks.pop(0)
            control.should_evaluate = True


# ---- Finished experts, without a teacher ----------------------------------------------------------------------------


def task_arithmetic(settings: dict[str, Any], scale: float) -> None:
    """The base plus `scale` times the sum of the experts' deltas (arXiv 2212.04089)."""
    start, names = time.perf_counter(), [domain["name"] for domain in settings["domains"]]
    experts, tokenizer, model = load(settings)
    # "cat" puts the factors side by side: the delta is the weighted sum, exactly
    model.add_weighted_adapter(names, [scale] * len(names), STUDENT, combination_type="cat")
    seconds = time.perf_counter() - start
    leave(settings, accuracies(model, tokenizer, experts, [*names, STUDENT], settings), seconds, 0, 0, 0)


def supervised(settings: dict[str, Any], epochs: int, rollouts: int) -> None:
    """
    A fresh adapter, trained by TRL's `SFTTrainer` on rollouts of the experts that their rewards grade 1.

    Args:
        settings (`dict`): The recipe, each domain with an `adapter`: `learning_rate`, `lora_r`, `lora_alpha` and
            `per_device_train_batch_size` are those of the student.
        epochs (`int`): Passes over the rows.
        rollouts (`int`): Rollouts in all, as many of each expert, each with a training prompt of its own.
    """
    set_seed(settings["seed"])
    start = time.perf_counter()
    experts, tokenizer, model = load(settings)
    rows, tokens = [], 0
    for expert in experts:
        model.set_adapter(expert.name)
        prompts = expert.train_dataset.select(range(rollouts // len(experts)))
        completions, counted = sample(model, tokenizer, prompts["prompt"], settings, greedy=False)
        tokens += counted
        pairs = zip(prompts["prompt"], completions, grades(expert, prompts, completions), strict=True)
        rows += [{"prompt": prompt, "completion": text} for prompt, text, grade in pairs if grade == 1.0]
    fresh = LoraConfig(
        r=settings["lora_r"],
        lora_alpha=settings["lora_alpha"],
        lora_dropout=settings["lora_dropout"],
        target_modules=settings["lora_target_modules"],
    )
    args = SFTConfig(
        settings["output_dir"],
        num_train_epochs=epochs,
        per_device_train_batch_size=settings["per_device_train_batch_size"],
        learning_rate=settings["learning_rate"],
        lr_scheduler_type=settings["lr_scheduler_type"],
        logging_steps=10,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        disable_tqdm=True,
        seed=settings["seed"],
    )
    base = AutoModelForCausalLM.from_pretrained(settings["model_name_or_path"])
    trainer = SFTTrainer(base, args, train_dataset=Dataset.from_list(rows), processing_class=tokenizer,
                         peft_config=fresh)  # fmt: skip
    trainer.train()
    seconds = time.perf_counter() - start
    names = [expert.name for expert in experts]
    matrix = accuracies(model, tokenizer, experts, names, settings)
    trained = trainer.accelerator.unwrap_model(trainer.model)
    student = accuracies(trained, trainer.processing_class, experts, ["default"], settings)["default"]
    matrix[STUDENT] = student
    print(f"{len(rows)} of {rollouts} rollouts were right")
    leave(settings, matrix, seconds, rollouts, tokens, trainer.state.global_step, right=len(rows))


def load(settings: dict[str, Any]) -> tuple[list[Expert], PreTrainedTokenizerBase, PeftModel]:
    """The domains, the tokenizer, and the base with the adapter of every expert."""
    experts = build_experts(settings["domains"], settings["seed"])
    tokenizer = AutoTokenizer.from_pretrained(settings["model_name_or_path"], padding_side="left")
    base = AutoModelForCausalLM.from_pretrained(settings["model_name_or_path"])
    model: Any = base
    for expert in experts:
        if model is base:
            model = PeftModel.from_pretrained(base, expert.adapter, adapter_name=expert.name)
        else:
            model.load_adapter(expert.adapter, adapter_name=expert.name)
    return experts, tokenizer, model


@torch.no_grad()
def sample(
    model: Any, tokenizer: PreTrainedTokenizerBase, prompts: list[str], settings: dict[str, Any], greedy: bool
) -> tuple[list[str], int]:
    """A completion of each prompt, and the tokens of prompts and completions."""
    model.eval()
    texts: list[str] = []
    counted = 0
    how = {"do_sample": False} if greedy else {"do_sample": True, "temperature": settings["temperature"], "top_k": 0}
    for start in range(0, len(prompts), ROWS):
        batch = tokenizer(prompts[start : start + ROWS], return_tensors="pt", padding=True)
        batch.pop("token_type_ids", None)
        made = model.generate(**batch, max_new_tokens=settings["max_completion_length"], **how)
        completions = made[:, batch["input_ids"].size(1) :]
        padding = int((completions == tokenizer.pad_token_id).sum())
        counted += int(batch["attention_mask"].sum()) + completions.numel() - padding
        texts += tokenizer.batch_decode(completions, skip_special_tokens=True)
    return texts, counted


def grades(expert: Expert, rows: Dataset, completions: list[str]) -> list[float | None]:
    """What the expert's first reward function says of each completion."""
    columns = {name: list(rows[name]) for name in rows.column_names if name != "prompt"}
    return expert.reward_funcs[0](prompts=list(rows["prompt"]), completions=completions, **columns)


def accuracies(
    model: Any, tokenizer: PreTrainedTokenizerBase, experts: list[Expert], names: list[str], settings: dict[str, Any]
) -> Matrix:
    """Greedy accuracy of the base and of some adapters on the held-out rows of every domain."""
    found: Matrix = {"base": {}} | {name: {} for name in names}
    for expert in experts:
        rows = expert.eval_dataset
        for name in found:
            if name == "base":
                with model.disable_adapter():
                    completions, _ = sample(model, tokenizer, list(rows["prompt"]), settings, greedy=True)
            else:
                model.set_adapter(name)
                completions, _ = sample(model, tokenizer, list(rows["prompt"]), settings, greedy=True)
            graded = grades(expert, rows, completions)
            found[name][expert.name] = round(sum(grade or 0.0 for grade in graded) / len(graded), 6)
    return found


def leave(
    settings: dict[str, Any], matrix: Matrix, seconds: float, rollouts: int, tokens: int, rounds: int, **more: int
) -> None:
    """Write what `trl_copd.compare.launch.execute` reads."""
    output = Path(settings["output_dir"])
    write_matrix(matrix, "Accuracy on held-out rows (greedy).", output)
    entry = {"step": rounds, "train_runtime": seconds, "rollouts": rollouts, **more}
    state = {"global_step": rounds, "num_input_tokens_seen": tokens, "log_history": [entry]}
    (output / "trainer_state.json").write_text(json.dumps(state))


if __name__ == "__main__":
    main()
