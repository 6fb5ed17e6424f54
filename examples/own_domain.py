"""
A domain of your own with a verifier of your own, beside a built-in domain. One student learns both.

    python examples/own_domain.py                  # a tiny model that is built on the spot, on a CPU, in minutes
    python examples/own_domain.py --max_steps 120

The own domain is *anagrams*: answer with the letters of a word in another order. Many answers are right, so that no
reference answer could grade it; a verifier can. Replace `anagrams`, `rows` and the model by yours.
"""

import argparse

from datasets import Dataset
from peft import LoraConfig

from trl_copd import CoPDConfig, CoPDTrainer, Expert
from trl_copd.recipes.demo_base import build_base
from trl_copd.recipes.domains import make_domain
from trl_copd.rewards import Verdict, VerifierReward, exact_match_reward


def anagrams(completion: str, word: str) -> Verdict:
    """Right if the completion has the word's letters, each as often, in another order."""
    answer = completion.strip()
    if sorted(answer) != sorted(word):
        return Verdict(False, f"{answer!r} does not have the letters of {word!r}")
    return Verdict(answer != word, "the word itself" if answer == word else "an anagram")


anagram_reward = VerifierReward(anagrams, columns=("word",))


def rows(dataset: Dataset) -> Dataset:
    """`prompt` is what is asked; `word` is what the verifier reads."""
    return dataset.map(lambda row: {"word": row["solution"][::-1]}, remove_columns="solution")


def main() -> dict:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", default="runs/own_domain")
    parser.add_argument("--max_steps", type=int, default=60, help="rounds (%(default)s)")
    options = parser.parse_args()

    build_base(f"{options.output_dir}/base", seed=0)
    sort_train, sort_test = make_domain("sort", n_train=2000, n_eval=200, seed=0)
    word_train, word_test = map(rows, make_domain("rev", n_train=2000, n_eval=200, seed=0))
    experts = [
        Expert("sort", sort_train, exact_match_reward, eval_dataset=sort_test),
        Expert("anagrams", word_train, anagram_reward, eval_dataset=word_test),
    ]
    args = CoPDConfig(
        options.output_dir,
        max_steps=options.max_steps,
        per_device_train_batch_size=64,
        max_completion_length=8,
        learning_rate=1e-3,
        use_cpu=True,
        bf16=False,
    )
    trainer = CoPDTrainer(
        f"{options.output_dir}/base", experts, args, peft_config=LoraConfig(r=16, target_modules="all-linear")
    )
    trainer.train()
    trainer.save_model()
    return trainer.last_matrix


if __name__ == "__main__":
    main()
