"""The stage ``pretrain``: a backbone learns to classify before a detector starts from it."""
