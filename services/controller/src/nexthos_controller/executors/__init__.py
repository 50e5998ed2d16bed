"""What makes pipelines run: one contract (base.py), one folder or file per executor."""
