"""A tokenizer whose template shows tools, and tools and environments, small enough for a random model of 30 tokens."""

from __future__ import annotations

from collections import Counter as Counts

from datasets import Dataset
from tiny import CHARACTERS, lora, settings, tiny_model, tiny_tokenizer
from tokenizers import decoders


# a call begins with its tool's letter, its argument ends with `.` or with the completion: `a12.`
RESPONSE = {
    "defaults": {"role": "assistant"},
    "start_anchor": "=",
    "fields": {
        "tool_calls": {
            "open_pattern": r"(?P<name>[a-d])",
            "close_pattern": r"\.",
            "repeats": True,
            "content": "text",
            "transform": {"type": "function", "function": {"name": "{name}", "arguments": {"x": "{content}"}}},
        },
        "content": {"close_pattern": r"<eos>", "content": "text"},
    },
}
TEMPLATE = (
    "{% for t in tools or [] %}{{ t.function.name }}?{% endfor %}"
    "{% for m in messages %}{% if m.role == 'tool' %}:{{ m.content }}{% elif m.tool_calls %}"
    "{% for c in m.tool_calls %}{{ c.function.name }}{% for k, v in c.function.arguments.items() %}{{ k }}{{ v }}."
    "{% endfor %}{% endfor %}<eos>{% else %}{{ m.content }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}={% endif %}"
)


def acting_tokenizer():
    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.decoder = decoders.Fuse()
    tokenizer.chat_template = TEMPLATE
    tokenizer.response_template = RESPONSE
    return tokenizer


def acting_model(**overrides):
    """Turns are short: a sixth of all tokens ends one."""
    model = tiny_model(**{"max_position_embeddings": 160} | overrides)
    model.generation_config.eos_token_id = [2, *(4 + CHARACTERS.index(character) for character in "0123.")]
    return model


def a(x: str) -> str:
    """
    How long it is.

    Args:
        x: A text.
    """
    return str(len(x))


def b(x: str) -> str:
    """
    Fails.

    Args:
        x: A text.
    """
    raise ValueError("no b")


class Counter:
    """Counts what it is given; `reset` says the row's number."""

    def __init__(self):
        self.total, self.row = -1, None

    def reset(self, **row) -> str:
        self.total, self.row = 0, row
        return f"{row['solution']}:"

    def a(self, x: str) -> str:
        """
        Adds the length and one.

        Args:
            x: A text.
        """
        self.total += 1 + len(x)
        return str(self.total)


class Owner(Counter):
    """An environment that owns its reward."""

    def get_reward(self) -> float:
        return self.total / 4


def rows(offset: int = 0, count: int = 12) -> Dataset:
    letters = "efgh"
    return Dataset.from_list(
        [
            {
                "prompt": [{"role": "user", "content": f"{i + offset}+{i}"}],
                "solution": letters[(i + offset) % len(letters)],
            }
            for i in range(count)
        ]
    )


def said(completions) -> list[str]:
    """What was said, tools' turns included, as one text for each conversation."""
    return ["".join(message["role"][0] + str(message["content"]) for message in talk) for talk in completions]


def talk_reward(completions, solution, **kwargs):
    """Depends on every turn, so that no two conversations are likely to have the same."""
    return [sum(ord(c) % 7 for c in text) % 11 / 11 for text in said(completions)]


def state_reward(completions, environments, **kwargs):
    return [environment.total / 4 + len(talk) / 8 for environment, talk in zip(environments, completions, strict=True)]


def copd(folder, experts, model=None, **overrides):
    from trl_copd import CoPDConfig, CoPDTrainer

    args = CoPDConfig(**settings(folder, **{"max_completion_length": 60} | overrides))
    model = acting_model() if model is None else model
    return CoPDTrainer(model, experts, args, processing_class=acting_tokenizer(), peft_config=lora())


TURNS = ["a5.", "b1.", "12.", "fa9.", "e.", "a1.b2.", "ga77.", "h0"]


def scripted(prompt_ids, call: int, turns=TURNS) -> list[list[int]]:
    """Turns that depend on conversation, place among equal ones and number of the call only."""
    tokenizer, seen, completions = acting_tokenizer(), Counts(), []
    for ids in map(tuple, prompt_ids):
        seen[ids] += 1
        text = turns[hash((ids, seen[ids], call)) % len(turns)]
        completions.append(tokenizer(text, add_special_tokens=False)["input_ids"])
    return completions


def replay_copd(trainer, turns=TURNS) -> list[list[str]]:
    """Let a CoPDTrainer take `scripted` turns, a branch's calls counted alone. Returns the adapters of each wave."""
    calls, waves = Counts(), []

    def generate(prompt_ids, names, greedy=False):
        waves.append(list(dict.fromkeys(names)))
        assert [n for i, n in enumerate(names) if i == 0 or names[i - 1] != n] == waves[-1], (
            "an adapter's rows are apart"
        )
        completions = []
        for name in waves[-1]:
            calls[name] += 1
            own = [ids for ids, other in zip(prompt_ids, names, strict=True) if other == name]
            completions += scripted(own, calls[name], turns)
        return completions, None

    trainer.engine.generate = generate
    return waves


def replay_grpo(trainer) -> None:
    calls = Counts()

    def single_turn(prompt_ids, *args, **kwargs):
        calls["all"] += 1
        return scripted(prompt_ids, calls["all"]), None

    trainer._generate_single_turn = single_turn
