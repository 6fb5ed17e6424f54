"""The model card of a run: base, method, data, settings, capability matrix, how to load, citations."""

from __future__ import annotations

import os
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import ModelCard, ModelCardData
from trl import GRPOTrainer
from trl.trainer.utils import get_config_model_id

from .redaction import redact, secrets_of


if TYPE_CHECKING:
    from .trainers import CoPDTrainer

COPD_CITATION = """\
@article{copd2026,
    title  = {{Co-Evolving Policy Distillation}},
    year   = 2026,
    eprint = {arXiv:2604.27083},
}"""
PACKAGES = ("trl-copd", "trl", "transformers", "peft", "torch", "accelerate", "datasets")
HUB_DATA = re.compile(r"hf://datasets/([^@]+)@")


def write_model_card(
    trainer: CoPDTrainer,
    name: str,
    dataset_name: str | list[str] | None = None,
    tags: str | list[str] | None = None,
    folder: str | Path | None = None,
    weights_of: int | None = None,
) -> None:
    """
    Write `README.md`.

    Args:
        trainer ([`CoPDTrainer`]): The run, finished or not.
        name (`str`): Title of the card.
        dataset_name, tags (*optional*): For the card's metadata, beside those that are known.
        folder (`str` or `Path`, *optional*): Where to; defaults to `output_dir`. Figures are shown if they are there.
        weights_of (`int`, *optional*): The round that the weights are of, if not the present one.
    """
    folder = Path(folder or trainer.args.output_dir)
    base = get_config_model_id(trainer.model.config)
    data = ModelCardData(
        base_model=base if is_hub_id(base) else None,
        datasets=_known_datasets(trainer, dataset_name) or None,
        library_name="peft",
        model_name=name,
        tags=sorted({*([tags] if isinstance(tags, str) else tags or ()), *trainer._tag_names, "lora"}),
        pipeline_tag="text-generation",
    )
    text = _text(trainer, name, base, folder, weights_round(trainer) if weights_of is None else weights_of)
    card = f"---\n{data.to_yaml()}\n---\n\n{text}"
    ModelCard(redact(card, secrets_of(trainer.args))).save(folder / "README.md")


def weights_round(trainer: CoPDTrainer) -> int:
    """The round that the weights are of: the last, or the best once `load_best_model_at_end` has loaded it."""
    state = trainer.state
    loaded = trainer.args.load_best_model_at_end and not trainer.is_in_train and state.best_model_checkpoint
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


def _text(trainer: CoPDTrainer, name: str, base: str | None, folder: Path, round_: int) -> str:
    repo = trainer.hub_model_id or trainer.args.hub_model_id or name
    revision = f', revision="{trainer.args.hub_revision}"' if trainer.args.hub_revision else ""
    expert = next(iter(trainer.experts))
    of_base = trainer.peft_model.peft_config[expert].revision
    from_base = f'"{base if is_hub_id(base) else "PATH/TO/THE/BASE"}"' + (f', revision="{of_base}"' if of_base else "")
    sections = [
        f"# {name}",
        f"LoRA adapters on {base_in_words(base)}, trained by co-evolving policy distillation "
        "([CoPD](https://arxiv.org/abs/2604.27083)) with trl-copd, a plugin of "
        "[TRL](https://github.com/huggingface/trl): experts that learn from verifiable rewards and teach each other, "
        f"and a student that learns from all. The student is at the root, the experts are in {_folders(trainer)}.",
        _progress(trainer, round_),
        "## Use\n\n```python\nfrom peft import PeftModel\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        f"base = AutoModelForCausalLM.from_pretrained({from_base})\n"
        f'tokenizer = AutoTokenizer.from_pretrained("{repo}"{revision})\n'
        f'model = PeftModel.from_pretrained(base, "{repo}"{revision})  # the student\n'
        f'# an expert instead: PeftModel.from_pretrained(base, "{repo}"{revision}, subfolder="experts/{expert}")\n```',
        f"## Data and rewards\n\n{_domains(trainer)}",
        f"## Method\n\n{_settings(trainer)}",
    ]
    if trainer.last_matrix:
        sections.append(f"## Capability matrix\n\n{_matrix(trainer, round_)}")
    if (folder / "figures" / "summary.png").is_file():
        sections.append("![Rewards, overlap between teachers and learners, accuracies](figures/summary.png)")
    sections.append("## Versions\n\n" + "\n".join(f"- {package} {package_version(package)}" for package in PACKAGES))
    sections.append(f"## Citation\n\n```bibtex\n{COPD_CITATION}\n\n{GRPOTrainer._paper['citation']}\n```")
    return "\n\n".join(sections) + "\n"


def _folders(trainer: CoPDTrainer) -> str:
    return ", ".join(f"`experts/{name}`" for name in trainer.experts)


def _progress(trainer: CoPDTrainer, round_: int) -> str:
    """How far the run is: a card is also written with every checkpoint."""
    step, total = trainer.state.global_step, trainer.state.max_steps
    if trainer.is_in_train and round_ < total:
        return f"**Training is under way**: these are the weights after round {round_} of {total}."
    if round_ < step:
        best = trainer.args.metric_for_best_model
        return f"These are the weights after round {round_} of {step}" + (f", the best by `{best}`." if best else ".")
    if step < total:
        return f"Training ended early: these are the weights after round {step} of {total}."
    return f"These are the weights after the last of {step} rounds." if step else "The adapters are untrained."


def _matrix(trainer: CoPDTrainer, round_: int) -> str:
    from .evaluation import matrix_table

    measured = trainer.last_matrix_round
    when = "" if measured == round_ else f" after round {measured} (these weights are of round {round_})"
    return f"Accuracy on held-out rows{when}.\n\n{matrix_table(trainer.last_matrix)}"


def _known_datasets(trainer: CoPDTrainer, named: str | list[str] | None) -> list[str]:
    sources = [hub_source(expert.train_dataset) for expert in trainer.experts.values()]
    return list(dict.fromkeys([*([named] if isinstance(named, str) else named or []), *filter(None, sources)]))


def hub_source(dataset: Any) -> str | None:
    """The Hub id that a dataset was loaded from, if it was."""
    checksums = getattr(getattr(dataset, "info", None), "download_checksums", None) or {}
    return next((match[1] for match in map(HUB_DATA.match, checksums) if match), None)


def _domains(trainer: CoPDTrainer) -> str:
    lines = ["| expert | training data | rows | held-out rows | rewards |", "|---|---|---|---|---|"]
    for name, expert in trainer.experts.items():
        data, source = expert.train_dataset, hub_source(expert.train_dataset)
        where = f"[{source}](https://huggingface.co/datasets/{source})" if source else "local"
        rows = len(data) if hasattr(data, "__len__") else "streamed"
        held_out = sum(len(rows) for rows in expert.eval_datasets.values() if hasattr(rows, "__len__"))
        rewards = ", ".join(f"`{n}`" for n in trainer.branches[name].attributes["reward_func_names"])
        lines.append(f"| {name} | {where} | {rows} | {held_out} | {rewards} |")
    return "\n".join(lines)


def _settings(trainer: CoPDTrainer) -> str:
    args, lora = trainer.args, trainer.peft_model.peft_config[next(iter(trainer.experts))]
    settings = {
        "topology": f"{args.topology}, hub {args.hub}" if args.hub else args.topology,
        "schedule": trainer.schedule,
        "opd_beta": args.opd_beta,
        "opd_fraction": args.opd_fraction,
        "student": "own branch" if trainer.topology.has_student_branch else f"merge ({args.merge_method})",
        "adapters": _adapters(lora),
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
