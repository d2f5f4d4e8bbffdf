"""What the command line carries out: runs of pretraining, finetuning and evaluation, each in its directory."""
