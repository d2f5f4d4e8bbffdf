"""Text to pretrain on: corpora, vocabularies, tokens, span corruption."""
