"""`make test-faults` ends with what its tests proved."""

import pytest


PROVED = pytest.StashKey[list[str]]()


@pytest.fixture
def proved(request):
    """Call it with a sentence once a test has shown it."""
    lines = request.config.stash.setdefault(PROVED, [])
    return lambda line: lines.append(line) if line not in lines else None


def pytest_terminal_summary(terminalreporter, config):
    if PROVED in config.stash:
        terminalreporter.section("proved")
        for line in config.stash[PROVED]:
            terminalreporter.line(f"- {line}")
