"""A tiny encoder with random weights, made from the texts of a test in a blink."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel

HIDDEN = 32
POSITIONS = 64
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
_MAX_WORDS = 500


def make_tiny_encoder(folder: Path, texts: Sequence[str], *, seed: int = 0) -> Path:
    """Write config.json, model.safetensors and tokenizer.json of a tiny BERT; return the folder.

    Args:
        folder: is made if it is not there.
        texts: what the tokenizer's vocabulary is made from.
        seed: decides the weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {token: number for number, token in enumerate(_vocabulary(texts))}
    tokenizer = Tokenizer(
        models.WordPiece(vocabulary, unk_token="[UNK]")  # noqa: S106 - no password
    )
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    # Only so are they kept whole, and left out when tokens are turned into text.
    tokenizer.add_special_tokens(list(_SPECIAL))
    tokenizer.save(str(folder / "tokenizer.json"))
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=2 * HIDDEN,
        max_position_embeddings=POSITIONS,
        pad_token_id=0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        BertModel(config).save_pretrained(folder)
    return folder


def _vocabulary(texts: Sequence[str]) -> list[str]:
    """Return the most frequent words, and pieces for the others.

    The trainers of `tokenizers` give other ids in each process, and so another model.
    """
    normalizer, splitter = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    words = Counter(
        word
        for text in texts
        for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))
    )
    letters = sorted({letter for word in words for letter in word})
    pieces = [*letters, *(f"##{letter}" for letter in letters)]
    frequent = [word for word, _ in words.most_common(_MAX_WORDS)]
    return list(dict.fromkeys([*_SPECIAL, *pieces, *frequent]))
