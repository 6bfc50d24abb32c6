"""What deploy/ says, read as those read it who run it: kustomize, the API server, systemd, compose."""

import copy
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from kubernetes_validate import ValidationError, validate

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
COMPONENTS = sorted(path.name for path in (DEPLOY / "kubernetes/components").iterdir())
KUBERNETES = "1.37"

# Kinds that the API server does not know by itself, with our schemas of what we use of them.
SCHEMAS = {"PodMonitor": "podmonitor", "PrometheusRule": "prometheusrule", "ScaledObject": "scaledobject"}


def tool(*command, **settings):
    """Runs a tool of the gate's Python packages, or of the system: its exit status and what it says."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        command,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=120,
        env={**os.environ, "PATH": path},
        **settings,
    )
    return done.returncode, done.stdout


# === Kubernetes ===


class Kustomize:
    """Builds what a folder with the base and some components gives."""

    def __init__(self, folder):
        self.folder = Path(folder, "kubernetes")
        shutil.copytree(DEPLOY / "kubernetes", self.folder)

    def example(self):
        return self.objects("example")

    def base(self, *components):
        name = "-".join(["try", *components])
        lines = [
            "resources: [../base]",
            f"components: [{', '.join(f'../components/{c}' for c in components)}]",
        ]
        (self.folder / name).mkdir(exist_ok=True)
        (self.folder / name / "kustomization.yaml").write_text("\n".join(lines) + "\n")
        return self.objects(name)

    def objects(self, name):
        status, said = tool("kubectl", "kustomize", str(self.folder / name))
        assert status == 0, f"kubectl kustomize {name}: {said}"
        return [thing for thing in yaml.safe_load_all(said) if thing]


def the(objects, kind):
    found = [thing for thing in objects if thing["kind"] == kind]
    assert len(found) == 1, f"{len(found)} of kind {kind}"
    return found[0]


def pod(objects):
    return the(objects, "Deployment")["spec"]["template"]


def container(objects, name):
    return next(one for one in pod(objects)["spec"]["containers"] if one["name"] == name)


def environment(container):
    return {one["name"]: one["value"] for one in container.get("env", []) if "value" in one}


def flaws(objects, folder):
    """What the schemas say of some objects; nothing if all is well."""
    said = []
    for thing in objects:
        name = f"{thing['kind']} {thing['metadata']['name']}"
        if thing["kind"] in SCHEMAS:
            said += [f"{name}: {flaw}" for flaw in by_schema(thing, SCHEMAS[thing["kind"]], folder)]
            continue
        try:
            validate(thing, KUBERNETES, strict=True)
        except ValidationError as error:
            said.append(f"{name}: {error.message}")
    return said


def by_schema(thing, schema, folder):
    file = Path(folder, "object.yaml")
    file.write_text(yaml.safe_dump(thing))
    schema = (
        ["--builtin-schema", schema]
        if schema.startswith("vendor.")
        else ["--schemafile", str(ROOT / f".ci/schemas/{schema}.json")]
    )
    status, said = tool("check-jsonschema", *schema, str(file))
    return [] if status == 0 else [said]


def spoilt(thing):
    """The same with one key too many."""
    thing = copy.deepcopy(thing)
    thing.setdefault("spec", thing)["nobodyKnowsThis"] = 1
    return thing


# === Others ===


class Unit:
    """A unit of systemd: what it starts, with its environment file and its drop-ins."""

    def __init__(self):
        self.folder = DEPLOY / "systemd"
        self.text = (self.folder / "infermeter.service").read_text()
        self.arguments = self.setting("ExecStart").split()[1:]
        lines = (self.folder / "infermeter.env").read_text().splitlines()
        self.environment = dict(line.split("=", 1) for line in lines if re.match(r"\w+=", line))

    def setting(self, name):
        return re.search(rf"^{name}=(.*)$", self.text, re.MULTILINE).group(1)

    def with_token(self, credentials):
        """Its variables with the drop-in, and the name of the token in the folder of credentials."""
        text = (self.folder / "infermeter.service.d/token.conf").read_text()
        name, path = re.search(r"^LoadCredential=([\w-]+):(/\S+)$", text, re.MULTILINE).groups()
        variable, value = re.search(r"^Environment=(\w+)=(\S+)$", text, re.MULTILINE).groups()
        # What the file of variables says goes before what the unit says.
        return {variable: value.replace("%d", credentials), **self.environment}, name, path

    def verify(self, binary, folder, more=""):
        """What systemd says of it where the program and its settings are there."""
        place = Path(folder, "systemd")
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self.folder, place)
        with open(place / "infermeter.service.d/token.conf", "a") as drop_in:
            drop_in.write(more)
        text = self.text.replace("/usr/local/bin/infermeter", binary)
        (place / "infermeter.service").write_text(text)
        status, said = tool("systemd-analyze", "verify", str(place / "infermeter.service"))
        open_by, exposure = tool(
            "systemd-analyze",
            "security",
            "--offline=true",
            "--threshold=25",
            str(place / "infermeter.service"),
        )
        return [said or status] * (status != 0 or said != "") + [exposure[-200:]] * (open_by != 0)


def compose(name):
    return yaml.safe_load((DEPLOY / "container" / name).read_text())


class Containerfile:
    def __init__(self):
        self.text = re.sub(r"\\\n\s*", "", (DEPLOY / "container/Containerfile").read_text())

    def all(self, instruction):
        return re.findall(rf"^{instruction} (.*)$", self.text, re.MULTILINE)

    def environment(self):
        return dict(pair.split("=", 1) for line in self.all("ENV") for pair in line.split())

    def context(self, folder):
        """What it copies from the repository, in a folder of its own."""
        place = Path(folder, "context")
        place.mkdir()
        for line in self.all("COPY"):
            *sources, to = line.split()
            for source in [] if line.startswith("--from") else sources:
                if (ROOT / source).is_dir():
                    shutil.copytree(ROOT / source, place / to)
                else:
                    shutil.copy(ROOT / source, place / to)
        return place


def seconds(text):
    """A time as systemd, compose and we write it: 90, 150s, 2m."""
    number, unit = re.fullmatch(r"(\d+)(s|m|h|)", str(text)).groups()
    return int(number) * {"": 1, "s": 1, "m": 60, "h": 3600}[unit]


def quantity(text):
    """A number as the API server reads it: 60, 1364m."""
    return float(text.removesuffix("m")) / (1000 if text.endswith("m") else 1)
