"""What training carries: tokens a second beside another trainer, and the time to a first step."""
