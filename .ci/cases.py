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


def ended(reason, values, instance="a", outcome="failure"):
    labels = f'{PROXY}, instance="{instance}", endpoint="completions", outcome="{outcome}", reason="{reason}", code="200"'
    return {f"infermeter_requests_total{{{labels}}}": values}


def cache(instance, number, part, blocks=None):
    labels = f'{{job="j", model_name="m", instance="{instance}", engine="{number}"}}'
    told = {f"vllm:gpu_cache_usage_ratio{labels}": f"{part}x10"}
    return told | ({f"vllm:num_blocks_total{labels}": f"{blocks}x10"} if blocks else {})


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
            "infermeter-overview / Waiting now / A": {"{}": 29},
            "infermeter-overview / Waiting now / B": {"{}": 22},
            "infermeter-overview / Running against the limit / C": {"{}": 22},
            "infermeter-slow / Running against the limit / C": {"{}": 22},
            "infermeter-fleet / One by one / C": by_instance(vllm=2, late=0, full=16, past=1, own=3),
            "infermeter-fleet / Waiting / A": by_instance(vllm=2, late=0, full=16, past=1, own=3),
        },
    },
    "first failures": {
        "series": {
            'up{job="j", instance="a"}': "1x480",
            f'vllm:request_success_total{{{PROXY}, instance="a", finished_reason="stop"}}': "0+1x480",
            # For two hours, in scrapes. Reasons begin with their first failure, at 1 or more.
            f'vllm:request_failure_total{{{PROXY}, instance="a"}}': "0x478 11 13",
            **ended("invalid_request", "_x478 4x2"), **ended("context_length", "_x478 1x2"),
            **ended("auth", "_x478 1x2"), **ended("not_found", "_x478 1x2"), **ended("client_error", "_x478 1x2"),
            **ended("server_error", "_x479 3 5"), **ended("stop", "0+1x480", outcome="success"),
            **ended("queue", "_x478 9x2", outcome="aborted"),
        },
        "minutes": 120,
        "shown": {
            "infermeter-overview / Succeeded in the last hour / A": {"{}": 240},
            "infermeter-overview / Success ratio, last hour / A": {"{}": round(240 / 253, 6)},
            "infermeter-overview / … without mistakes of clients / A": {"{}": round(1 - 5 / 253, 6)},
            "infermeter-overview / Failures in 5 minutes / A": {"{}": 13},
            "infermeter-overview / Failures by reason / A": {
                **{f'{{reason="{reason}"}}': 1 for reason in ("context_length", "auth", "not_found", "client_error")},
                '{reason="invalid_request"}': 4, '{reason="server_error"}': 5,
            },
        },
    },
    "failures of long ago, and a page that is new": {
        "series": {
            # Prometheus began two minutes ago, with a service that had failed before.
            'up{job="j", instance="a"}': "_x472 1x8",
            f'vllm:request_success_total{{{PROXY}, instance="a", finished_reason="stop"}}': "_x472 900+1x8",
            f'vllm:request_failure_total{{{PROXY}, instance="a"}}': "_x472 700+1x8",
            **ended("server_error", "_x472 700+1x8"),
            # Once, and none since.
            'up{job="j", instance="b"}': "1x480",
            f'vllm:request_success_total{{{PROXY}, instance="b", finished_reason="stop"}}': "0+1x480",
            f'vllm:request_failure_total{{{PROXY}, instance="b"}}': "70x480",
            **ended("timeout", "70x480", instance="b"),
        },
        "minutes": 120,
        "shown": {
            "infermeter-overview / Failures by reason / A": {'{reason="server_error"}': 4, '{reason="timeout"}': 0},
        },
    },
    "a service that was restarted, whose failures were missing meanwhile": {
        "series": {
            'up{job="j", instance="a"}': "1x470 0x2 1x8",
            f'vllm:request_success_total{{{PROXY}, instance="a", finished_reason="stop"}}': "0+1x470 _x4 1+1x6",
            f'vllm:request_failure_total{{{PROXY}, instance="a"}}': "0x460 4+4x9 _x4 1x6",
        },
        "minutes": 120,
        "shown": {
            "infermeter-overview / Failures in 5 minutes / A": {"{}": 41},
        },
    },
    "a model that is new": {
        "series": {
            'up{job="j", instance="a"}': "1x480",
            f'vllm:request_success_total{{{PROXY}, instance="a", finished_reason="stop"}}': "_x478 3x2",
            f'vllm:request_failure_total{{{PROXY}, instance="a"}}': "_x478 2x2",
        },
        "minutes": 120,
        "shown": {
            "infermeter-overview / Succeeded in the last hour / A": {"{}": 3},
            "infermeter-overview / Success ratio, last hour / A": {"{}": 0.6},
            "infermeter-overview / Failures in 5 minutes / A": {"{}": 2},
        },
    },
    "no failure at all": {
        "series": {
            'up{job="j", instance="a"}': "1x480",
            f'vllm:request_success_total{{{PROXY}, instance="a", finished_reason="stop"}}': "0+1x480",
            f'vllm:request_failure_total{{{PROXY}, instance="a"}}': "0x480",
        },
        "minutes": 120,
        "shown": {"infermeter-overview / … without mistakes of clients / A": {"{}": 1}},
    },
    "caches of several sizes": {
        "series": {
            **cache("two", 0, 0.9, 1000), **cache("two", 1, 0.1, 3000), **cache("one", 0, 0.5, 4000),
            # It tells its blocks, and not yet what is in them.
            'vllm:num_blocks_total{job="j", model_name="m", instance="one", engine="1"}': "4000x10",
        },
        "minutes": 2,
        "shown": {
            "infermeter-overview / KV cache in use now / A": by_instance(two=0.3, one=0.5),
            "infermeter-overview / KV cache: blocks and what is in them / B": {"{}": 0.4},
            "infermeter-slow / KV cache: blocks and what is in them / B": {"{}": 0.4},
            "infermeter-fleet / Fullest KV cache / A": {"{}": 0.9},
            "infermeter-fleet / One by one / D": by_instance(two=0.3, one=0.5),
            "infermeter-fleet / KV cache in use / A": by_instance(two=0.3, one=0.5),
        },
    },
    "a cache without a size": {
        "series": {**cache("tgi", 0, 0.6), **cache("tgi", 1, 0.2)},
        "minutes": 2,
        "shown": {
            "infermeter-overview / KV cache in use now / A": by_instance(tgi=0.4),
            "infermeter-slow / KV cache: blocks and what is in them / B": {"{}": 0.4},
        },
    },
}


def wrong(files, folder):
    """What promtool says of panels that show something else."""
    asked = {
        target.name: f"round({boards.filled(target.expression, CHOSEN | WINDOWS)}, 1e-6)"  # as sums are not exact
        for board in files.values() for target in boards.targets(board)
    }
    path = Path(folder, "cases.json")
    # JSON is YAML.
    path.write_text(json.dumps({"rule_files": [], "tests": [test(name, case, asked) for name, case in CASES.items()]}))
    done = subprocess.run(["promtool", "test", "rules", path], capture_output=True, text=True, timeout=60)
    said = f"{done.stdout}{done.stderr}" if done.returncode else ""
    for name, expression in asked.items():
        said = said.replace(json.dumps(expression), name)  # which is shorter
    return said


def test(name, case, asked):
    questions = []
    for of, values in case["shown"].items():
        samples = [{"labels": labels, "value": value} for labels, value in values.items()]
        questions.append({"expr": asked[of], "eval_time": f"{case['minutes']}m", "exp_samples": samples})
    series = [{"series": labels, "values": values} for labels, values in case["series"].items()]
    return {"name": name, "interval": "15s", "input_series": series, "promql_expr_test": questions}
