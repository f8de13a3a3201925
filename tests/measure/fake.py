"""A server that answers as OpenAI-compatible ones do, or in one of many wrong ways; on this machine only."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PREFILL_S, STEP_S = 20e-6, 1e-3  # per token


class Fake(ThreadingHTTPServer):
    """Remembers what it was asked."""

    daemon_threads = True

    def __init__(self, mode: str, after: int = 0, target: str = "") -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.mode, self.after, self.target = mode, after, target
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.lock = threading.Lock()
        self.seen: list[list[int]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that leave are no error."""


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Fake

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        body = b"# TYPE vllm:prompt_tokens_total counter\nvllm:prompt_tokens_total 5\nvllm:generation_tokens_total 7\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            self.server.asked.append(json.loads(raw))
            self.server.headers.append(dict(self.headers))
            count = len(self.server.asked)
        mode = self.server.mode if count > self.server.after else "ok"
        getattr(self, f"on_{mode}", lambda body: self.stream(body, mode))(json.loads(raw))

    def refuse(self, status: int, text: str = "{}", **headers: str) -> None:
        body = text.encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def on_busy(self, body: Any) -> None:
        self.refuse(429, "slow down", Retry_After="0")

    def on_busy_once(self, body: Any) -> None:
        if len(self.server.asked) % 2:
            self.refuse(429, "slow down")
        else:
            self.stream(body, "ok")

    def on_broken(self, body: Any) -> None:
        self.refuse(500, "oh no")

    def on_echo(self, body: Any) -> None:
        self.refuse(400, f"bad key {self.headers.get('Authorization', '')}")

    def on_away(self, body: Any) -> None:
        self.refuse(307, Location=self.server.target + self.path)

    def on_around(self, body: Any) -> None:
        if "x=1" in self.path:
            self.stream(body, "ok")
        else:
            self.refuse(307, Location=f"{self.path}?x=1")

    def on_loop(self, body: Any) -> None:
        self.refuse(308, Location=self.path)

    def on_strict(self, body: Any) -> None:
        if "ignore_eos" in body:
            self.refuse(400, '{"error": "unknown field ignore_eos"}')
        else:
            self.stream(body, "ok")

    def on_words(self, body: Any) -> None:
        if isinstance(body.get("prompt"), list):
            self.refuse(400, '{"error": "Prompt contains invalid tokens"}')
        else:
            self.stream(body, "ok")

    def on_hang(self, body: Any) -> None:
        time.sleep(30)

    def on_drop(self, body: Any) -> None:
        self.connection.shutdown(2)

    def on_garbage(self, body: Any) -> None:
        self.refuse(200, "<html>hello</html>\n" * 3, Content_Type="text/event-stream")

    def on_whole(self, body: Any) -> None:
        self.refuse(200, '{"choices": [], "usage": {}}', Content_Type="application/json")

    def cached(self, prompt: Any) -> int:
        """Tokens that an earlier prompt began with."""
        if not isinstance(prompt, list):
            return 0
        with self.server.lock:
            best = max((_common(prompt, old) for old in self.server.seen), default=0)
            self.server.seen.append(prompt)
        return min(best, len(prompt) - 1)

    def stream(self, body: Any, mode: str) -> None:
        """An answer of as many tokens as were asked for."""
        prompt = body.get("prompt", body.get("messages", [{}])[0].get("content") if body.get("messages") else "")
        count = len(prompt) if isinstance(prompt, list) else len(prompt.split())
        cached, output = self.cached(prompt), body["max_tokens"]
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        time.sleep(PREFILL_S * (count - cached))
        for i in range(output):
            if mode == "cut" and i >= output // 2:
                return
            if mode == "rubbish" and i == output // 2:
                self.event("{not json")
            if mode == "sorry" and i == output // 2:
                self.event({"error": {"message": "out of memory"}})
            if mode == "trickle":
                time.sleep(0.3)
            if mode == "long_line":
                self.event("x" * 8_000_000)
            if i:
                time.sleep(STEP_S)
            chat = "messages" in body
            self.event({"choices": [{"delta": {"content": "a"}} if chat else {"text": "a"}]})
        usage = {
            "prompt_tokens": count,
            "completion_tokens": output,
            "prompt_tokens_details": {"cached_tokens": cached},
        }
        usage |= {"more": {"prompt_tokens": 10 * count}, "less": {"completion_tokens": max(1, output // 4)},
                  "beyond": {"completion_tokens": output + 5}, "odd": {"prompt_tokens": "many"},
                  "over_cached": {"prompt_tokens_details": {"cached_tokens": count + 1}}}.get(mode, {})  # fmt: skip
        if mode == "untold":
            del usage["prompt_tokens_details"]
        if mode != "no_usage":
            self.event({"choices": [], "usage": usage})
        self.event("[DONE]")

    def event(self, data: Any) -> None:
        text = data if isinstance(data, str) else json.dumps(data)
        self.wfile.write(f"data: {text}\n\n".encode())
        self.wfile.flush()


def _common(a: list[int], b: list[int]) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


@contextmanager
def serving(mode: str, after: int = 0, target: str = "") -> Iterator[Fake]:
    """A server that behaves until it has answered ``after`` requests, and then in its mode."""
    fake = Fake(mode, after, target)
    thread = threading.Thread(target=fake.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        fake.shutdown()
        fake.server_close()
        thread.join(5)
