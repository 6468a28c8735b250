#!/bin/sh
# litserve 0.2.19: where requests are batched, the refusal of one request is sent to all callers of its batch.
#
# Guess: `decode_request` is called with one request, and so an HTTPException(422) that it raises goes to the caller whose
# request it was; the rest of the batch is computed. Without batches it is so.
#
# Seen: with max_batch_size=4, four callers at once, of whom one sends what cannot be read: all four get status 422 and the
# sentence about the one's input. Each of the other three alone gets its answer.
#
# Whom it hurts: who reads 4xx as "my input is wrong": clients that give a text up, or a labelling job that marks good rows as
# refused, by chance, because of another caller's row. And whoever shares such a server: one caller with bad input
# takes the answers of others. Raise nothing in decode_request; hand the fault on as a value, and answer it in encode_response.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q litserve==0.2.19 fastapi==0.165.0 uvicorn==0.54.0
cat > "$folder/one.py" <<'PYTHON'
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import litserve
from fastapi import HTTPException

TEXTS = ("fine", "dull", "", "moving")


class Upper(litserve.LitAPI):
    def setup(self, device):
        pass

    def decode_request(self, request):
        if not request["text"]:
            raise HTTPException(422, "the text is empty")
        return request["text"]

    def batch(self, inputs):
        return inputs

    def predict(self, texts):
        return [text.upper() for text in texts]

    def unbatch(self, output):
        return output

    def encode_response(self, output):
        return {"answer": output}


def ask(port, text):
    body = json.dumps({"text": text}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/predict", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def wait_for(port, server):
    for _ in range(400):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
            return
        except OSError:
            assert server.poll() is None, "the server has ended"
            time.sleep(0.25)
    raise SystemExit("the server is not ready")


def main():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen([sys.executable, __file__, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(port, server)
        for text in TEXTS:
            status, answer = ask(port, text)
            print(f"alone, {text!r}: {status} {answer}")
            assert status == (200 if text else 422)
        with ThreadPoolExecutor(len(TEXTS)) as callers:
            answers = list(callers.map(lambda text: ask(port, text), TEXTS))
        for text, (status, answer) in zip(TEXTS, answers):
            print(f"in a batch, {text!r}: {status} {answer}")
        assert answers == [(422, {"detail": "the text is empty"})] * len(TEXTS)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        # Two seconds are enough for all four to come into one batch.
        api = Upper(max_batch_size=len(TEXTS), batch_timeout=2)
        litserve.LitServer(api, accelerator="cpu").run(port=int(sys.argv[1]), generate_client_file=False)
    else:
        main()
PYTHON
"$folder/venv/bin/python" "$folder/one.py"
