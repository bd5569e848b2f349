"""A fine-tuning and chat server in the shape of the OpenAI API, on transformers and TRL.

Use it through the `openai` client only. `python -m infra.model_server --help` says how to start it.
"""
