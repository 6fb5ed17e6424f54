"""
Do the skills of the comparison pull one policy in different directions? `python benchmarks/gradient_conflict.py`.

Trains the mixed policy of `benchmarks/compare.py` (its best rate), and takes at several rounds the gradient of GRPO's
loss for each skill apart, on fresh rollouts of `ROUNDS` batches of 128, with a learning rate of 0: four experts that
all start from the mixed policy. Prints the cosine between the mean gradients of every pair of skills, divided by what
noise leaves of the cosine of a skill with itself (two halves of the batches), and, last, one JSON object; it is kept
in docs/results/gradient_conflict.json. A pair is left out where the two halves of a skill do not agree.
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

from benchmarks.compare import RESULTS, Results, base, best, execute, recipe, target  # noqa: E402
from benchmarks.compare_methods import METHODS, Job  # noqa: E402
from benchmarks.compare_page import interval  # noqa: E402
from recipes.build import build_experts  # noqa: E402
from recipes.copd import RecipeArguments  # noqa: E402
from trl_copd import CoPDConfig, CoPDTrainer  # noqa: E402


RESULT = ROOT / "docs" / "results" / "gradient_conflict.json"
ROUNDS = 8
EVERY = 160  # rounds of the mixed policy between two looks
LEAST = 0.1  # cosine of a skill's two halves below which its direction is not known


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


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    """Cosine of two vectors; 0 if one is zero."""
    norms = (a.norm() * b.norm()).item()
    return (a @ b).item() / norms if norms else 0.0


def conflict(rounds: dict[str, list[torch.Tensor]]) -> dict[str, Any]:
    """
    Cosines between skills, with the noise of the batches taken out.

    Args:
        rounds (`dict[str, list[Tensor]]`): The gradients of each skill, `(P,)` each, an even number.

    Returns:
        `dict`: `"self"`: cosine of a skill's two halves; `"pairs"`: cosine of two skills' halves, crosswise, over the
        geometric mean of their own, clamped to [-1, 1]; `None` where a skill's own is below `LEAST`.
    """
    halves = {name: [torch.stack(found[i::2]).mean(0) for i in (0, 1)] for name, found in rounds.items()}
    own = {name: cosine(*pair) for name, pair in halves.items()}
    pairs: dict[str, float | None] = {}
    for a, b in combinations(rounds, 2):
        raw = mean([cosine(halves[a][i], halves[b][j]) for i in (0, 1) for j in (0, 1)])
        known = min(own[a], own[b]) >= LEAST
        pairs[f"{a}, {b}"] = max(-1.0, min(1.0, raw / (own[a] * own[b]) ** 0.5)) if known else None
    return {"self": own, "pairs": pairs}


def look(adapter: Path, seed: int, folder: Path) -> dict[str, Any]:
    """Gradients of all skills at one policy."""
    output = folder / f"look-{adapter.parent.parent.parent.name}-{adapter.parent.parent.name}"
    job = Job({"topology": "mutual", "student_init": "fresh", "rlvr_steps": 1, "opd_steps": 0, "learning_rate": 0.0,
               "max_steps": ROUNDS, "overlap_every": 0, "matrix_at_end": False})  # fmt: skip
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
    options = parser.parse_args()
    chosen = best(METHODS["mixed"], Results(RESULTS))
    job = Job(chosen.fields | {"save_steps": EVERY})
    rounds = list(range(EVERY, 4 * job.fields["max_steps"] + 1, EVERY))
    found: dict[str, Any] = {"job": job.describe(), "rounds": rounds, "looks": []}
    for seed in options.seeds:
        run = target(job, seed, options.folder)
        if not (run / f"checkpoint-{rounds[-1]}").is_dir():
            execute(job, seed, options.folder, None)
        looks = [look(run / f"checkpoint-{step}" / "experts" / "mixed", seed, options.folder) for step in rounds]
        found["looks"] += [{"seed": seed, "round": step, **seen} for step, seen in zip(rounds, looks, strict=True)]
    print("| Round of the mixed policy | " + " | ".join(found["looks"][0]["pairs"]) + " |")
    print("|---" * (len(found["looks"][0]["pairs"]) + 1) + "|")
    for step in rounds:
        cells = []
        for pair in found["looks"][0]["pairs"]:
            known = [seen["pairs"][pair] for seen in found["looks"] if seen["round"] == step]
            known = [value for value in known if value is not None]
            bounds = interval(known)
            cells.append((f"{mean(known):+.2f} ({len(known)})" + (f" {bounds}" if bounds else "")) if known else "")
        print(f"| {step} | " + " | ".join(cells) + " |")
    RESULT.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
