"""Puts load on a server. Install it by `pip install -e '.[load]'`; then, for instance,

    locust -f benchmarks/locustfile.py --host http://localhost:3000 --users 32 --run-time 1m --headless

STEADFAST_KEY holds the key to send. Each request asks for one text, or less often for many.
"""

import os
import random

from locust import FastHttpUser, constant, task

from benchmarks.texts import make_texts

TEXTS = make_texts(2_000)


class Caller(FastHttpUser):
    """Asks, waits for the answer, and asks again."""

    wait_time = constant(0)

    def on_start(self) -> None:
        """Send the key with every request."""
        key = os.environ.get("STEADFAST_KEY")
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}

    @task(8)
    def one_text(self) -> None:
        """Ask for one text, as most requests do."""
        self._ask(1, None)

    @task(1)
    def many_texts(self) -> None:
        """Ask for as many texts as fill batches by themselves."""
        self._ask(32, None)

    @task(1)
    def explained(self) -> None:
        """Ask for one text with scores of its words."""
        self._ask(1, "rollout")

    def _ask(self, texts: int, explain: str | None) -> None:
        body = {"inputs": random.sample(TEXTS, texts), "explain": explain}
        name = f"sentiment x {texts}" + (f", {explain}" if explain else "")
        self.client.post("/v1/sentiment", json=body, headers=self.headers, name=name)
