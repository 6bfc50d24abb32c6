"""Processes that are started on a processor of their own, and what the kernel says of them."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path


def allow_many_sockets():
    """For all that are started from now on."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def end_by_exception():
    """So that what was started is stopped, whatever stops this."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))


class Tree:
    """A process and all below it."""

    def __init__(self, pid):
        self.pid = pid

    def pids(self):
        children = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                # The name, in parentheses, may have blanks in it.
                parent = int(path.read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue  # it has just ended
            children.setdefault(parent, []).append(int(path.parent.name))
        found = [self.pid]
        for pid in found:  # grows while it is read
            found += children.get(pid, [])
        return found

    def time(self):
        """Seconds for which it has run, and for which it was ready to run and did not."""
        ran = waited = 0
        for pid in self.pids():
            for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                try:
                    numbers = path.read_text().split()
                except OSError:
                    continue  # a thread that has just ended
                ran, waited = ran + int(numbers[0]), waited + int(numbers[1])
        return ran / 1e9, waited / 1e9

    def forget_peak(self):
        for pid in self.pids():
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def memory(self, line="VmRSS"):
        """MiB that are resident; with VmHWM, the most since `forget_peak`."""
        return sum(self._status(pid, line) for pid in self.pids()) / 1024

    def threads(self):
        return sum(self._status(pid, "Threads") for pid in self.pids())

    def descriptors(self):
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in self.pids())

    def _status(self, pid, key):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == key:
                return int(value.split()[0])
        raise AssertionError(f"no {key} of {pid}")


class Server(Tree):
    """A program of ours."""

    def __init__(self, name, command, processor, folder, environment=None):
        self.name, self.log = name, Path(folder, f"{name}.log")
        command = ["taskset", "-c", str(processor), *map(str, command)]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
            )
        # taskset becomes the program.
        super().__init__(self.process.pid)

    def check(self):
        if self.process.poll() is not None:
            text = self.log.read_text(errors="replace")[-4000:]
            raise AssertionError(f"{self.name} has ended with {self.process.returncode}:\n{text}")

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def wait_for(what, ask, seconds=20):
    end = time.monotonic() + seconds
    while not (found := ask()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s for {what}")
        time.sleep(0.05)
    return found
