"""
What `reward-doctor` audits in test_integration.py beside the rewards themselves: ours and TRL's with each answer of
its corpus in a box. TRL's refuses nearly all bare answers, which says nothing of how it compares.
"""

from trl.rewards import accuracy_reward

from trl_copd.rewards import math_reward


def _boxed(completions):
    return [text if "\\boxed" in text else rf"\boxed{{{text}}}" for text in completions]


def boxed_math_reward(completions, solution, **columns):
    return math_reward(prompts=completions, completions=_boxed(completions), solution=solution)


def boxed_accuracy_reward(completions, solution, **columns):
    messages = [[{"role": "assistant", "content": text}] for text in _boxed(completions)]
    return accuracy_reward(messages, solution)
