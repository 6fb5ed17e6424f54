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
from .methods import METHODS
from .methods import settings as method_settings
from .recipes import find_recipe
from .recipes.build import build_base, build_experts, pool
from .run.checkpoints import last_checkpoint
from .spelling import did_you_mean
from .trainers import CoPDTrainer
from .trainers.model_checks import check_model_path


@dataclass
class RecipeArguments:
    """
    What a recipe says besides [`CoPDConfig`] and TRL's `ModelConfig`.

    Args:
        domains (`list[dict]`): The domains; see `docs/recipes.md` for the keys.
        builtin_base (`str`, *optional*): `demo` or `smollm2`: a base that is built on the spot, instead of
            `model_name_or_path`.
        base_dir (`str`): Where such bases are kept.
        method (`str`, *optional*): One of `trl_copd.methods.METHODS`, a preset: it sets what makes it the method, and
            the rest where the recipe does not. `None`: what the recipe's own fields say. `mixed` trains one policy on
            all data, with as many rollouts in all.
        no_opd (`bool`): Short for `--method experts`.
    """

    domains: list[dict] = field(default_factory=list, metadata={"help": "The domains, as a list in the YAML file."})
    builtin_base: str | None = field(
        default=None, metadata={"help": "'demo' or 'smollm2': build the base on the spot."}
    )
    base_dir: str = field(default="runs/bases", metadata={"help": "Where bases that are built on the spot are kept."})
    method: str | None = field(default=None, metadata={"help": f"A preset: one of {', '.join(METHODS)}."})
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
    recipe, args, model_args = RecipeParser(PARSED).parse_args_and_config(argv)
    method = "experts" if recipe.no_opd else recipe.method or "copd"
    check_model(recipe.builtin_base, model_args.model_name_or_path)
    check_installed(args)  # before a base is built

    if args.resume_from_checkpoint in ("false", "False"):
        args.resume_from_checkpoint = None
    if args.resume_from_checkpoint in ("true", "True", True):  # the newest complete one, if there is one
        args.resume_from_checkpoint = last_checkpoint(args.output_dir)
    experts = build_experts(recipe.domains, args.seed)
    if METHODS[method].pooled:
        if args.max_rollouts is None:
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


class RecipeParser(TrlParser):
    """TRL's parser; a method that is named in the file or on the command line adds its settings to the file's."""

    def parse_args_and_config(self, args: Any = None, **options: Any) -> tuple[Any, ...]:
        argv = list(args)
        config = yaml.safe_load(Path(argv[argv.index("--config") + 1]).read_text())
        config = config if isinstance(config, dict) else {}  # TRL says what is wrong
        given = _given(argv)
        on_line = {name: _value(" ".join(words[1:])) for name, words in given.items() if name not in ("", "config")}
        alone = on_line.get("no_opd", config.get("no_opd"))
        method = "experts" if alone else on_line.get("method", config.get("method"))
        self.preset: dict[str, Any] = {}
        if method is not None:
            # what trains experts apart overrules a recipe's distillation, as `--method experts` always did
            apart = method in METHODS and METHODS[method].fields.get("opd_steps") == 0
            said = {} if apart else on_line if "method" in on_line else {**config, **on_line}
            method_settings(method, said, strict=True)
            if method == "copd-hub" and not {**config, **on_line}.get("hub"):
                raise ValueError(f"method='copd-hub' needs the name of an expert in `hub`: one of {_names(config)}.")
            self.preset = method_settings(method, {**config, **on_line})
            argv = [
                token
                for name, tokens in given.items()
                if name not in METHODS[method].fields or on_line[name] == METHODS[method].fields[name]
                for token in tokens
            ]
        return super().parse_args_and_config(argv, **options)

    def set_defaults_with_config(self, **config: Any) -> list[str]:
        return super().set_defaults_with_config(**{**self.preset, **config, **self._overruled(config)})

    def _overruled(self, config: dict[str, Any]) -> dict[str, Any]:
        """What the method says otherwise than the file."""
        return {name: self.preset[name] for name in config if name in self.preset}


def _given(argv: list[str]) -> dict[str, list[str]]:
    """What stands on a command line, by field: the tokens of each."""
    found: dict[str, list[str]] = {}
    name = ""
    for token in (part for arg in argv for part in (arg.split("=", 1) if arg.startswith("--") else [arg])):
        if token.startswith("--"):
            name = token[2:].replace("-", "_")
            found[name] = [token]
        else:
            found.setdefault(name, []).append(token)
    return found


def _value(text: str) -> Any:
    """What a word of the command line means; a flag alone is true."""
    try:
        return yaml.safe_load(text or "true")
    except yaml.YAMLError:
        return text


def _names(recipe: dict[str, Any]) -> list[Any]:
    return [domain.get("name") for domain in recipe.get("domains") or [] if isinstance(domain, dict)]


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
        raise ValueError(f"{path}: topology='hub' needs the name of an expert in `hub`: one of {_names(recipe)}.")


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
