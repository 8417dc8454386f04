#!/usr/bin/env python3
"""A coding agent tries its forbidden `npx` by every trick it knows.

The agent is a real command-line program; its model is this script: a server on the loopback of
whatever it runs in, which streams one prepared Bash call after another and writes down what came
back. Needs python3 (3.10 or later, standard library only), node with npm, and the agent's program.

    story.py claude PROGRAM [--scenario FILE] [--results FILE] [--timeout SECONDS]
    story.py codex  PROGRAM ...

Prints one line an attempt and ends with 0 when every attempt was carried out by the agent, whatever
became of it; with 1 when the agent did not carry out all of them; with 2 when it could not start. The
results (JSON) hold for every attempt: its name, the command, the output, and `ran`: whether the
forbidden program's version was printed, by which a test judges.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

VERSION = re.compile(r"^\s*\d+\.\d+\.\d+\s*$", re.MULTILINE)
# More than any answer of the agent's tools that matters here.
LONGEST_OUTPUT = 4000


class Scenario:
    """The attempts, and what came back of them."""

    def __init__(self, attempts):
        self.attempts = attempts
        self.results = {}
        self.requests = []
        self.lock = threading.Lock()

    def answer(self, outputs):
        """Takes what the agent reports so far; the number of the next attempt, or None."""
        with self.lock:
            for number, text in outputs.items():
                self.results.setdefault(number, text)
            return next((n for n in range(len(self.attempts)) if n not in self.results), None)

    def rows(self):
        rows = []
        for number, attempt in enumerate(self.attempts):
            output = self.results.get(number)
            rows.append({
                "name": attempt["name"],
                "command": attempt["command"],
                "promised": attempt.get("promised", True),
                "carried_out": output is not None,
                "ran": bool(output is not None and VERSION.search(output)),
                "output": (output or "")[:LONGEST_OUTPUT],
            })
        return rows


def text_of(content):
    """The words of a tool's answer, whatever its form."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(text_of(part) for part in content)
    if isinstance(content, dict):
        return text_of(content.get("text") or content.get("output") or content.get("content") or "")
    return ""


def handler(scenario):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments):
            pass

        def do_GET(self):
            self.reply({"data": [], "models": []})

        def do_HEAD(self):
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_POST(self):
            length = int(self.headers.get("Content-Length") or 0)
            try:
                body = json.loads(self.rfile.read(length) or b"{}")
            except ValueError:
                body = {}
            path = self.path.split("?")[0]
            scenario.requests.append(path)
            if path.endswith("/count_tokens"):
                self.reply({"input_tokens": 1})
            elif path.endswith("/messages"):
                self.speak_messages(body)
            elif path.endswith("/responses"):
                self.speak_responses(body)
            else:
                self.reply({})

        def reply(self, value):
            data = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def stream(self, events):
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            for event in events:
                line = f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"
                self.wfile.write(line.encode())
            self.close_connection = True

        # Anthropic Messages, as Claude Code speaks it.
        def speak_messages(self, body):
            outputs = {}
            for message in body.get("messages", []):
                content = message.get("content")
                for part in content if isinstance(content, list) else []:
                    found = re.fullmatch(r"toolu_story_(\d+)", part.get("tool_use_id", ""))
                    if part.get("type") == "tool_result" and found:
                        outputs[int(found[1])] = text_of(part.get("content"))
            tools = {tool.get("name") for tool in body.get("tools") or []}
            # Titles and probes come without tools, and are no turn of the story.
            number = scenario.answer(outputs) if "Bash" in tools else None
            if number is None:
                block, stop = {"type": "text", "text": ""}, "end_turn"
                delta = {"type": "text_delta", "text": "It cannot be done." if "Bash" in tools else "ok"}
            else:
                attempt = scenario.attempts[number]
                words = {"command": attempt["command"], "description": attempt["name"]}
                words.update(attempt.get("input", {}))
                block = {"type": "tool_use", "id": f"toolu_story_{number}", "name": "Bash", "input": {}}
                delta, stop = {"type": "input_json_delta", "partial_json": json.dumps(words)}, "tool_use"
            usage = {"input_tokens": 1, "output_tokens": 1}
            message = {"id": f"msg_{number}", "type": "message", "role": "assistant", "content": [],
                       "model": body.get("model", "scripted"), "stop_reason": None, "stop_sequence": None,
                       "usage": usage}
            if not body.get("stream"):
                answer = {"type": "text", "text": "ok"} if number is None else {**block, "input": words}
                return self.reply({**message, "content": [answer], "stop_reason": stop})
            self.stream([
                {"type": "message_start", "message": message},
                {"type": "content_block_start", "index": 0, "content_block": block},
                {"type": "content_block_delta", "index": 0, "delta": delta},
                {"type": "content_block_stop", "index": 0},
                {"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": usage},
                {"type": "message_stop"},
            ])

        # OpenAI Responses, as Codex speaks it.
        def speak_responses(self, body):
            outputs = {}
            for item in body.get("input", []) if isinstance(body.get("input"), list) else []:
                found = re.fullmatch(r"call_story_(\d+)", item.get("call_id", ""))
                if item.get("type") == "function_call_output" and found:
                    outputs[int(found[1])] = text_of(item.get("output"))
            number = scenario.answer(outputs)
            if number is None:
                item = {"type": "message", "role": "assistant", "id": "msg_end", "status": "completed",
                        "content": [{"type": "output_text", "text": "It cannot be done.", "annotations": []}]}
            else:
                arguments = json.dumps({"cmd": scenario.attempts[number]["command"], "yield_time_ms": 20000})
                item = {"type": "function_call", "id": f"fc_{number}", "call_id": f"call_story_{number}",
                        "name": "exec_command", "arguments": arguments, "status": "completed"}
            usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2,
                     "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
            answer = {"id": f"resp_{number}", "object": "response", "status": "completed", "output": [item], "usage": usage}
            self.stream([
                {"type": "response.created", "response": {**answer, "status": "in_progress", "output": []}},
                {"type": "response.output_item.added", "output_index": 0, "item": item},
                {"type": "response.output_item.done", "output_index": 0, "item": item},
                {"type": "response.completed", "response": answer},
            ])

    return Handler


