"""
Runs TRL's own tests of GRPO against `CoPDTrainer`, without a network.

    python tests/trl_own/run.py FOLDER --experts 2 [PYTEST OPTIONS]

FOLDER is `tests` of a checkout of TRL; nothing of it is part of this repository. `make test-trl` fetches it, runs all
numbers of experts and compares them (`compare.py`). The names `GRPOTrainer` and `GRPOConfig` that its
`test_grpo_trainer.py` imports are taken by `CoPDTrainer` with so many experts, all on the data, rewards and tools that
a test gives. With `--experts 0` they are TRL's own with a LoRA adapter, where a test brings none: what fails there is
no fault of CoPD's. The models and rows that the tests would fetch are made here (`made.py`); tests of models that are
not, of vLLM and of Liger are left out.

A test that compares all parameters sees those that are trained. What it reads of a policy (rewards, logs, tools) is
the first expert's, and it finds that expert's metrics without the name in front. Tests replace `generate` by a
function that knows one policy's rows: branches are therefore sampled one after the other, and where a test brings
tools, overlap is not measured and training takes one epoch.
"""

import argparse
import importlib
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any


TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS.parent), str(TESTS), str(TESTS / "families")]
os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest  # noqa: E402
import torch  # noqa: E402
import trl  # noqa: E402
from made import MADE, OWNER, make, with_small_ids  # noqa: E402
from peft import LoraConfig, PeftModel  # noqa: E402

from trl_copd import CoPDConfig, CoPDTrainer, Expert  # noqa: E402


GRPOTrainer, GRPOConfig = trl.GRPOTrainer, trl.GRPOConfig
LORA = {"r": 4, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}
OF_EXPERTS: dict[int, dict[str, Any]] = {
    1: {"topology": "mutual", "opd_steps": 0},
    2: {"topology": "student", "rlvr_steps": 1, "opd_steps": 1},  # the tests' batches hold one prompt
}
OF_AN_EXPERT = ("tools", "environment_factory", "rollout_func")
OF_A_POLICY = (
    "reward_funcs", "reward_func_names", "reward_weights", "reward_processing_classes", "_logs", "_metrics",
    "entropy_coef", "_entropy_bonus_enabled", "use_adaptive_entropy",
)  # fmt: skip
OF_AN_ACTOR = ("tools", "environments", "_env_tools", "_environment_pool")


class Alone(GRPOTrainer):
    """TRL's own, with an adapter."""

    def __init__(self, model, *args, peft_config=None, **others):
        own = None if isinstance(model, PeftModel) else LoraConfig(**LORA)
        super().__init__(model, *args, peft_config=peft_config or own, **others)
        show_trained(self.model)


