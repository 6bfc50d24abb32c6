"""Writes a model of the llama family with random weights and a tokenizer, for mlx-lm.

    mlx_model.py FOLDER
"""

import json
import sys
from pathlib import Path

import mlx.core as mx
import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

WIDTH, LAYERS, HEADS, INNER, CONTEXT = 64, 2, 4, 128, 8192

TEXT = "user assistant: tell me where the river goes when it has come to the sea and the bridge over it"

TEMPLATE = """{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}
{% endfor %}assistant:"""


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        [TEXT] * 20,
        trainers.BpeTrainer(
            vocab_size=360,
            special_tokens=["<s>", "</s>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    count = tokenizer.get_vocab_size()
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "intermediate_size": INNER,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "vocab_size": count,
        "max_position_embeddings": CONTEXT,
        "tie_word_embeddings": False,
        "bos_token_id": 0,
        "eos_token_id": 1,
    }
    (folder / "config.json").write_text(json.dumps(config))
    about = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "model_max_length": CONTEXT,
        "chat_template": TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    mx.save_safetensors(str(folder / "model.safetensors"), dict(weights(count)))


def weights(count):
    random = np.random.default_rng(5)

    def matrix(rows, columns, scale=0.5):
        values = random.standard_normal((rows, columns)) * scale / np.sqrt(columns)
        return mx.array(values.astype(np.float32))

    yield "model.embed_tokens.weight", matrix(count, WIDTH, 8)
    yield "lm_head.weight", matrix(count, WIDTH, 4)
    yield "model.norm.weight", mx.ones((WIDTH,))
    for layer in range(LAYERS):
        part = f"model.layers.{layer}"
        for name in "qkvo":
            yield f"{part}.self_attn.{name}_proj.weight", matrix(WIDTH, WIDTH)
        yield f"{part}.mlp.gate_proj.weight", matrix(INNER, WIDTH)
        yield f"{part}.mlp.up_proj.weight", matrix(INNER, WIDTH)
        yield f"{part}.mlp.down_proj.weight", matrix(WIDTH, INNER)
        yield f"{part}.input_layernorm.weight", mx.ones((WIDTH,))
        yield f"{part}.post_attention_layernorm.weight", mx.ones((WIDTH,))


main(Path(sys.argv[1]))
