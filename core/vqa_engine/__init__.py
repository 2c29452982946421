"""vqa-engine: ask local vision-language models visual questions, and score the answers."""
