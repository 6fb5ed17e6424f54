"""
The verifiers in TRL's own `GRPOTrainer`, without anything else of this package.

    python examples/rewards_in_trl.py

Any TRL trainer takes them as `reward_funcs`. A row whose reference cannot be read has no reward (`None`) and is
counted in the log as `<reward>/unreadable`.
"""

import argparse

from trl import GRPOConfig, GRPOTrainer

from trl_copd.recipes.demo_base import build_base
from trl_copd.recipes.domains import make_domain
from trl_copd.rewards import ExactMatchReward, MathReward


def main() -> list[dict]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", default="runs/rewards_in_trl")
    parser.add_argument("--max_steps", type=int, default=40, help="steps (%(default)s)")
    options = parser.parse_args()

    build_base(f"{options.output_dir}/base", seed=0)
    train, _ = make_domain("count", n_train=2000, n_eval=1, seed=0)  # count:xyyzx= -> 221
    args = GRPOConfig(
        options.output_dir,
        max_steps=options.max_steps,
        per_device_train_batch_size=64,
        max_completion_length=8,
        learning_rate=1e-3,
        logging_steps=5,
        report_to="none",
        use_cpu=True,
        bf16=False,
    )
    # the same text, or the same number: two verifiers of one answer, the second with half the weight
    args.reward_weights = [1.0, 0.5]
    rewards = [ExactMatchReward(), MathReward("boxed_or_bare")]
    trainer = GRPOTrainer(f"{options.output_dir}/base", reward_funcs=rewards, args=args, train_dataset=train)
    trainer.train()
    return trainer.state.log_history


if __name__ == "__main__":
    main()