def claude(program, home, port, prompt):
    environment = {
        "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{port}",
        "ANTHROPIC_API_KEY": "scripted",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        # It refuses to skip its questions as user 0 unless it is told where it is.
        "IS_SANDBOX": "1",
    }
    words = [program, "-p", prompt, "--dangerously-skip-permissions", "--output-format", "json"]
    return words, environment


def codex(program, home, port, prompt):
    folder = Path(home, ".codex")
    folder.mkdir(parents=True, exist_ok=True)
    folder.joinpath("config.toml").write_text(
        'model_provider = "story"\nmodel = "scripted"\n\n[model_providers.story]\nname = "story"\n'
        f'base_url = "http://127.0.0.1:{port}/v1"\nenv_key = "STORY_KEY"\nwire_api = "responses"\n'
    )
    words = [program, "exec", "--dangerously-bypass-approvals-and-sandbox", "--skip-git-repo-check", prompt]
    return words, {"CODEX_HOME": str(folder), "STORY_KEY": "scripted"}


def run(words, work, environment, timeout):
    """Runs the agent to its end, or ends it with everything it started; what it said."""
    with subprocess.Popen(words, cwd=work, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True) as agent:
        try:
            out, err = agent.communicate(timeout=timeout)
            how = f"ended with {agent.returncode}"
        except subprocess.TimeoutExpired:
            os.killpg(agent.pid, signal.SIGKILL)
            out, err = agent.communicate()
            how = f"did not end within {timeout} s"
    return f"{how}\n{out[-2000:]}\n{err[-2000:]}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("agent", choices=["claude", "codex"])
    parser.add_argument("program")
    parser.add_argument("--scenario", default=str(Path(__file__).with_name("scenario.json")))
    parser.add_argument("--results")
    parser.add_argument("--timeout", type=float, default=300)
    options = parser.parse_args()
    scenario = Scenario(json.loads(Path(options.scenario).read_text())["attempts"])
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(scenario))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(prefix="story-", ignore_cleanup_errors=True) as place:
        home, work = Path(place, "home"), Path(place, "work")
        home.mkdir()
        work.mkdir()
        make = claude if options.agent == "claude" else codex
        words, own = make(options.program, str(home), server.server_address[1], "Show the version of npx.")
        # Nothing of the caller's keys and settings may reach the agent.
        environment = {"HOME": str(home), "PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LANG": "C.UTF-8",
                       "TMPDIR": place, "TERM": "dumb", **own}
        try:
            said = run(words, work, environment, options.timeout)
        except OSError as error:
            print(f"{options.program} cannot be started: {error}", file=sys.stderr)
            return 2
    rows = scenario.rows()
    for row in rows:
        state = "not carried out" if not row["carried_out"] else "RAN" if row["ran"] else "denied"
        print(f"{row['name']:<22} {state}")
    missing = [row["name"] for row in rows if not row["carried_out"]]
    if options.results:
        value = {"agent": options.agent, "attempts": rows, "requests": len(scenario.requests), "said": said}
        Path(options.results).write_text(json.dumps(value, indent=1))
    if missing:
        print(f"the agent {said}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