def copd_trainer(experts: int) -> type:
    class Adapted(CoPDTrainer):
        """Takes GRPOTrainer's arguments, and shows what a test reads: a trainer's, the first expert's."""

        def __init__(self, model, reward_funcs=None, args=None, train_dataset=None, eval_dataset=None,
                     processing_class=None, reward_processing_classes=None, callbacks=None,
                     optimizers=(None, None), quantization_config=None, peft_config=None, **others):  # fmt: skip
            args = args or copd_config(experts)("copd")
            keywords = {name: others.pop(name) for name in OF_AN_EXPERT if name in others}
            if any(value is not None for value in keywords.values()):
                args.overlap_every = 0  # the tests' `generate` knows no probe rows
                args.num_train_epochs = 1
            if isinstance(keywords.get("environment_factory"), dict) and experts > 1:
                args.topology = "mopd"  # nor cross rows among an expert's own
            keywords |= {"reward_processing_classes": reward_processing_classes, "reward_weights": args.reward_weights}
            args.reward_weights = None
            if isinstance(model, PeftModel):  # an adapter to go on from is in a folder here
                keywords["adapter"] = tempfile.mkdtemp(dir=args.output_dir)
                model.save_pretrained(keywords["adapter"])
                model, peft_config = model.unload(), model.peft_config["default"]
            named = isinstance(eval_dataset, dict)  # domains, of which no two experts have the same
            several = [
                Expert(f"e{index}", train_dataset, reward_funcs, None if named and index else eval_dataset, **keywords)
                for index in range(experts)
            ]
            run = CoPDTrainer(
                model, several, args, processing_class, callbacks, optimizers, quantization_config,
                peft_config or LoraConfig(**LORA), **others,
            )  # fmt: skip
            run.engine.stacks = False
            show_trained(run.model)
            vars(self)["run"] = run
            self.keep_logs(run.branches["e0"])
            if experts > 1:
                log_own_loss(run.branches["e0"])

        def keep_logs(self, policy):
            """What has gone into the table of completions is no longer with the branch; TRL keeps it."""
            hand_over = policy.hand_over_logs

            def keep():
                native, cross = hand_over()
                if native["prompt"]:
                    vars(self)["logs"] = native
                return native, cross

            policy.hand_over_logs = keep

        def train(self, *args, **kwargs):
            result = self.run.train(*args, **kwargs)
            for entry in self.run.state.log_history:
                own = {name[3:]: value for name, value in entry.items() if name[:3] == "e0/"}
                entry |= own | {name: value for name, value in entry.items() if name != "loss" or "loss" not in own}
            return result

        def __getattribute__(self, name):
            own = object.__getattribute__(self, "__dict__")
            if "run" not in own or name in ("run", "train", "keep_logs", "__dict__", "__class__"):
                return object.__getattribute__(self, name)
            policy = own["run"].branches["e0"]
            if name == "eval_dataset":
                return policy.expert.eval_dataset
            if name == "_logs" and "logs" in own:
                return own["logs"]
            if name in OF_AN_ACTOR and "e0" in policy.actors:
                actor = policy.actors["e0"]
                return actor.world.spare if name == "_environment_pool" else getattr(actor, name)
            return getattr(policy if name in OF_A_POLICY else own["run"], name)

        def __setattr__(self, name, value):
            run = vars(self).get("run")
            if run is None:
                object.__setattr__(self, name, value)
            else:
                setattr(run.branches["e0"] if name in OF_A_POLICY else run, name, value)

    return Adapted


def copd_config(experts: int):
    def config(*args, **fields):
        own, accumulation = OF_EXPERTS[experts], fields.get("gradient_accumulation_steps", 1)
        # a generation lies in one phase
        rounds = fields.get("num_iterations", 1) * fields.get("steps_per_generation", accumulation) // accumulation
        if experts > 1 and rounds > 1:
            own = own | {"rlvr_steps": rounds, "opd_steps": rounds}
        return CoPDConfig(*args, **own | fields)

    return config


def log_own_loss(policy: Any) -> None:
    """A run logs the mean of its branches' losses."""
    learn = policy.training_step

    def training_step(*args):
        loss = learn(*args)
        policy._metrics["train"]["loss"].append(loss.item() * policy.args.gradient_accumulation_steps)
        return loss

    policy.training_step = training_step


def show_trained(model: torch.nn.Module) -> None:
    named = model.named_parameters
    model.named_parameters = lambda *args, **kw: ((n, p) for n, p in named(*args, **kw) if p.requires_grad)


def absent(name: str) -> Any:
    """Packages that the tests of another version ask `trl.import_utils` about count as absent."""
    if not name.startswith("is_"):
        raise AttributeError(name)
    return lambda: False


def left_out(source: str) -> list[str]:
    """The tests whose models are not made here, by what pytest calls them."""
    named = set(re.findall(rf"{OWNER}/(tiny-[\w.-]+)", source))
    return sorted(named - MADE)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="`tests` of a checkout of TRL")
    parser.add_argument("--experts", type=int, choices=(0, 1, 2), required=True)
    options, further = parser.parse_known_args()
    if options.experts:
        trl.GRPOTrainer, trl.GRPOConfig = copd_trainer(options.experts), copd_config(options.experts)
    else:
        trl.GRPOTrainer = Alone
    packages: Any = importlib.import_module("trl.import_utils")
    packages.__getattr__ = absent
    packages.is_jmespath_available = lambda: True  # for tests of tools; transformers from 5.13 parses without it
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder)
        shutil.copytree(options.folder, folder / "tests", ignore=shutil.ignore_patterns("data", "experimental"))
        os.chdir(folder)
        tests = folder / "tests" / "test_grpo_trainer.py"
        names = left_out(tests.read_text())
        tests.write_text(with_small_ids(tests.read_text()))
        further += (
            ["-k", " and ".join(f"not {part}" for part in ["vllm", "liger", *names])] if "-k" not in further else []
        )
        command = ["tests/test_grpo_trainer.py", "-p", "no:cacheprovider", "-q", "-rfEx", *further]
        return pytest.main(command)


if __name__ == "__main__":
    sys.exit(main())
