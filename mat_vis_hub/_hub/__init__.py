"""Everything that depends on how huggingface_hub works inside."""
