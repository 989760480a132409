"""Fine-tune GPT-2 on made-up sentences with the Hugging Face Trainer, weights random unless a checkpoint is given."""

import argparse
import random

import torch
from torch.utils.data import Dataset
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

WORDS = [
    "the",
    "a",
    "some",
    "old",
    "new",
    "small",
    "large",
    "red",
    "dog",
    "cat",
    "house",
    "tree",
    "runs",
    "sleeps",
    "finds",
]


class Sentences(Dataset):
    def __init__(self, count, block, seed):
        rng = random.Random(seed)
        self.rows = []
        for _ in range(count):
            text = ""
            while len(text) < block:
                text += " ".join(rng.choices(WORDS, k=6)) + ". "
            self.rows.append(torch.tensor(list(text.encode())[:block]))

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return {"input_ids": self.rows[index], "labels": self.rows[index]}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="name or folder of a checkpoint")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--block", type=int, default=512)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--accumulate", type=int, default=2)
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--output", default="gpt2-finetuned")
    args = parser.parse_args()

    if args.model:
        model = AutoModelForCausalLM.from_pretrained(args.model)
    else:
        model = GPT2LMHeadModel(GPT2Config(n_layer=args.layers, n_embd=args.width, n_head=args.width // 64))
    training = TrainingArguments(
        output_dir=args.output,
        num_train_epochs=3,
        per_device_train_batch_size=args.batch_size,
        gradient_accumulation_steps=args.accumulate,
        learning_rate=5e-5,
        warmup_steps=50,
        weight_decay=0.01,
        bf16=args.bf16,
        eval_strategy="epoch",
        save_strategy="epoch",
        logging_steps=10,
        report_to="none",
    )
    trainer = Trainer(
        model=model,
        args=training,
        train_dataset=Sentences(args.sentences, args.block, seed=0),
        eval_dataset=Sentences(args.sentences // 10, args.block, seed=1),
    )
    trainer.train()
    trainer.save_model()


if __name__ == "__main__":
    main()
