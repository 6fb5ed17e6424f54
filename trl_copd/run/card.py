"""The model card of a run: base, method, data, settings, capability matrix, how to load, citations."""

import os
import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData
from peft import PeftConfig
from transformers import TrainerState
from trl import GRPOTrainer

from ..config import CoPDConfig
from ..experts import Expert
from ..measure.matrix import Matrix, matrix_table
from ..redaction import redact, secrets_of
from ..schedule import Schedule
from ..topology import Topology
from .folder import SUMMARY_FIGURE, expert_place


COPD_CITATION = """\
@article{copd2026,
    title  = {{Co-Evolving Policy Distillation}},
    year   = 2026,
    eprint = {arXiv:2604.27083},
}"""
PACKAGES = ("trl-copd", "trl", "transformers", "peft", "torch", "accelerate", "datasets")
HUB_DATA = re.compile(r"hf://datasets/([^@]+)@")


@dataclass(frozen=True)
class Card:
    """
    What a model card says of a run, finished or not.

    Args:
        name (`str`): Title.
        base (`str`, *optional*): The base's id or path.
        repo (`str`): The repo's id, or what stands for it.
        args ([`CoPDConfig`]), topology ([`Topology`]), schedule ([`Schedule`]): The run.
        experts (`dict[str, Expert]`): Its domains.
        rewards (`dict[str, list[str]]`): Names of each expert's reward functions.
        adapter ([`~peft.PeftConfig`]): An expert's.
        state ([`~transformers.TrainerState`]): How far the run is.
        rollouts (`int`): Rollouts so far.
        training (`bool`): Whether it goes on.
        round (`int`): The round that the weights are of.
        matrix (`dict`, *optional*): The last capability matrix.
        matrix_round (`int`, *optional*): The round that it was measured in.
        sees (`bool`): Whether the base is a vision-language model.
        tags (`tuple[str, ...]`), datasets (`tuple[str, ...]`): For the card's metadata, beside those that are known.
    """

    name: str
    base: str | None
    repo: str
    args: CoPDConfig
    topology: Topology
    schedule: Schedule
    experts: dict[str, Expert]
    rewards: dict[str, list[str]]
    adapter: PeftConfig
    state: TrainerState
    rollouts: int
    training: bool
    round: int
    matrix: Matrix | None = None
    matrix_round: int | None = None
    sees: bool = False
    tags: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()


def write_model_card(card: Card, folder: str | Path) -> None:
    """Write `README.md`; figures are shown if they are in the folder."""
    data = ModelCardData(
        base_model=card.base if is_hub_id(card.base) else None,
        datasets=_known_datasets(card) or None,
        library_name="peft",
        model_name=card.name,
        tags=sorted({*card.tags, "lora"}),
        pipeline_tag="image-text-to-text" if card.sees else "text-generation",
    )
    text = f"---\n{data.to_yaml()}\n---\n\n{_text(card, Path(folder))}"
    ModelCard(redact(text, secrets_of(card.args))).save(Path(folder) / "README.md")


def weights_round(state: TrainerState, args: CoPDConfig, training: bool) -> int:
    """The round that the weights are of: the last, or the best once `load_best_model_at_end` has loaded it."""
    loaded = args.load_best_model_at_end and not training and state.best_model_checkpoint
    return state.best_global_step if loaded and state.best_global_step else state.global_step


def is_hub_id(base: str | None) -> bool:
    return bool(base) and not os.path.isabs(base) and not os.path.exists(base) and base.count("/") <= 1


def base_in_words(base: str | None) -> str:
    """The base for a reader who is not on this machine: no path of it is given away."""
    if not base:
        return "a base model that was built in memory"
    if is_hub_id(base):
        return f"[{base}](https://huggingface.co/{base})"
    return f"a base model from a local folder, `{Path(base).name}`"


def _text(card: Card, folder: Path) -> str:
    base, repo, expert = card.base, card.repo, next(iter(card.experts))
    revision = f', revision="{card.args.hub_revision}"' if card.args.hub_revision else ""
    of_base = card.adapter.revision
    from_base = f'"{base if is_hub_id(base) else "PATH/TO/THE/BASE"}"' + (f', revision="{of_base}"' if of_base else "")
    kind, processing = ("ImageTextToText", "Processor") if card.sees else ("CausalLM", "Tokenizer")
    sections = [
        f"# {card.name}",
        f"LoRA adapters on {base_in_words(base)}, trained by co-evolving policy distillation "
        "([CoPD](https://arxiv.org/abs/2604.27083)) with trl-copd, a plugin of "
        "[TRL](https://github.com/huggingface/trl): experts that learn from verifiable rewards and teach each other, "
        f"and a student that learns from all. The student is at the root, the experts are in {_folders(card)}.",
        _progress(card),
        "## Use\n\n```python\nfrom peft import PeftModel\n"
        f"from transformers import AutoModelFor{kind}, Auto{processing}\n\n"
        f"base = AutoModelFor{kind}.from_pretrained({from_base})\n"
        f'{processing.lower()} = Auto{processing}.from_pretrained("{repo}"{revision})\n'
        f'model = PeftModel.from_pretrained(base, "{repo}"{revision})  # the student\n'
        f'# an expert instead: PeftModel.from_pretrained(base, "{repo}"{revision}, '
        f'subfolder="{expert_place(expert)}")\n```',
        f"## Data and rewards\n\n{_domains(card)}",
        f"## Method\n\n{_settings(card)}",
    ]
    if card.matrix:
        sections.append(f"## Capability matrix\n\n{_matrix(card)}")
    if (folder / SUMMARY_FIGURE).is_file():
        sections.append(f"![Rewards, overlap between teachers and learners, accuracies]({SUMMARY_FIGURE})")
    sections.append("## Versions\n\n" + "\n".join(f"- {package} {package_version(package)}" for package in PACKAGES))
    sections.append(f"## Citation\n\n```bibtex\n{COPD_CITATION}\n\n{GRPOTrainer._paper['citation']}\n```")
    return "\n\n".join(sections) + "\n"


