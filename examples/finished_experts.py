"""
Finished LoRA experts into one student: merged exactly, then distilled from the experts, which are frozen.

    python examples/finished_experts.py                                          # trains two experts first
    python examples/finished_experts.py --expert sort=PATH --expert rev=PATH     # adapters that you have

An adapter is a folder, or a Hub id, that PEFT can load, trained on the base that is named with `--base`.
"""

import argparse

from peft import LoraConfig

from trl_copd import CoPDConfig, CoPDTrainer, Expert
from trl_copd.recipes.demo_base import build_base
from trl_copd.recipes.domains import make_domain
from trl_copd.rewards import exact_match_reward


LORA = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear")
BATCH = {"per_device_train_batch_size": 64, "max_completion_length": 8, "use_cpu": True, "bf16": False}


def experts(adapters: dict[str, str | None]) -> list[Expert]:
    """One expert per domain, with its finished adapter or with a fresh one."""
    data = {name: make_domain(name, n_train=2000, n_eval=200, seed=0) for name in adapters}
    return [
        Expert(name, train, exact_match_reward, eval_dataset=test, adapter=adapters[name])
        for name, (train, test) in data.items()
    ]


def train_experts(base: str, output_dir: str, max_steps: int) -> dict[str, str]:
    """Two experts apart from one another, which is what anybody's finished experts are."""
    args = CoPDConfig(
        output_dir,
        topology="mutual",
        opd_steps=0,
        max_steps=max_steps,
        learning_rate=1e-3,
        matrix_at_end=False,
        **BATCH,
    )
    trainer = CoPDTrainer(base, experts({"sort": None, "rev": None}), args, peft_config=LORA)
    trainer.train()
    trainer.save_model()
    return {name: f"{output_dir}/experts/{name}" for name in ("sort", "rev")}


def main() -> dict:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--expert", action="append", default=[], metavar="NAME=PATH", help="a domain and its adapter")
    parser.add_argument("--base", help="the base of the adapters; by default a tiny model is built")
    parser.add_argument("--output_dir", default="runs/finished_experts")
    parser.add_argument("--max_steps", type=int, default=60, help="rounds of the experts, if they are trained here")
    parser.add_argument("--student_steps", type=int, default=30, help="rounds of distillation (%(default)s)")
    options = parser.parse_args()

    base = options.base or f"{options.output_dir}/base"
    if options.base is None:
        build_base(base, seed=0)
    adapters = dict(pair.split("=", 1) for pair in options.expert)
    if not adapters:
        adapters = train_experts(base, f"{options.output_dir}/apart", options.max_steps)
    args = CoPDConfig(
        options.output_dir,
        topology="mopd",  # finished experts teach the student, and do not train
        rlvr_steps=0,
        opd_steps=1,
        student_init="merge",  # it starts as the experts' exact mean
        opd_loss="forward_kl",
        max_steps=options.student_steps,
        learning_rate=5e-4,
        **BATCH,
    )
    trainer = CoPDTrainer(base, experts(adapters), args, peft_config=LORA)
    trainer.train()
    trainer.save_model()  # the student in output_dir, to be used, merged or pushed like any adapter
    return trainer.last_matrix


if __name__ == "__main__":
    main()
