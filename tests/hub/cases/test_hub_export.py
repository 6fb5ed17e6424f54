"""`trl-copd export` with a repo on the Hub."""

import pytest
import torch
from hub_runs import PROMPT, logits, pushing_trainer
from huggingface_hub import HfApi
from tiny import tiny_model
from transformers import AutoModelForCausalLM

from trl_copd.export import main


def test_export_from_a_private_repo_s_branch(hub, tmp_path, proved, capsys):
    tiny_model().save_pretrained(tmp_path / "base")
    HfApi().create_repo("user/base")
    HfApi().upload_folder(repo_id="user/base", folder_path=tmp_path / "base")
    options = {"hub_private_repo": True, "hub_revision": "trial", "hub_strategy": "end"}
    trainer = pushing_trainer(tmp_path / "run", model="user/base", **options)
    trainer.train()
    trainer.push_to_hub()
    capsys.readouterr()
    with torch.no_grad():
        for adapter, choice in {"student": [], "math": ["--expert", "math"]}.items():
            target = tmp_path / f"merged-{adapter}"
            main(["user/run", "--revision", "trial", "--output", str(target), *choice])
            model = AutoModelForCausalLM.from_pretrained(target).eval()
            torch.testing.assert_close(model(input_ids=PROMPT).logits, logits(trainer, adapter), atol=1e-5, rtol=0)
    report = capsys.readouterr().out.splitlines()[0]
    assert report.startswith("96 of 96 greedy tokens (4 prompts) equal the adapter's")
    assert "base_model: user/base\n" in (tmp_path / "merged-math" / "README.md").read_text()
    for source, revision, message in [
        ("user/run", "nope", "has no revision 'nope'"), ("user/run", None, "holds no student"),
        ("user/absent", None, "nor a repo on the Hub"),
    ]:  # fmt: skip
        with pytest.raises(SystemExit):
            arguments = ["--revision", revision] if revision else []
            main([source, *arguments, "--output", str(tmp_path / "none")])
        assert message in capsys.readouterr().err
    proved(f"student and expert exported from a private repo's branch: {report.split(';')[0]}")
