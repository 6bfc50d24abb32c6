"""Runs llama.cpp's HTTP server until it is told to stop.

    llamacpp_serve.py MODEL.gguf generate|embed|rerank|crowded PORT
"""

import os
import signal
import sys

import xllamacpp

model, kind, port = sys.argv[1:]
pooling = xllamacpp.llama_pooling_type

options = xllamacpp.CommonParams()
options.model.path = model
options.model_alias = {"tiny"}
options.hostnames = ["127.0.0.1"]
options.port = int(port)
options.n_parallel = 4
options.n_ctx = 4 * 8192
options.n_gpu_layers = 0
options.cpuparams.n_threads = 1
options.cpuparams_batch.n_threads = 1
# NB: a stream holds one, and so does each connection that is kept open: with too few, the engine's
# own page waits for the end of a stream.
options.n_threads_http = 32
options.endpoint_metrics = True
options.use_jinja = True
options.warmup = False
options.fit_params = False
options.sampling.temp = 0.0
options.sampling.seed = 1
if kind == "embed":
    options.embedding = True
    options.pooling_type = pooling.LLAMA_POOLING_TYPE_MEAN
elif kind == "rerank":
    options.embedding = True
    options.pooling_type = pooling.LLAMA_POOLING_TYPE_RANK
elif kind == "crowded":
    # One cache for all, of which each may have the whole: several together run out of it.
    options.n_ctx = 512
    options.kv_unified = True

server = xllamacpp.Server(options)
print(f"listens on {server.listening_address}", flush=True)
signal.sigwait({signal.SIGTERM, signal.SIGINT})
os._exit(0)
