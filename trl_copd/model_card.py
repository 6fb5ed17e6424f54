"""The model card of a run: base, method, domains, settings, capability matrix, how to load, citations."""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from huggingface_hub import ModelCard, ModelCardData
from trl import GRPOTrainer
from trl.trainer.utils import get_config_model_id


if TYPE_CHECKING:
    from .trainers import CoPDTrainer

COPD_CITATION = """\
@article{copd2026,
    title  = {{Co-Evolving Policy Distillation}},
    year   = 2026,
    eprint = {arXiv:2604.27083},
}"""
PACKAGES = ("trl-copd", "trl", "transformers", "peft", "torch", "datasets")


def write_model_card(trainer: CoPDTrainer, name: str, dataset_name: str | None, tags: str | list[str] | None) -> None:
    """Write `README.md` into the run's `output_dir`."""
    base = get_config_model_id(trainer.model.config)
    tags = [tags] if isinstance(tags, str) else list(tags or [])
    data = ModelCardData(
        base_model=base if base and not os.path.isdir(base) else None,
        datasets=dataset_name,
        library_name="peft",
        model_name=name,
        tags=sorted({*tags, *trainer._tag_names, "lora"}),
        pipeline_tag="text-generation",
    )
    card = ModelCard(f"---\n{data.to_yaml()}\n---\n\n{_text(trainer, name, base)}")
    card.save(os.path.join(trainer.args.output_dir, "README.md"))


def _text(trainer: CoPDTrainer, name: str, base: str) -> str:
    from .evaluation import matrix_table

    where = base if base and not os.path.isdir(base) else "the base model (built locally)"
    matrix = getattr(trainer, "last_matrix", None)
    figure = Path(trainer.args.output_dir) / "figures" / "summary.png"
    sections = [
        f"# {name}",
        f"LoRA adapters on {where}, trained by co-evolving policy distillation (CoPD) with "
        "[trl-copd](https://pypi.org/project/trl-copd/) on [TRL](https://github.com/huggingface/trl). The student is "
        f"at the root; the experts {', '.join(trainer.experts)} are in `experts/<name>/`.",
        "## Use\n\n```python\nfrom peft import PeftModel\nfrom transformers import AutoModelForCausalLM\n\n"
        f'base = AutoModelForCausalLM.from_pretrained("{base}")\n'
        f'student = PeftModel.from_pretrained(base, "{trainer.hub_model_id or name}")\n'
        f'# an expert: PeftModel.from_pretrained(base, ..., subfolder="experts/{next(iter(trainer.experts))}")\n```',
        f"## Domains\n\n{_domains(trainer)}",
        f"## Method\n\n{_settings(trainer)}",
    ]
    if matrix:
        sections.append(f"## Capability matrix\n\nAccuracy on held-out rows.\n\n{matrix_table(matrix)}")
    if figure.is_file():
        sections.append("![The run](figures/summary.png)")
    sections.append("## Versions\n\n" + "\n".join(f"- {package} {_version(package)}" for package in PACKAGES))
    sections.append(f"## Citation\n\n```bibtex\n{COPD_CITATION}\n\n{GRPOTrainer._paper['citation']}\n```")
    return "\n\n".join(sections) + "\n"


def _domains(trainer: CoPDTrainer) -> str:
    lines = ["| expert | training rows | rewards |", "|---|---|---|"]
    for name, expert in trainer.experts.items():
        data = expert.train_dataset
        rows = str(len(data)) if hasattr(data, "__len__") else "streamed"
        names = ", ".join(f"`{n}`" for n in trainer.branches[name].attributes["reward_func_names"])
        lines.append(f"| {name} | {rows} | {names} |")
    return "\n".join(lines)


def _settings(trainer: CoPDTrainer) -> str:
    args = trainer.args
    settings = {
        "topology": args.topology,
        "schedule": f"{trainer.schedule}, {trainer.state.global_step} rounds",
        "opd_beta": args.opd_beta,
        "opd_fraction": args.opd_fraction,
        "student": "own branch" if trainer.topology.has_student_branch else f"merge ({args.merge_method})",
        "loss_type": args.loss_type,
        "learning_rate": args.learning_rate,
        "rows per branch": args.generation_batch_size,
        "num_generations": args.num_generations,
        "seed": args.seed,
    }
    return "\n".join(f"- {key}: {value}" for key, value in settings.items())


def _version(package: str) -> str:
    try:
        return version(package)
    except ModuleNotFoundError:
        return "from source"
