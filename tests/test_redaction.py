"""What counts as a secret in text and in values, and what does not."""

import pytest

from trl_copd.redaction import HIDDEN, redact


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        # credentials in front of a host
        ("https://me:pass@host/data.jsonl", "https://host/data.jsonl"),
        ("hf download from https://token@huggingface.co/a/b now", "hf download from https://huggingface.co/a/b now"),
        # signed URLs, as they stand in errors of uploads
        ("PUT https://s3.host/key?X-Amz-Credential=a&X-Amz-Signature=b failed", "PUT https://s3.host/key failed"),
        # tokens of the Hub, wherever they stand
        ("Bearer hf_abcdefABCDEF0123456789", f"Bearer {HIDDEN}"),
        # known secrets of another form
        ("the canary sings", f"the {HIDDEN} sings"),
        # harmless: mail addresses, ids, options that look alike
        ("me@host.org", "me@host.org"),
        ("Qwen/Qwen3-0.6B@main", "Qwen/Qwen3-0.6B@main"),
        ("hf_hub_download", "hf_hub_download"),
        ("https://host/page?step=3", "https://host/page?step=3"),
    ],
)
def test_text(text, wanted):
    assert redact(text, ["canary"]) == wanted


def test_values():
    value = {
        "token": "t",
        "hub_token": None,
        "eos_token": "</s>",
        "max_tokens": 3,
        "inner": [{"api_key": "k"}, ("canary",)],
    }
    wanted = {
        "token": None,
        "hub_token": None,
        "eos_token": "</s>",
        "max_tokens": 3,
        "inner": [{"api_key": None}, (HIDDEN,)],
    }
    assert redact(value, ["canary"]) == wanted
    assert value["token"] == "t"  # a copy
