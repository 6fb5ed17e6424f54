"""
Skills of several turns for a character-level base that is built on the spot: long sums with a calculator that must be
called, a guessing game with feedback, and one that is answered at once.

    58+96>add(58+96)<eos>:154>154<eos>
    guess>guess(1)<eos>:more>guess(3)<eos>:yes>ok<eos>
    rev:bgach=hcagb<eos>

What follows a colon is the tool's: nobody is rewarded, taught or trained for it.
"""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from ..experts import Expert
from ..rewards import exact_match_reward
from .demo_base import SPECIAL_TOKENS, build_model
from .domains import make_domain, make_split, split_of


CHARACTERS = "0123456789abcdefghijklmnopqrstuvwxyz+-:=>() "
SECRETS, TRIES = 3, 2  # who begins in the middle needs no third guess
CALLS = 0.4  # share of the sums in the warm start for which the calculator is called; the others are guessed, wrongly
# How well sampling does a skill before the reinforcement learning begins; a game is known as a form only
TARGETS = {"sums": 0.3, "guess": 0.5, "rev": 0.15}
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'tool' %}:{{ m.content }}"
    "{% elif m.role == 'assistant' %}{% for call in m.tool_calls or [] %}{{ call.function.name }}("
    "{% for key, value in call.function.arguments.items() %}{{ key }}={{ value }}{% endfor %}){% endfor %}"
    "{{ m.content }}{{ eos_token }}{% else %}{{ m.content }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}>{% endif %}"
)
RESPONSE = {  # how transformers reads a turn: `add(58+96)` is a call of the tool `add`
    "defaults": {"role": "assistant"},
    "start_anchor": ">",
    "fields": {
        "tool_calls": {
            "open_pattern": r"(?P<name>[a-z]+)\(",
            "close_pattern": r"\)",
            "repeats": True,
            "content": "text",
            "transform": {"type": "function", "function": {"name": "{name}", "arguments": {"x": "{content}"}}},
        },
        "content": {"close_pattern": r"<eos>", "content": "text"},
    },
}


def add(x: str) -> str:
    """
    Adds two whole numbers.

    Args:
        x: The sum, such as 12+34.
    """
    one, two = x.split("+")
    return str(int(one) + int(two))


class Guess:
    """A number from 1 to 3 is to be guessed; each guess is answered by `more`, `less` or `yes`."""

    def __init__(self):
        self.secret, self.tries, self.found = 0, 0, False

    def reset(self, secret: int, **row: Any) -> None:
        self.secret, self.tries, self.found = secret, 0, False

    def guess(self, x: str) -> str:
        """
        Guesses the number.

        Args:
            x: The guess.
        """
        self.tries += 1
        if self.tries > TRIES:
            return "over"
        number = int(x)
        self.found = self.found or number == self.secret
        return "yes" if number == self.secret else "more" if number < self.secret else "less"

    def get_reward(self) -> float:
        return float(self.found)


def agent_expert(domain: dict[str, Any], task: str, seed: int) -> Expert:
    """
    The expert of a domain `agent/<task>` of a recipe.

    Args:
        domain (`dict`): The recipe's, with `name`, `n_train`, `n_eval` and perhaps `learning_rate`.
        task (`str`): `"sums"`, `"guess"` or `"rev"`.
        seed (`int`): Of the rows.

    Raises:
        ValueError: There is no such task.
    """
    n_train, n_eval = domain.get("n_train", 2000), domain.get("n_eval", 200)
    own = {"name": domain["name"], "learning_rate": domain.get("learning_rate"), "adapter": domain.get("adapter")}
    if task == "rev":
        train, held_out = make_domain("rev", n_train, n_eval, seed)
        return Expert(train_dataset=train, reward_funcs=exact_match_reward, eval_dataset=held_out, **own)
    if task == "sums":
        return Expert(
            train_dataset=Dataset.from_list(_sums("train", n_train, seed)),
            reward_funcs=exact_match_reward,
            eval_dataset=Dataset.from_list(_sums("eval", n_eval, seed)),
            tools=[add],
            max_tool_calling_iterations=1,
            **own,
        )
    if task == "guess":
        # all the numbers there are: what is learnt is how to ask, and there is nothing to hold out
        rows = [{"prompt": [{"role": "user", "content": "guess"}], "secret": 1 + i % SECRETS} for i in range(n_train)]
        return Expert(
            train_dataset=Dataset.from_list(rows),
            eval_dataset=Dataset.from_list(rows[:n_eval]),
            environment_factory=Guess,
            max_tool_calling_iterations=TRIES,
            **own,
        )
    raise ValueError(f"There is no agent/{task}. Choose one of agent/sums, agent/guess, agent/rev.")


def _sums(split: str, count: int, seed: int) -> list[dict[str, Any]]:
    rng, rows = random.Random(f"{seed}/sums/{split}"), {}
    while len(rows) < count:
        one, two = rng.randrange(10, 100), rng.randrange(10, 100)
        if split_of(f"{one}+{two}") == split:
            rows[f"{one}+{two}"] = str(one + two)
    return [{"prompt": [{"role": "user", "content": q}], "solution": answer} for q, answer in rows.items()]


