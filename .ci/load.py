"""Clients of the example axum_server that know what they sent and write down what they got."""

import json
import random
import socket
import threading
import time
from http.client import HTTPConnection

from servers import wait_for

SLOTS = 2  # of the example: so many requests run at a time
PAUSE = 0.005  # of the example, in seconds, before each word

GOOD_CLIENTS, GOOD_EACH = 8, 10
BAD = 30
LEAVE_DECODING = 8
LEAVE_QUEUED = 6
LONG = 600  # words of one answer that takes a few seconds


class Load:
    """Sends a known mix, and writes down what came back."""

    def __init__(self, address):
        self.address = address
        self.lock = threading.Lock()
        self.good = []  # of each stream: words, time per output token
        self.left = []  # of each stream whose client left: fewest and most tokens it may have had
        self.waits = []  # of both: seconds until the head came
        self.errors = []

    def crowd(self, ended):
        """All at once; `ended(reason)` is how many aborts of a kind the server has counted."""
        threads = [threading.Thread(target=self.guard, args=(self.stay, i)) for i in range(GOOD_CLIENTS)]
        threads.append(threading.Thread(target=self.guard, args=(self.send_bad,)))
        threads.append(threading.Thread(target=self.guard, args=(self.leave, ended)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.errors:
            raise AssertionError("a client was surprised: " + "; ".join(self.errors))

    def guard(self, task, *arguments):
        try:
            task(*arguments)
        except Exception as error:  # reported by crowd(), in the thread that can fail
            self.errors.append(f"{task.__name__}: {error!r}")

    def stay(self, seed):
        chance = random.Random(seed)
        for _ in range(GOOD_EACH):
            self.send(chance.randint(10, 100))

    def send(self, length):
        """Stays for the whole answer, and holds it to be the words that were sent."""
        words = [f"word{i}" for i in range(length)]
        with Stream(self.address, " ".join(words)) as stream:
            arrivals, received, usage = [], [], None
            for chunk in stream.chunks():
                usage = chunk.get("usage", usage)
                text = [choice["text"] for choice in chunk["choices"] if choice["text"]]
                received += text
                arrivals += [time.monotonic()] * len(text)
            assert received == words, f"sent {words}, got {received}"
            assert usage == {"prompt_tokens": length, "completion_tokens": length}, usage
            assert stream.is_done, "no [DONE]"
        with self.lock:
            self.good.append((length, (arrivals[-1] - arrivals[0]) / (length - 1)))
            self.waits.append(stream.head - stream.sent)

    def send_bad(self):
        for _ in range(BAD):
            with Stream(self.address, "") as stream:
                assert stream.answer.status == 400, stream.answer.status
                stream.answer.read()
            time.sleep(0.1)

    def leave(self, ended):
        """One at a time, so that it is known until when the server may have talked to nobody."""
        for i in range(LEAVE_QUEUED):
            stream = Stream(self.address, "nobody waits for this", wait=False)
            time.sleep(0.05)
            stream.close()
            wait_for(f"abort {i + 1} in the queue", lambda: ended("queue") > i)
        for i in range(LEAVE_DECODING):
            with Stream(self.address, "word " * 2000) as stream:
                fewest = 0
                for _ in stream.chunks():
                    fewest += 1
                    if fewest == 5 + i:
                        break
            wait_for(f"abort {i + 1} of a stream", lambda: ended("decode") > i)
            # The head comes before the first word, and words come no faster than this.
            most = int((time.monotonic() - stream.head) / PAUSE) + 1
            with self.lock:
                self.left.append((fewest, min(most, 2000)))
                self.waits.append(stream.head - stream.sent)


class Stream:
    """One request on a connection of its own."""

    def __init__(self, address, prompt, wait=True):
        self.connection = HTTPConnection(*address, timeout=30)
        self.connection.connect()
        self.socket = self.connection.sock
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.is_done = False
        body = json.dumps({"prompt": prompt})
        self.sent = time.monotonic()
        self.connection.request("POST", "/v1/completions", body, {"content-type": "application/json"})
        self.answer = self.connection.getresponse() if wait else None
        self.head = time.monotonic()

    def chunks(self):
        while line := self.answer.readline():
            if line == b"data: [DONE]\n":
                self.is_done = True
            elif line.startswith(b"data: "):
                yield json.loads(line.removeprefix(b"data: "))

    def close(self):
        # Whatever still holds the socket: the other side sees the end at once.
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the other side was first
        self.socket.close()
        self.connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
