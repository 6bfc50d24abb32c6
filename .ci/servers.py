"""What the checks with real programs share: servers, pages, and the counting of what holds."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

JOB = 'job="vllm-iquest-coder"'


# === The servers ===


class Server:
    """A process that is stopped whatever happens."""

    def __init__(self, folder, name, *command):
        self.log = Path(folder, f"{name}.log")
        self.name = name
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=folder
            )

    def says(self, pattern):
        """Waits for a line in the log."""

        def find():
            if self.process.poll() is not None:
                raise AssertionError(f"{self.name} has ended with {self.process.returncode}")
            return re.search(pattern, self.text())

        return wait_for(f"{pattern!r} in the log of {self.name}", find).group(1)

    def text(self):
        return self.log.read_text(errors="replace")

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Prometheus(Server):
    """A real one, that scrapes a target every second, and others as jobs of their own."""

    def __init__(self, folder, target, **others):
        jobs = {"vllm-iquest-coder": target, **others}
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": [target]}]} for job, target in jobs.items()
            ],
        }
        self.start(folder, config)

    def start(self, folder, config):
        # JSON is YAML.
        Path(folder, "prometheus.yml").write_text(json.dumps(config))
        super().__init__(
            folder,
            "prometheus",
            "prometheus",
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            "--web.listen-address=127.0.0.1:0",
        )
        self.url = "http://" + self.says(r'msg="Listening on" address=(\S+)')
        # NB: until then it answers 503.
        self.says(r'msg="(Server is ready to receive web requests\.)"')

    def api(self, path, **parameters):
        answer = json.loads(get(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"))
        assert answer["status"] == "success" and not answer.get("warnings"), answer
        return answer["data"]

    def series(self, query, **when):
        return self.api("query", query=query, **when)["result"]

    def value(self, query, **when):
        """The value of the one series that a query gives; None where there is none."""
        result = self.series(query, **when)
        assert len(result) < 2, f"{query} gives {len(result)} series: {result}"
        return float(result[0]["value"][1]) if result else None


def get(url):
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read().decode()


# === The page ===


class Page:
    """One scrape, as the parser of the Python client library reads it."""

    def __init__(self, url):
        self.text = get(url)
        self.families = list(text_string_to_metric_families(self.text))
        self.samples = [sample for family in self.families for sample in family.samples]

    def sum(self, name, **labels):
        found = [s.value for s in self.samples if s.name == name and labels.items() <= s.labels.items()]
        assert found or name == "infermeter_requests_total", f"{name} is not on the page"
        return sum(found)


class Checks:
    """Goes on after a failure: one wrong number is seen best beside all others."""

    def __init__(self):
        self.held, self.broken = 0, []

    def that(self, what, is_so, seen):
        print(f"  {'ok  ' if is_so else 'FAIL'} {what}: {seen}", flush=True)
        self.held += is_so
        if not is_so:
            self.broken.append(what)

    def equal(self, what, seen, expected):
        self.that(what, seen == expected, f"{seen}, expected {expected}")

    def within(self, what, seen, lowest, highest):
        is_so = seen is not None and lowest <= seen <= highest
        self.that(what, is_so, f"{seen}, allowed {lowest:.6g} to {highest:.6g}")


def page(checks, after):
    """The page as text: what linters and another parser say."""
    lines = after.text.splitlines()
    names = sorted({line.split()[2] for line in lines if line.startswith("# TYPE ")})
    own = ("vllm:", "infermeter_", "process_", "gpu_")
    foreign = [name for name in names if not name.startswith(own)]
    checks.equal("families of nobody", foreign, [])

    code, said = promtool(after.text)
    allowed = re.compile(
        r"vllm:\S+ metric names should not contain ':'"
        r"|vllm:(iteration_tokens|num_blocks)_total non-counter metrics should not have "
        r'"_total" suffix'
    )
    colons = [line for line in said if allowed.fullmatch(line)]
    checks.equal("promtool, but for names with a colon", [l for l in said if l not in colons], [])
    with_colon = [name for name in names if ":" in name]
    checks.within("promtool, names with a colon", len(colons), len(with_colon), len(with_colon) + 2)
    checks.equal("promtool, its exit code for that", code, 3)
    ours = [line for line in lines if re.match(r"(# \w+ )?(infermeter|process|gpu)_", line)]
    checks.within("lines without the prefix", len(ours), 50, len(lines))
    checks.equal("promtool, names without the prefix", promtool("\n".join(ours) + "\n"), (0, []))

    samples = [line for line in lines if not line.startswith("#")]
    checks.equal("prometheus_client reads every sample", len(after.samples), len(samples))
    keys = {(sample.name, tuple(sorted(sample.labels.items()))) for sample in after.samples}
    checks.equal("no sample twice", len(keys), len(samples))
    parts = r"(_bucket|_count|_sum)$"
    own = {family.name for family in after.families} | {f"{f.name}_total" for f in after.families}
    strays = [s.name for s in after.samples if s.name not in own and re.sub(parts, "", s.name) not in own]
    checks.equal("no sample without a family", strays, [])
    untold = [f.name for f in after.families if not f.documentation or f.type == "unknown"]
    checks.equal("families without help or type", untold, [])
    checks.equal("histograms that do not add up", odd_histograms(after), [])


def promtool(text):
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, text=True, capture_output=True, timeout=30
    )
    return done.returncode, (done.stdout + done.stderr).splitlines()


def odd_histograms(page):
    """Buckets grow up to `+Inf`, which is the count."""
    odd = []
    for family in page.families:
        buckets, counts = {}, {}
        for sample in family.samples if family.type == "histogram" else []:
            labels = {name: value for name, value in sample.labels.items() if name != "le"}
            key = tuple(sorted(labels.items()))
            if sample.name.endswith("_bucket"):
                buckets.setdefault(key, []).append((float(sample.labels["le"]), sample.value))
            elif sample.name.endswith("_count"):
                counts[key] = sample.value
        for key, steps in buckets.items():
            values = [value for _, value in steps]
            is_right = steps == sorted(steps) and values == sorted(values)
            if not is_right or steps[-1] != (float("inf"), counts.get(key)):
                odd.append(family.name)
        if family.type == "histogram" and (not buckets or buckets.keys() != counts.keys()):
            odd.append(family.name)
    return odd


# === Start and end ===


def main(run, built, seconds):
    """Runs `run(binary, folder, servers, checks)`, and ends with what does not hold."""
    root = Path(__file__).resolve().parent.parent
    target = Path(root, os.environ.get("CARGO_TARGET_DIR", "target"))
    binary = Path(sys.argv[1] if len(sys.argv) > 1 else target / built)
    # Both end by an exception, so that the servers are stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    signal.signal(signal.SIGALRM, lambda *_: sys.exit(f"not done after {seconds} s"))
    signal.alarm(seconds)

    checks, servers = Checks(), []
    with tempfile.TemporaryDirectory(prefix="infermeter-") as folder:
        is_done = False
        try:
            run(str(binary.resolve()), folder, servers, checks)
            is_done = not checks.broken
        finally:
            signal.alarm(0)
            try:
                if not is_done:
                    show(servers)
            finally:
                for server in reversed(servers):
                    server.stop()
    if checks.broken:
        print(f"{len(checks.broken)} checks do not hold, {checks.held} do:")
        sys.exit("; ".join(checks.broken))
    print(f"  all {checks.held} checks hold")


def show(servers):
    """What there is to look at after a failure."""
    for server in servers:
        print(f"--- log of {server.name}\n{server.text()[-8000:]}")
        page = re.search(r"(?:curl|metrics) (http://\S+/metrics)\n", server.text())
        if page and server.process.poll() is None:
            print(f"--- page of {server.name}\n{get(page.group(1))}")
    sys.stdout.flush()



def wait_for(what, ask, seconds=30):
    end = time.monotonic() + seconds
    while not (found := ask()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s for {what}")
        time.sleep(0.02)
    return found
