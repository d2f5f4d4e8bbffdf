"""Hugging Face's folders: T5 and ViT, in and out."""
