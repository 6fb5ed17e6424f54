"""The demonstration of experts that act, cut short: its base hardly trained, two rounds, and what it prints."""

import importlib.util
from pathlib import Path

import pytest

from trl_copd.recipes.agent import Guess, build_base, conversations


ROOT = Path(__file__).parent.parent


def test_the_game_and_its_conversations():
    game = Guess()
    game.reset(secret=3, prompt=[])
    assert [game.guess("1"), game.guess("3"), game.guess("3")] == ["more", "yes", "over"] and game.get_reward() == 1.0
    game.reset(secret=1)
    assert game.guess("2") == "less" and game.get_reward() == 0.0
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
    assert set(trainer.last_matrix["student"]) == {"sums", "guess", "rev"}
    lines = demo.conversations(trainer).splitlines()
    assert len(lines) == 6 and lines[0].startswith("sums: ") and lines[3].startswith("guess: ")
