"""
The demonstration of experts that act: `recipes/agent_demo.yaml`, then what base and student say to the same rows.

    python recipes/agent_demo.py --seed 1
"""

import sys
from pathlib import Path
from typing import Any


sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # also where the package is not installed

from trl_copd import CoPDTrainer
from trl_copd.train import main


def conversations(trainer: CoPDTrainer, row: int = 0) -> str:
    """Greedy conversations of base and student on one held-out row of every expert that acts, as text."""
    lines = []
    with trainer.forwards.without_dropout(), trainer.weights.student():
        for name, expert in trainer.experts.items():
            if not expert.acts:
                continue
            example = expert.eval_dataset[row]
            shown = {key: value for key, value in example.items() if key != "prompt"}
            lines.append(f"{name}: {example['prompt'][-1]['content']}   {shown}")
            for who in ("base", "student"):
                trainer.engine.sync([who])
                talk = trainer.conversations.have(trainer.engine, [(who, name, [example])], greedy=True)[0]
                lines.append(f"  {who:8}" + "  ".join(map(_said, talk.completions[0])))
    return "\n".join(lines)


def _said(message: dict[str, Any]) -> str:
    if message["role"] == "tool":
        return f"[{message['content']}]"
    calls = [
        f"{call['function']['name']}({', '.join(map(str, call['function']['arguments'].values()))})"
        for call in message.get("tool_calls", [])
    ]
    return " ".join([*calls, message["content"]]).strip()


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if "--config" not in arguments:
        arguments += ["--config", "agent_demo"]
    trained = main(arguments)
    if trained.is_world_process_zero():
        print(f"\nBefore and after; what a tool has said stands in brackets:\n\n{conversations(trained)}")
