"""The whole loop on real texts, told step by step. It uses commands and HTTP, as users do."""
