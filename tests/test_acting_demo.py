"""The demonstration of experts that act, cut short: its base hardly trained, two rounds, and what it prints."""

import importlib.util
from pathlib import Path

import pytest

from trl_copd.recipes.agent import Pointers, build_base, conversations


ROOT = Path(__file__).parent.parent


def test_the_look_up_and_the_conversations():
    pointers = Pointers()
    pointers.reset(first="k", second="q", solution="7", prompt=[])
    assert [pointers.look(letter) for letter in "kqz"] == ["see q", "7", "none"]
    talks = [next(stream) for stream in [conversations("lookup", 0)] for _ in range(40)]
    assert 0 < sum(good for _, good in talks) < 40
    for talk, good in talks:
        assert "".join(text for text, mine in talk if mine).count("look(") == 1 + good
    talks = [next(stream)[0] for stream in [conversations("sums", 0)] for _ in range(40)]
    called = [talk for talk in talks if len(talk) == 4]
    assert 0 < len(called) < 40
    for (asked, _), (call, _), (heard, mine), (said, _) in called:
        one, two = map(int, asked[:-1].split("+"))
        assert call == f"add({one}+{two})<eos>" and heard == f":{one + two}>" and said == f"{one + two}<eos>"
        assert not mine


@pytest.mark.slow
def test_two_rounds(tmp_path, capsys):
    spec = importlib.util.spec_from_file_location("agent_demo", ROOT / "recipes" / "agent_demo.py")
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    base = tmp_path / "agent-seed0"
    build_base(base, 0, steps=2)
    (base / "done").touch()
    arguments = ["--config", "agent_demo", "--base_dir", str(tmp_path), "--output_dir", str(tmp_path / "out")]
    trainer = demo.main([*arguments, "--max_steps", "2", "--rlvr_steps", "1", "--opd_steps", "1"])
    assert set(trainer.last_matrix["student"]) == {"sums", "lookup", "rev"}
    lines = demo.conversations(trainer).splitlines()
    assert len(lines) == 6 and lines[0].startswith("sums: ") and lines[3].startswith("lookup: ")
