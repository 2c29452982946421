"""How the embedded checkpoint is made: its tokenizer, layout, samples and training loop."""
