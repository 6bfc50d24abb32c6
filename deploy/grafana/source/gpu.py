"""What the GPUs do, and what a token costs of them."""

from grafana_foundation_sdk.models import dashboard as models

from .board import board, choice
from .panels import (
    GREEN, GREY, RED, YELLOW, dashed, fixed, lines, now, over_time, stat, steps,
)
from .promql import GPU, INSTANCE, RANGE, WINDOW, joules_per_token, rate, ratio, select, total
from .shared import clocks_held_down

EACH = "GPU {{gpu}} · {{instance}}"
GPUS = "instance, gpu"
SM = 'domain="sm"'


def built():
    every = choice("gpu", "GPU", f"gpu_up{{{INSTANCE}}}", "gpu", every=".+")
    return board(
        "infermeter-gpu",
        "infermeter / GPUs",
        "The GPUs of one machine or of all: load, memory, power, heat, errors, and the energy that a "
        "token takes.",
        ("Now", *now_()),
        ("Load and memory", *load()),
        ("Power and heat", *power()),
        ("Errors, and how fresh this is", *errors()),
        ("Only with --gpu-metrics extended", *extended()),
        more_variables=(every.sort(models.VariableSort.NUMERICAL_ASC),),
    )


def now_():
    yield stat(
        "GPUs that answer", "GPUs that can be read at this moment.", "short",
        now(total("gpu_up", labels=GPU)), decimals=0,
    )
    yield stat(
        "GPUs lost",
        "GPUs that were seen before and cannot be read now. Such a GPU is off the bus or needs a reset.",
        "short",
        now(f"count({select('gpu_up', GPU)}) - {total('gpu_up', labels=GPU)}"),
        thresholds=steps(GREEN, (1, RED)), decimals=0,
    )
    yield stat(
        "Power now", "What all chosen GPUs draw together, and how that went.", "watt",
        over_time(total("gpu_power_watts", labels=GPU), "power"), decimals=2,
    )
    yield stat(
        "Energy", "What the chosen GPUs have drawn in the time that is shown.", "joule",
        now(f"sum(increase({select('gpu_energy_joules_total', GPU)}[{RANGE}]))"), decimals=1,
    )
    yield stat(
        "Hottest", "The hottest sensor of all chosen GPUs, chip or memory.", "celsius",
        now(f"max({select('gpu_temperature_celsius', GPU)})"),
        thresholds=steps(GREEN, (85, YELLOW), (95, RED)), decimals=0,
    )
    yield stat(
        "Memory in use", "The part of the memory of all chosen GPUs that is in use.", "percentunit",
        now(ratio(total("gpu_memory_used_bytes", labels=GPU), total("gpu_memory_total_bytes", labels=GPU))),
        ratio=True, decimals=1,
    )


def load():
    yield lines(
        "Load",
        "The part of the time in which anything ran on the GPU: near 1 as soon as there is work, however "
        "little.",
        "percentunit",
        over_time(f"avg by ({GPUS}) ({select('gpu_utilization_ratio', GPU)})", EACH), ratio=True,
    )
    by = f"{GPUS}, mig_instance"
    memory = ratio(total("gpu_memory_used_bytes", by, GPU), total("gpu_memory_total_bytes", by, GPU))
    yield lines(
        "Memory",
        "The part of the memory that is in use; of a GPU that is split (MIG), each instance for itself.",
        "percentunit", over_time(memory, EACH + " {{mig_instance}}"), ratio=True,
    )
    yield lines(
        "What they work on",
        "Tokens that are generated per second at the same time, by the services that own these GPUs.",
        "short", over_time(rate("vllm:generation_tokens_total", "instance"), "{{instance}}"), stacked=True,
    )