# ---- The base -------------------------------------------------------------------------------------------------------


def build_tokenizer() -> PreTrainedTokenizerFast:
    """One token a character, with a template that shows tools' turns, and one by which calls are read."""
    vocabulary = {token: index for index, token in enumerate([*SPECIAL_TOKENS.values(), *CHARACTERS])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token=SPECIAL_TOKENS["unk_token"]))
    core.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    core.decoder = decoders.Fuse()
    bos = SPECIAL_TOKENS["bos_token"]
    core.post_processor = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, vocabulary[bos])])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, padding_side="left", clean_up_tokenization_spaces=False, **SPECIAL_TOKENS
    )
    tokenizer.chat_template, tokenizer.response_template = TEMPLATE, RESPONSE
    return tokenizer


def build_base(directory: str | Path, seed: int, steps: int = 600, batch_size: int = 96, rate: float = 2e-3) -> None:
    """
    Build tokenizer and model, half teach the skills by conversations, and save both.

    As in `demo_base.py`, a skill is trained only while sampling would do it too rarely.

    Args:
        directory (`str` or `Path`): Where they are saved (1.4 MB).
        seed (`int`): Of weights and rows.
        steps (`int`): Optimizer steps at most.
        batch_size (`int`): Conversations per step.
        rate (`float`): Peak learning rate.
    """
    tokenizer = build_tokenizer()
    model = build_model(tokenizer, seed)
    model.config.max_position_embeddings = 128  # positions are rotations: there is no table of them
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    rng, streams = random.Random(seed), {name: conversations(name, seed) for name in TARGETS}
    chance = dict.fromkeys(TARGETS, 0.0)
    model.train()
    for step in range(steps):
        behind = {name for name, target in TARGETS.items() if chance[name] < target}
        if not behind:
            break
        distance = 1.0 - min(chance[name] / target for name, target in TARGETS.items())
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 30) * max(distance, 0.1)
        names = rng.choices(list(TARGETS), k=batch_size)
        losses, likely = _grade(model, tokenizer, [next(streams[name]) for name in names])
        torch.stack([loss for name, loss in zip(names, losses, strict=True) if name in behind]).mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        for name, value in zip(names, likely.tolist(), strict=True):
            if value:
                chance[name] += 0.02 * (value - chance[name])
    model.eval()
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def conversations(name: str, seed: int) -> Iterator[tuple[list[tuple[str, bool]], float]]:
    """
    Conversations of the warm start for ever: turns, each with whether it is the model's, and in how many equally good
    ways the model's could have been said; 0 where what it says is not good.
    """
    rng = random.Random(f"{seed}/{name}/warm_start")
    if name == "rev":
        rows = make_split("rev", "warm_start", 12_000, seed)
        while True:
            for prompt, answer in zip(rows["prompt"], rows["solution"], strict=True):
                yield [(prompt, False), (f"{answer}<eos>", True)], 1.0
    while name == "sums":
        one, two = rng.randrange(10, 100), rng.randrange(10, 100)
        if split_of(f"{one}+{two}") == "warm_start":
            total = one + two
            if rng.random() > CALLS:
                yield [(f"{one}+{two}>", False), (f"{rng.randrange(20, 200)}<eos>", True)], 0.0
                continue
            yield [(f"{one}+{two}>", False), (f"add({one}+{two})<eos>", True), (f":{total}>", False),
                   (f"{total}<eos>", True)], 1.0  # fmt: skip
    while True:
        game, turns = Guess(), [("guess>", False)]
        game.reset(rng.randint(1, SECRETS))
        while game.tries < TRIES and not game.found:
            number = str(rng.randint(1, SECRETS))
            turns += [(f"guess({number})<eos>", True), (f":{game.guess(number)}>", False)]
        yield [*turns, ("ok<eos>", True)], float(SECRETS**game.tries)


def _grade(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, rows: list[tuple[list[tuple[str, bool]], float]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy of the model's turns in nats per token, and how likely sampling says something as good; `(B,)`."""
    encoded, labels = [], []
    for turns, _ in rows:
        ids, own = [tokenizer.bos_token_id], [-100]
        for text, said in turns:
            turn = tokenizer(text, add_special_tokens=False)["input_ids"]
            ids += turn
            own += turn if said else [-100] * len(turn)
        encoded.append(torch.tensor(ids))
        labels.append(torch.tensor(own))
    pad = torch.nn.utils.rnn.pad_sequence
    ids = pad(encoded, batch_first=True, padding_value=tokenizer.pad_token_id)
    target = pad(labels, batch_first=True, padding_value=-100)[:, 1:]
    logits = model(input_ids=ids, attention_mask=(ids != tokenizer.pad_token_id).long()).logits[:, :-1]
    losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), target, reduction="none").sum(1)
    ways = torch.tensor([count for _, count in rows])
    return losses / (target >= 0).sum(1), torch.exp(-losses.detach()) * ways
