"""Starts what deploy/ says, with its arguments and variables, in front of a simulated engine."""

import http.client
import json
import shutil
import signal
import subprocess
import threading
import urllib.request
from pathlib import Path

from manifests import ROOT, Containerfile, compose, container, environment, pod
from servers import Page, Server, wait_for

PAGE = "http://127.0.0.1:8001/metrics"
ENGINE = "127.0.0.1:8002"
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


class Deployed:
    def __init__(self, binary, folder, servers, checks):
        self.binary, self.folder, self.servers, self.checks = binary, folder, servers, checks

    def all(self, kustomize, unit):
        self.pod(kustomize.base(), self.engine())
        self.processes(kustomize.base("engine-process"))
        self.gpus(kustomize.base("gpu-whole-node"))
        self.unit(unit)
        self.composed()

    def engine(self):
        """In the place of vLLM: it answers /health and requests, and has no page."""
        free = "127.0.0.1:0"
        # NB: under its own name it would not be taken for an engine, but for what stands in front of one.
        program = shutil.copy(self.binary, f"{self.folder}/vllm")
        engine = Server(
            self.folder,
            "engine",
            program,
            "demo",
            f"--engine-listen={ENGINE}",
            f"--listen={free}",
            f"--metrics-listen={free}",
            "--rate=0",
        )
        self.servers.append(engine)
        engine.says(r"engine +(http://\S+)")
        return engine

    def start(self, name, arguments, variables):
        variables = [f"{key}={value}" for key, value in variables.items()]
        # As in a container: no other variables.
        server = Server(
            self.folder, name, "env", "--ignore-environment", *variables, self.binary, *arguments
        )
        self.servers.append(server)
        server.says(r"metrics +(http://\S+)")
        return server

    def start_container(self, name, objects, **more):
        proxy = container(objects, "infermeter")
        return self.start(name, proxy["args"], environment(proxy) | more)

    # === The pod ===

    def pod(self, objects, engine):
        checks = self.checks
        proxy = self.start_container("proxy", objects)
        for each in pod(objects)["spec"]["containers"]:
            for probe in PROBES:
                if probe in each:
                    answer = wait_for(f"{probe} of {each['name']}", lambda: asked(objects, each[probe]))
                    checks.that(f"{probe} of {each['name']}", answer, "")
        ports = [port["containerPort"] for port in container(objects, "infermeter")["ports"]]
        checks.equal("what its ports answer", [get(port, "/health")[0] for port in ports], [200, 404])
        answer = self.stream(max_tokens=5).read()
        checks.that("an answer through the pod", answer.rstrip().endswith(b"data: [DONE]"), answer[-40:])
        counted = wait_for("the end of the request", lambda: value("vllm:request_total"))
        checks.equal("it is counted", counted, 1)
        page = Page(PAGE)
        labels = {"model": "iquest-coder-40b", "variant": "instruct"}
        plain = [sample.name for sample in page.samples if not labels.items() <= sample.labels.items()]
        checks.equal("series without the labels", plain, [])
        gpus = [sample.name for sample in page.samples if sample.name.startswith("gpu_")]
        checks.equal("series of GPUs, of which it knows nothing", gpus, [])
        self.engine_gone(objects, engine)
        self.engine()
        self.ending(objects, proxy)

    def engine_gone(self, objects, engine):
        engine.stop()
        vllm, proxy = container(objects, "vllm"), container(objects, "infermeter")
        lost = [name for name in PROBES if not asked(objects, vllm[name])]
        self.checks.equal("without an engine these fail", lost, list(PROBES))
        alive = [name for name in PROBES if name in proxy and asked(objects, proxy[name])]
        self.checks.equal("and these do not", alive, ["readinessProbe", "livenessProbe"])

    def ending(self, objects, proxy):
        """A stream is there when the pod is told to end."""
        checks = self.checks
        stream = self.stream(max_tokens=60, fault="slow")
        first = stream.readline()
        rest = []
        reader = threading.Thread(target=lambda: rest.append(stream.read()), daemon=True)
        hook = subprocess.Popen(container(objects, "vllm")["lifecycle"]["preStop"]["exec"]["command"])
        try:
            proxy.process.send_signal(signal.SIGTERM)
            readiness = container(objects, "infermeter")["readinessProbe"]
            wait_for("not ready any more", lambda: not asked(objects, readiness))
            reader.start()
            checks.equal("vLLM's hook while an answer is given", (hook.poll(), rest), (None, []))
            reader.join(60)
            checks.that("the answer is whole", (first + rest[0]).rstrip().endswith(b"data: [DONE]"), "")
            checks.equal("the hook before the last scrape", hook.poll(), None)
            # The last scrape may find the page before or after the proxy says that it waits for one.
            wait_for("the end of the proxy", lambda: scraped() or proxy.process.poll() is not None)
            checks.equal("the proxy ends well", proxy.process.wait(20), 0)
            checks.equal("and then vLLM's hook", hook.wait(20), 0)
        finally:
            hook.kill()
            hook.wait()

    def stream(self, max_tokens, fault=None):
        question = {
            "stream": True,
            "max_tokens": max_tokens,
            "messages": [{"role": "user", "content": "Hi"}],
        }
        headers = {"content-type": "application/json"} | ({"x-demo-fault": fault} if fault else {})
        request = urllib.request.Request(
            "http://127.0.0.1:8000/v1/chat/completions", json.dumps(question).encode(), headers
        )
        return urllib.request.urlopen(request, timeout=60)

    # === Components ===

    def processes(self, objects):
        proxy = self.start_container("with-processes", objects)
        memory = wait_for("the engine's memory", lambda: value("process_resident_memory_bytes"))
        self.checks.within("memory of the engine's processes", memory, 1 << 20, 1 << 32)
        self.checks.equal("its source", value("infermeter_source_up", source="process"), 1)
        end(proxy)

    def gpus(self, objects):
        """A library of our own in the place of the driver's."""
        library = f"{self.folder}/libnvidia-ml.so.1"
        source = str(ROOT / "tests/gpu/driver.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True, timeout=60)
        proxy = self.start_container("with-gpus", objects, INFERMETER_NVML_LIBRARY=library)
        wait_for("the GPUs", lambda: value("gpu_up") == 8)
        self.checks.equal("GPUs that are tied to the engine", value("infermeter_engine_gpu_info"), 8)
        end(proxy)

    # === The unit ===

    def unit(self, unit):
        proxy = self.start("unit", unit.arguments, unit.environment)
        # Once it has asked the engine for its models.
        wait_for("the page of the unit's proxy", lambda: "\nvllm:request_total{" in Page(PAGE).text)
        labels = unit.environment["INFERMETER_LABELS"].replace("=", '="').replace(",", '",') + '"'
        self.checks.that("the unit's labels", labels in Page(PAGE).text, labels)
        end(proxy)
        # Where systemd would put a copy of the token.
        variables, name, _ = unit.with_token(self.folder)
        token = "a-token-of-the-check"
        Path(self.folder, name).write_text(f"{token}\n")
        proxy = self.start("unit-with-token", unit.arguments, variables)
        headers = [{}, {"authorization": "Bearer wrong"}, {"authorization": f"Bearer {token}"}]
        answers = [get(8001, "/metrics", each)[0] for each in headers]
        self.checks.equal("without a token, with a wrong one, with the unit's", answers, [401, 401, 200])
        end(proxy)

    # === Compose ===

    def composed(self):
        image = Containerfile().environment()
        for name in ("compose.yaml", "compose.vllm.yaml"):
            services = compose(name)["services"]
            command = services["infermeter"]["command"]
            command = [part.replace("http://vllm:8000", f"http://{ENGINE}") for part in command]
            server = self.start(name, command, image)
            published = compose("compose.yaml")["services"]["infermeter"]["ports"]
            inside = [int(port.rsplit(":", 1)[1]) for port in published]
            answers = [get(port, "/health")[0] for port in inside[:2]]
            self.checks.equal(f"{name}: what its ports answer", answers, [200, 404])
            end(server)


# === Helpers ===


def get(port, path, headers={}):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except OSError:
        return None, b""
    finally:
        connection.close()


def asked(objects, probe):
    """Whether a probe, as the kubelet would ask it, is content."""
    if "exec" in probe:
        done = subprocess.run(probe["exec"]["command"], stderr=subprocess.DEVNULL, timeout=60)
        return done.returncode == 0
    wanted = probe["httpGet"]
    ports = [port for one in pod(objects)["spec"]["containers"] for port in one.get("ports", [])]
    ports = {port["name"]: port["containerPort"] for port in ports}
    status, _ = get(ports.get(wanted["port"], wanted["port"]), wanted["path"])
    return status is not None and 200 <= status < 400


def end(server):
    """As from a keyboard: it waits for no last scrape."""
    server.process.send_signal(signal.SIGINT)
    server.process.wait(30)


def scraped():
    """Scrapes, and is never true: for what ends after a scrape."""
    get(8001, "/metrics")
    return False


def value(name, **labels):
    """The sum of a family, 0 where it is not on the page."""
    page = Page(PAGE)
    return sum(s.value for s in page.samples if s.name == name and labels.items() <= s.labels.items())
