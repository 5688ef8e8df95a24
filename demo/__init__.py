"""The whole loop on real texts, told step by step. It uses the services as any user would."""
