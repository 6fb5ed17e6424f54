"""
Train a recipe: `accelerate launch -m trl_copd.train --config demo`, or the path of a YAML file of your own.

Without `--config` it runs the demonstration, `demo`. Every field of [`CoPDConfig`] can be given in the
YAML file or on the command line, which wins. Results land in `output_dir`: the student at its root, the experts in
`experts/<name>/`, `capability_matrix.json` and `.md`, and `figures/`.
"""

import dataclasses
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from trl import ModelConfig, TrlParser, get_peft_config, get_quantization_config

from .config import CoPDConfig
from .engines.vllm_checks import check_installed
from .measure.matrix import matrix_table
from .recipes import find_recipe
from .recipes.build import build_base, build_experts, pool
from .run.checkpoints import last_checkpoint
from .spelling import did_you_mean
from .trainers import CoPDTrainer
from .trainers.model_checks import check_model_path


METHODS = ("copd", "experts", "mixed")


@dataclass
class RecipeArguments:
    """
    What a recipe says besides [`CoPDConfig`] and TRL's `ModelConfig`.

    Args:
        domains (`list[dict]`): The domains; see `docs/recipes.md` for the keys.
        builtin_base (`str`, *optional*): `demo` or `smollm2`: a base that is built on the spot, instead of
            `model_name_or_path`.
        base_dir (`str`): Where such bases are kept.
        method (`str`): `copd`; `experts`: the same rounds without distillation, then averaged; `mixed`: one policy on
            all data, as many rollouts in all.
        no_opd (`bool`): Short for `--method experts`.
    """

    domains: list[dict] = field(default_factory=list, metadata={"help": "The domains, as a list in the YAML file."})
    builtin_base: str | None = field(
        default=None, metadata={"help": "'demo' or 'smollm2': build the base on the spot."}
    )
    base_dir: str = field(default="runs/bases", metadata={"help": "Where bases that are built on the spot are kept."})
    method: str = field(default="copd", metadata={"help": "'copd', 'experts' (no distillation) or 'mixed'."})
    no_opd: bool = field(default=False, metadata={"help": "Short for --method experts."})


PARSED = (RecipeArguments, CoPDConfig, ModelConfig)


def main(argv: list[str] | None = None) -> CoPDTrainer:
    """
    Train a recipe and print what came of it.

    Args:
        argv (`list[str]`, *optional*): Command line without the program's name; by default that of the process.

    Returns:
        [`CoPDTrainer`]: The trainer after training, with the run saved in its `output_dir`.

    Raises:
        ValueError: Something in recipe or command line cannot work; nothing has been loaded by then.
    """
    sys.path.append(str(Path.cwd()))  # rewards of one's own
    argv = with_recipe(list(sys.argv[1:] if argv is None else argv))
    check_keys(argv)
    parser = TrlParser(PARSED)
    recipe, args, model_args = parser.parse_args_and_config(argv)
    method = "experts" if recipe.no_opd else recipe.method
    if method not in METHODS:
        raise ValueError(f"method={method!r} is unknown. Choose one of {METHODS}.")
    check_model(recipe.builtin_base, model_args.model_name_or_path)
    check_installed(args)  # before a base is built

    if args.resume_from_checkpoint in ("false", "False"):
        args.resume_from_checkpoint = None
    if args.resume_from_checkpoint in ("true", "True", True):  # the newest complete one, if there is one
        args.resume_from_checkpoint = last_checkpoint(args.output_dir)
    experts = build_experts(recipe.domains, args.seed)
    if method != "copd":
        args = without_opd(args)
    if method == "mixed":
        args.max_steps *= len(experts)  # one branch takes as many rollouts as all experts together
        experts = [pool(experts, args.seed)]
    model = model_args.model_name_or_path
    if recipe.builtin_base is not None:
        model = build_base(recipe.builtin_base, Path(recipe.base_dir), args.seed, recipe.domains)
    model_args.use_peft = True
    args.model_init_kwargs = {**loading_options(model_args), **(args.model_init_kwargs or {})}

    trainer = CoPDTrainer(
        model=model,
        experts=experts,
        args=args,
        quantization_config=get_quantization_config(model_args),
        peft_config=get_peft_config(model_args),
    )
    if trainer.is_world_process_zero():
        print(trainer.topology, trainer.schedule, f"{trainer.accelerator.num_processes} process(es)", sep="\n")
    trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
    matrix = trainer.last_matrix or trainer.capability_matrix()
    trainer.save_model()
    if args.push_to_hub:
        trainer.push_to_hub()
    if trainer.is_world_process_zero():
        report(args.output_dir, method, matrix, trainer)
    return trainer


