"""
Train a recipe: `accelerate launch -m trl_copd.train --config demo`, or the path of a YAML file of your own.

Without `--config` it runs the demonstration, `demo`. The YAML file and the command line take every field of
[`CoPDConfig`]; the command line overrides the file. Results go to `output_dir`: the student at its root, the experts
in `experts/<name>/`, `capability_matrix.json` and `.md`, and `figures/`.
"""

import dataclasses
import json
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import yaml
from trl import ModelConfig, TrlParser, get_peft_config, get_quantization_config

from .config import CoPDConfig
from .engines.vllm_checks import check_installed
from .measure.matrix import matrix_table
from .methods import METHODS
from .methods import settings as method_settings
from .recipes import find_recipe, recipe_summaries
from .recipes.build import build_base, build_experts, load_processor, pool
from .recipes.reading import is_true, load_yaml
from .rewards.proofs import ProverError
from .rewards.sandbox import SandboxError
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
        builtin_base (`str`, *optional*):
            `demo`, `smollm2`, `vision` or `agent`: a base that the recipe builds, instead of `model_name_or_path`.
        base_dir (`str`): Where such bases are kept.
        method (`str`, *optional*): One of `trl_copd.methods.METHODS`, a preset: it sets the fields that define the
            method, and others where the recipe does not. `None`: the recipe's own fields decide. `mixed` trains one
            policy on all data, with as many rollouts in all.
        no_opd (`bool`): Short for `--method experts`.
    """

    domains: list[dict] = field(default_factory=list, metadata={"help": "The domains, as a list in the YAML file."})
    builtin_base: str | None = field(
        default=None, metadata={"help": "'demo', 'smollm2', 'vision' or 'agent': build the base on the spot."}
    )
    base_dir: str = field(default="runs/bases", metadata={"help": "Where bases that are built on the spot are kept."})
    method: str | None = field(default=None, metadata={"help": f"A preset: one of {', '.join(METHODS)}."})
    no_opd: bool = field(default=False, metadata={"help": "Short for --method experts."})


PARSED = (RecipeArguments, CoPDConfig, ModelConfig)
BOOL_OR_WORD = ("share_prompts",)
HELP = """\
usage: trl-copd train [--config RECIPE] [--OPTION VALUE ...]

Train a recipe: several experts, and the student that they teach. The default of --config is the demonstration.
On several GPUs: accelerate launch -m trl_copd.train --config RECIPE ...

built-in recipes (docs/recipes.md has the measured result of each):
{recipes}

