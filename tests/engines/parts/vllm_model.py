"""Writes a model of the llama family with random weights and a tokenizer, for vLLM.

    vllm_model.py FOLDER
"""

import json
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

# NB: its attention on CPUs knows heads of 32 and more.
WIDTH, LAYERS, HEADS, INNER, CONTEXT = 128, 2, 4, 256, 4096

TEXT = "user assistant: tell me where the river goes when it has come to the sea and the bridge over it"

TEMPLATE = """{% for message in messages %}{{ message['role'] }}: {% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] or [] %}{{ part['text'] }}{% endfor %}{% endif %}

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
            special_tokens=["<s>", "</s>", "<tool_call>", "</tool_call>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    count = tokenizer.get_vocab_size()
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "torch_dtype": "float32",
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
        "clean_up_tokenization_spaces": False,
        "chat_template": TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    tensors = dict(weights(count))
    quiet = [token for token in range(2, count) if not is_said(tokenizer, token)]
    tensors["lm_head.weight"][quiet] = 0
    save_file(tensors, str(folder / "model.safetensors"), metadata={"format": "pt"})


def is_said(tokenizer, token):
    """Most tokens would be pieces of characters, which show in no event; some of them may."""
    text = tokenizer.decode([token])
    return token % 16 == 0 or (bool(text) and text.isprintable() and "\ufffd" not in text)


def weights(count):
    random = np.random.default_rng(5)

    def matrix(rows, columns, scale=0.5):
        return (random.standard_normal((rows, columns)) * scale / np.sqrt(columns)).astype(np.float32)

    yield "model.embed_tokens.weight", matrix(count, WIDTH, 8)
    yield "lm_head.weight", matrix(count, WIDTH, 4)
    yield "model.norm.weight", np.ones(WIDTH, np.float32)
    for layer in range(LAYERS):
        part = f"model.layers.{layer}"
        for name in "qkvo":
            yield f"{part}.self_attn.{name}_proj.weight", matrix(WIDTH, WIDTH)
        yield f"{part}.mlp.gate_proj.weight", matrix(INNER, WIDTH)
        yield f"{part}.mlp.up_proj.weight", matrix(INNER, WIDTH)
        yield f"{part}.mlp.down_proj.weight", matrix(WIDTH, INNER)
        for norm in ("input_layernorm", "post_attention_layernorm"):
            yield f"{part}.{norm}.weight", np.ones(WIDTH, np.float32)


main(Path(sys.argv[1]))
