"""A real engine on a small machine: llama.cpp's own server (wheel ``xllamacpp``) with a model of random weights.

The time of a token does not depend on what the weights hold, so a model can be made here in a second.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

# deep and narrow: a step has much that does not grow with its batch, and attention shows at a few hundred tokens
HIDDEN, LAYERS, HEADS, KV_HEADS, INNER, VOCAB, LIMIT = 64, 40, 2, 1, 64, 300, 8192
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": HIDDEN, "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "head_dim": HIDDEN // HEADS, "intermediate_size": INNER,
    "vocab_size": VOCAB, "max_position_embeddings": LIMIT, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
    "tie_word_embeddings": False, "torch_dtype": "float32", "bos_token_id": 0, "eos_token_id": 1,
}  # fmt: skip
CHAT = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }} {% endfor %}assistant:"
UINT, FLOAT, BOOL, STRING, ARRAY, INT = 4, 6, 7, 8, 9, 5
SERVER = """
import sys, threading, xllamacpp as x
model, port, slots, context = sys.argv[1], *map(int, sys.argv[2:])
p = x.CommonParams()
p.model.path, p.port, p.n_parallel, p.n_ctx = model, port, slots, slots * context
p.hostnames = ["127.0.0.1"]
p.kv_unified, p.fit_params, p.ui, p.verbosity, p.n_threads_http = False, False, False, 0, 20
p.endpoint_metrics = True
p.cpuparams.n_threads = p.cpuparams_batch.n_threads = 1
server = x.Server(p)
print("ready", server.listening_address, flush=True)
sys.stdin.read()
"""


def _text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def _value(kind: int, value: Any) -> bytes:
    if kind == STRING:
        return _text(value)
    return struct.pack({UINT: "<I", INT: "<i", FLOAT: "<f", BOOL: "<?"}[kind], value)


def _pair(key: str, kind: int, value: Any, item: int = 0) -> bytes:
    head = _text(key) + struct.pack("<I", kind)
    if kind == ARRAY:
        return head + struct.pack("<IQ", item, len(value)) + b"".join(_value(item, v) for v in value)
    return head + _value(kind, value)


def _vocabulary() -> list[str]:
    """Letters that a byte-level tokenizer knows, a merge, and words of plain text."""
    letters = [chr(c) for c in range(33, 127)] + ["\u0120"]
    words = ["<s>", "</s>", *letters, "th"]
    return words + [f"w{i}" for i in range(VOCAB - len(words))]


def _settings() -> list[bytes]:
    tokens = _vocabulary()
    kinds = [3, 3, *[1] * 96, *[4] * (len(tokens) - 98)]  # control, normal, user-defined
    a = "llama."
    return [
        _pair("general.architecture", STRING, "llama"), _pair("general.name", STRING, "random"),
        _pair("general.file_type", UINT, 0), _pair(a + "context_length", UINT, LIMIT),
        _pair(a + "embedding_length", UINT, HIDDEN), _pair(a + "block_count", UINT, LAYERS),
        _pair(a + "feed_forward_length", UINT, INNER), _pair(a + "attention.head_count", UINT, HEADS),
        _pair(a + "attention.head_count_kv", UINT, KV_HEADS),
        _pair(a + "attention.layer_norm_rms_epsilon", FLOAT, 1e-5),
        _pair(a + "rope.dimension_count", UINT, HIDDEN // HEADS), _pair(a + "rope.freq_base", FLOAT, 10000.0),
        _pair(a + "vocab_size", UINT, VOCAB), _pair("tokenizer.ggml.model", STRING, "gpt2"),
        _pair("tokenizer.ggml.pre", STRING, "gpt-2"), _pair("tokenizer.ggml.tokens", ARRAY, tokens, STRING),
        _pair("tokenizer.ggml.token_type", ARRAY, kinds, INT),
        _pair("tokenizer.ggml.merges", ARRAY, ["t h"], STRING),
        _pair("tokenizer.ggml.bos_token_id", UINT, 0), _pair("tokenizer.ggml.eos_token_id", UINT, 1),
        _pair("tokenizer.ggml.add_bos_token", BOOL, False), _pair("tokenizer.chat_template", STRING, CHAT),
    ]  # fmt: skip


def _tensors() -> Iterator[tuple[str, tuple[int, ...]]]:
    head, kv = HIDDEN, HIDDEN * KV_HEADS // HEADS
    yield "token_embd.weight", (VOCAB, HIDDEN)
    for i in range(LAYERS):
        for name, shape in (
            ("attn_norm", (HIDDEN,)), ("attn_q", (head, HIDDEN)), ("attn_k", (kv, HIDDEN)), ("attn_v", (kv, HIDDEN)),
            ("attn_output", (HIDDEN, head)), ("ffn_norm", (HIDDEN,)), ("ffn_gate", (INNER, HIDDEN)),
            ("ffn_up", (INNER, HIDDEN)), ("ffn_down", (HIDDEN, INNER)),
        ):  # fmt: skip
            yield f"blk.{i}.{name}.weight", shape
    yield "output_norm.weight", (HIDDEN,)
    yield "output.weight", (VOCAB, HIDDEN)


def make_model(folder: Path) -> Path:
    """Write ``model.gguf`` (random weights) and its ``config.json``."""
    rng = np.random.default_rng(0)
    infos, blobs, offset = [], [], 0
    for name, shape in _tensors():
        data = (
            np.ones(shape, np.float32) if len(shape) == 1 else rng.standard_normal(shape, np.float32) * np.float32(0.02)
        )
        raw = data.tobytes()
        dims = b"".join(struct.pack("<Q", n) for n in reversed(shape))
        infos.append(_text(name) + struct.pack("<I", len(shape)) + dims + struct.pack("<IQ", 0, offset))
        blobs.append(raw)
        offset += len(raw)
    settings = _settings()
    head = b"GGUF" + struct.pack("<IQQ", 3, len(infos), len(settings)) + b"".join(settings) + b"".join(infos)
    path = folder / "model.gguf"
    path.write_bytes(head + b"\0" * (-len(head) % 32) + b"".join(blobs))
    (folder / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    return path


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextmanager
def serving(model: Path, slots: int = 4, context: int = 4608) -> Iterator[str]:
    """llama.cpp's server on this machine, one thread, prompt cache on; its address."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(model), str(port), str(slots), str(context)],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | {"NO_PROXY": "*"},
    )  # fmt: skip
    try:
        _wait(process, f"http://127.0.0.1:{port}/health")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.communicate()


def _wait(process: subprocess.Popen[bytes], url: str, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < end and process.poll() is None:
        try:
            with opener.open(url, timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"llama.cpp's server did not start (exit code {process.poll()})")
