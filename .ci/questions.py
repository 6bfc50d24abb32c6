"""What people ask Prometheus about an engine: the operations guide, and the dashboards of vLLM."""

import re
from pathlib import Path

from servers import JOB

# As the guide has them; one as a question that can be answered with no.
GUIDE = f"""
avg(vllm:gpu_cache_usage_ratio{{{JOB}}}) by (instance)
rate(vllm:request_failure_total{{{JOB}}}[5m]) / rate(vllm:request_total{{{JOB}}}[5m])
histogram_quantile(0.95, sum(rate(vllm:time_in_queue_seconds_bucket{{{JOB}}}[5m])) by (le))
rate(vllm:generation_tokens_total{{{JOB}}}[1m])
process_resident_memory_bytes{{{JOB}}} / 1024 / 1024 / 1024
vllm:num_blocks_used{{{JOB}}} / vllm:num_blocks_total{{{JOB}}}
rate(vllm:request_failure_total{{{JOB}}}[5m]) > bool 10
vllm:num_requests_running{{{JOB}}}
vllm:time_per_output_token_seconds_sum{{{JOB}}} / vllm:time_per_output_token_seconds_count{{{JOB}}}
""".strip().splitlines()

VARIABLES = {
    "$__rate_interval": "30s",
    "$__interval": "30s",
    "$__range": "1m",
}


def dashboards(model):
    """Every expression of vLLM's dashboards, for one model."""
    variables = {**VARIABLES, "$model_name": model, "$Deployment_id": model}
    lines = Path(__file__).with_name("vllm-dashboards.promql").read_text().splitlines()
    return [query for line in lines for query in expanded(line.strip(), variables)]


def expanded(line, variables):
    if not line or line.startswith("#"):
        return []
    for name, value in variables.items():
        line = line.replace(name, value)
    quantiles = re.match(r"φ ([\d. ]+?)  (.+)", line)
    if not quantiles:
        return [line]
    return [quantiles[2].replace("φ", quantile) for quantile in quantiles[1].split()]