def with_recipe(argv: list[str]) -> list[str]:
    """The command line with the path of a recipe for its name; the demonstration's if there is no `--config`."""
    argv = [part for arg in argv for part in (arg.split("=", 1) if arg.startswith("--config=") else [arg])]
    if "--config" not in argv:
        argv += ["--config", "demo"]
    place = argv.index("--config") + 1
    if place == len(argv):
        raise ValueError("--config needs the path of a YAML file, or the name of a built-in recipe.")
    argv[place] = str(find_recipe(argv[place]))
    return argv


def check_keys(argv: list[str]) -> None:
    """Refuse unknown keys of the YAML file, and a hub that is not named, with what there is to choose from."""
    path = Path(argv[argv.index("--config") + 1])
    recipe = yaml.safe_load(path.read_text()) if path.is_file() else None
    if not isinstance(recipe, dict):
        return  # TRL's parser says what is wrong
    known = {"env", *(field.name for parsed in PARSED for field in dataclasses.fields(parsed))}
    for key in recipe:
        if key not in known:
            raise ValueError(f"{path}: unknown key {key!r}.{did_you_mean(str(key), known)}")
    if recipe.get("topology") == "hub" and recipe.get("hub") is None and "--hub" not in argv:
        names = [domain.get("name") for domain in recipe.get("domains") or [] if isinstance(domain, dict)]
        raise ValueError(f"{path}: topology='hub' needs the name of an expert in `hub`: one of {names}.")


def check_model(builtin_base: str | None, name: str | None) -> None:
    """Refuse no model, two models, and a path that leads nowhere, which transformers would take for a Hub id."""
    if (builtin_base is None) == (name is None):
        given = "names no model" if name is None else f"names two models, builtin_base={builtin_base!r} and {name!r}"
        raise ValueError(f"The recipe {given}. Set either model_name_or_path or builtin_base.")
    if name is not None:
        check_model_path(name, "model_name_or_path")


def loading_options(model_args: ModelConfig) -> dict[str, Any]:
    """How the base is loaded, from TRL's `ModelConfig`, as TRL's own scripts have it."""
    options = {"dtype": model_args.dtype, "attn_implementation": model_args.attn_implementation}
    if model_args.model_revision != "main":
        options["revision"] = model_args.model_revision
    return {name: value for name, value in options.items() if value is not None}


def without_opd(args: CoPDConfig) -> CoPDConfig:
    """The same run without distillation; the student is the experts' average."""
    alone = {
        "topology": "mutual",
        "hub": None,
        "student_init": "fresh",
        "opd_steps": 0,
        "opd_beta": 1.0,
        "final_opd_steps": 0,
    }
    return dataclasses.replace(args, generation_batch_size=None, rlvr_steps=max(1, args.rlvr_steps), **alone)


def report(output_dir: str, method: str, matrix: dict, trainer: CoPDTrainer) -> None:
    """Print the matrix and where the figures are, and one JSON line that scripts can read."""
    graded = {name: [value for value in row.values() if value is not None] for name, row in matrix.items()}
    mean = {name: sum(values) / len(values) if values else float("nan") for name, values in graded.items()}
    if not trainer.args.matrix_at_end:  # `train` has printed it otherwise
        print(f"\nCapability matrix, {trainer.evaluation.title}:\n\n{matrix_table(matrix)}\n")
    figures = sorted((Path(output_dir) / "figures").glob("*.png"))
    print("Figures: " + (", ".join(map(str, figures)) or "none (pip install matplotlib draws them)"))
    summary = {
        "method": method,
        "seed": trainer.args.seed,
        "base": round(mean["base"], 4),
        "student": round(mean["student"], 4),
        "gain": round(mean["student"] - mean["base"], 4),
        "processes": trainer.accelerator.num_processes,
        "output_dir": output_dir,
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