def power():
    yield lines(
        "Power",
        "What each GPU draws. The dashed line is the lowest limit that is in force for any of them.",
        "watt",
        over_time(total("gpu_power_watts", GPUS, GPU), EACH),
        over_time(f"min({select('gpu_power_limit_watts', GPU)})", "limit"),
        looks=(("limit", dashed(RED)),),
    )
    yield lines(
        "Temperature",
        "The hotter of chip and memory of each GPU. Where it gets too hot, the panel of what holds clocks "
        "down says so.",
        "celsius",
        over_time(f"max by ({GPUS}) ({select('gpu_temperature_celsius', GPU)})", EACH), least=20,
    )
    yield lines(
        "Clocks of the multiprocessors",
        "How fast each GPU runs. A drop under load is explained by what holds clocks down.",
        "hertz",
        over_time(f"avg by ({GPUS}) ({select('gpu_clock_hertz', GPU, SM)})", EACH),
        least=None,
    )
    yield clocks_held_down(GPU)
    yield lines(
        "Energy of a token",
        "Joules of the engine's GPUs for each generated token, whatever model it was of. Idle GPUs make "
        "the few tokens that there are dear.",
        "joule", over_time(joules_per_token(), "{{instance}}"),
    )
    yield lines(
        "GPUs behind each service",
        "GPUs that are tied to the engine of a service: only these count for the energy of a token.",
        "short",
        over_time(f"count by (instance) ({select('infermeter_engine_gpu_info', INSTANCE)})", "{{instance}}"),
        decimals=0,
    )


def errors():
    yield lines(
        "Critical errors (Xid)",
        "Errors that the driver has reported since the probe began, by code; none is good. What a code "
        "means is in NVIDIA's list of Xid errors.",
        "short",
        over_time(f"{total('gpu_xid_errors_total', GPUS + ', xid', GPU)} > 0", "Xid {{xid}} · " + EACH),
        decimals=0, width=6,
    )
    yield lines(
        "Errors of the memory (ECC)",
        "Errors since the driver was loaded. Corrected ones do no harm; an uncorrected one can end what "
        "runs.",
        "short",
        over_time(f"sum by (type) ({select('gpu_ecc_errors_total', GPU)})", "{{type}}"),
        looks=(("corrected", fixed(GREY)), ("uncorrected", fixed(RED))), decimals=0, width=6,
    )
    yield lines(
        "Age of the readings",
        "How long ago each service last read its GPUs, and how long a round took. More than five seconds "
        "means that the driver does not answer.",
        "s",
        over_time(f"max by (instance) (time() - {select('gpu_sample_timestamp_seconds', GPU)})", "age · {{instance}}"),
        over_time(f"max by (instance) ({select('gpu_probe_duration_seconds', INSTANCE)})", "round · {{instance}}"),
        width=6,
    )
    yield lines(
        "Errors of the driver",
        "Calls that failed and cost a whole GPU or a whole round, per second, by kind.",
        "short", over_time(rate("gpu_probe_errors_total", "kind", INSTANCE), "{{kind}}"), width=6,
    )


def extended():
    parts = {"sm": "multiprocessors", "tensor": "tensor cores", "dram": "memory bandwidth"}
    yield lines(
        "What is busy inside",
        "The part of the time in which multiprocessors and tensor cores worked, and the part of the "
        "memory's bandwidth that was used. Writing tokens is bound by bandwidth, reading prompts by "
        "tensor cores.",
        "percentunit",
        *(over_time(f"avg({select(f'gpu_{part}_active_ratio', GPU)})", name) for part, name in parts.items()),
        ratio=True,
    )
    yield lines(
        "Traffic",
        "Bytes per second over PCIe and over NVLink, of all chosen GPUs together. NVLink is where the "
        "GPUs of one model talk to each other.",
        "Bps",
        over_time(rate("gpu_pcie_bytes_total", "direction", GPU), "PCIe {{direction}}"),
        over_time(rate("gpu_nvlink_bytes_total", "direction", GPU), "NVLink {{direction}}"),
    )
    yield lines(
        "Time with clocks held down",
        "The part of the time in which clocks were held down, by reason, as a mean over the chosen GPUs.",
        "percentunit",
        over_time(f"avg by (reason) (rate({select('gpu_throttled_seconds_total', GPU)}[{WINDOW}]))", "{{reason}}"),
        ratio=True,
    )
