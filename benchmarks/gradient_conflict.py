"""
Do the skills of the comparison pull one policy in different directions? `python benchmarks/gradient_conflict.py`.

Trains the mixed policy of `benchmarks/compare.py` (its best rate), and takes at several rounds the gradient of GRPO's
loss for each skill apart, unclipped, on fresh rollouts of `ROUNDS` batches of 128, with a learning rate of 0: four
experts that all start from the mixed policy. Prints the cosine between the expected gradients of every pair of skills,
estimated from products of different batches, which noise does not bias, and, last, one JSON object; `--output` keeps
it. A pair is left out where the batches of one skill do not agree among themselves. It is the gradient of the loss;
Adam's step is another direction.
"""

import argparse
import json
import os
import sys
from itertools import combinations
from pathlib import Path
from statistics import mean
from typing import Any


ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["ACCELERATE_USE_CPU"] = "true"

import torch  # noqa: E402
import yaml  # noqa: E402
from transformers import TrainerCallback  # noqa: E402
from trl import ModelConfig, TrlParser, get_peft_config  # noqa: E402

from benchmarks.compare import base, commit, execute, machine, recipe, target  # noqa: E402
from benchmarks.compare_curves import conflict_table  # noqa: E402
from benchmarks.compare_methods import METHODS, Job  # noqa: E402
from benchmarks.compare_results import RESULTS, Results, best  # noqa: E402
from trl_copd import CoPDConfig, CoPDTrainer  # noqa: E402
from trl_copd.recipes.build import build_experts  # noqa: E402
from trl_copd.train import RecipeArguments  # noqa: E402


ROUNDS = 24
LOOKS = (40, 80, 160, 320, 640)  # rounds of the mixed policy
LEAST = 0.05  # mean cosine of two batches of a skill below which its direction is not known


class Gradients(TrainerCallback):
    """Keeps the gradient of each branch in every round, flattened."""

    def __init__(self, trainer: CoPDTrainer):
        self.trainer = trainer
        self.found: dict[str, list[torch.Tensor]] = {name: [] for name in trainer.experts}

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        for name, rounds in self.found.items():
            parameters = self.trainer.branches[name].parameters
            parts = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
            rounds.append(torch.cat([part.flatten() for part in parts]).clone())


def conflict(rounds: dict[str, list[torch.Tensor]]) -> dict[str, Any]:
    """
    Cosines between the expected gradients of skills.

    Args:
        rounds (`dict[str, list[Tensor]]`): The gradients of each skill, one `(P,)` a batch, at least two.

    Returns:
        `dict`: `"agreement"`: mean cosine of two batches of a skill; `"pairs"`: mean product of two skills' batches
        over the geometric mean of the squared norms of their expectations, each the mean product of different batches
        of a skill, clamped to [-1, 1]; `None` where a skill's agreement is below `LEAST`.
    """
    stacked = {name: torch.stack(found).double() for name, found in rounds.items()}  # (B, P)
    squares, agreement = {}, {}
    for name, found in stacked.items():
        others = ~torch.eye(len(found), dtype=torch.bool)
        squares[name] = (found @ found.T)[others].mean().item()
        unit = found / found.norm(dim=1, keepdim=True).clamp(min=1e-30)
        agreement[name] = round((unit @ unit.T)[others].mean().item(), 4)
    pairs: dict[str, float | None] = {}
    for a, b in combinations(rounds, 2):
        known = min(agreement[a], agreement[b]) >= LEAST and min(squares[a], squares[b]) > 0
        product = (stacked[a] @ stacked[b].T).mean().item()
        pairs[f"{a}, {b}"] = (
            round(max(-1.0, min(1.0, product / (squares[a] * squares[b]) ** 0.5)), 4) if known else None
        )
    return {"agreement": agreement, "pairs": pairs}


def look(adapter: Path, seed: int, folder: Path) -> dict[str, Any]:
    """Gradients of all skills at one policy."""
    output = folder / f"look-{adapter.parent.parent.parent.name}-{adapter.parent.parent.name}"
    job = Job({"topology": "mutual", "student_init": "fresh", "rlvr_steps": 1, "opd_steps": 0, "learning_rate": 0.0,
               "max_steps": ROUNDS, "overlap_every": 0, "matrix_at_end": False, "max_grad_norm": 0.0})  # fmt: skip
    settings = recipe(job, output, None) | {"seed": seed + 1000, "model_name_or_path": base(seed, folder)}
    for domain in settings["domains"]:
        domain["adapter"] = str(adapter)
    output.mkdir(parents=True, exist_ok=True)
    (output / "recipe.yaml").write_text(yaml.safe_dump(settings))
    parser = TrlParser((RecipeArguments, CoPDConfig, ModelConfig))
    asked, args, model_args = parser.parse_args_and_config(["--config", str(output / "recipe.yaml")])
    model_args.use_peft = True
    trainer = CoPDTrainer(
        model=settings["model_name_or_path"],
        experts=build_experts(asked.domains, args.seed),
        args=args,
        peft_config=get_peft_config(model_args),
    )
    gradients = Gradients(trainer)
    trainer.add_callback(gradients)
    trainer.train()
    rewards = {
        name: round(
            mean(entry[f"{name}/reward"] for entry in trainer.state.log_history if f"{name}/reward" in entry), 4
        )
        for name in trainer.experts
    }
    return {"rewards": rewards, **conflict(gradients.found)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "compare")
    parser.add_argument("--output", type=Path, help="file that the JSON object is written to")
    options = parser.parse_args()
    chosen = best(METHODS["mixed"], Results(RESULTS))
    job = Job(chosen.fields | {"save_steps": LOOKS[0]})
    found: dict[str, Any] = {"job": job.describe(), "rounds": LOOKS, "batches": ROUNDS, "looks": []}
    found |= {"commit": commit(), "machine": machine()}
    for seed in options.seeds:
        run = target(job, seed, options.folder)
        if not (run / f"checkpoint-{LOOKS[-1]}").is_dir():
            execute(job, seed, options.folder, None)
        looks = [look(run / f"checkpoint-{step}" / "experts" / "mixed", seed, options.folder) for step in LOOKS]
        found["looks"] += [{"seed": seed, "round": step, **seen} for step, seen in zip(LOOKS, looks, strict=True)]
    print(conflict_table(found))
    if options.output:
        options.output.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
