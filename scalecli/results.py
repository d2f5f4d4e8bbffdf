"""The names of a manifest's results that more than one part of the package knows."""

VALIDATION = "validation"
NEGATIVE_LOG_PERPLEXITY = f"{VALIDATION}/negative_log_perplexity"
UNIGRAM_NEGATIVE_LOG_PERPLEXITY = f"{VALIDATION}/unigram_negative_log_perplexity"
IMAGE_ACCURACY = f"{VALIDATION}/accuracy"
FEW_SHOT = "few_shot"
FEW_SHOT_EXAMPLES = f"{FEW_SHOT}/examples"
FEW_SHOT_ACCURACY = f"{FEW_SHOT}/accuracy"
