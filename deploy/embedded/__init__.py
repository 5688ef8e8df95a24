"""The embedded mode: the three services as processes of this machine, all state in one folder."""
