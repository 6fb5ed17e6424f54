"""Experts that act, sampled by vLLM: turn by turn, each row with its own adapter."""

import pytest
from tiny import lora, settings
from tiny_acting import Counter, a, acting_model, acting_tokenizer, b, rows, talk_reward


pytest.importorskip("vllm")
pytestmark = pytest.mark.usefixtures("one_engine")

from test_colocate import by_generate  # noqa: E402

from trl_copd import CoPDConfig, CoPDTrainer, Expert  # noqa: E402


@pytest.fixture(scope="module")
def acting_base(tmp_path_factory):
    """With the ends of turns in its generation config, where vLLM looks for them."""
    folder = tmp_path_factory.mktemp("acting")
    heads = {"hidden_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1}
    acting_model(**heads).save_pretrained(folder)
    acting_tokenizer().save_pretrained(folder)
    return str(folder)


def test_every_turn_is_sampled_with_the_adapter_of_its_row(acting_base, tmp_path):
    """An environment, tools and an expert that answers at once; learners act in the teachers' worlds in the second."""
    experts = [
        Expert("game", rows(), [talk_reward], environment_factory=Counter),
        Expert("tools", rows(5), talk_reward, tools=[a, b]),
        Expert("plain", rows(3), talk_reward),
    ]
    args = CoPDConfig(
        **settings(tmp_path, use_vllm=True, topology="mutual", rlvr_steps=1, opd_steps=4, max_steps=5,
                   opd_fraction=0.5, overlap_every=0, max_completion_length=24, learning_rate=0.05,
                   per_device_train_batch_size=32)
    )  # fmt: skip
    trainer = CoPDTrainer(acting_base, experts, args, processing_class=acting_tokenizer(), peft_config=lora())
    waves, sample = [], trainer.engine._sample

    def spy(prompts, held, greedy):
        names = [name for adapter in held for name, other in trainer.engine.held.items() if other is adapter]
        if len(names) < 96:  # a further turn
            expected, others = (by_generate(trainer, prompts, order) for order in (names, names[1:] + names[:1]))
            waves.append((set(names), sample(prompts, held, True)[0] == expected, expected != others))
        return sample(prompts, held, greedy)

    trainer.engine._sample = spy
    trainer.train()
    assert all(equal for _, equal, _ in waves)
    assert any(len(names) == 3 and differs for names, _, differs in waves), "no telling whose turns they are"
    talk = trainer.branches["game"].talk
    assert sum(talk.mask, []).count(0) > 0 and talk.calls > 0 and talk.failures == {}
