"""What the panels must show of series that are made up: tests for promtool, of their own expressions.

A real service cannot be made to give known numbers of what waits or fails; here each is known.
"""

import json
import subprocess
from pathlib import Path

import boards

CHOSEN = {"job": "j", "instance": ".+", "model": ".+", "variant": ".*", "gpu": ".+"}
WINDOWS = {"__rate_interval": "1m", "__range": "1h"}

ENGINE = 'job="j", model_name="m", engine="0"'
PROXY = 'job="j", model_name="m"'


def in_flight(instance, **phases):
    return {
        f'infermeter_requests_in_flight{{{PROXY}, instance="{instance}", phase="{phase}"}}': f"{number}x10"
        for phase, number in phases.items()
    }


def engine(instance, running, waiting):
    return {
        f'vllm:num_requests_running{{{ENGINE}, instance="{instance}"}}': f"{running}x10",
        f'vllm:num_requests_waiting{{{ENGINE}, instance="{instance}"}}': f"{waiting}x10",
    }


def admission(instance):
    return {f'infermeter_admission_wait_seconds_count{{{PROXY}, instance="{instance}"}}': "7x10"}


def by_instance(**values):
    return {f'{{instance="{instance}"}}': value for instance, value in values.items()}


# What is there, and what a query of a panel shows of it after so many minutes.
CASES = {
    "who waits": {
        "series": {
            # Behind vLLM: of 5 without content it says that 2 wait, and reads the prompts of 3.
            **in_flight("vllm", queue=5, prefill=0, decode=4), **engine("vllm", 7, 2),
            # Its page is a second old, and there is nothing before it: none waits.
            **in_flight("late", queue=3, prefill=0, decode=1), **engine("late", 2, 0),
            # 20 have come, and admission lets 6 in, of which the engine lets 2 wait.
            **in_flight("full", queue=17, prefill=0, decode=3), **engine("full", 4, 2), **admission("full"),
            # Requests that go past the proxy are the engine's alone.
            **in_flight("past", queue=1, prefill=0, decode=2), **engine("past", 10, 1), **admission("past"),
            # A server that has admission, and an engine that tells nothing: both are of one view.
            **in_flight("own", queue=3, prefill=1, decode=4), **engine("own", 5, 3), **admission("own"),
        },
        "minutes": 2,
        "shown": {
            "infermeter-overview / Waiting now / A": {"{}": 22},
            "infermeter-overview / Waiting now / B": {"{}": 29},
            "infermeter-overview / Running against the limit / C": {"{}": 22},
            "infermeter-slow / Running against the limit / C": {"{}": 22},
            "infermeter-fleet / One by one / C": by_instance(vllm=2, late=0, full=16, past=1, own=3),
            "infermeter-fleet / Waiting / A": by_instance(vllm=2, late=0, full=16, past=1, own=3),
        },
    },
}


def wrong(files, folder):
    """What promtool says of panels that show something else."""
    expressions = {target.name: target.expression for board in files.values() for target in boards.targets(board)}
    tests = [test(name, case, expressions) for name, case in CASES.items()]
    path = Path(folder, "cases.json")
    # JSON is YAML.
    path.write_text(json.dumps({"rule_files": [], "tests": tests}))
    done = subprocess.run(["promtool", "test", "rules", path], capture_output=True, text=True, timeout=60)
    return f"{done.stdout}{done.stderr}" if done.returncode else ""


def test(name, case, expressions):
    questions = []
    for of, values in case["shown"].items():
        samples = [{"labels": labels, "value": value} for labels, value in values.items()]
        # NB: a rate of a sum of decimals is none of them exactly.
        expression = f"round({boards.filled(expressions[of], CHOSEN | WINDOWS)}, 1e-6)"
        questions.append({"expr": expression, "eval_time": f"{case['minutes']}m", "exp_samples": samples})
    series = [{"series": labels, "values": values} for labels, values in case["series"].items()]
    return {"name": name, "interval": "15s", "input_series": series, "promql_expr_test": questions}
