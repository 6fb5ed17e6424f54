"""What must never be written down: tokens, and the credentials in URLs."""

import copy
import os
import re
from collections.abc import Collection
from typing import Any


HIDDEN = "<hidden>"
SECRET_KEYS = frozenset(
    "token use_auth_token auth_token access_token hub_token hf_token wandb_api_key api_key password secret".split()
)
_PATTERNS = (
    (re.compile(r"(?<=://)[^/\s@]+@"), ""),  # user:password@ of a URL
    (re.compile(r"(https?://[^\s?'\"]+)\?[^\s'\"]*(?:signature|token|credential|key)=[^\s'\"]*", re.I), r"\1"),
    (re.compile(r"\bhf_[A-Za-z0-9]{16,}"), HIDDEN),
)


def redact(value: Any, secrets: Collection[str] = ()) -> Any:
    """
    A copy of the value without secrets.

    Args:
        value (`Any`): Text, or dictionaries, lists and tuples of it; anything else comes back as it is.
        secrets (`Collection[str]`): Texts to hide wherever they occur, beside what looks like a token or credentials.
    """
    if type(value) is dict:
        hidden = {key for key, held in value.items() if key in SECRET_KEYS and isinstance(held, str)}
        return {key: None if key in hidden else redact(held, secrets) for key, held in value.items()}
    if type(value) in (list, tuple):
        return type(value)(redact(held, secrets) for held in value)
    if type(value) is not str:
        return value
    for secret in secrets:
        value = value.replace(secret, HIDDEN)
    for pattern, replacement in _PATTERNS:
        value = pattern.sub(replacement, value)
    return value


def secrets_of(args: Any) -> set[str]:
    """The tokens that a run uses: the one in its arguments and the one in the environment."""
    found = {getattr(args, "hub_token", None), os.environ.get("HF_TOKEN")}
    return {secret for secret in found if secret}


def without_secrets(args: Any) -> Any:
    """A copy of training arguments that may be saved: `training_args.bin` is pushed with every model."""
    clean = copy.copy(args)
    clean.__dict__ = redact(vars(args), secrets_of(args))
    return clean
