# needs: transformers
# arguments: --output_dir out --per_device_train_batch_size 4 --num_train_epochs 3 --bf16 --report_to none
"""Hugging Face Trainer, its arguments read by HfArgumentParser, with evaluation and gradient checkpointing."""

import sys
from dataclasses import dataclass, field

import torch
from transformers import BertConfig, BertForSequenceClassification, HfArgumentParser, Trainer, TrainingArguments


@dataclass
class ModelArguments:
    layers: int = field(default=2)


class Sentences(torch.utils.data.Dataset):
    def __len__(self):
        return 40

    def __getitem__(self, i):
        tokens = torch.full((16,), i % 90)
        return {"input_ids": tokens, "attention_mask": (torch.arange(16) < 4 + i % 12).long(), "labels": i % 2}


def main():
    if not torch.cuda.is_available() and "--bf16" in sys.argv:
        sys.argv.remove("--bf16")
    model_args, args = HfArgumentParser((ModelArguments, TrainingArguments)).parse_args_into_dataclasses()
    config = BertConfig(
        hidden_size=32, num_hidden_layers=model_args.layers, num_attention_heads=2, intermediate_size=64, vocab_size=99
    )
    args.gradient_checkpointing = True
    args.gradient_accumulation_steps = 2
    trainer = Trainer(
        model=BertForSequenceClassification(config),
        args=args,
        train_dataset=Sentences(),
        eval_dataset=Sentences(),
        compute_metrics=lambda p: {"accuracy": float((p.predictions.argmax(-1) == p.label_ids).mean())},
    )
    trainer.train()
    trainer.evaluate()


if __name__ == "__main__":
    main()
