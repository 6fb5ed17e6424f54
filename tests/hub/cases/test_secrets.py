"""Tokens and credentials, given in every place that takes one, are found nowhere but in the Authorization header."""

import logging

import local_hub
import torch
from hub_runs import messages, pushing_trainer
from tiny import tiny_model


TOKEN, INNER, IN_URL, FROM_ENVIRONMENT = "hf_CANARYcanaryCANARY0001", "canary-two", "canary-three", "canary-four"
CANARIES = [TOKEN, INNER, IN_URL, FROM_ENVIRONMENT]


def test_canary_tokens(hub, tmp_path, proved, monkeypatch, caplog, capfd):
    for token in (TOKEN, FROM_ENVIRONMENT):
        monkeypatch.setitem(local_hub.TOKENS, token, ("user", "write"))
    monkeypatch.setenv("HF_TOKEN", FROM_ENVIRONMENT)
    caplog.set_level(logging.DEBUG)
    tiny_model().save_pretrained(tmp_path / "base")
    hub.plant(local_hub.Fault("PUT", "/lfs/", status=403))  # an error with a signed URL, to be reported
    output = tmp_path / "run"
    trainer = pushing_trainer(
        output, model=str(tmp_path / "base"), hub_token=TOKEN, hub_strategy="checkpoint", log_completions=True,
        model_init_kwargs={"token": INNER}, vllm_server_base_url=f"http://me:{IN_URL}@host:8000",
    )  # fmt: skip
    trainer.train()
    trainer.push_to_hub()
    logged = caplog.text + "".join(capfd.readouterr())
    assert "was not pushed" in logged and messages(hub.repo("user/run"))[-1] == "End of training"

    arguments = torch.load(output / "training_args.bin", weights_only=False)
    assert arguments.hub_token is None and arguments.learning_rate == trainer.args.learning_rate
    assert trainer.args.hub_token == TOKEN and trainer.args.model_init_kwargs["token"] == INNER  # still in use
    places = {"logs": logged, "what trackers are told": repr(trainer.args.to_dict())}
    files = [path for path in output.rglob("*") if path.is_file()]
    places |= {str(path.relative_to(output)): path.read_bytes().decode("latin1") for path in files}
    pushed = {(c.oid, path): data for c in hub.repo("user/run").branches["main"] for path, data in c.files.items()}
    places |= {f"pushed {path}": data.decode("latin1") for (_, path), data in pushed.items()}
    for index, request in enumerate(hub.requests):
        assert f"Bearer {TOKEN}" == request.headers.pop("authorization", f"Bearer {TOKEN}")
        head = f"{request.method} {request.path} {request.headers}"
        places[f"request {index} {head[:60]}"] = head + request.body.decode("latin1")
    assert {"training_args.bin", "checkpoint-3/training_args.bin", "copd.json", "README.md"} <= places.keys()
    found = [(canary, place) for canary in CANARIES for place, text in places.items() if canary in text]
    assert not found, found
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("trl_copd")]
    assert not any("X-Signature" in message for message in ours)
    sent = sum(len(request.body) for request in hub.requests)
    proved(
        f"{len(CANARIES)} canary tokens: in none of {len(files)} files of the run, in none of {sent} bytes that the "
        "server received besides the Authorization header, in no log, not in what trackers are told"
    )
