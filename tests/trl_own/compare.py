"""
Runs TRL's own tests of GRPO on GRPO with LoRA, on one expert and on two, and prints what fails with experts alone.

    python tests/trl_own/compare.py FOLDER [PYTEST OPTIONS]

FOLDER is that of `run.py`. Results and outputs stay in `build/trl-own`. The exit code is 1 if a test fails with
experts that GRPO with LoRA passes, unless it fails as `OTHERWISE` says.
"""

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path


RESULTS = Path("build/trl-own")
RUNS = {0: "GRPO with LoRA", 1: "one expert", 2: "two experts"}
# What is refused or has no meaning here, as docs/support.md and docs/settings.md say: test, and what its failure says
OTHERWISE = {
    "test_iterable_dataset_requires_dispatch_batches_false": "dispatch_batches=True would split micro-steps",
    "test_iterable_eval_keeps_map_style_train_workers": "get_eval_dataloader",  # an evaluation is the matrix
    "test_evaluate_with_eval_dataset": "`evaluate` takes no dataset",
    "test_train_moe_peft_model": "beta=0.1 with Expert(adapter=...)",
    "test_warning_raised_all_rewards_none": "10 times in a row: the run stops",
    "test_train_with_unknown_environment_raises": "names an environment 'unknown'",
    "test_no_reward_source_raises": "has no `reward_funcs`",
    "test_dataset_required_without_environment": "has no `train_dataset`",
    "test_multiple_environments_without_dataset_raises": "has several environments, but no `train_dataset`",
    "test_mismatched_reward_processing_classes_length": "one `reward_processing_classes` for 2 reward models",
}

Outcomes = dict[str, tuple[str, str]]


def read(file: Path) -> Outcomes:
    """What became of each test by its name: `passed`, `failed` or `skipped`, and what the failure says."""
    found = {}
    for case in ElementTree.parse(file).iter("testcase"):
        parts = {part.tag: part.get("message", "") for part in case}
        failure = parts.get("failure", parts.get("error"))
        outcome = "failed" if failure is not None else "skipped" if "skipped" in parts else "passed"
        found[case.get("name", "")] = outcome, failure or ""
    return found


def failing_alone(plain: Outcomes, experts: Outcomes) -> dict[str, str]:
    """What fails with experts and not without, and what the failure says."""
    return {
        name: said
        for name, (outcome, said) in experts.items()
        if outcome == "failed" and plain.get(name, ("",))[0] != "failed"
    }


def explained(test: str, said: str) -> bool:
    return OTHERWISE.get(test.partition("[")[0], said + ".") in said


def main(folder: str, *options: str) -> int:
    RESULTS.mkdir(parents=True, exist_ok=True)
    found, unexplained = {}, 0
    for experts, label in RUNS.items():
        file = RESULTS.absolute() / f"{experts}.xml"
        runner = str(Path(__file__).with_name("run.py"))
        command = [sys.executable, runner, folder, "--experts", str(experts), f"--junitxml={file}", *options]
        with open(file.with_suffix(".log"), "w") as log:
            subprocess.run(command, stdout=log, stderr=log)
        found[experts] = read(file)
        counts = Counter(outcome for outcome, _ in found[experts].values())
        print(f"{label}: " + ", ".join(f"{counts[kind]} {kind}" for kind in ("passed", "failed", "skipped")))
        for test, said in failing_alone(found[0], found[experts]).items():
            known = explained(test, said)
            unexplained += not known
            print(f"  {'otherwise here' if known else 'FAILS'}: {test}: {said.splitlines()[0]:.100}", flush=True)
    return int(unexplained > 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
