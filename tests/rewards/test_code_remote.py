"""The client of SandboxFusion, against a server of the standard library that speaks its protocol."""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from trl_copd.rewards.code import CodeReward
from trl_copd.rewards.code.remote import SandboxFusion, literal_calls
from trl_copd.rewards.sandbox import SandboxError


class Service(BaseHTTPRequestHandler):
    """Runs what it gets, unconfined: the submissions of this file are its author's."""

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path, request))
        answer = self.server.answers.pop(0) if self.server.answers else self.execute(request)
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def execute(self, request):
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", request["code"]], input=request["stdin"], capture_output=True, text=True
        )
        result = {
            "status": "Finished",
            "execution_time": 0.1,
            "return_code": done.returncode,
            "stdout": done.stdout,
            "stderr": done.stderr,
        }
        return {
            "status": "Failed" if done.returncode else "Success",
            "message": "",
            "compile_result": None,
            "run_result": result,
            "files": {},
        }

    def log_message(self, *args):
        pass


@pytest.fixture
def service():
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        server.requests, server.answers = [], []
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        server.url = f"http://127.0.0.1:{server.server_port}"
        yield server
        server.shutdown()
        thread.join()


def grade(service, code, tests, answers=(), **options):
    reward = CodeReward(sandbox=SandboxFusion(service.url), cpu_seconds=1.0, **options)
    reward._checked = True
    service.answers = list(answers)
    return reward(prompts=["?"], completions=[f"```python\n{code}\n```"], tests=[tests])[0]


STDIO = {"kind": "stdio", "cases": [{"input": "2\n", "output": "4"}, {"input": "5\n", "output": "25"}]}
SQUARE = "if __name__ == '__main__':\n    n = int(input())\n    print(n * n)"


def test_programs_are_compared_here(service):
    assert grade(service, SQUARE, STDIO) == 1.0
    assert grade(service, "print(4)", STDIO) == 0.0
    assert grade(service, "print(4)", STDIO, partial_credit=True) == 0.5
    assert grade(service, SQUARE + "\nraise SystemExit(1)", STDIO) == 0.0
    for path, request in service.requests:
        assert path == "/run_code" and request["language"] == "python" and request["memory_limit_MB"] == 1024
        assert "25" not in json.dumps(request), "an expected output has left this process"


def test_calls_with_literal_arguments(service):
    tests = {"kind": "assert", "code": "assert f(2) == 4\nassert f(x=-3) == 9"}
    assert grade(service, "def f(x): return x * x", tests) == 1.0
    assert grade(service, "print('noise')\ndef f(x):\n    print('noise')\n    return x * x", tests) == 1.0
    assert grade(service, "def f(x): return 4", tests) == 0.0
    assert grade(service, "class A:\n    def __eq__(self, o): return True\ndef f(x): return A()", tests) == 0.0
    assert grade(service, "import os\ndef f(x): os._exit(0)", tests) == 0.0
    assert all("== 4" not in request["code"] for _, request in service.requests)
    # other test code would have to go where the submission is: not graded
    assert (
        grade(service, "def f(x): return x", {"kind": "assert", "code": "for i in range(3):\n    assert f(i) == i"})
        is None
    )


def test_cpu_time_decides(service):
    assert grade(service, "while True: pass", STDIO) == 0.0
    assert service.requests[-1][1]["run_timeout"] == 10.0


def test_a_failing_service_gives_no_grade(service):
    good = {
        "status": "Success",
        "message": "",
        "run_result": {"status": "Finished", "return_code": 0, "stdout": "4", "stderr": ""},
    }
    for bad in (
        {"status": "SandboxError", "message": "no pod"}, b"no JSON", [], {"status": "Success", "run_result": None},
        {"status": "Failed", "run_result": {"status": "TimeLimitExceeded", "return_code": None, "stdout": ""}},
    ):  # fmt: skip
        one = {**STDIO, "cases": STDIO["cases"][:1]}
        assert grade(service, "print(4)", one, answers=[bad, good]) == 1.0  # the second attempt decides
        assert grade(service, "print(4)", one, answers=[bad, bad]) is None


def test_check(service):
    CodeReward(sandbox=SandboxFusion(service.url)).check()
    with pytest.raises(SandboxError, match="did not run"):
        SandboxFusion("http://127.0.0.1:9", attempts=1).check()
    with pytest.raises(ValueError, match="http"):
        SandboxFusion("localhost:8080")
    with pytest.raises(ValueError, match="concurrency"):
        SandboxFusion("http://localhost", concurrency=0)


def test_literal_calls():
    assert literal_calls("assert f(1, [2], k='a') == {'x': (1,)}") == [("f(1, [2], k='a')", {"x": (1,)})]
    for code in (
        "assert f(g(1)) == 1",
        "assert f(x) == 1",
        "assert f(1) == g(2)",
        "f(1)",
        "assert f(1)",
        "assert f(1) != 2",
        "",
        "assert (",
    ):
        assert literal_calls(code) is None
