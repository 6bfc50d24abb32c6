"""Writes a model of the llama family with random weights, small enough to be made at once.

    llamacpp_model.py OUT.gguf
"""

import sys

import gguf
import numpy as np

WIDTH, LAYERS, HEADS, INNER = 64, 2, 4, 128

# Long, so that a stream lasts until somebody cuts it.
CONTEXT = 32768

WORDS = "river sea water stone bridge where does it go when the and of to from under over again".split()

# Begins a tool call. One token, so that a request can ask for it by a bias.
CALL = b"<tool_call>\n"

# NB: it speaks of tools, which is how llama.cpp learns that and how they are called.
TEMPLATE = """{% if tools %}system: tools
{% for tool in tools %}{{ tool | tojson }}
{% endfor %}To call one: <tool_call>{"name": "name", "arguments": {}}</tool_call>
{% endif %}{% for message in messages %}{{ message.role }}: {% if message.content %}{{ message.content }}{% endif %}{% for call in message.tool_calls or [] %}<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>{% endfor %}
{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"""


def main(out):
    pieces, first_text = vocabulary()
    count = len(pieces)
    writer = gguf.GGUFWriter(out, "llama")
    writer.add_name("tiny-random")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(count)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([text for text, _, _ in pieces])
    writer.add_token_scores([score for _, score, _ in pieces])
    writer.add_token_types([kind for _, _, kind in pieces])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    # NB: with one, llama.cpp cannot match the beginning of an answer with a grammar, and refuses
    # tools.
    writer.add_add_space_prefix(False)
    writer.add_chat_template(TEMPLATE)
    for name, values in weights(count, first_text):
        writer.add_tensor(name, values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def vocabulary():
    """Specials, every byte, every printable character, a few words with all their beginnings (so
    that characters can be merged up to them); and where what can be shown as text starts."""
    kinds = gguf.TokenType
    pieces = [
        (b"<unk>", 0.0, kinds.UNKNOWN), (b"<s>", 0.0, kinds.CONTROL), (b"</s>", 0.0, kinds.CONTROL)
    ]
    pieces += [(f"<0x{byte:02X}>".encode(), 0.0, kinds.BYTE) for byte in range(256)]
    first_text = len(pieces)
    blank = "\u2581".encode()
    texts = {blank: -5.0} | {bytes([char]): -6.0 for char in range(33, 127)}
    for word in (word.encode() for word in WORDS):
        texts.setdefault(blank + word[:1], -3.0)
        for length in range(2, len(word) + 1):
            texts.setdefault(word[:length], -2.0 + length / 10)
            texts.setdefault(blank + word[:length], -2.0 + length / 10)
    pieces += [(text, score, kinds.NORMAL) for text, score in texts.items()]
    return [*pieces, (CALL, 0.0, kinds.USER_DEFINED)], first_text


def weights(count, first_text):
    random = np.random.default_rng(11)

    def matrix(rows, columns):
        return random.standard_normal((rows, columns)) / np.sqrt(columns) / 2

    yield "token_embd.weight", random.standard_normal((count, WIDTH))
    output = random.standard_normal((count, WIDTH)) * 0.4
    output[:first_text] = 0  # never the end by itself, and no broken characters
    yield "output.weight", output
    yield "output_norm.weight", np.ones(WIDTH)
    for layer in range(LAYERS):
        for name in ("attn_norm", "ffn_norm"):
            yield f"blk.{layer}.{name}.weight", np.ones(WIDTH)
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            yield f"blk.{layer}.{name}.weight", matrix(WIDTH, WIDTH)
        yield f"blk.{layer}.ffn_gate.weight", matrix(INNER, WIDTH)
        yield f"blk.{layer}.ffn_up.weight", matrix(INNER, WIDTH)
        yield f"blk.{layer}.ffn_down.weight", matrix(WIDTH, INNER)


main(sys.argv[1])
