"""
What `reward-doctor` audits in test_integration.py: ours and TRL's reward, with each answer of its corpus in a box, as
both ask of a model. Without that nearly all that either refuses is for want of a box, and says nothing of the rest.
"""

from trl.rewards import accuracy_reward

from trl_copd.rewards import MathReward, math_reward


# the rule for answers outside of a box, which is off by default
final_math_reward = MathReward(answer="boxed_or_final")


def _boxed(completions):
    return [text if "\\boxed" in text else rf"\boxed{{{text}}}" for text in completions]


def boxed_math_reward(completions, solution, **columns):
    return math_reward(prompts=completions, completions=_boxed(completions), solution=solution)


def boxed_accuracy_reward(completions, solution, **columns):
    messages = [[{"role": "assistant", "content": text}] for text in _boxed(completions)]
    return accuracy_reward(messages, solution)