common options; the recipe's YAML may set each of them, and the command line overrides it:
  --config RECIPE                path of a YAML file, or the name of a built-in recipe
  --output_dir DIR               folder for student, experts, logs and figures
  --method METHOD                a preset: copd, copd-mutual, copd-hub, mopd, experts, average, mixed
                                 (docs/compare.md explains them)
  --max_steps N                  number of rounds
  --seed N                       seed of data, adapters and sampling
  --model_name_or_path MODEL     base: Hub id or folder
  --learning_rate X              rate of every expert without its own
  --per_device_train_batch_size N, --num_generations N
                                 rows of each branch in a round, and rows that answer the same prompt
  --topology NAME                who teaches whom: student, mutual, hub or mopd
  --resume_from_checkpoint true  resume the newest complete checkpoint in output_dir
  --report_to trackio            or tensorboard, wandb, none
  --use_vllm true                sample with vLLM
  --push_to_hub true             with --hub_model_id NAME

  --help-all lists every option (TRL's GRPOConfig and ModelConfig, CoPDConfig); --traceback shows the full traceback
  of an error.
"""


class RecipeParser(TrlParser):
    """
    TRL's parser. A method that is named in the file or on the command line adds its settings to the file's. Errors are
    raised: its usage lists some three hundred options.
    """

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message[:1].upper()}{message[1:]}.")

    def parse_args_and_config(self, args: Any = None, **options: Any) -> tuple[Any, ...]:
        argv = list(args)
        config = load_yaml(Path(argv[argv.index("--config") + 1]).read_text())
        self.recipe = config = config if isinstance(config, dict) else {}  # TRL says what is wrong
        given = _given(argv)
        on_line = {name: _value(" ".join(words[1:])) for name, words in given.items() if name not in ("", "config")}
        alone = on_line.get("no_opd", config.get("no_opd"))
        method = "experts" if is_true(alone) else on_line.get("method", config.get("method"))
        self.preset: dict[str, Any] = {}
        if method is not None:
            # what trains experts apart overrules a recipe's distillation, as `--method experts` always did
            apart = method in METHODS and METHODS[method].fields.get("opd_steps") == 0
            said = {} if apart else on_line if "method" in on_line else {**config, **on_line}
            method_settings(method, said, strict=True)
            if method == "copd-hub" and not {**config, **on_line}.get("hub"):
                raise ValueError(f"method='copd-hub' needs the name of an expert in `hub`: one of {_names(config)}.")
            self.preset = method_settings(method, {**config, **on_line})
            given = {
                name: tokens
                for name, tokens in given.items()
                if name not in METHODS[method].fields or on_line[name] == METHODS[method].fields[name]
            }
        # argparse compares with `True` and `False` themselves where "auto" is possible, too
        given = {name: [*map(_capital, tokens)] if name in BOOL_OR_WORD else tokens for name, tokens in given.items()}
        argv = [token for tokens in given.values() for token in tokens]
        try:
            return super().parse_args_and_config(argv, **options)
        except json.JSONDecodeError as error:
            raise ValueError(
                f"{error.doc!r} is no JSON: {error}. On the command line, an option that takes a mapping takes JSON, "
                "such as '{\"enable_thinking\": false}'."
            ) from error

    def set_defaults_with_config(self, **config: Any) -> list[str]:
        # TRL has read the file as YAML 1.1, and makes numbers of texts by the types of fields, but not inside of lists
        nested = {name: self.recipe[name] for name, value in config.items() if isinstance(value, list | dict)}
        config = {**config, **nested}
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
        return load_yaml(text or "true")
    except yaml.YAMLError:
        return text


def _capital(word: str) -> str:
    return word.capitalize() if word in ("true", "false") else word


def _names(recipe: dict[str, Any]) -> list[Any]:
    return [domain.get("name") for domain in recipe.get("domains") or [] if isinstance(domain, dict)]


def main(argv: list[str] | None = None) -> CoPDTrainer:
    """
    Train a recipe and print the results.

    Args:
        argv (`list[str]`, *optional*): Command line without the program's name; by default that of the process.

    Returns:
        [`CoPDTrainer`]: The trainer after training, with the run saved in its `output_dir`.

    Raises:
        ValueError: The recipe or the command line cannot work. Raised before training starts.
    """
    return run(*prepare(list(sys.argv[1:] if argv is None else argv)))


def cli(argv: list[str] | None = None) -> int:
    """The same as a command: `--help`, and errors of recipe and command line without a traceback, exit code 2."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if {"-h", "--help"} & {*argv}:
        print(HELP.format(recipes="\n".join(map(_described, recipe_summaries().items()))))
        return 0
    if "--help-all" in argv:
        RecipeParser(PARSED, prog="trl-copd train").print_help()
        return 0
    try:
        trainer, method = prepare([arg for arg in argv if arg != "--traceback"])
    except (ValueError, TypeError, ImportError, OSError, SandboxError, ProverError) as error:
        if "--traceback" in argv:
            raise
        print(f"trl-copd train: {error}\n(--traceback shows where the error was raised)", file=sys.stderr)
        return 2
    run(trainer, method)
    return 0


def _described(recipe: tuple[str, str]) -> str:
    return textwrap.fill(recipe[1], 100, initial_indent=f"  {recipe[0]:<27} ", subsequent_indent=" " * 30)


def prepare(argv: list[str]) -> tuple[CoPDTrainer, str]:
    """The trainer that a command line asks for, and the method's name; builds base and experts."""
    sys.path.append(str(Path.cwd()))  # rewards of one's own
    argv = with_recipe(argv)
    check_keys(argv)
    recipe, args, model_args = RecipeParser(PARSED).parse_args_and_config(argv)
    by_topology = {"student": "copd", "mutual": "copd-mutual", "hub": "copd-hub", "mopd": "mopd"}
    method = "experts" if recipe.no_opd else recipe.method or by_topology.get(args.topology, "copd")
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
        processing_class=load_processor(recipe.builtin_base, model),
        quantization_config=get_quantization_config(model_args),
        peft_config=get_peft_config(model_args),
    )
    return trainer, method


def run(trainer: CoPDTrainer, method: str) -> CoPDTrainer:
    """Train, save, push if the recipe says so, and print what came of it."""
    args = trainer.args
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


def known_keys() -> set[str]:
    """What a recipe's YAML file may say."""
    return {"env", *(field.name for parsed in PARSED for field in dataclasses.fields(parsed))}


def check_keys(argv: list[str]) -> None:
    """Refuse unknown options, unknown keys of the YAML file, and a hub without a name; say what there is to choose."""
    path = Path(argv[argv.index("--config") + 1])
    try:
        recipe = load_yaml(path.read_text()) if path.is_file() else None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(recipe, dict):
        return  # TRL's parser says what is wrong
    if "domains" in _given(argv):
        raise ValueError(f"`domains` cannot be set on the command line. Change them in a copy of {path}.")
    if not isinstance(recipe.get("domains") or [], list):
        raise ValueError(
            f"{path}: `domains` must be a list of mappings, each with a `name`, as docs/recipes.md shows."
        )
    alone = _given(argv).get("", [])
    if alone:
        raise ValueError(f"Unexpected argument {alone[0]!r}. Options begin with --, and a recipe follows --config.")
    known = known_keys()
    for arg in argv:
        name = arg.removeprefix("--").split("=")[0].replace("-", "_")
        plain = name.removeprefix("no_")
        if arg.startswith("--") and name and not {name, plain} & {"config", *known}:
            raise ValueError(f"Unknown option {arg.split('=')[0]!r}.{did_you_mean(name, known)} --help-all lists all.")
    for key in recipe:
        if key not in known:
            raise ValueError(f"{path}: unknown key {key!r}.{did_you_mean(str(key), known)}")
    if recipe.get("topology") == "hub" and recipe.get("hub") is None and "hub" not in _given(argv):
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
    sys.exit(cli())
