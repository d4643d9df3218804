"""The Hugging Face Hub: its client, commits, pull requests and cards. Only this folder talks to it."""
