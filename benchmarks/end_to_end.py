"""
K experts and one student, end to end, at equal rollouts: `python benchmarks/end_to_end.py [--base demo]`.

- `trl`: K runs of `GRPOTrainer`, one after the other, then TRL's `DistillationTrainer` once per expert, from student
  to student, since it knows one teacher. Seconds are added up, memory is the most that one of these processes held.
- `mopd`: the same with us, in one run: the experts' rounds, then a student that learns from all of them.
- `student`: CoPD's own topology with as many rollouts, in which teaching begins while the experts still train.

Every run samples rows of one length, 8 a step, and starts in a process of its own with one thread. The student's
loss is the forward KL over the full vocabulary. `train` are CPU seconds of training alone, `cpu` those of the
processes as a whole, imports, loading and saving included; `wall` is the clock's; `peak_mib` is the peak of resident
memory, with an allocator that gives freed memory back. The last line is one JSON object.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["OMP_NUM_THREADS"] = "1"

from peft import PeftModel  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402
from trl import DistillationConfig, DistillationTrainer, GRPOConfig, GRPOTrainer  # noqa: E402

from benchmarks.round_cost import BASES, GENERATIONS, experts, lora, peak_kib, settings  # noqa: E402
from trl_copd import CoPDConfig, CoPDTrainer  # noqa: E402
from trl_copd.recipes.build import build_base  # noqa: E402
from trl_copd.recipes.smollm2 import build_smollm2  # noqa: E402


def ours(options: argparse.Namespace) -> Any:
    count, rows = options.experts, BASES[options.base]["prompts"] * GENERATIONS
    common = settings(options.base, options.rounds + options.distillation) | {"output_dir": options.output}
    if options.run == "mopd":
        how = {"topology": "mopd", "rlvr_steps": options.rounds, "opd_steps": options.distillation}
    else:
        how = {"topology": "student", "rlvr_steps": 1, "opd_steps": 2}
        how["max_rollouts"] = rows * (count * options.rounds + options.distillation)
    args = CoPDConfig(**common, **how, opd_loss="forward_kl", probe_prompts=rows // GENERATIONS, matrix_at_end=False)
    return CoPDTrainer(options.model, experts(options.base, count), args, peft_config=lora())


def grpo(options: argparse.Namespace) -> Any:
    expert = experts(options.base, options.experts)[options.number]
    args = GRPOConfig(**settings(options.base, options.rounds) | {"output_dir": options.output})
    return GRPOTrainer(options.model, expert.reward_funcs, args, expert.train_dataset, peft_config=lora())


def distillation(options: argparse.Namespace) -> Any:
    """A student that goes on from the last one, taught by one expert on that expert's domain."""
    expert = experts(options.base, options.experts)[options.number]
    drop = ("num_generations", "loss_type", "max_steps")
    given = {key: value for key, value in settings(options.base, 1).items() if key not in drop}
    steps = options.distillation // options.experts
    args = DistillationConfig(**given | {"output_dir": options.output, "max_steps": steps}, beta=0.0)
    teacher = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(options.model), options.teacher)
    student: Any = options.model
    if options.student:
        base = AutoModelForCausalLM.from_pretrained(options.model)
        student = PeftModel.from_pretrained(base, options.student, is_trainable=True)
    return DistillationTrainer(
        student,
        teacher.merge_and_unload(),
        args,
        expert.train_dataset.select_columns(["prompt"]),
        peft_config=None if options.student else lora(),
    )


def measure(options: argparse.Namespace) -> None:
    """One run, in this process; prints what it took."""
    kinds = {"mopd": ours, "student": ours, "grpo": grpo, "distillation": distillation}
    trainer = kinds[options.run](options)
    start = time.process_time()
    trainer.train()
    train = time.process_time() - start
    trainer.save_model(options.output)
    rounds = trainer.state.global_step
    print(json.dumps({"train": train, "cpu": time.process_time(), "peak": peak_kib(), "rounds": rounds}))


def run(kind: str, options: argparse.Namespace, model: str, output: Path, **more: Any) -> dict[str, float]:
    command = [sys.executable, __file__, "--run", kind, "--base", options.base, "--model", model, "--output"]
    command += [str(output)]
    for name in ("experts", "rounds", "distillation"):
        command += [f"--{name}", str(getattr(options, name))]
    command += [text for name, value in more.items() for text in (f"--{name}", str(value))]
    start = time.perf_counter()
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}  # glibc raises its own, and then keeps blocks
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    found = {**json.loads(done.stdout.splitlines()[-1]), "wall": time.perf_counter() - start}
    print(f"{kind} {more.get('number', '')}: {json.dumps(found)}", flush=True)
    return found


def together(runs: list[dict[str, float]]) -> dict[str, float]:
    total = {key: round(sum(run[key] for run in runs), 1) for key in ("train", "cpu", "wall")}
    return total | {"peak_mib": round(max(run["peak"] for run in runs) / 1024), "processes": len(runs)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", choices=BASES, default="smollm2")
    parser.add_argument("--experts", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=4, help="steps of each expert")
    parser.add_argument("--distillation", type=int, default=6, help="steps of the student, a multiple of --experts")
    for hidden in ("run", "model", "output", "teacher", "student"):
        parser.add_argument(f"--{hidden}", help=argparse.SUPPRESS)
    parser.add_argument("--number", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        measure(options)
        return
    if options.distillation % options.experts:
        parser.error(f"--distillation {options.distillation} is no multiple of --experts {options.experts}")
    folder = ROOT / "runs" / "bases"
    if options.base == "smollm2":
        model = str(build_smollm2(folder / "smollm2-raw", [], steps=0))
    else:
        model = str(build_base(options.base, folder, 0, []))
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        for kind in ("mopd", "student"):
            result[kind] = together([run(kind, options, model, place / kind)])
        numbers = range(options.experts)
        runs = [run("grpo", options, model, place / f"e{number}", number=number) for number in numbers]
        last: dict[str, Any] = {}
        for number in numbers:
            output = place / f"student{number}"
            teacher = {"number": number, "teacher": place / f"e{number}"}
            runs.append(run("distillation", options, model, output, **teacher, **last))
            last = {"student": output}
        result["trl"] = together(runs)
    for kind in ("mopd", "student"):
        result[kind]["of_trl"] = {
            key: round(result[kind][key] / result["trl"][key], 3) for key in ("train", "cpu", "peak_mib")
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