def _folders(card: Card) -> str:
    return ", ".join(f"`{expert_place(name)}`" for name in card.experts)


def _progress(card: Card) -> str:
    """How far the run is: a card is also written with every checkpoint."""
    step, total, round_ = card.state.global_step, card.state.max_steps, card.round
    if card.training and round_ < total:
        return f"**Training is under way**: these are the weights after round {round_} of {total}."
    if round_ < step:
        best = card.args.metric_for_best_model
        return f"These are the weights after round {round_} of {step}" + (f", the best by `{best}`." if best else ".")
    if card.args.max_rollouts is not None and card.rollouts >= card.args.max_rollouts:
        return f"These are the weights after the last of {step} rounds, {card.rollouts} rollouts."
    if step < total:
        return f"Training ended early: these are the weights after round {step} of {total}."
    return f"These are the weights after the last of {step} rounds." if step else "The adapters are untrained."


def _matrix(card: Card) -> str:
    same = card.matrix_round == card.round
    when = "" if same else f" after round {card.matrix_round} (these weights are of round {card.round})"
    return f"Accuracy on held-out rows{when}.\n\n{matrix_table(card.matrix or {})}"


def _known_datasets(card: Card) -> list[str]:
    sources = [hub_source(expert.train_dataset) for expert in card.experts.values()]
    return list(dict.fromkeys([*card.datasets, *filter(None, sources)]))


def hub_source(dataset: Any) -> str | None:
    """The Hub id that a dataset was loaded from, if it was."""
    checksums = getattr(getattr(dataset, "info", None), "download_checksums", None) or {}
    return next((match[1] for match in map(HUB_DATA.match, checksums) if match), None)


def _domains(card: Card) -> str:
    lines = ["| expert | training data | rows | held-out rows | rewards |", "|---|---|---|---|---|"]
    for name, expert in card.experts.items():
        data, source = expert.train_dataset, hub_source(expert.train_dataset)
        where = f"[{source}](https://huggingface.co/datasets/{source})" if source else "local"
        rows = len(data) if hasattr(data, "__len__") else "streamed"
        held_out = sum(len(rows) for rows in expert.eval_datasets.values() if hasattr(rows, "__len__"))
        rewards = ", ".join(f"`{n}`" for n in card.rewards[name])
        lines.append(f"| {name} | {where} | {rows} | {held_out} | {rewards} |")
    return "\n".join(lines)


def _settings(card: Card) -> str:
    args = card.args
    settings = {
        "topology": f"{args.topology}, hub {args.hub}" if args.hub else args.topology,
        "schedule": card.schedule,
        "opd_loss": args.opd_loss + (f", log-ratios up to {args.opd_clip}" if args.opd_clip else ""),
        "opd_beta": args.opd_beta,
        "opd_fraction": args.opd_fraction,
        "student": f"own branch, {args.student_init}"
        if card.topology.has_student_branch
        else f"merge ({args.merge_method})",
        "allocation": args.allocation + (f", {args.max_rollouts} rollouts" if args.max_rollouts else ""),
        "adapters": _adapters(card.adapter),
        "loss_type": f"{args.loss_type}, epsilon {args.epsilon}, epsilon_high {args.epsilon_high or args.epsilon}, "
        f"beta {args.beta}",
        "optimizer": f"{getattr(args.optim, 'value', args.optim)}, learning rate {args.learning_rate}, "
        f"{getattr(args.lr_scheduler_type, 'value', args.lr_scheduler_type)}",
        "rows per branch and generation": f"{args.generation_batch_size}, {args.num_generations} per prompt",
        "sampling": f"temperature {args.temperature}, at most {args.max_completion_length} tokens",
        "processes": args.world_size,
        "seed": args.seed,
    }
    return "\n".join(f"- {key}: {value}" for key, value in settings.items())


def _adapters(config: Any) -> str:
    targets = config.target_modules
    if isinstance(targets, set | list | tuple):  # the names of layers, without their paths
        targets = ", ".join(sorted({name.rsplit(".", 1)[-1] for name in targets}))
    rank = f", rank {config.r}, alpha {config.lora_alpha}" if hasattr(config, "lora_alpha") else ""
    return f"{config.peft_type.value}{rank}, on {targets}"


def package_version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "from source"
