"""vLLM's own server: adapters by file, rows by HTTP, and a process that is killed in the middle of a run."""

import threading

import pytest
from test_colocate import CYCLE, build, compare
from tiny import distance, weights


pytest.importorskip("vllm")


def served(server, base, folder, **overrides):
    options = {"vllm_mode": "server", "vllm_server_base_url": server.url, "vllm_server_timeout": 300.0, **CYCLE}
    return build(base, folder, **options | overrides)


def test_greedy_tokens_are_those_of_generate_before_and_after_an_update(server, base, tmp_path):
    trainer = served(server, base, tmp_path, temperature=0.7)
    adapters = [*trainer.branches, "base"]
    before = compare(trainer, adapters)
    trainer.train()
    after = compare(trainer, adapters)
    assert before[-4:] == after[-4:] and before[:4] != after[:4]
    for log in [log for log in trainer.state.log_history if "phase" in log]:
        assert log["code/sampling/sampling_logp_difference/max"] < 1e-3


def test_a_killed_server_is_waited_for_and_the_run_resumes(server, base, tmp_path):
    whole = served(server, base, tmp_path / "whole", max_steps=4)
    whole.train()

    trainer = served(server, base, tmp_path / "run", max_steps=3, save_strategy="steps", save_steps=3)
    post, killed = trainer.engine.server.post, []

    def kill_in_round_two(path, body):
        if trainer.state.global_step == 2 and path == "/v1/completions" and not killed:
            killed.append(path)
            server.kill()
            threading.Thread(target=server.start, kwargs={"wait": False}).start()
        return post(path, body)

    trainer.engine.server.post = kill_in_round_two
    trainer.train()
    assert killed and trainer.state.global_step == 3
    resumed = served(server, base, tmp_path / "run", max_steps=4)
    resumed.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-3"))
    compare(resumed, [*resumed.branches, "base"])
    for name in whole.branches:  # seeds are the run's; what differs is the order in which the server meets the rows
        assert distance(weights(resumed, name), weights(whole, name)) < 1e-3
